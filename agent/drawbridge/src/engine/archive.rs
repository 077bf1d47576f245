//! A repository that is only read, wherever it lies: on this disk, or behind another backend.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use drawbridge_wire::RepositoryId;
use rustic_backend::LocalBackend;
use rustic_core::repofile::{SnapshotFile, SnapshotId};
use rustic_core::{Credentials, Id, OpenStatus, Repository, RepositoryBackends, RepositoryOptions, WriteBackend};

use super::begin::short_id;
use super::read::{Contents, Snapshot};
use super::{EngineError, EngineFailure, SnapshotInfo, describe, failed, text_of};

/// An open repository, of which nothing has been read but its keys and its `config`.
pub struct Archive {
    id: RepositoryId,
    place: Arc<str>,
    backend: Arc<dyn WriteBackend>,
    repository: Repository<OpenStatus>,
}

// Not derived: the engine's own Debug shows the master key.
impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The snapshots of a repository, and what could not be read of them.
#[derive(Debug)]
pub struct Listing {
    /// Oldest first.
    pub snapshots: Vec<SnapshotInfo>,
    /// An error for each snapshot that can't be read.
    pub unreadable: Vec<EngineError>,
}

impl Archive {
    /// Opens the repository in the folder `path`.
    ///
    /// # Errors
    /// When it isn't there, is damaged, or has another password.
    pub fn local(path: &Path, password: &str) -> Result<Self, EngineError> {
        let backend = LocalBackend::new(text_of(path)?, []).map_err(failed("reach", path))?;
        Self::open(&path.display().to_string(), Arc::new(backend), password)
    }

    /// Opens the repository behind `backend`; `place` tells people where it lies. Nothing is ever written to it.
    ///
    /// # Errors
    /// When it isn't there, is damaged, or has another password.
    pub fn open(place: &str, backend: Arc<dyn WriteBackend>, password: &str) -> Result<Self, EngineError> {
        let place: Arc<str> = Arc::from(place);
        let repository = reach(&place, &backend)?.open(&Credentials::password(password)).map_err(|error| {
            if error.is_incorrect_password() {
                return EngineError::NotThePassword { place: place.to_string() };
            }
            trouble("open", &place)(error)
        })?;
        Ok(Self { id: short_id(&repository)?, place, backend, repository })
    }

    /// The first 16 digits of restic's repository id.
    #[must_use]
    pub const fn id(&self) -> &RepositoryId {
        &self.id
    }

    /// Where it lies, for people.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Every snapshot that can be read, and an error for each that can't: one damaged file takes no other snapshot away.
    ///
    /// # Errors
    /// When there is no telling which snapshots there are.
    pub fn snapshots(&self) -> Result<Listing, EngineError> {
        let ids: Vec<SnapshotId> =
            self.repository.list().map_err(trouble("list the snapshots of", &self.place))?.collect();
        let (mut found, mut unreadable) = (Vec::new(), Vec::new());
        for id in ids {
            match self.file(id) {
                Ok(snapshot) => found.push(snapshot),
                Err(error) => unreadable.push(error),
            }
        }
        found.sort();
        let snapshots = found.iter().map(|snapshot| describe(&self.id, snapshot)).collect();
        Ok(Listing { snapshots, unreadable })
    }

    /// Reads the index, after which contents can be read.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn index(&self) -> Result<Indexed<'_>, EngineError> {
        // The engine takes a repository apart to read its index. Opening it again by its key takes no time.
        let key = Credentials::Masterkey(self.repository.key());
        let opened = reach(&self.place, &self.backend)?.open(&key).map_err(trouble("open", &self.place))?;
        let repository = opened.to_indexed().map_err(trouble("read the index of", &self.place))?;
        Ok(Indexed { archive: self, contents: Contents::new(Arc::clone(&self.place), repository) })
    }

    fn file(&self, id: SnapshotId) -> Result<SnapshotFile, EngineError> {
        let unreadable = |error| {
            let source = EngineFailure(error);
            EngineError::Snapshot { id: id.to_hex().as_str().to_owned(), place: self.place.to_string(), source }
        };
        let mut snapshot: SnapshotFile = self.repository.get_file(&id).map_err(unreadable)?;
        snapshot.id = id;
        Ok(snapshot)
    }
}

/// A repository with its index in memory.
#[derive(Debug)]
pub struct Indexed<'a> {
    archive: &'a Archive,
    contents: Contents,
}

impl Indexed<'_> {
    /// The snapshot that `info` describes.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn snapshot(&self, info: &SnapshotInfo) -> Result<Snapshot, EngineError> {
        let id: Id = info.id.parse().map_err(trouble("name a snapshot of", &self.archive.place))?;
        let file = self.archive.file(SnapshotId::from(id))?;
        self.contents.snapshot(&self.archive.id, &file)
    }
}

fn reach(place: &str, backend: &Arc<dyn WriteBackend>) -> Result<Repository<()>, EngineError> {
    // A cache would be a second copy of the index, on a disk that may have no room for it.
    let options = RepositoryOptions::default().no_cache(true);
    Repository::new(&options, &RepositoryBackends::new(Arc::clone(backend), None)).map_err(trouble("reach", place))
}

/// The engine's own words on an error, with what was tried and where.
pub(super) fn trouble(
    action: &'static str,
    place: &str,
) -> impl Fn(Box<rustic_core::RusticError>) -> EngineError + use<> {
    let place = place.to_owned();
    move |error| EngineError::Archive { action, place: place.clone(), source: EngineFailure(error) }
}
