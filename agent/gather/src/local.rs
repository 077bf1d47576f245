//! This machine's own files. Every step is relative to an open folder and follows no symbolic link, so that nobody who can
//! write into a source can make the agent read elsewhere by swapping a folder for a link.
//!
//! Its futures never wait: they block, which the walk's own thread may.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::room::Held;
use crate::tree::{Followed, Kind, Meta, Mtime, Pace, Tree, TreeError, TreeFile};

/// The unit of `st_blocks`, in bytes, whatever the file system's block size is (POSIX, sys/stat.h).
const STAT_BLOCK: u64 = 512;

/// How much is read at once, in bytes.
const READ_BYTES: usize = 256 * 1024;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opening never waits: the file may have become a FIFO, and opening one waits for a writer.
const FILE: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// The files of this machine, all but the agent's own.
pub(crate) struct LocalTree {
    /// Device and inode of the state folder, which might be reached by another way than its path.
    state_dir: Option<(u64, u64)>,
    /// Symbolic links are followed only to what lies in one of these.
    within: Vec<PathBuf>,
}

impl LocalTree {
    /// The files of this machine without those in `state_dir`, which needn't be there yet. Links that are followed may lead
    /// into the folders `within` and nowhere else.
    pub(crate) fn without(state_dir: &Path, within: Vec<PathBuf>) -> io::Result<Self> {
        let state_dir = match fs::stat(state_dir) {
            Ok(stat) => Some((stat.st_dev, stat.st_ino)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Self { state_dir, within })
    }

    fn admit(&self, folder: OwnedFd) -> Result<Rc<OwnedFd>, TreeError> {
        let stat = fs::fstat(&folder).map_err(entry)?;
        if Some((stat.st_dev, stat.st_ino)) == self.state_dir {
            return Err(TreeError::other("is drawbridge's own state folder: add it to the source's exclude"));
        }
        Ok(Rc::new(folder))
    }

    /// Opens what a link leads to, wherever that is, and looks afterwards where it is: nothing can be swapped between
    /// looking and reading.
    fn target(&self, dir: &OwnedFd, name: &OsStr) -> Result<(OwnedFd, PathBuf), TreeError> {
        let target = fs::openat(dir, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(entry)?;
        let real = std::fs::read_link(format!("/proc/self/fd/{}", target.as_raw_fd())).map_err(TreeError::Entry)?;
        if self.within.iter().any(|folder| real.starts_with(folder)) {
            return Ok((target, real));
        }
        let problem =
            format!("links to {}, which is outside of what the source names, and isn't followed", real.display());
        Err(TreeError::other(problem))
    }
}

impl Tree for LocalTree {
    type Dir = Rc<OwnedFd>;
    type File = LocalFile;

    fn pace(&self) -> Pace {
        // One disk, one thread.
        Pace { files: 1, folders: 1 }
    }

    async fn root(&self) -> Result<(Rc<OwnedFd>, Meta), TreeError> {
        let root = fs::openat(CWD, "/", DIRECTORY, Mode::empty()).map_err(entry)?;
        let meta = meta(&fs::fstat(&root).map_err(entry)?);
        Ok((Rc::new(root), meta))
    }

    async fn stat(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<Meta, TreeError> {
        Ok(meta(&fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(entry)?))
    }

    async fn open_dir(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<Rc<OwnedFd>, TreeError> {
        self.admit(fs::openat(dir, name, DIRECTORY, Mode::empty()).map_err(entry)?)
    }

    async fn list(&self, dir: &Rc<OwnedFd>, held: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let mut entries = Vec::new();
        let mut listing = Dir::read_from(dir).map_err(entry)?;
        while let Some(found) = listing.read() {
            let found = found.map_err(entry)?;
            let name = OsStr::from_bytes(found.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            match self.stat(dir, name).await {
                Ok(meta) => {
                    held.take_entry(name)?;
                    entries.push((name.to_owned(), meta));
                }
                // Gone since it was listed.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(entries)
    }

    async fn read_link(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<OsString, TreeError> {
        let target = fs::readlinkat(dir, name, Vec::new()).map_err(entry)?;
        Ok(OsString::from_vec(target.into_bytes()))
    }

    async fn open_file(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<LocalFile, TreeError> {
        let file = fs::openat(dir, name, FILE, Mode::empty()).map_err(entry)?;
        if FileType::from_raw_mode(fs::fstat(&file).map_err(entry)?.st_mode) != FileType::RegularFile {
            return Err(TreeError::other("it was a file and has become something else"));
        }
        Ok(LocalFile { file, at: 0, to: 0, buffer: BytesMut::new() })
    }

    async fn follow(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<Followed, TreeError> {
        let (target, real) = self.target(dir, name)?;
        let meta = meta(&fs::fstat(&target).map_err(entry)?);
        Ok(match meta.kind {
            Kind::Directory => Followed::Directory(meta, real),
            Kind::File => Followed::File(meta),
            Kind::Symlink | Kind::Special => Followed::Special,
        })
    }

    async fn open_followed_dir(&self, dir: &Rc<OwnedFd>, name: &OsStr, real: &Path) -> Result<Rc<OwnedFd>, TreeError> {
        let (target, now) = self.target(dir, name)?;
        if now != real {
            return Err(TreeError::other("is a symbolic link that was changed while it was followed"));
        }
        self.admit(fs::openat(&target, ".", DIRECTORY, Mode::empty()).map_err(entry)?)
    }

    async fn open_followed_file(&self, dir: &Rc<OwnedFd>, name: &OsStr) -> Result<LocalFile, TreeError> {
        let (_, real) = self.target(dir, name)?;
        let (Some(parent), Some(name)) = (real.parent(), real.file_name()) else {
            return Err(TreeError::other("it was a file and has become something else"));
        };
        let parent = fs::openat(CWD, parent, DIRECTORY, Mode::empty()).map_err(entry)?;
        self.open_file(&self.admit(parent)?, name).await
    }
}

/// An open file of this machine.
pub(crate) struct LocalFile {
    file: OwnedFd,
    at: u64,
    to: u64,
    buffer: BytesMut,
}

impl TreeFile for LocalFile {
    fn read(&mut self, from: u64, to: u64) {
        (self.at, self.to) = (from, to);
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        let most = usize::try_from(self.to.saturating_sub(self.at)).unwrap_or(READ_BYTES).min(READ_BYTES);
        self.buffer.resize(most, 0);
        let read = rustix::io::retry_on_intr(|| rustix::io::pread(&self.file, &mut self.buffer[..], self.at));
        let read = read.map_err(entry)?;
        if read == 0 {
            return Ok(None);
        }
        self.at = self.at.saturating_add(read as u64);
        Ok(Some(self.buffer.split_to(read).freeze()))
    }

    async fn after(&mut self) -> Result<Meta, TreeError> {
        Ok(meta(&fs::fstat(&self.file).map_err(entry)?))
    }
}

fn entry(error: Errno) -> TreeError {
    TreeError::Entry(error.into())
}

/// The names in an open folder, without `.` and `..`.
pub(crate) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

/// What the kernel says of an entry, in our words.
pub(crate) fn meta(stat: &Stat) -> Meta {
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

/// Whether something is mounted at `path`.
///
/// # Errors
/// When it isn't there.
pub(crate) fn is_mount_point(path: &Path) -> io::Result<bool> {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)?;
    Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
