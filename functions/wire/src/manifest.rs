use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{MAX_PACK_BYTES, ObjectName, RepositoryId, Sha256Digest};

/// The largest manifest that the gate takes, in bytes: it holds the text and the parsed form in memory at once and
/// promises to stay below 64 MiB.
pub const MAX_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// The most objects a manifest may name; at some 120 bytes each they fit [`MAX_MANIFEST_BYTES`].
pub const MAX_MANIFEST_OBJECTS: usize = 120_000;

/// What the agent declares before the bridge comes down: every object of the repository, and which of them will cross.
///
/// The SHA-256 of its JSON bytes stands in the start request and ties the whole run to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawManifest", into = "RawManifest")]
pub struct Manifest {
    repository: RepositoryId,
    objects: Vec<ManifestObject>,
}

/// One object of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestObject {
    name: ObjectName,
    /// Bytes.
    size: u64,
    /// Only for `config`, whose name doesn't state it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256Digest>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    crosses: bool,
}

/// A manifest that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ManifestError {
    /// Made by a version that this one doesn't know.
    #[error("manifest version {0} is not supported: this program reads version {VERSION}")]
    Version(u32),
    /// More objects than the limit.
    #[error("the manifest names {0} objects: at most {MAX_MANIFEST_OBJECTS} are allowed")]
    TooManyObjects(usize),
    /// The same object twice, or out of order.
    #[error("the manifest is not strictly sorted by name at {0}")]
    Unsorted(ObjectName),
    /// `config` without a hash, or another object with a second one.
    #[error("the manifest's entry {0} must state a sha256 if and only if its name doesn't")]
    Hash(ObjectName),
    /// An object larger than any pack.
    #[error("the manifest declares {size} bytes for {name}: at most {MAX_PACK_BYTES} are allowed")]
    TooLarge {
        /// Which object.
        name: ObjectName,
        /// Its declared size in bytes.
        size: u64,
    },
}

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawManifest {
    version: u32,
    repository: RepositoryId,
    objects: Vec<ManifestObject>,
}

impl Manifest {
    /// A manifest of `objects`, in any order.
    ///
    /// # Errors
    /// When an object is named twice, is too large, or there are too many.
    pub fn new(repository: RepositoryId, mut objects: Vec<ManifestObject>) -> Result<Self, ManifestError> {
        objects.sort_by_key(|object| object.name);
        RawManifest { version: VERSION, repository, objects }.try_into()
    }

    /// The repository it describes.
    #[must_use]
    pub const fn repository(&self) -> &RepositoryId {
        &self.repository
    }

    /// Every object, sorted by name and thereby in the order of crossing.
    #[must_use]
    pub fn objects(&self) -> &[ManifestObject] {
        &self.objects
    }

    /// The objects that cross in this run.
    pub fn crossing(&self) -> impl Iterator<Item = &ManifestObject> {
        self.objects.iter().filter(|object| object.crosses)
    }

    /// How many objects cross, and their bytes together.
    #[must_use]
    pub fn declared(&self) -> (u64, u64) {
        self.crossing().fold((0, 0), |(objects, bytes), object| (objects + 1, bytes + object.size))
    }
}

impl ManifestObject {
    /// An object whose name states its hash.
    #[must_use]
    pub const fn hashed(name: ObjectName, size: u64, crosses: bool) -> Self {
        Self { name, size, sha256: None, crosses }
    }

    /// The repository's `config`.
    #[must_use]
    pub const fn config(sha256: Sha256Digest, size: u64, crosses: bool) -> Self {
        Self { name: ObjectName::CONFIG, size, sha256: Some(sha256), crosses }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> ObjectName {
        self.name
    }

    /// Its length in bytes.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Whether it crosses in this run; the others were declared by earlier runs and are in the vault already.
    #[must_use]
    pub const fn crosses(&self) -> bool {
        self.crosses
    }

    /// The SHA-256 of its content, from the name or, for `config`, from the entry.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        // Parsing made sure that exactly one of the two is there.
        self.name.digest().or(self.sha256).unwrap_or(Sha256Digest::from_bytes([0; 32]))
    }
}

impl TryFrom<RawManifest> for Manifest {
    type Error = ManifestError;

    fn try_from(raw: RawManifest) -> Result<Self, Self::Error> {
        if raw.version != VERSION {
            return Err(ManifestError::Version(raw.version));
        }
        if raw.objects.len() > MAX_MANIFEST_OBJECTS {
            return Err(ManifestError::TooManyObjects(raw.objects.len()));
        }
        for object in &raw.objects {
            if object.name.digest().is_some() == object.sha256.is_some() {
                return Err(ManifestError::Hash(object.name));
            }
            if object.size > MAX_PACK_BYTES {
                return Err(ManifestError::TooLarge { name: object.name, size: object.size });
            }
        }
        let mut pairs = raw.objects.iter().zip(raw.objects.iter().skip(1));
        if let Some((_, second)) = pairs.find(|(first, second)| first.name >= second.name) {
            return Err(ManifestError::Unsorted(second.name));
        }
        Ok(Self { repository: raw.repository, objects: raw.objects })
    }
}

impl From<Manifest> for RawManifest {
    fn from(manifest: Manifest) -> Self {
        Self { version: VERSION, repository: manifest.repository, objects: manifest.objects }
    }
}
