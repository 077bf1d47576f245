//! A body on its way from the agent to S3, hashed and inspected as it passes.
//!
//! Invariants:
//! - the last chunk is handed on only when the length, the SHA-256 and the shape of the whole are right, so S3 never sees
//!   the end of a wrong body and has nothing to store;
//! - at most two chunks are held, whatever the body's length;
//! - one reader at a time: after [`Intake::reclaim`] the body that was lent out yields only an error.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_wire::{ManifestObject, Sha256Digest};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::shape::{Inspection, Misfit};

/// What is wrong with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// Not what was declared.
    #[error("wrong hash: the body's SHA-256 is not the declared one")]
    Hash,
    /// What was declared, and nothing that a repository holds.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// It ended early, or the connection broke.
    #[error("the body ended before its declared size")]
    CutOff,
    /// More than Content-Length.
    #[error("the body is longer than declared")]
    TooLong,
    /// The gate has taken it back.
    #[error("the body is no longer offered")]
    Reclaimed,
}

struct State {
    /// Gone when the gate has given the body up.
    incoming: Option<Incoming>,
    hasher: Sha256,
    /// None for what isn't stored now.
    inspection: Option<Inspection>,
    digest: Sha256Digest,
    size: u64,
    received: u64,
    /// The chunk that waits for its successor, or for the verdict.
    held: Option<Bytes>,
    /// All bytes are there and right.
    verified: bool,
    fault: Option<Fault>,
    /// The body is read here again, and no longer by whom it was lent to.
    reclaimed: bool,
    moved: watch::Sender<u64>,
}

impl State {
    fn judge(&mut self) {
        let found = Sha256Digest::from_bytes(std::mem::take(&mut self.hasher).finalize().into());
        if found != self.digest {
            self.fault = Some(Fault::Hash);
            return;
        }
        match self.inspection.take().map_or(Ok(()), Inspection::judge) {
            Ok(()) => self.verified = true,
            Err(misfit) => self.fault = Some(misfit.into()),
        }
    }

    fn take_in(&mut self, chunk: Bytes) {
        self.received += chunk.len() as u64;
        if self.received > self.size {
            self.fault = Some(Fault::TooLong);
            return;
        }
        self.hasher.update(&chunk);
        if let Some(inspection) = &mut self.inspection {
            inspection.take_in(&chunk);
        }
        if self.received == self.size {
            self.judge();
        }
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            if let Some(fault) = self.fault {
                return Poll::Ready(Some(Err(fault)));
            }
            if self.verified {
                return Poll::Ready(self.held.take().map(Ok));
            }
            let Some(incoming) = &mut self.incoming else {
                return Poll::Ready(Some(Err(Fault::Reclaimed)));
            };
            let chunk = match ready!(Pin::new(incoming).poll_frame(cx)) {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(_)) | None => {
                    self.fault = Some(Fault::CutOff);
                    continue;
                }
            };
            if chunk.is_empty() {
                continue;
            }
            self.take_in(chunk.clone());
            if self.fault.is_none() {
                self.moved.send_modify(|bytes| *bytes += chunk.len() as u64);
                if let Some(earlier) = self.held.replace(chunk) {
                    return Poll::Ready(Some(Ok(earlier)));
                }
            }
        }
    }
}

/// The gate's hold on a body.
pub(crate) struct Intake(Arc<Mutex<State>>);

/// The body as it is lent to a store. It ends well only if the whole was right.
pub struct LentBody(Arc<Mutex<State>>);

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    /// The body of an object that is to be stored.
    pub(crate) fn of_object(incoming: Incoming, object: &ManifestObject) -> Self {
        let inspection = Inspection::new(object.name().kind(), object.size());
        Self::begin(incoming, object.size(), object.digest(), Some(inspection))
    }

    /// A body that has been stored before, to be compared.
    pub(crate) fn again(incoming: Incoming, size: u64, digest: Sha256Digest) -> Self {
        Self::begin(incoming, size, digest, None)
    }

    fn begin(incoming: Incoming, size: u64, digest: Sha256Digest, inspection: Option<Inspection>) -> Self {
        let mut state = State {
            incoming: Some(incoming),
            hasher: Sha256::new(),
            inspection,
            digest,
            size,
            received: 0,
            held: None,
            verified: false,
            fault: None,
            reclaimed: false,
            moved: watch::Sender::new(0),
        };
        if size == 0 {
            // Nobody reads an empty body, so it is judged here.
            state.judge();
        }
        Self(Arc::new(Mutex::new(state)))
    }

    /// The body for a store to read. Lend it once.
    pub(crate) fn lend(&self) -> LentBody {
        LentBody(Arc::clone(&self.0))
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        lock(&self.0).fault
    }

    /// Takes the body back and reads what is left of it, keeping nothing.
    pub(crate) async fn reclaim(&self) -> Result<(), Fault> {
        lock(&self.0).reclaimed = true;
        loop {
            match std::future::poll_fn(|cx| lock(&self.0).poll_chunk(cx)).await {
                Some(Ok(_)) => {}
                Some(Err(fault)) => return Err(fault),
                None => return Ok(()),
            }
        }
    }

    /// Returns when nothing has moved for so long.
    pub(crate) async fn stalled(&self, patience: Duration) {
        let mut moved = lock(&self.0).moved.subscribe();
        while let Ok(Ok(())) = timeout(patience, moved.changed()).await {}
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Whoever still holds the lent body gets nothing more of it, and the agent's side learns that nobody reads.
        let mut state = lock(&self.0);
        state.reclaimed = true;
        state.incoming = None;
        state.held = None;
    }
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let mut state = lock(&self.0);
        if state.reclaimed {
            return Poll::Ready(Some(Err(Fault::Reclaimed)));
        }
        state.poll_chunk(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0);
        state.verified && state.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.0);
        let held = state.held.as_ref().map_or(0, |chunk| chunk.len() as u64);
        SizeHint::with_exact(state.size.saturating_sub(state.received) + held)
    }
}

impl std::fmt::Debug for LentBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LentBody")
    }
}
