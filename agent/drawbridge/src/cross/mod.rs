//! The crossing: everything that the manifest declares goes over the bridge, in an order that leaves a whole repository
//! wherever it is cut off.
//!
//! Invariants that this module owns:
//! - nothing is sent before the gate has proved to own the session's host key;
//! - the manifest is acknowledged before any object, and each kind of object before the next kind begins;
//! - an object is journalled when, and only when, the gate has acknowledged it;
//! - what may pass is tried again for a bounded time; what won't pass stops the crossing with the gate's own words.

mod body;
mod bridge;
mod delivery;
mod error;
mod heartbeat;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_ssh::MAX_STREAMS;
use drawbridge_wire::{Manifest, ManifestObject, ObjectKind};
use futures::future::try_join_all;

use crate::journal::Journal;
use crate::stock::Stock;
use crate::ui::Transfer;
use bridge::{Bridge, Stream};
use delivery::{Courier, Parcel};

pub use bridge::BridgeEnd;
pub use error::{AttemptError, CrossError};
pub use heartbeat::beat;

/// What is acknowledged together before the next may begin.
const KINDS: [&[ObjectKind]; 4] =
    [&[ObjectKind::Config, ObjectKind::Key], &[ObjectKind::Data], &[ObjectKind::Index], &[ObjectKind::Snapshot]];

/// How long to try again what may pass.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The wait before the second attempt; doubled for each further one.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
    /// How long one parcel may go on failing.
    pub total: Duration,
    /// How long nothing may move during an attempt. The gate gives up on a stalled S3 sooner than that.
    pub stall: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(250),
            most: Duration::from_secs(8),
            // A router restarts in less; a gate that is gone doesn't come back.
            total: Duration::from_secs(90),
            stall: Duration::from_secs(60),
        }
    }
}

/// Everything that a crossing needs.
#[derive(Clone)]
pub struct Crossing<'a> {
    /// Where to.
    pub end: BridgeEnd,
    /// What was declared.
    pub manifest: &'a Manifest,
    /// The very bytes whose SHA-256 was declared.
    pub manifest_bytes: Bytes,
    /// Where the objects lie.
    pub stock: &'a Stock,
    /// How many objects cross at once.
    pub streams: u8,
    /// How long to try again.
    pub patience: Patience,
    /// Who hears of bytes.
    pub progress: Transfer,
}

impl Crossing<'_> {
    /// Carries everything across and has the gate write its receipt. Whatever happens, what was acknowledged is in
    /// `journal` afterwards.
    ///
    /// # Errors
    /// See [`CrossError`].
    pub async fn cross(self, journal: &mut Journal) -> Result<(), CrossError> {
        let bridge = Bridge::new(self.end.clone());
        let journal = Mutex::new(journal);
        let crossed = self.cross_over(&bridge, &journal).await;
        let synced = journal.into_inner().unwrap_or_else(PoisonError::into_inner).sync();
        crossed?;
        synced?;
        // The receipt is written; a goodbye that doesn't arrive only costs the gate its linger time.
        let _unheard = bridge.close().await;
        Ok(())
    }

    async fn cross_over(&self, bridge: &Bridge, journal: &Mutex<&mut Journal>) -> Result<(), CrossError> {
        let courier = Courier { bridge, patience: self.patience, progress: &self.progress };
        let mut streams: Vec<Option<Stream>> = (0..self.streams.clamp(1, MAX_STREAMS)).map(|_| None).collect();
        if let Some(first) = streams.first_mut() {
            courier.deliver(first, &Parcel::manifest(self.manifest_bytes.clone())).await?;
        }
        for kinds in KINDS {
            let objects: Vec<&ManifestObject> =
                self.manifest.crossing().filter(|object| kinds.contains(&object.name().kind())).collect();
            self.carry(&courier, &mut streams, &objects, journal).await?;
        }
        if let Some(first) = streams.first_mut() {
            courier.deliver(first, &Parcel::receipt()).await?;
        }
        Ok(())
    }

    /// Carries `objects` in any order, as many at once as there are streams.
    async fn carry(
        &self,
        courier: &Courier<'_>,
        streams: &mut [Option<Stream>],
        objects: &[&ManifestObject],
        journal: &Mutex<&mut Journal>,
    ) -> Result<(), CrossError> {
        let next = AtomicUsize::new(0);
        let workers = streams.iter_mut().map(|stream| async {
            while let Some(object) = objects.get(next.fetch_add(1, Ordering::Relaxed)) {
                let parcel = Parcel::object(object, self.stock.path(&object.name()));
                courier.deliver(stream, &parcel).await?;
                journal.lock().unwrap_or_else(PoisonError::into_inner).acknowledge(object)?;
            }
            Ok::<(), CrossError>(())
        });
        try_join_all(workers).await?;
        journal.lock().unwrap_or_else(PoisonError::into_inner).sync()?;
        Ok(())
    }
}
