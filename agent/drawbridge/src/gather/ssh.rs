//! Logging in on a source host.
//!
//! Invariants:
//! - nothing is sent to a host, not even the user's name, before its key was found in the configured `known_hosts`;
//! - no step waits for ever.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Handle};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKeyWithHashAlg, PublicKey};
use russh::{Preferred, cipher};
use russh_sftp::client::RawSftpSession;
use thiserror::Error;

use super::known_hosts::{KnownHostsError, KnownKeys, Trust};
use crate::config::SshPlace;

/// How long connecting, logging in and starting SFTP may take together. sshd's own patience is two minutes, and slow
/// reverse look-ups take some seconds of it.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one answer may take; a disk that has to spin up takes some ten seconds.
pub(super) const ANSWER_TIMEOUT_SECONDS: u64 = 60;

/// A silent connection is probed after this long, and given up after three probes.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// How much a host may send before we have taken it, in bytes: enough for a fast network, little for memory.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The largest SFTP packet that is taken, in bytes: OpenSSH's own limit (sftp-common.h, SFTP_MAX_MSG_LENGTH).
const MAX_PACKET_BYTES: u32 = 256 * 1024;

/// Why a host couldn't be logged in on.
#[derive(Debug, Error)]
pub enum SshError {
    /// It doesn't answer.
    #[error("{host} port {port} can't be reached")]
    Connect {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// It answers too slowly.
    #[error("logging in on {host} port {port} took longer than {} s", LOGIN_TIMEOUT.as_secs())]
    TooSlow {
        /// The host.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Its key isn't known.
    #[error(
        "the host key of {name} is not known: it showed {key}, and {} has no line for {name}. Compare this fingerprint with \
         the one that `ssh-keygen -lf` shows on the host itself; if they are the same, add the host's line to that file",
        file.display()
    )]
    UnknownHost {
        /// The host, as `known_hosts` would name it.
        name: String,
        /// The algorithm and fingerprint that it showed.
        key: String,
        /// Where it was looked for.
        file: PathBuf,
    },
    /// Its key is another one than the known one.
    #[error(
        "the host key of {name} has CHANGED: it showed {key}, and line {line} of {} says otherwise. Somebody may be in the \
         middle; only if the host was set up anew, replace that line",
        file.display()
    )]
    OtherKey {
        /// The host, as `known_hosts` names it.
        name: String,
        /// The algorithm and fingerprint that it showed.
        key: String,
        /// Where it was looked for.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// Its key has been revoked.
    #[error("the host key of {name}, {key}, is revoked by line {line} of {}", file.display())]
    Revoked {
        /// The host.
        name: String,
        /// The algorithm and fingerprint that it showed.
        key: String,
        /// Where it was looked for.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file of known keys can't be read.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// The private key can't be used.
    #[error("the identity file {} can't be used: {hint}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The host doesn't want that user with that key.
    #[error("{host} refuses user {user} with the key {}: add its public half to ~{user}/.ssh/authorized_keys there", identity.display())]
    Refused {
        /// The host.
        host: String,
        /// The user.
        user: String,
        /// The identity file.
        identity: PathBuf,
    },
    /// The host has no SFTP.
    #[error("{host} doesn't offer SFTP: its sshd needs the line `Subsystem sftp internal-sftp`")]
    Sftp {
        /// The host.
        host: String,
        /// Why.
        source: russh_sftp::client::error::Error,
    },
    /// SSH itself failed.
    #[error("the SSH connection failed")]
    Ssh(#[from] russh::Error),
}

/// A host that was logged in on.
pub(super) struct Login {
    pub(super) sftp: Arc<RawSftpSession>,
    handle: Handle<HostKeyCheck>,
}

impl Login {
    /// Whether the connection has ended.
    pub(super) fn is_over(&self) -> bool {
        self.handle.is_closed()
    }
}

/// Logs in on `place` and starts SFTP.
pub(super) async fn log_in(place: &SshPlace) -> Result<Login, SshError> {
    match tokio::time::timeout(LOGIN_TIMEOUT, try_log_in(place)).await {
        Ok(result) => result,
        Err(_) => Err(SshError::TooSlow { host: place.host.clone(), port: place.port }),
    }
}

async fn try_log_in(place: &SshPlace) -> Result<Login, SshError> {
    let identity = identity(&place.identity_file)?;
    let known = KnownKeys::load(&place.known_hosts, &place.host, place.port)?;
    let unreachable = |source| SshError::Connect { host: place.host.clone(), port: place.port, source };
    let socket = tokio::net::TcpStream::connect((place.host.as_str(), place.port)).await.map_err(unreachable)?;
    socket.set_nodelay(true).map_err(unreachable)?;
    let config = Arc::new(settings(&known));
    let check = HostKeyCheck { known, place: place.clone() };
    let mut handle = client::connect_stream(config, socket, check).await?;

    let key = PrivateKeyWithHashAlg::new(Arc::new(identity), None);
    if !handle.authenticate_publickey(&place.user, key).await?.success() {
        return Err(SshError::Refused {
            host: place.host.clone(),
            user: place.user.clone(),
            identity: place.identity_file.clone(),
        });
    }
    let channel = handle.channel_open_session().await?;
    channel.request_subsystem(true, "sftp").await?;
    let config = russh_sftp::client::Config {
        max_packet_len: MAX_PACKET_BYTES,
        request_timeout_secs: ANSWER_TIMEOUT_SECONDS,
        ..russh_sftp::client::Config::default()
    };
    let sftp = RawSftpSession::new_with_config(channel.into_stream(), config);
    sftp.init().await.map_err(|source| SshError::Sftp { host: place.host.clone(), source })?;
    Ok(Login { sftp: Arc::new(sftp), handle })
}

fn settings(known: &KnownKeys) -> client::Config {
    client::Config {
        window_size: WINDOW_BYTES,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 3,
        preferred: Preferred {
            key: Cow::Owned(host_key_algorithms(known)),
            // AES-GCM is several times faster than the default order's first on any processor with AES instructions.
            cipher: Cow::Borrowed(&[
                cipher::AES_256_GCM,
                cipher::AES_128_GCM,
                cipher::CHACHA20_POLY1305,
                cipher::AES_256_CTR,
            ]),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    }
}

/// The algorithms of the known keys first, so that the host shows the key that is known.
fn host_key_algorithms(known: &KnownKeys) -> Vec<Algorithm> {
    let mut algorithms = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    ];
    // Stable: false sorts before true.
    algorithms.sort_by_key(|algorithm| !known.has_algorithm(algorithm.as_str()));
    algorithms
}

fn identity(path: &Path) -> Result<russh::keys::PrivateKey, SshError> {
    use std::os::unix::fs::PermissionsExt;

    let refuse = |hint, source: Option<Box<dyn std::error::Error + Send + Sync>>| SshError::Identity {
        path: path.to_owned(),
        hint,
        source,
    };
    let metadata = std::fs::metadata(path)
        .map_err(|error| refuse("it must be a private key that `ssh-keygen -t ed25519` made", Some(Box::new(error))))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(refuse("it is open to other users, run `chmod 600` on it", None));
    }
    russh::keys::load_secret_key(path, None).map_err(|error| {
        let hint = match error {
            russh::keys::Error::KeyIsEncrypted => "it asks for a passphrase, and nobody is there to type it",
            _ => "only ed25519 and ECDSA keys in OpenSSH's format are supported; `ssh-keygen -t ed25519` makes one",
        };
        refuse(hint, Some(Box::new(error)))
    })
}

/// Accepts exactly the known keys.
pub(super) struct HostKeyCheck {
    known: KnownKeys,
    place: SshPlace,
}

impl client::Handler for HostKeyCheck {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &russh::keys::PublicKeyOrCertificate) -> Result<bool, SshError> {
        match shown {
            russh::keys::PublicKeyOrCertificate::PublicKey { key, .. } => self.check(key).map(|()| true),
            // None was asked for.
            russh::keys::PublicKeyOrCertificate::Certificate(_) => Ok(false),
        }
    }
}

impl HostKeyCheck {
    fn check(&self, shown: &PublicKey) -> Result<(), SshError> {
        let place = &self.place;
        let name = match place.port {
            crate::config::DEFAULT_SSH_PORT => place.host.clone(),
            port => format!("[{}]:{port}", place.host),
        };
        let key = format!("{} {}", shown.algorithm(), shown.fingerprint(HashAlg::Sha256));
        let file = place.known_hosts.clone();
        let blob = shown.to_bytes().map_err(|error| russh::Error::from(russh::keys::Error::from(error)))?;
        match self.known.trust(&blob) {
            Trust::Known => Ok(()),
            Trust::UnknownHost => Err(SshError::UnknownHost { name, key, file }),
            Trust::OtherKey { line } => Err(SshError::OtherKey { name, key, file, line }),
            Trust::Revoked { line } => Err(SshError::Revoked { name, key, file, line }),
        }
    }
}
