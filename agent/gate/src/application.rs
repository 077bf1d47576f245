//! The gate as a whole, as main and the tests run it.

use std::sync::Arc;
use std::time::Duration;

use drawbridge_ssh::{InvalidKey, KeyGenerationFailed, KeyPair, PublicKey, server_config};
use drawbridge_wire::{BoxConfig, InstanceId, RunId, StoreOutcome, Timestamp, ready_key};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{Instrument as _, Span, info, warn};

use crate::http::Vault;
use crate::limits::Patience;
use crate::receipt;
use crate::server::Gatehouse;
use crate::storage::{ObjectStore, StoreError, put_whole};

/// After a failed accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no gate.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The configuration's key.
    #[error("the configured public key is unusable")]
    UserKey(#[from] InvalidKey),
    /// See [`KeyGenerationFailed`].
    #[error("no host key")]
    HostKey(#[from] KeyGenerationFailed),
}

/// Why nobody knows of the gate.
#[derive(Debug, Error)]
pub enum AnnounceError {
    /// The vault didn't take the announcement.
    #[error("cannot announce that the gate listens")]
    Store(#[from] StoreError),
    /// Another gate of this box has announced another host key. This one would never be believed.
    #[error("this box has announced a gate already")]
    Announced,
    /// See [`serde_json::Error`].
    #[error("cannot write the announcement")]
    Json(#[from] serde_json::Error),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The receipt is written.
    Complete,
    /// The deadline came first.
    Deadline,
    /// Somebody asked for it.
    Stopped,
}

/// A gate that is ready to listen.
pub struct Application<S> {
    host_key: KeyPair,
    run: RunId,
    deadline: Timestamp,
    patience: Patience,
    vault: Arc<Vault<S>>,
    gatehouse: Arc<Gatehouse<S>>,
}

/// Makes a gate for one run. The host key is made here and never leaves the process.
///
/// # Errors
/// When the configured user key isn't one.
pub fn build<S: ObjectStore>(config: &BoxConfig, store: S) -> Result<Application<S>, BuildError> {
    build_with(config, store, Patience::default())
}

/// As [`build`], with another patience.
///
/// # Errors
/// As [`build`].
pub fn build_with<S: ObjectStore>(
    config: &BoxConfig,
    store: S,
    patience: Patience,
) -> Result<Application<S>, BuildError> {
    let user_key: PublicKey = config.public_key.parse()?;
    let host_key = KeyPair::generate()?;
    let vault = Arc::new(Vault::new(config, store, patience.stall));
    let gatehouse = Gatehouse::new(server_config(&host_key), user_key, Arc::clone(&vault), patience);
    Ok(Application {
        host_key,
        run: config.run.clone(),
        deadline: config.deadline,
        patience,
        vault,
        gatehouse: Arc::new(gatehouse),
    })
}

impl<S: ObjectStore> Application<S> {
    /// The only host key that the agent may accept.
    #[must_use]
    pub const fn host_key(&self) -> &PublicKey {
        self.host_key.public()
    }

    /// Tells the run, through the vault, that the gate listens and by which key to know it. Listen first.
    ///
    /// # Errors
    /// See [`AnnounceError`].
    pub async fn announce(&self, instance: &InstanceId) -> Result<(), AnnounceError> {
        let ready = receipt::ready(self.host_key())?;
        match put_whole(self.vault.store(), &ready_key(&self.run, instance), ready).await? {
            StoreOutcome::Stored => Ok(()),
            StoreOutcome::AlreadyThere => Err(AnnounceError::Announced),
        }
    }

    /// Serves until the crossing is complete, the deadline has come, or `shutdown` resolves.
    pub async fn run(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Ending {
        let connections = Arc::clone(self.gatehouse.connections());
        let left = Duration::try_from(self.deadline.duration_since(Timestamp::now())).unwrap_or_default();
        let ending = tokio::select! {
            biased;
            () = sleep(left) => Ending::Deadline,
            () = shutdown => Ending::Stopped,
            () = self.complete() => Ending::Complete,
            () = accept(Arc::clone(&self.gatehouse), &listener) => Ending::Stopped,
        };
        connections.close_all();
        info!(?ending, "gate closes");
        ending
    }

    /// Returns a little after the receipt, so that the agent gets its answer.
    async fn complete(&self) {
        // An error would mean that the vault is gone, and this holds it.
        let _ = self.vault.completed().wait_for(|completed| *completed).await;
        let quiet = self.gatehouse.connections().quiet(self.patience.quiet);
        // Whoever is still there after the linger time is cut off.
        let _ = timeout(self.patience.linger, quiet).await;
    }
}

impl<S> std::fmt::Debug for Application<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Application").field("run", &self.run).field("host_key", &self.host_key).finish_non_exhaustive()
    }
}

/// Accepts connections for ever.
async fn accept<S: ObjectStore>(gatehouse: Arc<Gatehouse<S>>, listener: &TcpListener) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    serving.spawn(Arc::clone(&gatehouse).serve(socket).instrument(Span::current()));
                }
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            // So that the set doesn't grow.
            Some(_) = serving.join_next() => {}
        }
    }
}
