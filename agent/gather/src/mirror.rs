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
use std::path::Path;

use rustix::fs;

use crate::folder::{Dress, Folder, dress_open, times};
use crate::tree::{Kind, Meta, Mtime};

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

    fn dress(self, source: &Meta) -> Dress {
        let owner = (self == Self::Root).then_some((source.uid, source.gid));
        Dress { owner, mode: self.mode(source), mtime: Some(source.mtime) }
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
    folder: Folder,
    owner: Owner,
}

impl MirrorDir {
    /// The folder `path`, for its owner alone when it has to be made.
    pub(crate) fn open_or_make(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: Folder::open_or_make(path)?, owner: Owner::current() })
    }

    /// The names in it.
    pub(crate) fn names(&self) -> io::Result<Vec<OsString>> {
        self.folder.names()
    }

    /// The entry `name`, if there is one.
    pub(crate) fn stat(&self, name: &OsStr) -> io::Result<Option<Meta>> {
        self.folder.stat(name)
    }

    /// The folder `name`, which must be there.
    pub(crate) fn open(&self, name: &OsStr) -> io::Result<Self> {
        Ok(Self { folder: self.folder.open(name)?, owner: self.owner })
    }

    /// The folder `path`, relative to this one, if it is there; never through a symbolic link, wherever in the path.
    pub(crate) fn below(&self, path: &Path) -> io::Result<Option<Self>> {
        Ok(self.folder.below(path)?.map(|folder| Self { folder, owner: self.owner }))
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
            Some(_) => self.folder.remove_file(name)?,
            None => {}
        }
        self.folder.make(name)?;
        self.open(name)
    }

    /// The file `name`, for reading; never through a symbolic link.
    pub(crate) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        self.folder.open_file(name)
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
        self.folder.open_to_change(name)
    }

    /// Gives `file` the time of modification.
    pub(crate) fn set_mtime(&self, file: &File, mtime: Mtime) -> io::Result<()> {
        Ok(fs::futimens(file, &times(mtime))?)
    }

    /// A new, empty file `name` in place of whatever had that name.
    pub(crate) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        self.folder.create_file(name)
    }

    /// Makes `name` a symbolic link to `target`, unless it is one.
    pub(crate) fn ensure_symlink(&self, name: &OsStr, target: &OsStr, source: &Meta) -> io::Result<()> {
        let found = self.stat(name)?;
        let same = match &found {
            Some(found) if found.kind == Kind::Symlink => self.folder.read_link(name)? == target,
            _ => false,
        };
        if same && found.is_some_and(|found| self.owner.agrees(&found, source)) {
            return Ok(());
        }
        if !same {
            self.remove(name)?;
            self.folder.make_link(name, target)?;
        }
        self.folder.dress_link(name, &self.owner.dress(source))
    }

    /// Gives the file `name`, whose content is right, the source's mode, owner and time.
    pub(crate) fn ensure_meta(&self, name: &OsStr, source: &Meta) -> io::Result<()> {
        match self.stat(name)? {
            Some(mirrored) if self.owner.agrees(&mirrored, source) => Ok(()),
            _ => self.apply_meta(&self.open_file(name)?, source),
        }
    }

    /// Gives the folder itself the source's mode, owner and time.
    pub(crate) fn ensure_own_meta(&self, source: &Meta) -> io::Result<()> {
        let mirrored = self.folder.own_meta()?;
        if self.owner.agrees(&mirrored, source) { Ok(()) } else { self.folder.dress(&self.owner.dress(source)) }
    }

    /// Gives `file`, which is this folder's or will be, the source's mode, owner and time.
    pub(crate) fn apply_meta(&self, file: &File, source: &Meta) -> io::Result<()> {
        dress_open(file, &self.owner.dress(source))
    }

    /// Moves the complete file `name` of this folder to `to/as_name`, in place of whatever had that name.
    pub(crate) fn place(&self, name: &OsStr, to: &Self, as_name: &OsStr) -> io::Result<()> {
        match self.folder.rename(name, &to.folder, as_name) {
            Err(error) if in_the_way(&error) => {
                to.remove(as_name)?;
                self.folder.rename(name, &to.folder, as_name)
            }
            done => done,
        }
    }

    /// Removes `name` with all it holds; nothing there is fine.
    pub(crate) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match self.stat(name)? {
            None => return Ok(()),
            Some(found) if found.kind == Kind::Directory => {}
            Some(_) => return self.folder.remove_file(name),
        }
        let dir = self.open(name)?;
        for inner in dir.names()? {
            dir.remove(&inner)?;
        }
        self.folder.remove_folder(name)
    }

    /// Removes everything in it.
    pub(crate) fn empty(&self) -> io::Result<()> {
        self.names()?.iter().try_for_each(|name| self.remove(name))
    }

    /// How many bytes the file system still takes.
    pub(crate) fn room(&self) -> io::Result<u64> {
        self.folder.room()
    }
}

/// A folder has the name that a file shall get.
fn in_the_way(error: &io::Error) -> bool {
    use io::ErrorKind::{AlreadyExists, DirectoryNotEmpty, IsADirectory};
    matches!(error.kind(), IsADirectory | AlreadyExists | DirectoryNotEmpty)
}

/// Where `path`, absolute in a source, lies in that source's folder.
pub(crate) fn within(path: &Path) -> &Path {
    path.strip_prefix("/").unwrap_or(path)
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
    fn the_agent_can_read_what_it_mirrors_and_nobody_gets_setuid_from_it() {
        let (_dir, mirror) = mirror_with_links();
        let folder = Meta { mode: 0o6030, ..mirror.stat(OsStr::new("folder")).unwrap().unwrap() };
        let file = Meta { kind: Kind::File, ..folder.clone() };
        assert_eq!((Owner::User.mode(&folder), Owner::User.mode(&file)), (0o730, 0o430));
        assert_eq!((Owner::Root.mode(&folder), Owner::Root.mode(&file)), (0o030, 0o030));
    }
}
