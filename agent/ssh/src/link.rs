//! The agent's end of the link.
//!
//! Invariants:
//! - nothing is said about the user before the server has proved to own exactly the expected host key;
//! - the server can open no channel back: the agent serves nothing.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use russh::client::{self, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelStream, Disconnect};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::key::{Fingerprint, KeyPair, PublicKey};
use crate::settings::client_config;
use crate::{USER, VAULT_HOST, VAULT_PORT};

/// How long the TCP connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long key exchange and login may take together, and later the opening of a channel.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// Writes are gathered up to this many bytes. The channel takes what it is given packet by packet and waits for room
/// each time; with hyper's small writes straight on it, throughput halves.
const WRITE_BUFFER_BYTES: usize = 256 * 1024;

/// Why there is no link, or not any more.
#[derive(Debug, Error)]
pub enum LinkError {
    /// Somebody else answered. Nothing was said to them.
    #[error("the gate's host key is not the one that the session names: expected {expected}, but {came} came")]
    HostKey {
        /// The pinned key.
        expected: Fingerprint,
        /// The key that was shown.
        came: Fingerprint,
    },
    /// A host key that is not even of the kind that a gate makes.
    #[error("the gate's host key is not the one that the session names: expected {expected}, but {came} came")]
    HostKeyKind {
        /// The pinned key.
        expected: Fingerprint,
        /// What was shown instead, in words.
        came: String,
    },
    /// The gate doesn't know the user's key.
    #[error("the gate refuses this run's key")]
    Refused,
    /// No TCP connection.
    #[error("cannot connect to {address} port {port}")]
    Connect {
        /// Whither.
        address: IpAddr,
        /// Which port.
        port: u16,
        /// Why not.
        source: io::Error,
    },
    /// No answer in time.
    #[error("the gate didn't answer within {} s: {during}", .after.as_secs())]
    Timeout {
        /// What was waited for.
        during: &'static str,
        /// For how long.
        after: Duration,
    },
    /// Anything else that SSH has to say.
    #[error("the SSH connection failed")]
    Ssh(#[from] russh::Error),
}

/// A client's handler that accepts one host key and no channel.
#[derive(Debug)]
pub struct PinnedHostKey {
    expected: PublicKey,
}

impl PinnedHostKey {
    /// Accepts this key and no other.
    #[must_use]
    pub const fn new(expected: PublicKey) -> Self {
        Self { expected }
    }

    fn check(&self, shown: &PublicKeyOrCertificate) -> Result<(), LinkError> {
        let wrong_kind = |came: String| LinkError::HostKeyKind { expected: self.expected.fingerprint(), came };
        match shown {
            PublicKeyOrCertificate::PublicKey { key, .. } if self.expected.is(key) => Ok(()),
            PublicKeyOrCertificate::PublicKey { key, .. } => match PublicKey::new(key) {
                Ok(came) => Err(LinkError::HostKey { expected: self.expected.fingerprint(), came: came.fingerprint() }),
                Err(error) => Err(wrong_kind(error.to_string())),
            },
            PublicKeyOrCertificate::Certificate(_) => Err(wrong_kind("a certificate".to_owned())),
        }
    }
}

impl client::Handler for PinnedHostKey {
    type Error = LinkError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, LinkError> {
        self.check(shown).map(|()| true)
    }

    crate::refuse_server_channels!(LinkError);
}

/// A connection to the gate, logged in. Dropping it closes it and all its streams.
pub struct Session {
    handle: client::Handle<PinnedHostKey>,
}

/// Connects to the gate at `address`, makes sure that it owns `host_key`, and logs in with `user_key`.
///
/// # Errors
/// See [`LinkError`]. A wrong host key is [`LinkError::HostKey`], and the user key has not been used then.
pub async fn connect(
    address: impl Into<IpAddr>,
    port: u16,
    host_key: &PublicKey,
    user_key: &KeyPair,
) -> Result<Session, LinkError> {
    let address = address.into();
    let connected = in_time(CONNECT_TIMEOUT, "connecting", TcpStream::connect((address, port))).await?;
    let socket = connected.map_err(|source| LinkError::Connect { address, port, source })?;
    socket.set_nodelay(true).map_err(|source| LinkError::Connect { address, port, source })?;
    in_time(REPLY_TIMEOUT, "key exchange and login", log_in(socket, host_key, user_key)).await?
}

async fn log_in(socket: TcpStream, host_key: &PublicKey, user_key: &KeyPair) -> Result<Session, LinkError> {
    let handler = PinnedHostKey::new(host_key.clone());
    let mut handle = client::connect_stream(client_config(), socket, handler).await?;
    let key = PrivateKeyWithHashAlg::new(Arc::clone(user_key.private()), None);
    if handle.authenticate_publickey(USER, key).await?.success() {
        Ok(Session { handle })
    } else {
        Err(LinkError::Refused)
    }
}

async fn in_time<F: Future>(after: Duration, during: &'static str, future: F) -> Result<F::Output, LinkError> {
    timeout(after, future).await.map_err(|_| LinkError::Timeout { during, after })
}

impl Session {
    /// Opens a stream to the vault behind the gate, on which to speak HTTP.
    ///
    /// # Errors
    /// When the gate has enough streams, or is gone.
    pub async fn open_vault_stream(&self) -> Result<VaultStream, LinkError> {
        let opening = self.handle.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0);
        let channel = in_time(REPLY_TIMEOUT, "opening a channel", opening).await??;
        Ok(VaultStream(BufWriter::with_capacity(WRITE_BUFFER_BYTES, channel.into_stream())))
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Says goodbye, so that the gate doesn't wait for more.
    ///
    /// # Errors
    /// When the connection is gone already.
    pub async fn close(self) -> Result<(), LinkError> {
        Ok(self.handle.disconnect(Disconnect::ByApplication, "", "").await?)
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// A stream to the vault: bytes in, bytes out. Written bytes leave when it is flushed or its buffer is full.
pub struct VaultStream(BufWriter<ChannelStream<Msg>>);

impl AsyncRead for VaultStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for VaultStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl std::fmt::Debug for VaultStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultStream")
    }
}
