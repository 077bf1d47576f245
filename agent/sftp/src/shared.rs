//! What the task of a session and everybody who asks through it share.
//!
//! Invariants:
//! - an id is in `waiting` from when its request is queued until its answer comes, whether or not somebody still wants it;
//!   an answer to any other id breaks the protocol;
//! - a request holds a slot for just as long; a CLOSE has none, since nobody can wait when a handle is dropped, but there is
//!   one at most for each place that an open handle takes;
//! - a handle that the host gave is closed exactly once: it belongs to one [`OpenHandle`] from the moment its answer is
//!   decoded, and that closes it when it is dropped, be it unseen. Its place is free when the CLOSE has been answered;
//! - `end` is written once. From then on nothing is waiting, nothing is queued, and nobody gets a slot or a place;
//! - nothing is dropped or woken under the lock but what cannot come back for it.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio::time::Instant;

use crate::error::{End, SftpError};
use crate::wire::{self, Reply, Request};

/// How many requests may be under way: for each open file a read, a look at it and a close, and as much again for everything
/// beside them.
const MAX_REQUESTS: usize = 4096;

/// How many listings may be asked for ahead, of the whole session: 16 MiB at the longest packet.
const LISTINGS_AHEAD: usize = 64;

/// How much room for requests is kept between two writes, in bytes.
const KEPT_OUTGOING_BYTES: usize = 64 * 1024;

pub(crate) type OpenAnswer = Result<OpenHandle, SftpError>;

/// Who waits for an answer.
#[derive(Debug)]
pub(crate) enum Waiter {
    Any(oneshot::Sender<Reply>),
    Read { asked: u32, to: oneshot::Sender<Reply> },
    Open { to: oneshot::Sender<OpenAnswer>, place: OwnedSemaphorePermit },
    Close { place: OwnedSemaphorePermit },
}

#[derive(Default)]
struct State {
    end: Option<End>,
    waiting: HashMap<u32, Waiter>,
    next_id: u32,
    outgoing: Vec<u8>,
    /// When `waiting` was last empty.
    asking_since: Option<Instant>,
}

pub(crate) struct Shared {
    state: Mutex<State>,
    slots: Semaphore,
    queued: Notify,
    over: Notify,
    silence: Duration,
    began: Instant,
    /// Milliseconds from `began` to when bytes came last.
    heard: AtomicU64,
    /// The places for open files and folders. None before the server's limits are known.
    pub(crate) files: Arc<Semaphore>,
    pub(crate) folders: Arc<Semaphore>,
    /// In bytes.
    pub(crate) bytes_ahead: Arc<Semaphore>,
    pub(crate) listings_ahead: Arc<Semaphore>,
}

impl Shared {
    pub(crate) fn new(silence: Duration, bytes_ahead: usize) -> Self {
        Self {
            state: Mutex::default(),
            slots: Semaphore::new(MAX_REQUESTS),
            queued: Notify::new(),
            over: Notify::new(),
            silence,
            began: Instant::now(),
            heard: AtomicU64::new(0),
            files: Arc::new(Semaphore::new(0)),
            folders: Arc::new(Semaphore::new(0)),
            bytes_ahead: Arc::new(Semaphore::new(bytes_ahead.min(Semaphore::MAX_PERMITS))),
            listings_ahead: Arc::new(Semaphore::new(LISTINGS_AHEAD)),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a slot, to be used with [`Self::ask`] before anything else is awaited.
    pub(crate) async fn slot(&self) -> Result<(), SftpError> {
        self.slots.acquire().await.map_err(|_| self.why())?.forget();
        Ok(())
    }

    /// Whether there was a slot to take.
    pub(crate) fn try_slot(&self) -> Result<bool, SftpError> {
        match self.slots.try_acquire() {
            Ok(slot) => {
                slot.forget();
                Ok(true)
            }
            Err(TryAcquireError::NoPermits) => Ok(false),
            Err(TryAcquireError::Closed) => Err(self.why()),
        }
    }

    pub(crate) fn give_back_slots(&self, count: usize) {
        self.slots.add_permits(count);
    }

    /// A place for an open handle.
    pub(crate) async fn place(&self, places: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, SftpError> {
        Arc::clone(places).acquire_owned().await.map_err(|_| self.why())
    }

    /// Queues a request whose slot has been taken. The answer comes through the other end of `waiter`.
    pub(crate) fn ask(&self, request: Request<'_>, waiter: Waiter) -> Result<(), SftpError> {
        let mut state = self.lock();
        if let Some(end) = &state.end {
            return Err(end.clone().into());
        }
        let mut id = state.next_id;
        // After four billion requests an early one may still be unanswered.
        while state.waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        state.next_id = id.wrapping_add(1);
        if state.waiting.is_empty() {
            state.asking_since = Some(Instant::now());
        }
        state.waiting.insert(id, waiter);
        let first = state.outgoing.is_empty();
        request.encode(id, &mut state.outgoing);
        drop(state);
        if first {
            self.queued.notify_one();
        }
        Ok(())
    }

    /// As [`Self::ask`], for everything that isn't a file's data and opens nothing.
    pub(crate) fn ask_any(&self, request: Request<'_>) -> Result<oneshot::Receiver<Reply>, SftpError> {
        let (to, answer) = oneshot::channel();
        self.ask(request, Waiter::Any(to))?;
        Ok(answer)
    }

    pub(crate) async fn wait<T>(&self, answer: &mut oneshot::Receiver<T>) -> Result<T, SftpError> {
        answer.await.map_err(|_| self.why())
    }

    fn why(&self) -> SftpError {
        self.lock().end.clone().unwrap_or(End::Closed).into()
    }

    /// Ends the session. Only the first reason counts.
    pub(crate) fn finish(&self, end: End) {
        let mut state = self.lock();
        if state.end.is_some() {
            return;
        }
        state.end = Some(end);
        state.outgoing = Vec::new();
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        for semaphore in [&self.slots, &*self.files, &*self.folders] {
            semaphore.close();
        }
        drop(waiting);
        self.over.notify_one();
    }

    /// Ends the session for a broken protocol, and says so.
    pub(crate) fn misbehaves(&self, end: impl Into<End>) -> SftpError {
        let end = end.into();
        self.finish(end.clone());
        end.into()
    }

    /// An answer of a kind that its request doesn't have.
    pub(crate) fn unexpected(&self) -> SftpError {
        self.misbehaves(beside_the_question())
    }

    /// Until the session is over.
    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }

    pub(crate) fn heard(&self) {
        self.heard.store(self.began.elapsed().as_millis().try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Since when something is asked for and no byte came.
    fn unheard_since(&self) -> Option<Instant> {
        let heard = self.began + Duration::from_millis(self.heard.load(Ordering::Relaxed));
        let state = self.lock();
        state.asking_since.filter(|_| !state.waiting.is_empty()).map(|since| since.max(heard))
    }

    /// Until the host has been silent for too long while something was asked of it.
    pub(crate) async fn silent(&self) -> End {
        loop {
            let quiet = self.unheard_since().map_or(Duration::ZERO, |since| since.elapsed());
            if quiet >= self.silence {
                let what = format!("the host was silent for {} s", self.silence.as_secs_f32());
                return io::Error::new(io::ErrorKind::TimedOut, what).into();
            }
            tokio::time::sleep(self.silence - quiet).await;
        }
    }

    /// Swaps what is queued for `sent`, which has been written. Waits until there is something.
    pub(crate) async fn outgoing(&self, mut sent: Vec<u8>) -> Vec<u8> {
        sent.clear();
        sent.shrink_to(KEPT_OUTGOING_BYTES);
        self.queued.notified().await;
        // Whoever has just asked may be about to ask more: all of it goes out in one write.
        tokio::task::yield_now().await;
        std::mem::replace(&mut self.lock().outgoing, sent)
    }
}

fn beside_the_question() -> End {
    End::Misbehaves("it answers a request with something else than what was asked".into())
}

/// Hands an answer to who asked for it.
pub(crate) fn deliver(shared: &Arc<Shared>, packet: Bytes) -> Result<(), End> {
    let (id, reply) = wire::decode(packet)?;
    let waiter = shared.lock().waiting.remove(&id);
    let Some(waiter) = waiter else {
        return Err(End::Misbehaves("it answers a request that nobody made, or answers twice".into()));
    };
    if !matches!(waiter, Waiter::Close { .. }) {
        shared.give_back_slots(1);
    }
    if let Some(end) = fault(&waiter, &reply) {
        // Recorded before the waiter goes: whoever waits asks why.
        shared.finish(end.clone());
        return Err(end);
    }
    match (waiter, reply) {
        // Whoever asked may have gone: then the answer goes too.
        (Waiter::Any(to) | Waiter::Read { to, .. }, reply) => drop(to.send(reply)),
        (Waiter::Open { to, place }, Reply::Handle(handle)) => {
            drop(to.send(Ok(OpenHandle { shared: Arc::clone(shared), handle, place: Some(place) })));
        }
        (Waiter::Open { to, .. }, Reply::Status { code, message }) => {
            drop(to.send(Err(SftpError::from_status(code, message))));
        }
        (Waiter::Close { place }, _) => drop(place),
        (Waiter::Open { .. }, _) => return Err(beside_the_question()),
    }
    Ok(())
}

/// What is wrong with answering so to that.
fn fault(waiter: &Waiter, reply: &Reply) -> Option<End> {
    match (waiter, reply) {
        (Waiter::Read { asked, .. }, Reply::Data(data)) if data.len() > *asked as usize => {
            Some(End::Misbehaves("it answers a read with more than was asked".into()))
        }
        (Waiter::Any(_), _)
        | (Waiter::Read { .. }, Reply::Data(_) | Reply::Status { .. })
        | (Waiter::Open { .. }, Reply::Handle(_) | Reply::Status { .. })
        | (Waiter::Close { .. }, Reply::Status { .. }) => None,
        _ => Some(beside_the_question()),
    }
}

/// What the host has open for us. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct OpenHandle {
    shared: Arc<Shared>,
    handle: Bytes,
    place: Option<OwnedSemaphorePermit>,
}

impl OpenHandle {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.handle
    }
}

impl Drop for OpenHandle {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            // Refused only when the session is over, and its handles with it.
            let _over = self.shared.ask(Request::Close(&self.handle), Waiter::Close { place });
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
