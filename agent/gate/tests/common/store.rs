//! A vault in memory that behaves like S3, and misbehaves on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use drawbridge_gate::storage::{ObjectStore, Payload, StoreError};
use drawbridge_wire::{Sha256Digest, StoreOutcome};
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, Semaphore};

use super::objects::sha256;

/// What a put does instead of storing.
#[derive(Debug, Clone, Copy)]
pub enum Mishap {
    /// Fails after the body was read.
    Fails,
    /// Never answers.
    Hangs,
    /// Stores, and the answer is lost.
    LosesAnswer,
}

#[derive(Default)]
struct Inner {
    objects: Mutex<BTreeMap<String, Vec<u8>>>,
    mishaps: Mutex<VecDeque<Mishap>>,
    /// Every put that began, with the bytes that were seen of it so far.
    seen: Mutex<Vec<(String, u64)>>,
    began: Notify,
    held: Mutex<Option<Arc<Semaphore>>>,
}

#[derive(Clone, Default)]
pub struct Memory(Arc<Inner>);

impl Memory {
    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.objects.lock().unwrap().clone()
    }

    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.0.objects.lock().unwrap().get(key).cloned()
    }

    pub fn insert(&self, key: &str, content: &[u8]) {
        self.0.objects.lock().unwrap().insert(key.to_owned(), content.to_vec());
    }

    /// The next puts meet these.
    pub fn plan(&self, mishaps: impl IntoIterator<Item = Mishap>) {
        self.0.mishaps.lock().unwrap().extend(mishaps);
    }

    /// Puts wait before they read their body; each needs a permit.
    pub fn hold(&self) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        *self.0.held.lock().unwrap() = Some(Arc::clone(&permits));
        permits
    }

    /// How many bytes each put of this key has seen.
    pub fn seen(&self, key: &str) -> Vec<u64> {
        self.0.seen.lock().unwrap().iter().filter(|(seen, _)| seen == key).map(|(_, bytes)| *bytes).collect()
    }

    /// Waits until a put of this key has seen some bytes (or has begun, with 0).
    pub async fn wait_for(&self, key: &str, bytes: u64) {
        loop {
            let changed = self.0.began.notified();
            if self.seen(key).iter().any(|seen| *seen >= bytes) {
                return;
            }
            changed.await;
        }
    }

    fn note(&self, put: usize, bytes: u64) {
        self.0.seen.lock().unwrap()[put].1 += bytes;
        self.0.began.notify_waiters();
    }
}

impl ObjectStore for Memory {
    async fn put(
        &self,
        key: &str,
        digest: Sha256Digest,
        size: u64,
        mut body: Payload,
    ) -> Result<StoreOutcome, StoreError> {
        let put = {
            let mut seen = self.0.seen.lock().unwrap();
            seen.push((key.to_owned(), 0));
            seen.len() - 1
        };
        self.note(put, 0);
        if self.get(key).is_some() {
            // As S3 may: without reading the body.
            return Ok(StoreOutcome::AlreadyThere);
        }
        let held = self.0.held.lock().unwrap().clone();
        if let Some(permits) = held {
            permits.acquire().await.unwrap().forget();
        }
        let mut content = Vec::new();
        while let Some(frame) = body.frame().await {
            let chunk = frame.map_err(|fault| StoreError::new(key, fault))?.into_data().unwrap();
            self.note(put, chunk.len() as u64);
            content.extend_from_slice(&chunk);
        }
        let mishap = self.0.mishaps.lock().unwrap().pop_front();
        match mishap {
            Some(Mishap::Fails) => return Err(StoreError::new(key, "planned")),
            Some(Mishap::Hangs) => std::future::pending().await,
            Some(Mishap::LosesAnswer) | None => {}
        }
        assert_eq!((content.len() as u64, sha256(&content)), (size, digest), "the gate let a wrong body through");
        self.insert(key, &content);
        match mishap {
            Some(_) => Err(StoreError::new(key, "planned, after the effect")),
            None => Ok(StoreOutcome::Stored),
        }
    }
}
