//! What may cross, decided without I/O.
//!
//! Invariants:
//! - nothing is admitted before the one manifest whose SHA-256 the run declared, and nothing after the receipt;
//! - an [`Admitted`] exists only for an object that the manifest declares as crossing, of its declared size, which
//!   one of its kind can have, in its turn; and at most one at a time for a name;
//! - no index is admitted while an earlier kind is incomplete, and no snapshot while an index is missing: whenever the
//!   bridge falls, every snapshot in the vault can be restored;
//! - an object counts as acknowledged only through its [`Admitted`].

use drawbridge_wire::{
    BoxConfig, MAX_MANIFEST_BYTES, Manifest, ManifestObject, ObjectKind, ObjectName, ReceiptEntry, Sha256Digest,
    StoreOutcome, Timestamp, VaultRepository,
};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::shape;

/// What the run declared when it began.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Where the objects go.
    pub repository: VaultRepository,
    /// How many cross.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// The only manifest.
    pub manifest_sha256: Sha256Digest,
}

impl From<&BoxConfig> for Terms {
    fn from(config: &BoxConfig) -> Self {
        Self {
            repository: config.repository.clone(),
            objects: config.objects,
            bytes: config.bytes,
            manifest_sha256: config.manifest_sha256,
        }
    }
}

/// Why something may not cross.
#[derive(Debug, Error)]
pub enum Refusal {
    /// A body of unknown length.
    #[error("Content-Length is required")]
    LengthRequired,
    /// More than the gate reads.
    #[error("the manifest has {0} bytes: at most {MAX_MANIFEST_BYTES} are allowed")]
    ManifestTooLarge(u64),
    /// Another manifest than the declared one.
    #[error("wrong hash: the manifest's SHA-256 is {found}, the run declared {declared}")]
    ManifestHash {
        /// What the run declared.
        declared: Sha256Digest,
        /// What came.
        found: Sha256Digest,
    },
    /// The declared manifest, and not a manifest.
    #[error("the manifest cannot be read: {0}")]
    ManifestMalformed(#[source] serde_json::Error),
    /// A manifest of another repository.
    #[error("the manifest describes another repository than the run")]
    ManifestRepository,
    /// A manifest with other totals.
    #[error("the manifest declares {found:?} objects and bytes, the run declared {declared:?}")]
    ManifestTotals {
        /// What the run declared: objects, bytes.
        declared: (u64, u64),
        /// What the manifest says.
        found: (u64, u64),
    },
    /// An object came before the manifest.
    #[error("the manifest must come first")]
    ManifestFirst,
    /// Not in the manifest, or not as crossing.
    #[error("not declared")]
    Undeclared,
    /// Shorter than declared.
    #[error("wrong size: {stated} bytes, declared are {declared}")]
    TooSmall {
        /// What the manifest says.
        declared: u64,
        /// What the request says.
        stated: u64,
    },
    /// Longer than declared.
    #[error("wrong size: {stated} bytes, only {declared} are declared")]
    TooLarge {
        /// What the manifest says.
        declared: u64,
        /// What the request says.
        stated: u64,
    },
    /// Of a size that no object of its kind has.
    #[error("not as restic writes {}: {size} bytes, where {least} to {most} are possible", .kind.folder())]
    Misshapen {
        /// What was put.
        kind: ObjectKind,
        /// Its declared size.
        size: u64,
        /// The least.
        least: u64,
        /// The most.
        most: u64,
    },
    /// Before its turn.
    #[error("out of order: {missing} objects that come before {}/ are missing", .kind.folder())]
    OutOfOrder {
        /// What was put.
        kind: ObjectKind,
        /// How many objects of earlier kinds are not acknowledged.
        missing: u64,
    },
    /// The same name is being put.
    #[error("this object is crossing already")]
    Crossing,
    /// A receipt was asked for too early.
    #[error("incomplete: {0} declared objects are missing")]
    Incomplete(u64),
    /// The receipt is written.
    #[error("the crossing is complete")]
    Complete,
}

/// A manifest that fulfils the run's terms.
#[derive(Debug)]
pub struct CheckedManifest(Manifest);

impl Terms {
    /// Whether a body of so many bytes may be read as the manifest.
    ///
    /// # Errors
    /// When the length is unknown or above [`MAX_MANIFEST_BYTES`].
    pub fn admit_manifest(&self, length: Option<u64>) -> Result<usize, Refusal> {
        let length = length.ok_or(Refusal::LengthRequired)?;
        usize::try_from(length)
            .ok()
            .filter(|length| *length <= MAX_MANIFEST_BYTES)
            .ok_or(Refusal::ManifestTooLarge(length))
    }

    /// Holds a manifest against the terms; the hash first, before anything is made of the bytes.
    ///
    /// # Errors
    /// When it is another one, or contradicts the terms.
    pub fn check(&self, text: &[u8]) -> Result<CheckedManifest, Refusal> {
        let (declared, found) = (self.manifest_sha256, Sha256Digest::from_bytes(Sha256::digest(text).into()));
        if declared != found {
            return Err(Refusal::ManifestHash { declared, found });
        }
        let manifest: Manifest = serde_json::from_slice(text).map_err(Refusal::ManifestMalformed)?;
        if *manifest.repository() != self.repository.id() {
            return Err(Refusal::ManifestRepository);
        }
        let (declared, found) = ((self.objects, self.bytes), manifest.declared());
        if declared != found {
            return Err(Refusal::ManifestTotals { declared, found });
        }
        Ok(CheckedManifest(manifest))
    }
}

/// The right to put one object, once. Give it back to [`Admission::acknowledge`] or [`Admission::give_up`].
#[derive(Debug)]
pub struct Admitted {
    index: usize,
    object: ManifestObject,
}

impl Admitted {
    /// Which object.
    #[must_use]
    pub const fn object(&self) -> &ManifestObject {
        &self.object
    }
}

/// An object that is in the vault already and comes again.
#[derive(Debug)]
pub struct Repeated {
    object: ManifestObject,
}

impl Repeated {
    /// Which object.
    #[must_use]
    pub const fn object(&self) -> &ManifestObject {
        &self.object
    }
}

/// How to take an object.
#[derive(Debug)]
pub enum Admit {
    /// Put it into the vault.
    Upload(Admitted),
    /// Say yes once more, if it is the same.
    Again(Repeated),
}

/// What a request for the receipt means.
#[derive(Debug)]
pub enum Due {
    /// Everything is there: write it.
    Write {
        /// Every declared object.
        entries: Vec<ReceiptEntry>,
        /// When the last of them was acknowledged.
        completed_at: Timestamp,
    },
    /// It is written.
    Written,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Expected,
    Crossing,
    Acknowledged(StoreOutcome),
}

#[derive(Debug)]
struct Ledger {
    manifest: Manifest,
    /// One for each object of the manifest, in its order.
    progress: Vec<Progress>,
    /// When the last acknowledgement came, or the manifest.
    latest: Timestamp,
}

#[derive(Debug)]
enum Phase {
    AwaitingManifest,
    Open(Ledger),
    Complete,
}

/// The state of one run's crossing.
#[derive(Debug)]
pub struct Admission {
    phase: Phase,
}

impl Default for Admission {
    fn default() -> Self {
        Self { phase: Phase::AwaitingManifest }
    }
}

impl Admission {
    /// Whether the manifest is in force.
    ///
    /// # Errors
    /// When the crossing is complete.
    pub fn has_manifest(&self) -> Result<bool, Refusal> {
        match self.phase {
            Phase::AwaitingManifest => Ok(false),
            Phase::Open(_) => Ok(true),
            Phase::Complete => Err(Refusal::Complete),
        }
    }

    /// Puts the manifest in force, after it was stored. Once in force it stays: a second one is necessarily the same.
    pub fn open(&mut self, CheckedManifest(manifest): CheckedManifest, now: Timestamp) {
        if matches!(self.phase, Phase::AwaitingManifest) {
            let progress = vec![Progress::Expected; manifest.objects().len()];
            self.phase = Phase::Open(Ledger { manifest, progress, latest: now });
        }
    }

    /// Whether this object may be put, stating this length.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn admit(&mut self, name: ObjectName, length: Option<u64>) -> Result<Admit, Refusal> {
        let ledger = match &mut self.phase {
            Phase::AwaitingManifest => return Err(Refusal::ManifestFirst),
            Phase::Open(ledger) => ledger,
            Phase::Complete => return Err(Refusal::Complete),
        };
        let (index, object) = ledger.find(name).ok_or(Refusal::Undeclared)?;
        let (declared, stated) = (object.size(), length.ok_or(Refusal::LengthRequired)?);
        if stated > declared {
            return Err(Refusal::TooLarge { declared, stated });
        }
        if stated < declared {
            return Err(Refusal::TooSmall { declared, stated });
        }
        let (kind, size, (least, most)) = (name.kind(), declared, shape::sizes(name.kind()));
        if !(least..=most).contains(&size) {
            return Err(Refusal::Misshapen { kind, size, least, most });
        }
        let missing = ledger.missing_before(kind);
        if missing > 0 {
            return Err(Refusal::OutOfOrder { kind, missing });
        }
        match ledger.progress.get_mut(index) {
            Some(progress @ Progress::Expected) => {
                *progress = Progress::Crossing;
                Ok(Admit::Upload(Admitted { index, object }))
            }
            Some(Progress::Acknowledged(_)) => Ok(Admit::Again(Repeated { object })),
            Some(Progress::Crossing) | None => Err(Refusal::Crossing),
        }
    }

    /// The object is in the vault.
    pub fn acknowledge(&mut self, admitted: &Admitted, outcome: StoreOutcome, now: Timestamp) {
        if let Phase::Open(ledger) = &mut self.phase {
            ledger.latest = ledger.latest.max(now);
        }
        self.set(admitted, Progress::Acknowledged(outcome));
    }

    /// The object didn't get there; it may be put again.
    pub fn give_up(&mut self, admitted: &Admitted) {
        self.set(admitted, Progress::Expected);
    }

    fn set(&mut self, admitted: &Admitted, to: Progress) {
        if let Phase::Open(ledger) = &mut self.phase
            && let Some(progress) = ledger.progress.get_mut(admitted.index)
        {
            *progress = to;
        }
    }

    /// Whether the receipt can be written.
    ///
    /// # Errors
    /// When something is missing.
    pub fn receipt(&self) -> Result<Due, Refusal> {
        let ledger = match &self.phase {
            Phase::AwaitingManifest => return Err(Refusal::ManifestFirst),
            Phase::Open(ledger) => ledger,
            Phase::Complete => return Ok(Due::Written),
        };
        let acknowledged = |(object, progress): (&ManifestObject, Progress)| match progress {
            Progress::Acknowledged(outcome) => Some(ReceiptEntry { name: object.name(), size: object.size(), outcome }),
            Progress::Expected | Progress::Crossing => None,
        };
        let declared = ledger.crossing().count();
        let mut entries = Vec::with_capacity(declared);
        entries.extend(ledger.crossing().filter_map(acknowledged));
        match declared - entries.len() {
            0 => Ok(Due::Write { entries, completed_at: ledger.latest }),
            missing => Err(Refusal::Incomplete(missing as u64)),
        }
    }

    /// The receipt is written; nothing is taken from now on.
    pub fn complete(&mut self) {
        self.phase = Phase::Complete;
    }
}

impl Ledger {
    fn find(&self, name: ObjectName) -> Option<(usize, ManifestObject)> {
        let objects = self.manifest.objects();
        let index = objects.binary_search_by_key(&name, ManifestObject::name).ok()?;
        objects.get(index).filter(|object| object.crosses()).map(|object| (index, *object))
    }

    fn crossing(&self) -> impl Iterator<Item = (&ManifestObject, Progress)> {
        self.manifest.objects().iter().zip(self.progress.iter().copied()).filter(|(object, _)| object.crosses())
    }

    /// How many objects have to be acknowledged before one of this kind may come. Only what refers to others waits:
    /// the order of config, keys and data among themselves breaks nothing.
    fn missing_before(&self, kind: ObjectKind) -> u64 {
        if kind < ObjectKind::Index {
            return 0;
        }
        let earlier = self.crossing().take_while(|(object, _)| object.name().kind() < kind);
        earlier.filter(|(_, progress)| !matches!(progress, Progress::Acknowledged(_))).count() as u64
    }
}

#[cfg(test)]
#[path = "admission_tests.rs"]
mod tests;
