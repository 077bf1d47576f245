//! A vault in memory, and the real gate in front of it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drawbridge::cross::BridgeEnd;
use drawbridge_gate::limits::Patience;
use drawbridge_gate::storage::{ObjectStore, Payload, StoreError};
use drawbridge_gate::{Ending, build_with};
use drawbridge_ssh::{KeyPair, PublicKey};
use drawbridge_wire::{BoxConfig, Sha256Digest, StoreOutcome};
use http_body_util::BodyExt;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::task::JoinHandle;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    /// Every object in the order of its arrival.
    arrived: Vec<String>,
    /// So many puts fail from now on.
    failing: usize,
}

/// A bucket.
#[derive(Clone)]
pub struct MemoryVault {
    state: Arc<Mutex<State>>,
    /// A permit is taken for each object; without any, puts hang.
    permits: Arc<Semaphore>,
    pub stored: Arc<Notify>,
}

impl Default for MemoryVault {
    fn default() -> Self {
        Self { state: Arc::default(), permits: Arc::new(Semaphore::new(1 << 20)), stored: Arc::default() }
    }
}

impl MemoryVault {
    /// The next `count` puts fail.
    pub fn fail(&self, count: usize) {
        self.state.lock().unwrap().failing = count;
    }

    /// After `count` more objects, puts hang.
    pub fn hang_after(&self, count: usize) {
        self.permits.forget_permits(self.permits.available_permits());
        self.permits.add_permits(count);
    }

    /// Puts don't hang any more.
    pub fn go_on(&self) {
        self.permits.add_permits(1 << 20);
    }

    /// The keys below `repo/` in the order of arrival, without the repository's name.
    pub fn arrived(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        state.arrived.iter().filter_map(|key| Some(key.strip_prefix("repo/")?.split_once('/')?.1.to_owned())).collect()
    }

    pub fn forget_arrivals(&self) {
        self.state.lock().unwrap().arrived.clear();
    }

    pub fn keys(&self) -> Vec<String> {
        self.state.lock().unwrap().objects.keys().cloned().collect()
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.state.lock().unwrap().objects.get(key).cloned()
    }

    /// What nobody may do: an object is gone.
    pub fn lose(&self, key: &str) {
        assert!(self.state.lock().unwrap().objects.remove(key).is_some(), "{key} was not there");
    }

    /// What nobody may do: an object has this content now.
    pub fn plant(&self, key: &str, content: &[u8]) {
        self.state.lock().unwrap().objects.insert(key.to_owned(), Bytes::copy_from_slice(content));
    }

    pub fn clear(&self) {
        self.state.lock().unwrap().objects.clear();
    }

    /// Waits until so many objects of repositories have arrived.
    pub async fn wait_for(&self, count: usize) {
        loop {
            let stored = self.stored.notified();
            if self.arrived().len() >= count {
                return;
            }
            stored.await;
        }
    }

    /// Writes the repository `name` to a folder, as anybody with `aws s3 sync` would.
    pub fn copy_repository(&self, name: &str, to: &Path) {
        let state = self.state.lock().unwrap();
        for folder in ["data", "index", "keys", "locks", "snapshots"] {
            std::fs::create_dir_all(to.join(folder)).unwrap();
        }
        for (key, content) in &state.objects {
            if let Some(path) = key.strip_prefix(&format!("repo/{name}/")) {
                let path = to.join(path);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, content).unwrap();
            }
        }
    }
}

impl ObjectStore for MemoryVault {
    async fn put(
        &self,
        key: &str,
        _digest: Sha256Digest,
        size: u64,
        body: Payload,
    ) -> Result<StoreOutcome, StoreError> {
        {
            let mut state = self.state.lock().unwrap();
            if state.failing > 0 {
                state.failing -= 1;
                return Err(StoreError::new(key, "the test says so"));
            }
        }
        if key.starts_with("repo/") {
            self.permits.acquire().await.unwrap().forget();
        }
        let body = body.collect().await.map_err(|error| StoreError::new(key, error))?.to_bytes();
        assert_eq!(body.len() as u64, size);
        let mut state = self.state.lock().unwrap();
        // As S3 with `If-None-Match: *`: what is there stays, whatever it is.
        let outcome = match state.objects.entry(key.to_owned()) {
            Entry::Occupied(_) => StoreOutcome::AlreadyThere,
            Entry::Vacant(free) => {
                free.insert(body);
                StoreOutcome::Stored
            }
        };
        state.arrived.push(key.to_owned());
        drop(state);
        self.stored.notify_waiters();
        Ok(outcome)
    }
}

/// A gate that listens.
pub struct TestGate {
    pub address: Ipv4Addr,
    pub port: u16,
    pub host_key: PublicKey,
    stop: Option<oneshot::Sender<()>>,
    running: JoinHandle<Ending>,
}

impl TestGate {
    pub async fn open(config: &BoxConfig, vault: MemoryVault) -> Self {
        let patience = Patience { quiet: Duration::from_millis(20), ..Patience::default() };
        let application = build_with(config, vault, patience).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let host_key = application.host_key().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(application.run(listener, async move {
            // A sender that is dropped without a word stops nothing.
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { address: Ipv4Addr::LOCALHOST, port, host_key, stop: Some(stop), running }
    }

    /// What an agent with `user_key` needs to know.
    pub fn end(&self, user_key: &KeyPair) -> BridgeEnd {
        let (address, port) = (self.address, self.port);
        BridgeEnd { address, port, host_key: self.host_key.clone(), user_key: user_key.clone() }
    }

    /// Cuts everything off.
    pub async fn kill(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.running.await.unwrap();
    }

    /// How it ended by itself.
    pub async fn ended(self) -> Ending {
        self.running.await.unwrap()
    }
}
