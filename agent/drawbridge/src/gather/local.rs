//! This machine's own files. Every step is relative to an open directory and follows no symbolic link, so that nobody who can
//! write into a source can make the agent read elsewhere by swapping a folder for a link.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::tree::{Kind, MAX_DIRECTORY_ENTRIES, Meta, Mtime, Tree, TreeError, TreeFile, too_many_entries};

/// The unit of `st_blocks`, in bytes, whatever the file system's block size is (POSIX, sys/stat.h).
const STAT_BLOCK: u64 = 512;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The files of this machine, all but the agent's own.
pub(super) struct LocalTree {
    /// Device and inode of the state folder, which might be reached by another way than its path.
    state_dir: Option<(u64, u64)>,
}

impl LocalTree {
    /// The files of this machine without those in `state_dir`, which needn't be there yet.
    pub(super) fn without(state_dir: &Path) -> io::Result<Self> {
        match fs::stat(state_dir) {
            Ok(stat) => Ok(Self { state_dir: Some((stat.st_dev, stat.st_ino)) }),
            Err(Errno::NOENT) => Ok(Self { state_dir: None }),
            Err(error) => Err(error.into()),
        }
    }
}

impl Tree for LocalTree {
    type Dir = OwnedFd;
    type File = LocalFile;

    fn root(&self) -> Result<(OwnedFd, Meta), TreeError> {
        let root = fs::openat(CWD, "/", DIRECTORY, Mode::empty()).map_err(entry)?;
        let meta = meta(&fs::fstat(&root).map_err(entry)?);
        Ok((root, meta))
    }

    fn stat(&self, dir: &OwnedFd, name: &OsStr) -> Result<Meta, TreeError> {
        Ok(meta(&fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(entry)?))
    }

    fn open_dir(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd, TreeError> {
        let opened = fs::openat(dir, name, DIRECTORY, Mode::empty()).map_err(entry)?;
        let stat = fs::fstat(&opened).map_err(entry)?;
        if Some((stat.st_dev, stat.st_ino)) == self.state_dir {
            let problem = "is drawbridge's own state folder: add it to the source's exclude";
            return Err(TreeError::Entry(io::Error::other(problem)));
        }
        Ok(opened)
    }

    fn list(&self, dir: &OwnedFd) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let mut entries = Vec::new();
        for name in names(dir.as_fd()).map_err(TreeError::Entry)? {
            match self.stat(dir, &name) {
                Ok(meta) => entries.push((name, meta)),
                // Gone since it was listed.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    fn read_link(&self, dir: &OwnedFd, name: &OsStr) -> Result<OsString, TreeError> {
        let target = fs::readlinkat(dir, name, Vec::new()).map_err(entry)?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    fn open_file(&self, dir: &OwnedFd, name: &OsStr) -> Result<LocalFile, TreeError> {
        // Non-blocking: the file may have become a FIFO, and opening one waits for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        Ok(LocalFile(fs::openat(dir, name, flags, Mode::empty()).map_err(entry)?))
    }
}

/// An open file of this machine.
pub(super) struct LocalFile(OwnedFd);

impl TreeFile for LocalFile {
    fn meta(&mut self) -> Result<Meta, TreeError> {
        Ok(meta(&fs::fstat(&self.0).map_err(entry)?))
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TreeError> {
        rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut *buffer)).map_err(entry)
    }
}

fn entry(error: Errno) -> TreeError {
    TreeError::Entry(error.into())
}

/// The names in an open directory, without `.` and `..`.
pub(super) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == MAX_DIRECTORY_ENTRIES {
            return Err(too_many_entries());
        }
        names.push(OsStr::from_bytes(name).to_owned());
    }
    Ok(names)
}

/// What the kernel says of an entry, in our words.
pub(super) fn meta(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Special,
    };
    Meta {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        allocated: u64::try_from(stat.st_blocks).ok().and_then(|blocks| blocks.checked_mul(STAT_BLOCK)),
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: Mtime { seconds: stat.st_mtime, nanoseconds: i64::try_from(stat.st_mtime_nsec).unwrap_or(0) },
    }
}
