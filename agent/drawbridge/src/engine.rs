//! The local repository: restic's format 2, written by `rustic_core`.
//!
//! Invariants that this module owns:
//! - a repository appears under its final name only when it is complete: it is made in a working folder and renamed;
//! - a snapshot is kept only if it holds every file of the mirror. `rustic_core` drops what it can't read and calls that
//!   success; here it is an error that names the files, and the incomplete snapshot is taken back.
//!
//! Everything here blocks and takes processor time; call it on a blocking thread.

mod archive;
mod begin;
mod error;
pub mod health;
mod keys;
mod meter;
mod read;
mod source;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drawbridge_wire::{MAX_PACK_BYTES, RepositoryId, Sha256Digest, Timestamp};
use rustic_backend::LocalBackend;
use rustic_core::repofile::{IndexFile, SnapshotFile};
use rustic_core::{
    BackupOptions, Credentials, Id, LsOptions, OpenStatus, Repository, RepositoryBackends, RepositoryOptions,
    RusticError, SnapshotOptions,
};
use serde::Serialize;

pub use archive::{Archive, Indexed, Listing};
pub use begin::Heritage;
pub use error::{EngineError, EngineFailure};
pub use keys::{KeyInfo, key_ids};
pub use meter::Advance;
use meter::Meter;
pub use read::{EntryFacts, EntryKind, PART_BYTES, Piece, Snapshot, SnapshotEntry};
use source::MirrorSource;
pub(crate) use source::walk;
pub use source::{Dropped, MirrorSize, measure};

use crate::gather::Origins;

/// The size at which a pack of file contents is closed, in bytes. A pack is what crosses or is sent again as a whole.
const PACK_BYTES: u64 = 16 * 1024 * 1024;

/// The size beyond which packs don't grow with the repository, in bytes: below [`MAX_PACK_BYTES`] by one blob and a header.
const PACK_LIMIT_BYTES: u64 = 128 * 1024 * 1024;
const _: () = assert!(PACK_LIMIT_BYTES + 9 * 1024 * 1024 < MAX_PACK_BYTES);

/// The tag that every snapshot of ours carries.
const TAG: &str = "drawbridge";

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupSummary {
    /// The snapshot's id, 64 hex digits.
    pub snapshot: String,
    /// Files and symlinks in it.
    pub files: u64,
    /// Bytes of file contents that it holds.
    pub bytes: u64,
    /// Bytes that it added to the repository, compressed and encrypted.
    pub added_bytes: u64,
}

/// A snapshot of the local repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotInfo {
    /// 64 hex digits; restic accepts the first eight.
    pub id: String,
    /// The repository that holds it.
    pub repository: RepositoryId,
    /// When it was made.
    pub time: Timestamp,
    /// Files and symlinks in it.
    pub files: u64,
    /// Bytes of file contents that it holds.
    pub bytes: u64,
    /// Bytes that it added to the repository.
    pub added_bytes: u64,
}

/// An open local repository.
pub struct LocalRepository {
    id: RepositoryId,
    path: PathBuf,
    repository: Repository<OpenStatus>,
    meter: Meter,
}

// Not derived: the engine's own Debug shows the master key.
impl fmt::Debug for LocalRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRepository").field("id", &self.id).field("path", &self.path).finish_non_exhaustive()
    }
}

impl LocalRepository {
    /// Opens the repository `id` in `folder`.
    ///
    /// # Errors
    /// When it isn't there, is damaged, or has another password.
    pub fn open(folder: &Path, id: &RepositoryId, password: &str) -> Result<Self, EngineError> {
        let path = folder.join(id.as_str());
        let meter = Meter::default();
        let opened = raw(&path, meter.clone())?.open(&Credentials::password(password));
        let repository = match opened {
            Ok(repository) => repository,
            Err(error) => return Err(health::why_not_opened(&path, error)?),
        };
        Ok(Self { id: id.clone(), path, repository, meter })
    }

    /// The first 16 digits of restic's repository id.
    #[must_use]
    pub const fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes one snapshot of `mirror`, shown as `/`, even when nothing changed. `origins` tell what the sources said of owners, modes
    /// and times; `advance` hears of file bytes.
    ///
    /// # Errors
    /// When the repository can't be written, or when a file of the mirror didn't get in; then there is no new snapshot.
    pub fn back_up(&self, mirror: &Path, origins: Origins, advance: Advance) -> Result<BackupSummary, EngineError> {
        let folder = |source| EngineError::Folder { action: "read the mirror", path: mirror.to_path_buf(), source };
        let mirror = fs::canonicalize(mirror).map_err(folder)?;
        let expected = measure(&mirror).map_err(folder)?.files;
        let source = MirrorSource::new(&mirror, origins);

        self.meter.report_to(advance);
        let repository = self.reopened()?.to_indexed_ids().map_err(self.failed("read the index of"))?;
        let options = BackupOptions::default().as_path(PathBuf::from("/")).no_scan(true);
        let snapshot = SnapshotOptions::default()
            .command("drawbridge run".to_owned())
            .add_tags(TAG)
            .and_then(|options| options.to_snapshot())
            .map_err(self.failed("describe a snapshot of"))?;
        let snapshot = repository
            .archive(&options, &source, snapshot, std::slice::from_ref(&mirror))
            .map_err(self.failed("back up into"))?;

        let summary = snapshot.summary.as_ref();
        let processed = summary.map_or(0, |summary| summary.total_files_processed);
        let mut dropped = source.problems.take();
        if !dropped.is_empty() || processed != expected {
            if dropped.is_empty() {
                dropped = self.missing_from(&snapshot, &mirror)?;
            }
            self.repository.delete_snapshots(&[snapshot.id]).map_err(self.failed("take a snapshot back from"))?;
            return Err(EngineError::Incomplete { expected, files: dropped });
        }
        Ok(BackupSummary {
            snapshot: snapshot.id.to_hex().as_str().to_owned(),
            files: processed,
            bytes: summary.map_or(0, |summary| summary.total_bytes_processed),
            added_bytes: summary.map_or(0, |summary| summary.data_added_packed),
        })
    }

    /// Takes a snapshot back, as if it hadn't been made. What only it refers to stays, and harms nobody.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn take_back(&self, snapshot: &str) -> Result<(), EngineError> {
        let failed = self.failed("take a snapshot back from");
        let id = snapshot.parse::<Id>().map_err(&failed)?;
        self.repository.delete_snapshots(&[id.into()]).map_err(&failed)
    }

    /// Every snapshot, oldest first.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn snapshots(&self) -> Result<Vec<SnapshotInfo>, EngineError> {
        let mut snapshots = self.repository.get_all_snapshots().map_err(self.failed("list the snapshots of"))?;
        snapshots.sort();
        Ok(snapshots.iter().map(|snapshot| describe(&self.id, snapshot)).collect())
    }

    /// The packs that an index names, with their sizes in bytes. Any other pack is what an interrupted backup left.
    ///
    /// # Errors
    /// When an index can't be read.
    pub fn referenced_packs(&self) -> Result<HashMap<Sha256Digest, u64>, EngineError> {
        let mut packs = HashMap::new();
        for file in self.repository.stream_files::<IndexFile>().map_err(self.failed("read the index of"))? {
            let (_, index) = file.map_err(self.failed("read the index of"))?;
            for pack in index.packs {
                packs.insert(digest(&pack.id)?, u64::from(pack.pack_size()));
            }
        }
        Ok(packs)
    }

    /// Which files of the mirror a snapshot lacks, for the case that the engine dropped some without asking the source.
    fn missing_from(&self, snapshot: &SnapshotFile, mirror: &Path) -> Result<Vec<Dropped>, EngineError> {
        let repository = self.reopened()?.to_indexed().map_err(self.failed("read the index of"))?;
        let root = repository.node_from_snapshot_and_path(snapshot, "").map_err(self.failed("read a tree of"))?;
        let mut held = BTreeSet::new();
        for entry in repository.ls(&root, &LsOptions::default()).map_err(self.failed("list a tree of"))? {
            held.insert(entry.map_err(self.failed("list a tree of"))?.0);
        }
        let missing =
            walk(mirror).filter_map(Result::ok).filter(|entry| !entry.file_type().is_dir()).filter_map(|entry| {
                let relative = entry.path().strip_prefix(mirror).ok()?;
                (!held.contains(relative)).then(|| Dropped {
                    path: entry.path().to_path_buf(),
                    reason: "the engine did not store it".to_owned(),
                })
            });
        Ok(missing.collect())
    }

    /// The engine takes a repository apart to read its index. Opening it again by its key takes no time; by its password it takes a second.
    fn reopened(&self) -> Result<Repository<OpenStatus>, EngineError> {
        let key = Credentials::Masterkey(self.repository.key());
        let opened = raw(&self.path, self.meter.clone())?.open(&key);
        opened.or_else(|error| Err(health::why_not_opened(&self.path, error)?))
    }

    fn failed(&self, action: &'static str) -> impl Fn(Box<RusticError>) -> EngineError + '_ {
        failed(action, &self.path)
    }
}

/// The engine's own words on an error, with what was tried and where.
fn failed(action: &'static str, path: &Path) -> impl Fn(Box<RusticError>) -> EngineError + use<> {
    let path = path.to_path_buf();
    move |error| EngineError::Repository { action, path: path.clone(), source: EngineFailure(error) }
}

fn text_of(path: &Path) -> Result<&str, EngineError> {
    path.to_str().ok_or_else(|| EngineError::Folder {
        action: "use",
        path: path.to_path_buf(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "the path of the state folder is not valid UTF-8"),
    })
}

fn raw(path: &Path, meter: Meter) -> Result<Repository<()>, EngineError> {
    let backend = LocalBackend::new(text_of(path)?, []).map_err(failed("reach", path))?;
    let backends = RepositoryBackends::new(Arc::new(backend), None);
    // The repository is on this disk already: a cache would be a second copy of its index.
    let options = RepositoryOptions::default().no_cache(true);
    Repository::new_with_progress(&options, &backends, meter).map_err(failed("reach", path))
}

fn digest(id: &Id) -> Result<Sha256Digest, EngineError> {
    Ok(id.to_hex().as_str().parse()?)
}

/// The ids of the repositories in `folder`.
///
/// # Errors
/// When it can't be read.
pub fn repositories(folder: &Path) -> Result<Vec<RepositoryId>, EngineError> {
    let error = |source| EngineError::Folder { action: "list", path: folder.to_path_buf(), source };
    let listed = match fs::read_dir(folder) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(error)?,
    };
    let mut ids: Vec<RepositoryId> =
        listed.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    Ok(ids)
}

/// Every snapshot in every repository below `folder`, oldest first; one repository for each generation that this disk still holds.
///
/// # Errors
/// When a repository can't be read.
pub fn list_snapshots(folder: &Path, password: &str) -> Result<Vec<SnapshotInfo>, EngineError> {
    let mut snapshots = Vec::new();
    for id in repositories(folder)? {
        snapshots.extend(LocalRepository::open(folder, &id, password)?.snapshots()?);
    }
    snapshots.sort_by_key(|snapshot| snapshot.time);
    Ok(snapshots)
}

fn describe(repository: &RepositoryId, snapshot: &SnapshotFile) -> SnapshotInfo {
    let summary = snapshot.summary.as_ref();
    let time = Timestamp::from_nanosecond(snapshot.time.timestamp().as_nanosecond()).unwrap_or(Timestamp::UNIX_EPOCH);
    SnapshotInfo {
        id: snapshot.id.to_hex().as_str().to_owned(),
        repository: repository.clone(),
        time,
        files: summary.map_or(0, |summary| summary.total_files_processed),
        bytes: summary.map_or(0, |summary| summary.total_bytes_processed),
        added_bytes: summary.map_or(0, |summary| summary.data_added_packed),
    }
}
