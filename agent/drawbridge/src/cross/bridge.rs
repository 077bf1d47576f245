//! The link to the gate, shared by all streams.
//!
//! Invariant: there is at most one SSH connection at a time; whoever finds it broken makes the next one, and the others wait for that.

use std::net::Ipv4Addr;
use std::sync::Arc;

use drawbridge_ssh::{KeyPair, LinkError, PublicKey, Session, VAULT_HOST, connect};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::body::Payload;
use super::error::AttemptError;

/// How much of the gate's reason is read, in bytes. It is one line.
const MAX_REASON_BYTES: usize = 8 * 1024;

/// How the gate's end of the bridge is reached and recognised, and who we are.
#[derive(Debug, Clone)]
pub struct BridgeEnd {
    /// The box's public address.
    pub address: Ipv4Addr,
    /// The gate's TCP port.
    pub port: u16,
    /// The only host key that is accepted.
    pub host_key: PublicKey,
    /// This run's key.
    pub user_key: KeyPair,
}

pub(super) struct Bridge {
    end: BridgeEnd,
    session: Mutex<Option<Arc<Session>>>,
}

/// One HTTP connection on one channel. Dropping it ends both.
pub(super) struct Stream {
    sender: SendRequest<Payload>,
    connection: JoinHandle<()>,
    // The channel lives as long as its connection does.
    _session: Arc<Session>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// What the gate said.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    /// Seconds.
    pub(super) retry_after: Option<u64>,
}

impl Bridge {
    pub(super) fn new(end: BridgeEnd) -> Self {
        Self { end, session: Mutex::new(None) }
    }

    /// Opens one more stream, over a new connection if there is none that works.
    pub(super) async fn open(&self) -> Result<Stream, AttemptError> {
        let session = self.session().await?;
        let channel = session.open_vault_stream().await?;
        let (sender, connection) = handshake(TokioIo::new(channel)).await?;
        // How it ends is told to whoever waits for an answer on it.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Stream { sender, connection, _session: session })
    }

    /// Says goodbye to the gate, so that it needn't wait.
    pub(super) async fn close(self) -> Result<(), LinkError> {
        match self.session.into_inner().and_then(Arc::into_inner) {
            Some(session) => session.close().await,
            None => Ok(()),
        }
    }

    async fn session(&self) -> Result<Arc<Session>, LinkError> {
        let mut session = self.session.lock().await;
        match &*session {
            Some(open) if !open.is_closed() => Ok(Arc::clone(open)),
            _ => {
                let end = &self.end;
                let opened = Arc::new(connect(end.address, end.port, &end.host_key, &end.user_key).await?);
                *session = Some(Arc::clone(&opened));
                Ok(opened)
            }
        }
    }
}

impl Stream {
    /// Whether another request can go over it, waiting for the last one to be through.
    pub(super) async fn is_usable(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// Sends one request and reads the answer.
    pub(super) async fn post(&mut self, path: &str, size: u64, body: Payload) -> Result<Answer, AttemptError> {
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        // Paths are made of names that the wire types have checked.
        *request.uri_mut() = path.parse().map_err(|error| AttemptError::Answer(Box::new(error) as _))?;
        request.headers_mut().insert(HOST, HeaderValue::from_static(VAULT_HOST));
        request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(size));
        let response = self.sender.send_request(request).await?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let body =
            Limited::new(response.into_body(), MAX_REASON_BYTES).collect().await.map_err(AttemptError::Answer)?;
        let reason = String::from_utf8_lossy(&body.to_bytes()).trim().to_owned();
        Ok(Answer { status, reason, retry_after })
    }
}
