//! The mirror: the agent's own copy of what it gathered, one folder a source.
//!
//! Invariants:
//! - a file has its name in the mirror only when it is complete: it grows in a folder beside the mirror and is then renamed;
//! - nothing is written through a symbolic link: every step is relative to an open directory of the mirror;
//! - what is as it should be is not touched, so that an unchanged source leaves every time stamp alone and the backup of an
//!   unchanged mirror adds nothing;
//! - the agent can read all of it: where it isn't root, its own read permission is added to what the source says.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::local::{meta, names};
use super::tree::{Kind, Meta, Mtime};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Where a file grows before it takes its name.
pub(super) struct Workshop {
    dir: MirrorDir,
}

/// Who the agent is, which decides what it can keep of a file's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// Root: owners are kept.
    Root,
    /// Somebody else: everything in the mirror is theirs.
    User,
}

impl Owner {
    pub(super) fn current() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::User }
    }

    /// The mode that an entry gets in the mirror.
    fn mode(self, meta: &Meta) -> u32 {
        match (self, meta.kind) {
            (Self::Root, _) => meta.mode,
            (Self::User, Kind::Directory) => meta.mode | 0o700,
            (Self::User, _) => meta.mode | 0o400,
        }
    }

    /// Whether what the mirror has of an entry, apart from its content, is as the source says.
    fn agrees(self, mirrored: &Meta, source: &Meta) -> bool {
        let owner = self == Self::User || (mirrored.uid, mirrored.gid) == (source.uid, source.gid);
        let mode = source.kind == Kind::Symlink || mirrored.mode == self.mode(source);
        owner && mode && mirrored.mtime == source.mtime
    }
}

/// An open directory of the mirror.
pub(super) struct MirrorDir {
    fd: OwnedFd,
    owner: Owner,
}

impl Workshop {
    /// The folder `path`.
    pub(super) fn open(path: &Path, owner: Owner) -> io::Result<Self> {
        Ok(Self { dir: MirrorDir::open_or_make(path, owner)? })
    }

    /// Empties it: what an earlier run left there was never finished.
    pub(super) fn empty(&self) -> io::Result<()> {
        self.dir.names()?.iter().try_for_each(|name| self.dir.remove(name))
    }

    /// A new, empty file for the source `name`, replacing an unfinished one. A source copies one file at a time.
    pub(super) fn begin(&self, name: &str) -> io::Result<Unfinished<'_>> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = fs::openat(&self.dir.fd, name, flags, Mode::from_raw_mode(0o600))?;
        Ok(Unfinished { workshop: self, name: name.to_owned(), file: File::from(fd) })
    }

    /// How many bytes the file system still takes.
    pub(super) fn room(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(&self.dir.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// A file that hasn't taken its name yet. Dropped, it stays in the workshop and is overwritten by the next one.
pub(super) struct Unfinished<'a> {
    workshop: &'a Workshop,
    name: String,
    pub(super) file: File,
}

impl Unfinished<'_> {
    /// Gives it the source's mode, owner and time, and then its name in `dir`, in place of whatever had that.
    pub(super) fn place(self, dir: &MirrorDir, name: &OsStr, meta: &Meta) -> io::Result<()> {
        apply(&self.file, self.workshop.dir.owner, meta)?;
        match fs::renameat(&self.workshop.dir.fd, self.name.as_str(), &dir.fd, name) {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                dir.remove(name)?;
                Ok(fs::renameat(&self.workshop.dir.fd, self.name.as_str(), &dir.fd, name)?)
            }
            done => Ok(done?),
        }
    }
}

impl MirrorDir {
    /// The folder `path`, for its owner alone when it has to be made.
    pub(super) fn open_or_make(path: &Path, owner: Owner) -> io::Result<Self> {
        match fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { fd: fs::openat(CWD, path, DIRECTORY, Mode::empty())?, owner })
    }

    /// The names in it.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        names(self.fd.as_fd())
    }

    /// The entry `name`, if there is one.
    pub(super) fn stat(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The directory `name`, which must be there.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self { fd: fs::openat(&self.fd, name, DIRECTORY, Mode::empty())?, owner: self.owner })
    }

    /// The directory `name`; whatever else has that name gives way.
    pub(super) fn ensure_dir(&self, name: &OsStr) -> io::Result<Self> {
        match self.stat(name)? {
            Some(found) if found.kind == Kind::Directory => return self.open(name),
            Some(_) => fs::unlinkat(&self.fd, name, AtFlags::empty())?,
            None => {}
        }
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700))?;
        self.open(name)
    }

    /// Makes `name` a symbolic link to `target`, unless it is one.
    pub(super) fn ensure_symlink(&self, name: &OsStr, target: &OsStr, source: &Meta) -> io::Result<()> {
        let found = self.stat(name)?;
        let same = match &found {
            Some(found) if found.kind == Kind::Symlink => {
                fs::readlinkat(&self.fd, name, Vec::new())?.as_bytes() == target.as_encoded_bytes()
            }
            _ => false,
        };
        if same && found.is_some_and(|found| self.owner.agrees(&found, source)) {
            return Ok(());
        }
        if !same {
            self.remove(name)?;
            fs::symlinkat(target, &self.fd, name)?;
        }
        if self.owner == Owner::Root {
            let (uid, gid) = owner_ids(source)?;
            fs::chownat(&self.fd, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(fs::utimensat(&self.fd, name, &times(source.mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the file `name`, whose content is right, the source's mode, owner and time.
    pub(super) fn ensure_meta(&self, name: &OsStr, mirrored: &Meta, source: &Meta) -> io::Result<()> {
        if self.owner.agrees(mirrored, source) {
            return Ok(());
        }
        let file = fs::openat(&self.fd, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        apply(&file, self.owner, source)
    }

    /// Gives the directory itself the source's mode, owner and time.
    pub(super) fn ensure_own_meta(&self, source: &Meta) -> io::Result<()> {
        let mirrored = meta(&fs::fstat(&self.fd)?);
        if self.owner.agrees(&mirrored, source) { Ok(()) } else { apply(&self.fd, self.owner, source) }
    }

    /// Removes `name` with all it holds; nothing there is fine.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match self.stat(name)? {
            None => return Ok(()),
            Some(found) if found.kind == Kind::Directory => {}
            Some(_) => return Ok(fs::unlinkat(&self.fd, name, AtFlags::empty())?),
        }
        let dir = self.open(name)?;
        for inner in dir.names()? {
            dir.remove(&inner)?;
        }
        Ok(fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// As [`MirrorDir::remove`], and leaves the directory's own time as it was: it has the source's already.
    pub(super) fn remove_keeping_time(&self, name: &OsStr) -> io::Result<()> {
        let before = meta(&fs::fstat(&self.fd)?);
        self.remove(name)?;
        Ok(fs::futimens(&self.fd, &times(before.mtime))?)
    }
}

fn apply(entry: impl AsFd, owner: Owner, source: &Meta) -> io::Result<()> {
    if owner == Owner::Root {
        let (uid, gid) = owner_ids(source)?;
        // Before the mode: changing the owner clears setuid and setgid (chown(2)).
        fs::fchown(&entry, uid, gid)?;
    }
    fs::fchmod(&entry, Mode::from_raw_mode(owner.mode(source)))?;
    Ok(fs::futimens(&entry, &times(source.mtime))?)
}

fn owner_ids(source: &Meta) -> io::Result<(Option<Uid>, Option<Gid>)> {
    // To chown(2), the largest id means "leave it": no file has it.
    if source.uid == u32::MAX || source.gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the source states an impossible owner"));
    }
    Ok((Some(Uid::from_raw(source.uid)), Some(Gid::from_raw(source.gid))))
}

fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds };
    Timestamps { last_access: time, last_modification: time }
}
