//! The folder that a restore writes into, and how one file gets there.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use drawbridge_gather::folder::{Dress, Folder, dress_open};
use drawbridge_gather::{Kind, Mtime, one_line};
use drawbridge_wire::Sha256Digest;
use thiserror::Error;

use crate::digest::sha256;
use crate::engine::{EngineError, EntryFacts, Snapshot, SnapshotEntry};

/// How the names of files begin that aren't complete yet.
const UNFINISHED: &str = ".drawbridge-unfinished-";

/// Why a target can't be used.
#[derive(Debug, Error)]
pub enum TargetError {
    /// It holds something.
    #[error("the target {} is not empty: name an empty folder, or add --into-nonempty, which replaces files of the same names", one_line(.0))]
    NotEmpty(PathBuf),
    /// It can't be made, read or written.
    #[error("cannot {action} the target {}", one_line(path))]
    Io {
        /// What was tried.
        action: &'static str,
        /// The target.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// An open target.
#[derive(Debug)]
pub struct Target {
    path: PathBuf,
    folder: Folder,
    /// Files and links of the same names give way.
    replaces: bool,
    /// Owner and group are restored, and with them the set-id bits.
    owners: bool,
}

impl Target {
    /// Opens the folder `path`, for its owner alone when it has to be made. One that isn't empty is used only if `into_nonempty`.
    /// `owners`: give everything its owner and group, which only root can.
    ///
    /// # Errors
    /// When it isn't empty, or can't be used.
    pub fn open(path: &Path, into_nonempty: bool, owners: bool) -> Result<Self, TargetError> {
        let failed = |action| move |source| TargetError::Io { action, path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make"))?;
        let path = fs::canonicalize(path).map_err(failed("use"))?;
        let failed = |action| {
            let path = path.clone();
            move |source| TargetError::Io { action, path, source }
        };
        let folder = Folder::open_path(&path).map_err(failed("open"))?;
        if !into_nonempty && !folder.names().map_err(failed("read"))?.is_empty() {
            return Err(TargetError::NotEmpty(path));
        }
        Ok(Self { path, folder, replaces: into_nonempty, owners })
    }

    /// Whether this process can give files to others.
    #[must_use]
    pub fn can_give_owners() -> bool {
        rustix::process::geteuid().is_root()
    }

    pub(super) const fn owners(&self) -> bool {
        self.owners
    }

    pub(super) fn room(&self) -> Result<u64, TargetError> {
        self.folder.room().map_err(|source| self.failed("look at", source))
    }

    pub(super) fn sync(&self) -> Result<(), TargetError> {
        self.folder.sync().map_err(|source| self.failed("write everything to the disk of", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> TargetError {
        TargetError::Io { action, path: self.path.clone(), source }
    }

    /// The folder `path` of the target.
    pub(super) fn below(&self, path: &Path) -> Result<Folder, Because> {
        let found = self.folder.below(path).map_err(|error| Because::Io("open its folder", error))?;
        found.ok_or(Because::InTheWay)
    }

    /// Makes the folder `path`; one that was there before is as good if the target needn't be empty.
    pub(super) fn make(&self, path: &Path) -> Result<(), Because> {
        let (parent, name) = self.parent(path)?;
        match parent.make(name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && self.replaces => {
                let found = parent.stat(name).map_err(|error| Because::Io("look at it in the target", error))?;
                if found.is_some_and(|found| found.kind == Kind::Directory) { Ok(()) } else { Err(Because::InTheWay) }
            }
            made => made.map_err(|error| Because::Io("make it", error)),
        }
    }

    /// Gives a folder what the snapshot says of it, after all that it holds was written.
    pub(super) fn finish(&self, path: &Path, facts: &EntryFacts) -> Result<(), Because> {
        self.below(path)?.dress(&self.dress(facts)).map_err(Because::dress)
    }

    pub(super) fn link(&self, path: &Path, to: &OsStr, facts: &EntryFacts) -> Result<(), Because> {
        if to.is_empty() || to.as_encoded_bytes().contains(&0) {
            return Err(Because::Link);
        }
        let (parent, name) = self.parent(path)?;
        let unfinished = unfinished_name();
        parent.make_link(&unfinished, to).map_err(|error| Because::Io("make it", error))?;
        let guard = Unfinished { folder: &parent, name: unfinished };
        parent.dress_link(&guard.name, &self.dress(facts)).map_err(Because::dress)?;
        self.place(guard, name)
    }

    /// Writes a file: under a name of ours, read back, and then renamed.
    pub(super) fn file(
        &self,
        path: &Path,
        snapshot: &Snapshot,
        entry: &SnapshotEntry,
        written: &mut dyn FnMut(u64),
        called_off: &AtomicBool,
    ) -> Result<(), Because> {
        let (parent, name) = self.parent(path)?;
        let unfinished = unfinished_name();
        let mut file = parent.create_new(&unfinished).map_err(|error| Because::Io("make it", error))?;
        let guard = Unfinished { folder: &parent, name: unfinished };
        let mut pieces = Vec::new();
        for piece in snapshot.blobs(entry) {
            if called_off.load(Ordering::Relaxed) {
                return Err(Because::CalledOff);
            }
            let piece = piece?;
            file.write_all(&piece.bytes).map_err(|error| Because::Io("write it", error))?;
            pieces.push((piece.digest, piece.bytes.len()));
            written(piece.bytes.len() as u64);
        }
        read_back(&mut file, entry.facts.size, &pieces)?;
        dress_open(&file, &self.dress(&entry.facts)).map_err(Because::dress)?;
        self.place(guard, name)
    }

    fn place(&self, mut unfinished: Unfinished<'_>, name: &OsStr) -> Result<(), Because> {
        let folder = unfinished.folder;
        let placed = if self.replaces {
            folder.rename(&unfinished.name, folder, name)
        } else {
            folder.rename_to_new(&unfinished.name, name)
        };
        placed.map_err(|error| Because::Io("give it its name", error))?;
        unfinished.name.clear();
        Ok(())
    }

    fn parent<'a>(&self, path: &'a Path) -> Result<(Folder, &'a OsStr), Because> {
        let name = path.file_name().ok_or(Because::InTheWay)?;
        Ok((self.below(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn dress(&self, facts: &EntryFacts) -> Dress {
        let mtime = facts.modified.map(|at| {
            // Nanoseconds count forwards, whatever the sign of the seconds.
            let (seconds, nanoseconds) =
                (at.as_nanosecond().div_euclid(BILLION), at.as_nanosecond().rem_euclid(BILLION));
            Mtime {
                seconds: i64::try_from(seconds).unwrap_or_default(),
                nanoseconds: i64::try_from(nanoseconds).unwrap_or_default(),
            }
        });
        // A program that runs as its owner must not run as whoever restores it.
        let mode = if self.owners { facts.mode } else { facts.mode & 0o1777 };
        Dress { owner: self.owners.then_some((facts.uid, facts.gid)), mode, mtime }
    }
}

const BILLION: i128 = 1_000_000_000;

/// Why an entry isn't restored.
#[derive(Debug, Error)]
pub(super) enum Because {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("cannot {0}")]
    Io(&'static str, #[source] io::Error),
    #[error("it does not take its owner, mode and time (--no-owner leaves the owner away)")]
    Dress(#[source] io::Error),
    #[error("the snapshot says that it has {stated} bytes, and holds {held} of it")]
    Size { stated: u64, held: u64 },
    #[error("what was read back from the disk is not what was written")]
    ReadBack,
    #[error("the snapshot does not say where the link leads")]
    Link,
    #[error("it is a device, a pipe or a socket: make it by hand")]
    Special,
    #[error("something that is no folder is in the way in the target: a link is never gone through")]
    InTheWay,
    #[error("its folder is lacking: {0}")]
    Folder(String),
    #[error("the restore was called off")]
    CalledOff,
}

impl Because {
    fn dress(error: io::Error) -> Self {
        Self::Dress(error)
    }
}

/// Compares what lies on the disk with what the repository says.
fn read_back(file: &mut File, stated: u64, pieces: &[(Sha256Digest, usize)]) -> Result<(), Because> {
    let held = pieces.iter().map(|(_, length)| *length as u64).sum();
    if held != stated {
        return Err(Because::Size { stated, held });
    }
    let unreadable = |error| Because::Io("read it back", error);
    if file.metadata().map_err(unreadable)?.len() != stated {
        return Err(Because::ReadBack);
    }
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut buffer = Vec::new();
    for (digest, length) in pieces {
        buffer.resize(*length, 0);
        file.read_exact(&mut buffer).map_err(unreadable)?;
        if sha256(&buffer) != *digest {
            return Err(Because::ReadBack);
        }
    }
    Ok(())
}

/// An entry under a name of ours, which goes unless it was renamed.
struct Unfinished<'a> {
    folder: &'a Folder,
    /// Empty when there is nothing to remove any more.
    name: OsString,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.name.is_empty() {
            // What can't be removed keeps a name that says what it is.
            let _kept = self.folder.remove_file(&self.name);
        }
    }
}

/// Nobody who made the snapshot could know it.
fn unfinished_name() -> OsString {
    format!("{UNFINISHED}{:032x}", rand::random::<u128>()).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn piece(bytes: &[u8]) -> (Sha256Digest, usize) {
        (sha256(bytes), bytes.len())
    }

    #[test]
    fn what_the_disk_has_changed_is_noticed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"onetwo").unwrap();
        let pieces = [piece(b"one"), piece(b"two")];
        read_back(&mut file, 6, &pieces).unwrap();
        assert!(matches!(read_back(&mut file, 7, &pieces), Err(Because::Size { stated: 7, held: 6 })));
        file.seek(SeekFrom::Start(4)).unwrap();
        file.write_all(b"W").unwrap();
        assert!(matches!(read_back(&mut file, 6, &pieces), Err(Because::ReadBack)));
        file.set_len(3).unwrap();
        assert!(matches!(read_back(&mut file, 6, &pieces), Err(Because::ReadBack)));
    }
}
