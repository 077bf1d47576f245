//! What lies in the local repository, and what of it has to cross.
//!
//! A pack that no index names is what an interrupted backup left: it doesn't belong to the repository, and neither
//! crosses nor counts. A pack that an index names and that isn't there, or has another size, is damage, and stops the run before anything
//! is declared.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use drawbridge_wire::{Manifest, ManifestError, ManifestObject, ObjectKind, ObjectName, RepositoryId, Sha256Digest};
use thiserror::Error;

use crate::digest::sha256;
use crate::engine::health::Damage;
use crate::engine::{EngineError, LocalRepository};
use crate::journal::Journal;

/// The largest `config` of a repository, in bytes. restic's has about 150.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// Why there is no manifest.
#[derive(Debug, Error)]
pub enum StockError {
    /// A folder or file can't be read.
    #[error("cannot read {} of the local repository", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An index names a pack that isn't there as it should be.
    #[error("{} should hold {expected} bytes {found}", path.display())]
    Pack {
        /// The pack.
        path: PathBuf,
        /// Its size in bytes as the index says.
        expected: u64,
        /// What is there instead, in words.
        found: String,
    },
    /// The `config` is far too large to be one.
    #[error("{} is no repository's config: it has {size} bytes, more than {MAX_CONFIG_BYTES}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        size: u64,
    },
    /// More objects, or larger ones, than a run carries.
    #[error("the local repository does not fit into one run")]
    Manifest(#[from] ManifestError),
    /// The index can't be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl StockError {
    /// What is wrong with the repository, if that is it: damage, rather than a disk that can't be read.
    #[must_use]
    pub fn damage(&self) -> Option<Damage> {
        match self {
            Self::Pack { .. } | Self::Config { .. } => Some(self.to_string()),
            Self::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("{} is missing", path.display()))
            }
            Self::Engine(EngineError::Damaged { damage, .. }) => Some(damage.clone()),
            Self::Read { .. } | Self::Manifest(_) | Self::Engine(_) => None,
        }
    }
}

/// The objects of a local repository.
#[derive(Debug)]
pub struct Stock {
    repository: RepositoryId,
    folder: PathBuf,
    config: (Sha256Digest, u64),
    hashed: Vec<(ObjectName, u64)>,
    orphans: u64,
}

impl Stock {
    /// Takes stock of `repository`. Blocks.
    ///
    /// # Errors
    /// See [`StockError`].
    pub fn take(repository: &LocalRepository) -> Result<Self, StockError> {
        let folder = repository.path();
        let config = hash_config(&folder.join(ObjectKind::Config.folder()))?;
        repository.inspect()?;
        let referenced = match repository.referenced_packs() {
            Ok(referenced) => referenced,
            Err(error) => return Err(repository.diagnose(error)?.into()),
        };
        let mut hashed = Vec::new();
        for kind in [ObjectKind::Key, ObjectKind::Index, ObjectKind::Snapshot] {
            list(&folder.join(kind.folder()), kind, &mut hashed)?;
        }
        let mut packs = Vec::new();
        for entry in read_dir(&folder.join(ObjectKind::Data.folder()))? {
            list(&entry.path(), ObjectKind::Data, &mut packs)?;
        }
        let (packs, orphans) = sort_out(folder, packs, referenced)?;
        hashed.extend(packs);
        Ok(Self { repository: repository.id().clone(), folder: folder.to_path_buf(), config, hashed, orphans })
    }

    /// How many packs belong to no index.
    #[must_use]
    pub const fn orphans(&self) -> u64 {
        self.orphans
    }

    /// The file of an object.
    #[must_use]
    pub fn path(&self, name: &ObjectName) -> PathBuf {
        self.folder.join(name.path())
    }

    /// Declares everything; what `journal` holds doesn't cross. Without a journal all of it does.
    ///
    /// # Errors
    /// When there is too much for one run.
    pub fn manifest(&self, journal: Option<&Journal>) -> Result<Manifest, ManifestError> {
        let crosses = |name, digest| !journal.is_some_and(|journal| journal.holds(name, digest));
        let (digest, size) = self.config;
        let mut objects = vec![ManifestObject::config(digest, size, crosses(ObjectName::CONFIG, digest))];
        objects.extend(self.hashed.iter().map(|(name, size)| {
            let crosses = name.digest().is_none_or(|digest| crosses(*name, digest));
            ManifestObject::hashed(*name, *size, crosses)
        }));
        Manifest::new(self.repository.clone(), objects)
    }
}

/// Files of `folder` whose names are digests. Others are temporary files of a writer that was cut off.
fn list(folder: &Path, kind: ObjectKind, objects: &mut Vec<(ObjectName, u64)>) -> Result<(), StockError> {
    for entry in read_dir(folder)? {
        let digest = entry.file_name().to_str().and_then(|name| name.parse().ok());
        if let Some(name) = digest.and_then(|digest| ObjectName::hashed(kind, digest)) {
            let size = entry.metadata().map_err(|source| StockError::Read { path: entry.path(), source })?.len();
            objects.push((name, size));
        }
    }
    Ok(())
}

/// An absent folder is an empty one: the engine makes them when it needs them.
fn read_dir(folder: &Path) -> Result<Vec<fs::DirEntry>, StockError> {
    match fs::read_dir(folder).and_then(Iterator::collect) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries.map_err(|source| StockError::Read { path: folder.to_path_buf(), source }),
    }
}

type Sorted = (Vec<(ObjectName, u64)>, u64);

/// Keeps the packs that an index names, all of which have to be there; counts the others.
fn sort_out(
    folder: &Path,
    packs: Vec<(ObjectName, u64)>,
    mut referenced: HashMap<Sha256Digest, u64>,
) -> Result<Sorted, StockError> {
    let damage = |name: ObjectName, expected, found: String| StockError::Pack {
        path: folder.join(name.path()),
        expected,
        found,
    };
    let mut kept = Vec::with_capacity(referenced.len());
    let mut orphans = 0;
    for (name, size) in packs {
        match name.digest().and_then(|digest| referenced.remove(&digest)) {
            None => orphans += 1,
            Some(expected) if expected == size => kept.push((name, size)),
            Some(expected) => return Err(damage(name, expected, format!("and holds {size}"))),
        }
    }
    let lost =
        referenced.into_iter().find_map(|(digest, size)| Some((ObjectName::hashed(ObjectKind::Data, digest)?, size)));
    match lost {
        Some((name, expected)) => Err(damage(name, expected, "and is missing".to_owned())),
        None => Ok((kept, orphans)),
    }
}

fn hash_config(path: &Path) -> Result<(Sha256Digest, u64), StockError> {
    let failed = |source| StockError::Read { path: path.to_path_buf(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(failed)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    let size = bytes.len() as u64;
    if size > MAX_CONFIG_BYTES {
        return Err(StockError::Config { path: path.to_path_buf(), size });
    }
    Ok((sha256(&bytes), size))
}
