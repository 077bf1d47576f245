//! One parcel from here to the gate, tried until it is acknowledged, refused or hopeless.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use drawbridge_ssh::LinkError;
use drawbridge_wire::{ManifestObject, Sha256Digest};
use hyper::StatusCode;
use tokio::fs::File;
use tokio::time::{Instant, sleep};

use super::Patience;
use super::body::{Payload, Sent};
use super::bridge::{Answer, Bridge, Stream};
use super::error::{AttemptError, CrossError};
use crate::engine::health::compare;
use crate::ui::Transfer;

/// What goes over in one request.
pub(super) struct Parcel {
    path: String,
    size: u64,
    content: Content,
}

enum Content {
    Memory(Bytes),
    /// A file, and the digest that was declared for it.
    File(PathBuf, Sha256Digest),
}

impl Parcel {
    pub(super) fn manifest(bytes: Bytes) -> Self {
        Self { path: "/manifest".to_owned(), size: bytes.len() as u64, content: Content::Memory(bytes) }
    }

    pub(super) fn object(object: &ManifestObject, file: PathBuf) -> Self {
        Self { path: format!("/{}", object.name()), size: object.size(), content: Content::File(file, object.digest()) }
    }

    pub(super) fn receipt() -> Self {
        Self { path: "/receipt".to_owned(), size: 0, content: Content::Memory(Bytes::new()) }
    }

    fn what(&self) -> String {
        self.path.trim_start_matches('/').to_owned()
    }

    async fn open(&self, sent: Sent) -> Result<Payload, CrossError> {
        match &self.content {
            Content::Memory(bytes) => Ok(Payload::Memory(Some(bytes.clone()))),
            Content::File(path, _) => {
                let failed = |source: io::Error| match source.kind() {
                    io::ErrorKind::NotFound => CrossError::Damaged { damage: format!("{} is missing", path.display()) },
                    _ => CrossError::Local { path: path.clone(), source },
                };
                let file = File::open(path).await.map_err(failed)?;
                let size = file.metadata().await.map_err(failed)?.len();
                if size != self.size {
                    let (path, declared) = (path.display(), self.size);
                    let damage = format!("{path} has {size} bytes, and had {declared} when it was declared");
                    return Err(CrossError::Damaged { damage });
                }
                Ok(Payload::file(file, size, sent))
            }
        }
    }

    /// Why the gate refused it: because it isn't what was declared, or for a reason of the gate's own. The gate's words aren't
    /// asked: whatever it objects to in a rotten object, it is the disk that is to blame.
    async fn refused(&self, status: StatusCode, reason: String) -> CrossError {
        let refused = CrossError::Refused { what: self.what(), status: status.as_u16(), reason };
        let Content::File(path, digest) = &self.content else { return refused };
        let (path, digest) = (path.clone(), *digest);
        let compared = tokio::task::spawn_blocking(move || match compare(digest, &path) {
            Ok(damage) => damage.map(|damage| CrossError::Damaged { damage }),
            Err(source) => Some(CrossError::Local { path, source }),
        });
        compared.await.ok().flatten().unwrap_or(refused)
    }
}

/// What became of one attempt.
enum Attempt {
    Acknowledged,
    /// To be repeated, not before the given number of seconds.
    Repeat(AttemptError, Option<u64>),
}

/// Brings parcels over the bridge.
pub(super) struct Courier<'a> {
    pub(super) bridge: &'a Bridge,
    pub(super) patience: Patience,
    pub(super) progress: &'a Transfer,
}

impl Courier<'_> {
    /// Sends `parcel` over `stream`, and over new ones when that breaks, until the gate has acknowledged it.
    pub(super) async fn deliver(&self, stream: &mut Option<Stream>, parcel: &Parcel) -> Result<(), CrossError> {
        let began = Instant::now();
        let mut backoff = self.patience.first;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (error, asked) = match self.attempt(stream, parcel).await? {
                Attempt::Acknowledged => return Ok(()),
                Attempt::Repeat(error, asked) => (error, asked.map_or(Duration::ZERO, Duration::from_secs)),
            };
            let wait = backoff.max(asked).min(self.patience.most);
            let after = began.elapsed();
            if after + wait > self.patience.total {
                return Err(CrossError::GaveUp { what: parcel.what(), attempts, after, source: Box::new(error) });
            }
            tracing::info!(what = parcel.what(), attempts, %error, "trying again");
            sleep(wait).await;
            backoff = (backoff * 2).min(self.patience.most);
        }
    }

    async fn attempt(&self, stream: &mut Option<Stream>, parcel: &Parcel) -> Result<Attempt, CrossError> {
        let sent = Sent::nothing_yet(self.progress);
        let body = parcel.open(sent.clone()).await?;
        match self.send(stream, parcel, body, &sent).await {
            Ok(Answer { status: StatusCode::OK, .. }) => {
                if let Content::File(..) = parcel.content {
                    sent.complete(parcel.size);
                }
                Ok(Attempt::Acknowledged)
            }
            Ok(Answer { status: StatusCode::SERVICE_UNAVAILABLE, reason, retry_after }) => {
                // The gate may have answered before it read the body; a new stream is cheaper than sending the rest.
                *stream = None;
                sent.rewind();
                Ok(Attempt::Repeat(AttemptError::NotNow(reason), retry_after))
            }
            Ok(Answer { status, reason, .. }) => Err(parcel.refused(status, reason).await),
            Err(AttemptError::Link(
                error @ (LinkError::HostKey { .. } | LinkError::HostKeyKind { .. } | LinkError::Refused),
            )) => Err(CrossError::Untrusted(error)),
            Err(error) => {
                // Whatever state it is in, the next attempt shall not depend on it.
                *stream = None;
                sent.rewind();
                Ok(Attempt::Repeat(error, None))
            }
        }
    }

    async fn send(
        &self,
        stream: &mut Option<Stream>,
        parcel: &Parcel,
        body: Payload,
        sent: &Sent,
    ) -> Result<Answer, AttemptError> {
        let exchange = async {
            let usable = match stream.as_mut() {
                Some(stream) => stream.is_usable().await,
                None => false,
            };
            if !usable {
                *stream = None;
            }
            let open = match stream {
                Some(open) => open,
                None => stream.insert(self.bridge.open().await?),
            };
            open.post(&parcel.path, parcel.size, body).await
        };
        tokio::select! {
            answer = exchange => answer,
            () = stalled(sent, self.patience.stall) => Err(AttemptError::Stalled(self.patience.stall)),
        }
    }
}

/// Returns when nothing was sent for `limit`.
async fn stalled(sent: &Sent, limit: Duration) {
    let mut before = None;
    loop {
        let now = sent.bytes();
        if before == Some(now) {
            return;
        }
        before = Some(now);
        sleep(limit).await;
    }
}
