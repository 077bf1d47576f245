//! The mirror: the agent's own copy of what it gathered, one folder a source.
//!
//! Invariants:
//! - a file has its name in the mirror only when it is complete: it grows in a folder beside the mirror and is then renamed;
//! - nothing is written through a symbolic link: every step is relative to an open folder of the mirror;
//! - what is as it should be is not touched, so that an unchanged source leaves every time stamp alone and the backup of an
//!   unchanged mirror adds nothing;
//! - the agent can read all of it: where it isn't root, its own read permission is added to what the source says. What the
//!   source said is in the catalogue.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::local::{meta, names};
use crate::tree::{Kind, Meta, Mtime};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Who the agent is, which decides what it can keep of a file's owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Root: owners are kept.
    Root,
    /// Somebody else: everything in the mirror is theirs.
    User,
}

impl Owner {
    pub(crate) fn current() -> Self {
        if rustix::process::geteuid().is_root() { Self::Root } else { Self::User }
    }

    /// The mode that an entry gets in the mirror. Never setuid or setgid: who could get at the mirror could run it.
    fn mode(self, meta: &Meta) -> u32 {
        let mode = meta.mode & 0o1777;
        match (self, meta.kind) {
            (Self::Root, _) => mode,
            (Self::User, Kind::Directory) => mode | 0o700,
            (Self::User, _) => mode | 0o400,
        }
    }

    /// Whether what the mirror has of an entry, apart from its content, is as the source says.
    fn agrees(self, mirrored: &Meta, source: &Meta) -> bool {
        let owner = self == Self::User || (mirrored.uid, mirrored.gid) == (source.uid, source.gid);
        let mode = source.kind == Kind::Symlink || mirrored.mode == self.mode(source);
        owner && mode && mirrored.mtime == source.mtime
    }
}

/// An open folder of the mirror.
pub(crate) struct MirrorDir {
    fd: OwnedFd,
    owner: Owner,
}

impl MirrorDir {
    /// The folder `path`, for its owner alone when it has to be made.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        match fs::mkdirat(CWD, path, Mode::from_raw_mode(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { fd: fs::openat(CWD, path, DIRECTORY, Mode::empty())?, owner: Owner::current() })
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        names(self.fd.as_fd())
    }

    /// The entry `name`, if there is one.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        match fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(meta(&stat))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder `name`, which must be there.
    pub(crate) fn open(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self { fd: fs::openat(&self.fd, name, DIRECTORY, Mode::empty())?, owner: self.owner })
    }

    /// The folder `path`, relative to this one, if it is there; never through a symbolic link, wherever in the path.
    pub(crate) fn below(&self, path: &Path) -> io::Result<Option<Self>> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let beneath = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
        match fs::openat2(&self.fd, path, DIRECTORY, Mode::empty(), beneath) {
            Ok(fd) => Ok(Some(Self { fd, owner: self.owner })),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The folder `path`, relative to this one; what is missing on the way is made, what is in the way gives way.
    pub(crate) fn ensure_below(&self, path: &Path) -> io::Result<Self> {
        if let Some(found) = self.below(path)? {
            return Ok(found);
        }
        let mut at: Option<Self> = None;
        for name in path.iter() {
            at = Some(at.as_ref().unwrap_or(self).ensure_dir(name)?);
        }
        at.map_or_else(|| self.open(OsStr::new(".")), Ok)
    }

    /// The folder `name`; whatever else has that name gives way.
    pub(crate) fn ensure_dir(&self, name: &OsStr) -> io::Result<Self> {
        match self.stat(name)? {
            Some(found) if found.kind == Kind::Directory => return self.open(name),
            Some(_) => fs::unlinkat(&self.fd, name, AtFlags::empty())?,
            None => {}
        }
        fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o700))?;
        self.open(name)
    }

    /// The file `name`, for reading; never through a symbolic link.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// The file at `path`, absolute in the source whose folder this is, for reading.
    pub(crate) fn open_path(&self, path: &Path) -> io::Result<File> {
        match (self.below(within(path).parent().unwrap_or(Path::new("")))?, path.file_name()) {
            (Some(folder), Some(name)) => folder.open_file(name),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The file `name`, for writing, whatever its mode; never through a symbolic link.
    pub(crate) fn open_to_change(&self, name: &OsStr) -> io::Result<File> {
        // Through a descriptor of the file itself: a mode can't be changed by name without following links.
        fs::fchmod(self.open_file(name)?, Mode::from_raw_mode(0o600))?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// Gives `file` the time of modification.
    pub(crate) fn set_mtime(&self, file: &File, mtime: Mtime) -> io::Result<()> {
        Ok(fs::futimens(file, &times(mtime))?)
    }

    /// A new, empty file `name` in place of whatever had that name.
    pub(crate) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(fs::openat(&self.fd, name, flags, Mode::from_raw_mode(0o600))?))
    }

    /// Makes `name` a symbolic link to `target`, unless it is one.
    pub(crate) fn ensure_symlink(&self, name: &OsStr, target: &OsStr, source: &Meta) -> io::Result<()> {
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
    pub(crate) fn ensure_meta(&self, name: &OsStr, source: &Meta) -> io::Result<()> {
        match self.stat(name)? {
            Some(mirrored) if self.owner.agrees(&mirrored, source) => Ok(()),
            _ => apply(self.open_file(name)?, self.owner, source),
        }
    }

    /// Gives the folder itself the source's mode, owner and time.
    pub(crate) fn ensure_own_meta(&self, source: &Meta) -> io::Result<()> {
        let mirrored = meta(&fs::fstat(&self.fd)?);
        if self.owner.agrees(&mirrored, source) { Ok(()) } else { apply(&self.fd, self.owner, source) }
    }

    /// Gives `file`, which is this folder's or will be, the source's mode, owner and time.
    pub(crate) fn apply_meta(&self, file: &File, source: &Meta) -> io::Result<()> {
        apply(file, self.owner, source)
    }

    /// Moves the complete file `name` of this folder to `to/as_name`, in place of whatever had that name.
    pub(crate) fn place(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        match fs::renameat(&self.fd, name, &to.fd, as_name) {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                to.remove(as_name)?;
                Ok(fs::renameat(&self.fd, name, &to.fd, as_name)?)
            }
            done => Ok(done?),
        }
    }

    /// Removes `name` with all it holds; nothing there is fine.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
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

    /// Removes everything in it.
    pub(crate) fn empty(&self) -> io::Result<()> {
        self.names()?.iter().try_for_each(|name| self.remove(name))
    }

    /// How many bytes the file system still takes.
    pub(crate) fn room(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(&self.fd)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// Where `path`, absolute in a source, lies in that source's folder.
pub(crate) fn within(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
}

fn apply(entry: impl AsFd, owner: Owner, source: &Meta) -> io::Result<()> {
    if owner == Owner::Root {
        let (uid, gid) = owner_ids(source)?;
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{create_dir, read, write};
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    /// A mirror beside a folder `outside` with a file, and in it links: `out` to that folder, `inner` to one of the mirror,
    /// `file` to the file outside.
    fn mirror_with_links() -> (tempfile::TempDir, MirrorDir) {
        let dir = tempfile::tempdir().unwrap();
        let mirror = MirrorDir::open_or_make(&dir.path().join("mirror")).unwrap();
        for folder in ["outside", "outside/deep", "mirror/folder", "mirror/folder/deep"] {
            create_dir(dir.path().join(folder)).unwrap();
        }
        write(dir.path().join("outside/file"), "untouched").unwrap();
        symlink("../outside", dir.path().join("mirror/out")).unwrap();
        symlink("folder", dir.path().join("mirror/inner")).unwrap();
        symlink("../outside/file", dir.path().join("mirror/file")).unwrap();
        (dir, mirror)
    }

    #[test]
    fn no_link_is_gone_through_wherever_in_a_path_it_stands() {
        let (dir, mirror) = mirror_with_links();
        assert!(mirror.below(Path::new("folder/deep")).unwrap().is_some());
        for path in ["out", "out/deep", "inner", "inner/deep"] {
            assert!(!mirror.below(Path::new(path)).is_ok_and(|found| found.is_some()), "{path}");
        }
        assert!(mirror.open(OsStr::new("out")).is_err());
        mirror.ensure_below(Path::new("inner/deep/new")).unwrap();
        assert!(!dir.path().join("mirror/inner").is_symlink());
        assert!(!dir.path().join("mirror/folder/deep/new").exists());
    }

    #[test]
    fn nothing_is_read_or_written_or_changed_through_a_link() {
        let (dir, mirror) = mirror_with_links();
        let (outside, name) = (dir.path().join("outside/file"), OsStr::new("file"));
        let before = outside.metadata().unwrap();
        let meta = mirror.stat(name).unwrap().unwrap();
        assert!(mirror.open_file(name).is_err());
        assert!(mirror.open_to_change(name).is_err());
        assert!(mirror.create_file(name).is_err());
        assert!(mirror.ensure_meta(name, &Meta { kind: Kind::File, mode: 0o640, ..meta }).is_err());
        assert_eq!(read(&outside).unwrap(), b"untouched");
        assert_eq!(outside.metadata().unwrap().mode(), before.mode());
        mirror.remove(OsStr::new("out")).unwrap();
        assert!(outside.exists() && !dir.path().join("mirror/out").is_symlink());
    }

    #[test]
    fn an_owner_that_no_file_can_have_is_refused() {
        let (_dir, mirror) = mirror_with_links();
        let meta = mirror.stat(OsStr::new("folder")).unwrap().unwrap();
        assert!(owner_ids(&meta).is_ok());
        assert!(owner_ids(&Meta { uid: u32::MAX, ..meta.clone() }).is_err());
        assert!(owner_ids(&Meta { gid: u32::MAX, ..meta }).is_err());
    }

    #[test]
    fn the_agent_can_read_what_it_mirrors_and_nobody_gets_setuid_from_it() {
        let (_dir, mirror) = mirror_with_links();
        let folder = Meta { mode: 0o6030, ..mirror.stat(OsStr::new("folder")).unwrap().unwrap() };
        let file = Meta { kind: Kind::File, ..folder.clone() };
        assert_eq!((Owner::User.mode(&folder), Owner::User.mode(&file)), (0o730, 0o430));
        assert_eq!((Owner::Root.mode(&folder), Owner::Root.mode(&file)), (0o030, 0o030));
    }
}
