//! Reading a snapshot: its folders one at a time, its files in parts, so that memory doesn't grow with either.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use drawbridge_wire::{RepositoryId, Sha256Digest, Timestamp};
use rustic_core::repofile::{BlobType, Metadata, Node, SnapshotFile};
use rustic_core::{BlobId, IndexedFullStatus, Repository};

use super::archive::trouble;
use super::{EngineError, LocalRepository, SnapshotInfo, describe, digest};
use crate::digest::sha256;

/// How many bytes of a file are read at once.
pub const PART_BYTES: usize = 1024 * 1024;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and what it leads to.
    Link(OsString),
    /// A device, pipe or socket. Neither the mirror nor our snapshots have any.
    Other,
}

impl EntryKind {
    /// What people call it.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link(_) => "link",
            Self::Other => "special file",
        }
    }
}

/// What is known of an entry without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryFacts {
    /// What it is.
    pub kind: EntryKind,
    /// Bytes; 0 for all but files.
    pub size: u64,
    /// The twelve permission bits of Unix, setuid to others' execute.
    pub mode: u32,
    /// The owner's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// When its content last changed.
    pub modified: Option<Timestamp>,
    /// When the entry itself last changed, where it lies: for files only.
    pub touched: Option<Timestamp>,
    /// How many extended attributes the snapshot has of it. Ours have none.
    pub attributes: usize,
}

/// An entry of a folder in a snapshot.
#[derive(Debug, Clone)]
pub struct SnapshotEntry {
    /// Its name.
    pub name: OsString,
    /// What is known of it.
    pub facts: EntryFacts,
    node: Node,
}

/// A snapshot that can be read.
#[derive(Debug)]
pub struct Snapshot {
    info: SnapshotInfo,
    root: Node,
    contents: Contents,
}

/// What the snapshots of a repository hold. Cheap to clone.
#[derive(Clone)]
pub(super) struct Contents {
    place: Arc<str>,
    repository: Arc<Repository<IndexedFullStatus>>,
}

// Not derived: the engine's own Debug shows the master key.
impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contents").field("place", &self.place).finish_non_exhaustive()
    }
}

impl Contents {
    pub(super) fn new(place: Arc<str>, repository: Repository<IndexedFullStatus>) -> Self {
        Self { place, repository: Arc::new(repository) }
    }

    pub(super) fn snapshot(&self, id: &RepositoryId, file: &SnapshotFile) -> Result<Snapshot, EngineError> {
        let root = self.repository.node_from_snapshot_and_path(file, "");
        let root = root.map_err(trouble("read a tree of", &self.place))?;
        Ok(Snapshot { info: describe(id, file), root, contents: self.clone() })
    }
}

impl LocalRepository {
    /// The newest snapshot, or `None` before the first.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub fn latest(&self) -> Result<Option<Snapshot>, EngineError> {
        let snapshots = self.repository.get_all_snapshots().map_err(self.failed("list the snapshots of"))?;
        let Some(newest) = snapshots.into_iter().max() else { return Ok(None) };
        let repository = self.reopened()?.to_indexed().map_err(self.failed("read the index of"))?;
        let place = Arc::from(self.path.display().to_string());
        Contents::new(place, repository).snapshot(&self.id, &newest).map(Some)
    }
}

impl Snapshot {
    /// Which one it is.
    #[must_use]
    pub const fn info(&self) -> &SnapshotInfo {
        &self.info
    }

    /// What lies in its root: one folder a source.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub fn root(&self) -> Result<Vec<SnapshotEntry>, EngineError> {
        self.children(&self.root)
    }

    /// What lies in a folder; nothing when it is none.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub fn folder(&self, entry: &SnapshotEntry) -> Result<Vec<SnapshotEntry>, EngineError> {
        self.children(&entry.node)
    }

    /// The entry at `path`, relative to the root; `None` when there is none.
    ///
    /// # Errors
    /// When the repository can't be read.
    pub fn at(&self, path: &Path) -> Result<Option<SnapshotEntry>, EngineError> {
        let mut entries = self.root()?;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            let Some(found) = entries.into_iter().find(|entry| entry.name == name) else { return Ok(None) };
            if names.peek().is_none() {
                return Ok(Some(found));
            }
            entries = self.folder(&found)?;
        }
        Ok(None)
    }

    /// A file's content, one part of up to [`PART_BYTES`] after the other, until `each` has had enough and says `false`.
    ///
    /// # Errors
    /// When the repository can't be read, or holds other bytes than it says.
    pub fn read(&self, entry: &SnapshotEntry, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), EngineError> {
        for blob in self.blobs(entry) {
            if !blob?.bytes.chunks(PART_BYTES).all(&mut each) {
                break;
            }
        }
        Ok(())
    }

    /// A file's content, piece by piece, each of up to 8 MiB and compared with its hash.
    ///
    /// # Errors
    /// An item is one when that piece can't be read, or holds other bytes than the repository says.
    pub fn blobs(&self, entry: &SnapshotEntry) -> impl Iterator<Item = Result<Piece, EngineError>> {
        let ids = entry.node.content.as_deref().unwrap_or_default();
        ids.iter().map(|id| self.piece(BlobId::from(*id)))
    }

    fn piece(&self, id: BlobId) -> Result<Piece, EngineError> {
        let Contents { place, repository } = &self.contents;
        let bytes = repository.get_blob_cached(&id, BlobType::Data).map_err(trouble("read a file of", place))?;
        checked(bytes, digest(&id)?, place)
    }

    fn children(&self, node: &Node) -> Result<Vec<SnapshotEntry>, EngineError> {
        let Some(tree) = node.subtree else { return Ok(Vec::new()) };
        let Contents { place, repository } = &self.contents;
        let tree = repository.get_tree(&tree).map_err(trouble("read a tree of", place))?;
        Ok(tree.nodes.into_iter().map(SnapshotEntry::of).collect())
    }
}

/// The engine has checked that whoever wrote `bytes` had the key, and not that they are what their name says.
fn checked(bytes: Bytes, stated: Sha256Digest, place: &str) -> Result<Piece, EngineError> {
    if sha256(&bytes) != stated {
        return Err(EngineError::OtherBytes { place: place.to_owned(), piece: stated });
    }
    Ok(Piece { digest: stated, bytes })
}

/// A piece of a file's content.
#[derive(Debug, Clone)]
pub struct Piece {
    /// The SHA-256 of `bytes`, by which the repository knows them.
    pub digest: Sha256Digest,
    /// The content.
    pub bytes: Bytes,
}

impl SnapshotEntry {
    fn of(node: Node) -> Self {
        let kind = if node.is_file() {
            EntryKind::File
        } else if node.is_dir() {
            EntryKind::Folder
        } else if node.is_symlink() {
            EntryKind::Link(node.node_type.to_link().as_os_str().to_owned())
        } else {
            EntryKind::Other
        };
        let name = OsString::from_vec(node.name().as_encoded_bytes().to_vec());
        Self { name, facts: facts(kind, &node.meta), node }
    }
}

fn facts(kind: EntryKind, meta: &Metadata) -> EntryFacts {
    let time = |time: Option<rustic_core::jiff::Timestamp>| {
        time.and_then(|time| Timestamp::from_nanosecond(time.as_nanosecond()).ok())
    };
    EntryFacts {
        size: if kind == EntryKind::File { meta.size } else { 0 },
        mode: unix_mode(meta.mode.unwrap_or_default()),
        uid: meta.uid.unwrap_or_default(),
        gid: meta.gid.unwrap_or_default(),
        modified: time(meta.mtime),
        touched: time(meta.ctime),
        attributes: meta.extended_attributes.len(),
        kind,
    }
}

/// From Go's `io/fs.FileMode`, which restic keeps, to the twelve bits of Unix. Source: <https://pkg.go.dev/io/fs#FileMode>.
const fn unix_mode(go: u32) -> u32 {
    const fn bit(go: u32, from: u32, to: u32) -> u32 {
        if go & (1 << from) == 0 { 0 } else { to }
    }
    (go & 0o777) | bit(go, 23, 0o4000) | bit(go, 22, 0o2000) | bit(go, 20, 0o1000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_piece_that_is_not_what_its_name_says_is_refused() {
        assert_eq!(checked(Bytes::from_static(b"one"), sha256(b"one"), "here").unwrap().bytes, b"one".as_slice());
        let error = checked(Bytes::from_static(b"one"), sha256(b"two"), "here").unwrap_err().to_string();
        assert!(error.contains("here holds other bytes under the name") && error.contains(&sha256(b"two").to_string()));
    }
}
