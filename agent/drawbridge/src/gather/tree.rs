//! A source as the walk sees it, wherever it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

/// The longest name of a directory entry, in bytes (NAME_MAX of Linux).
pub(super) const MAX_NAME_BYTES: usize = 255;

/// The most entries of one directory that are read: they are held in memory, some 150 bytes each.
pub(super) const MAX_DIRECTORY_ENTRIES: usize = 1_000_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    /// A device, FIFO or socket.
    Special,
}

/// What is known of an entry without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    /// Its length in bytes.
    pub(super) size: u64,
    /// The bytes that it takes on its disk, where that is known; a sparse file takes less than its length.
    pub(super) allocated: Option<u64>,
    /// The lower 12 bits of its mode.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: Mtime,
}

/// A moment of modification, in seconds and nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mtime {
    pub(super) seconds: i64,
    pub(super) nanoseconds: i64,
}

/// Why something of a source couldn't be read.
#[derive(Debug, Error)]
pub(super) enum TreeError {
    /// This entry; others may be better.
    #[error(transparent)]
    Entry(io::Error),
    /// The source itself is gone, or doesn't behave.
    #[error("the connection to the source was lost")]
    Lost(#[source] io::Error),
}

impl TreeError {
    /// The entry isn't there.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Entry(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// A tree of files that is read from its root, `/`, never through a symbolic link.
pub(super) trait Tree {
    /// An open directory.
    type Dir;
    /// An open regular file.
    type File: TreeFile;

    /// The directory `/`.
    fn root(&self) -> Result<(Self::Dir, Meta), TreeError>;
    /// An entry of `dir`, itself and not what it links to.
    fn stat(&self, dir: &Self::Dir, name: &OsStr) -> Result<Meta, TreeError>;
    /// The directory `name` in `dir`.
    fn open_dir(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::Dir, TreeError>;
    /// All entries of `dir` but `.` and `..`, at most [`MAX_DIRECTORY_ENTRIES`].
    fn list(&self, dir: &Self::Dir) -> Result<Vec<(OsString, Meta)>, TreeError>;
    /// What the symbolic link `name` in `dir` says.
    fn read_link(&self, dir: &Self::Dir, name: &OsStr) -> Result<OsString, TreeError>;
    /// The file `name` in `dir`, open for reading.
    fn open_file(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::File, TreeError>;
}

/// A regular file that is read from its beginning to its end.
pub(super) trait TreeFile {
    /// What is known of it now.
    fn meta(&mut self) -> Result<Meta, TreeError>;
    /// Its next bytes; 0 at its end.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TreeError>;
}

/// Refuses a name that would lead elsewhere than to an entry of its directory. A kernel has no such names; a hostile
/// server may.
pub(super) fn check_name(name: &OsStr) -> io::Result<()> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.contains(&b'/') || bytes.contains(&0) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an impossible file name came from the source"));
    }
    if bytes.len() > MAX_NAME_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a file name is longer than 255 bytes"));
    }
    Ok(())
}

/// The error for a directory that is too large.
pub(super) fn too_many_entries() -> io::Error {
    io::Error::other(format!("the directory has more than {MAX_DIRECTORY_ENTRIES} entries: exclude it"))
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
