//! A source as the walk sees it, wherever it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::room::Held;

/// The longest name of a directory entry, in bytes (NAME_MAX of Linux).
pub(crate) const MAX_NAME_BYTES: usize = 255;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, FIFO or socket.
    Special,
}

/// What is known of an entry without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub size: u64,
    /// The bytes that it takes on its disk, where that is known; a sparse file takes less than its length.
    #[serde(skip)]
    pub allocated: Option<u64>,
    /// The lower 12 bits of its mode.
    pub mode: u32,
    /// Its owner's number.
    pub uid: u32,
    /// Its group's number.
    pub gid: u32,
    /// When its content last changed.
    pub mtime: Mtime,
}

/// A moment of modification, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mtime {
    /// Whole seconds.
    pub seconds: i64,
    /// The rest.
    pub nanoseconds: i64,
}

/// Why something of a source couldn't be read.
#[derive(Debug, Error)]
pub(crate) enum TreeError {
    /// This entry; others may be better.
    #[error(transparent)]
    Entry(io::Error),
    /// The source itself is gone, which may pass.
    #[error("the connection to the source was lost")]
    Lost(#[source] io::Error),
    /// There are more entries at once than may come.
    #[error("it has too many entries")]
    TooMany,
    /// Their names take more memory than they may.
    #[error("the names of its entries are too long")]
    TooLong,
    /// The source doesn't keep to the rules, which won't pass.
    #[error("the source doesn't behave")]
    Misbehaves(#[source] io::Error),
}

impl TreeError {
    /// The entry isn't there.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Entry(error) if error.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn other(what: impl Into<String>) -> Self {
        Self::Entry(io::Error::other(what.into()))
    }
}

/// How much of a tree may be asked for at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Files that are read at once.
    pub(crate) files: usize,
    /// Folders that are listed at once.
    pub(crate) folders: usize,
}

/// A tree of files that is read from its root, `/`.
///
/// What follows symbolic links says so; everything else never goes through one.
#[allow(async_fn_in_trait, reason = "the walk runs on one thread")]
pub(crate) trait Tree {
    /// An open folder.
    type Dir: Clone;
    /// An open regular file.
    type File: TreeFile;

    /// How much may be asked for at once.
    fn pace(&self) -> Pace;
    /// The folder `/`.
    async fn root(&self) -> Result<(Self::Dir, Meta), TreeError>;
    /// An entry of `dir`, itself and not what it links to.
    async fn stat(&self, dir: &Self::Dir, name: &OsStr) -> Result<Meta, TreeError>;
    /// The folder `name` in `dir`.
    async fn open_dir(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::Dir, TreeError>;
    /// All entries of `dir` but `.` and `..`; each is taken by `held` before it is kept.
    async fn list(&self, dir: &Self::Dir, held: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError>;
    /// What the symbolic link `name` in `dir` says.
    async fn read_link(&self, dir: &Self::Dir, name: &OsStr) -> Result<OsString, TreeError>;
    /// The file `name` in `dir`, open for reading.
    async fn open_file(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::File, TreeError>;
    /// What the symbolic link `name` in `dir` leads to: a folder, or a file.
    async fn follow(&self, dir: &Self::Dir, name: &OsStr) -> Result<Followed, TreeError>;

    /// The folder that the symbolic link `name` in `dir` leads to, of which [`Tree::follow`] said that it is `real`.
    async fn open_followed_dir(&self, dir: &Self::Dir, name: &OsStr, real: &Path) -> Result<Self::Dir, TreeError> {
        let _as_it_goes_by_path = real;
        self.open_dir(dir, name).await
    }

    /// The file that the symbolic link `name` in `dir` leads to, open for reading.
    async fn open_followed_file(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::File, TreeError> {
        self.open_file(dir, name).await
    }
}

/// What a symbolic link leads to. Nothing of it is open: there may be many.
pub(crate) enum Followed {
    /// A file.
    File(Meta),
    /// A folder, and its path without any link, by which loops are found.
    Directory(Meta, PathBuf),
    /// A device, FIFO or socket.
    Special,
}

/// An open regular file.
#[allow(async_fn_in_trait, reason = "the walk runs on one thread")]
pub(crate) trait TreeFile {
    /// Begins to read the bytes `from..to`, in order. What was being read is forgotten.
    fn read(&mut self, from: u64, to: u64);
    /// The next bytes; `None` when all are read, or where the file ends before.
    async fn next(&mut self) -> Result<Option<Bytes>, TreeError>;
    /// What is known of the file after what was read last.
    async fn after(&mut self) -> Result<Meta, TreeError>;
}

/// Refuses a name that would lead elsewhere than to an entry of its folder. A kernel has no such names; a hostile
/// server or a crafted snapshot may.
///
/// # Errors
/// When it is such a name.
pub fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an impossible file name came from the source"));
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a file name is longer than 255 bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_no_entry_of_its_directory_is_refused() {
        for name in ["", ".", "..", "/", "a/b", "../x", "/etc/passwd", "a\0b", &"x".repeat(MAX_NAME_BYTES + 1)] {
            assert!(check_name(OsStr::new(name)).is_err(), "{name:?}");
        }
        for name in ["...", "..a", "a b", "\u{fffd}", "-rf", &"x".repeat(MAX_NAME_BYTES)] {
            assert!(check_name(OsStr::new(name)).is_ok(), "{name:?}");
        }
    }
}
