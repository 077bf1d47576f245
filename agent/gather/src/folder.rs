//! An open folder, and what can be done in it without leaving it.
//!
//! Invariants:
//! - every step is relative to the open folder: what is renamed or replaced above it leads nowhere else;
//! - nothing is read, written or changed through a symbolic link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, RenameFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::local::{meta, names};
use crate::tree::{Meta, Mtime};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// For the agent alone, until an entry gets the mode that it shall have.
const PRIVATE_FOLDER: Mode = Mode::RWXU;
const PRIVATE_FILE: Mode = Mode::RUSR.union(Mode::WUSR);

/// An open folder.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What an entry is given besides its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dress {
    /// Owner and group; `None` leaves them.
    pub owner: Option<(u32, u32)>,
    /// The lower 12 bits of its mode. A link has none of its own.
    pub mode: u32,
    /// When its content last changed; `None` leaves what it has.
    pub mtime: Option<Mtime>,
}

impl Folder {
    /// The folder `path`. Whoever names it may name a link on the way to it, but not at its end.
    ///
    /// # Errors
    /// When there is none, or it can't be opened.
    pub fn open_path(path: &Path) -> io::Result<Self> {
        Ok(Self(fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// The folder `path`, for its owner alone when it has to be made.
    ///
    /// # Errors
    /// When it can't be made or opened.
    pub fn open_or_make(path: &Path) -> io::Result<Self> {
        match fs::mkdirat(CWD, path, PRIVATE_FOLDER) {
            Ok(()) | Err(Errno::EXIST) => Self::open_path(path),
            Err(error) => Err(error.into()),
        }
    }

    /// The names in it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        names(self.0.as_fd())
    }

    /// The entry `name`, if there is one.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn stat(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What is known of the folder itself.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub fn own_meta(&self) -> io::Result<Meta> {
        Ok(meta(&fs::fstat(&self.0)?))
    }

    /// The folder `name`, which must be there.
    ///
    /// # Errors
    /// When it isn't, or is something else.
    pub fn open(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self(fs::openat(&self.0, name, DIRECTORY, Mode::empty())?))
    }

    /// The folder `path`, relative to this one, if it is there; never through a symbolic link, wherever in the path.
    ///
    /// # Errors
    /// When it can't be opened.
    pub fn below(&self, path: &Path) -> io::Result<Option<Self>> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let beneath = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
        match fs::openat2(&self.0, path, DIRECTORY, Mode::empty(), beneath) {
            Ok(fd) => Ok(Some(Self(fd))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the folder `name`, for its owner alone.
    ///
    /// # Errors
    /// When anything has that name, or it can't be made.
    pub fn make(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::mkdirat(&self.0, name, PRIVATE_FOLDER)?)
    }

    /// The file `name`, for reading.
    ///
    /// # Errors
    /// When it can't be opened, or is a link.
    pub fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// The file `name`, for reading and writing, whatever its mode was.
    ///
    /// # Errors
    /// When it can't be opened, or is a link.
    pub fn open_to_change(&self, name: &OsStr) -> io::Result<File> {
        // Through a descriptor of the file itself: a mode can't be changed by name without following links.
        fs::fchmod(self.open_file(name)?, PRIVATE_FILE)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.0, name, flags, Mode::empty())?))
    }

    /// A new, empty file `name`, in place of a file that had that name.
    ///
    /// # Errors
    /// When it can't be made, or something else has that name.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.0, name, flags, PRIVATE_FILE)?))
    }

    /// A new, empty file `name`, which nothing had before.
    ///
    /// # Errors
    /// When it can't be made, or anything has that name.
    pub fn create_new(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.0, name, flags, PRIVATE_FILE)?))
    }

    /// What the symbolic link `name` says.
    ///
    /// # Errors
    /// When it is none.
    pub fn read_link(&self, name: &OsStr) -> io::Result<OsString> {
        use std::os::unix::ffi::OsStringExt;
        Ok(OsString::from_vec(fs::readlinkat(&self.0, name, Vec::new())?.into_bytes()))
    }

    /// Makes the symbolic link `name`, which says `target`.
    ///
    /// # Errors
    /// When anything has that name, or it can't be made.
    pub fn make_link(&self, name: &OsStr, target: &OsStr) -> io::Result<()> {
        Ok(fs::symlinkat(target, &self.0, name)?)
    }

    /// Gives the link `name` itself its owner and time.
    ///
    /// # Errors
    /// When it doesn't take them.
    pub fn dress_link(&self, name: &OsStr, dress: &Dress) -> io::Result<()> {
        if let Some(owner) = dress.owner {
            let (uid, gid) = owner_ids(owner)?;
            fs::chownat(&self.0, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        let Some(mtime) = dress.mtime else { return Ok(()) };
        Ok(fs::utimensat(&self.0, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives the folder itself its owner, mode and time.
    ///
    /// # Errors
    /// When it doesn't take them.
    pub fn dress(&self, dress: &Dress) -> io::Result<()> {
        dress_open(&self.0, dress)
    }

    /// Moves the entry `name` to `to/as_name`, in place of a file or link that had that name; a folder never gives way.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn rename(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat(&self.0, name, &to.0, as_name)?)
    }

    /// Moves the entry `name` to `as_name`, which nothing may have.
    ///
    /// # Errors
    /// When something has that name, or it can't be moved.
    pub fn rename_to_new(&self, name: &OsStr, as_name: &OsStr) -> io::Result<()> {
        Ok(fs::renameat_with(&self.0, name, &self.0, as_name, RenameFlags::NOREPLACE)?)
    }

    /// Removes the file or link `name`.
    ///
    /// # Errors
    /// When it isn't there, or is a folder.
    pub fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::empty())?)
    }

    /// Removes the empty folder `name`.
    ///
    /// # Errors
    /// When it isn't there, isn't empty, or is something else.
    pub fn remove_folder(&self, name: &OsStr) -> io::Result<()> {
        Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?)
    }

    /// How many bytes its file system still takes.
    ///
    /// # Errors
    /// When it doesn't tell.
    pub fn room(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(&self.0)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// Waits until everything that was written to its file system is on the disk.
    ///
    /// # Errors
    /// When something could not be written.
    pub fn sync(&self) -> io::Result<()> {
        Ok(fs::syncfs(&self.0)?)
    }
}

/// Gives an open file or folder its owner, mode and time.
///
/// # Errors
/// When it doesn't take them.
pub fn dress_open(entry: impl AsFd, dress: &Dress) -> io::Result<()> {
    if let Some(owner) = dress.owner {
        let (uid, gid) = owner_ids(owner)?;
        fs::fchown(&entry, uid, gid)?;
    }
    // After the owner: a change of owner takes set-id bits away.
    fs::fchmod(&entry, Mode::from_raw_mode(dress.mode))?;
    let Some(mtime) = dress.mtime else { return Ok(()) };
    Ok(fs::futimens(&entry, &times(mtime))?)
}

fn owner_ids((uid, gid): (u32, u32)) -> io::Result<(Option<Uid>, Option<Gid>)> {
    // To chown(2), the largest id means "leave it": no file has it.
    if uid == u32::MAX || gid == u32::MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the source states an impossible owner"));
    }
    Ok((Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))))
}

pub(crate) fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_owner_that_no_file_can_have_is_refused() {
        assert!(owner_ids((0, 0)).is_ok());
        assert!(owner_ids((u32::MAX, 0)).is_err());
        assert!(owner_ids((0, u32::MAX)).is_err());
    }

    #[test]
    fn what_is_new_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open_path(dir.path()).unwrap();
        std::fs::write(dir.path().join("there"), "kept").unwrap();
        std::os::unix::fs::symlink("there", dir.path().join("link")).unwrap();
        for name in ["there", "link"].map(OsStr::new) {
            assert!(folder.create_new(name).is_err() && folder.make(name).is_err());
            assert!(folder.make_link(name, OsStr::new("x")).is_err());
        }
        folder.create_new(OsStr::new("new")).unwrap();
        assert!(folder.rename_to_new(OsStr::new("new"), OsStr::new("there")).is_err());
        assert_eq!(std::fs::read(dir.path().join("there")).unwrap(), b"kept");
        folder.rename_to_new(OsStr::new("new"), OsStr::new("newer")).unwrap();
        assert!(dir.path().join("newer").exists());
    }
}
