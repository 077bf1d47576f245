//! What has been fetched and isn't in the mirror yet.
//!
//! Invariants:
//! - nothing here has a name that a source chose: files are numbered;
//! - what is recorded as staged is complete;
//! - a new gathering begins with nothing staged, whatever the last one left; what that had taken out of the mirror goes back.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::grown;
use crate::key::PathKey;
use crate::mirror::{MirrorDir, within};
use crate::tree::Meta;

/// The staged files of one source.
pub(crate) struct Staging {
    dir: MirrorDir,
    path: PathBuf,
    next: Cell<u64>,
    /// By the paths that they will have: the paths themselves would take as much memory as a host likes.
    staged: RefCell<BTreeMap<PathKey, Staged>>,
}

/// A complete file that waits for its name.
#[derive(Debug, Clone)]
pub(crate) struct Staged {
    /// Its number, which is its name.
    number: u64,
    /// What the source said of it when it was read. Its size is that of what was read.
    pub(crate) meta: Meta,
    /// What the listing had said, by which a second attempt recognises it, where that was something else.
    listed: Option<Box<Meta>>,
    /// See [`crate::catalogue::Entry`].
    pub(crate) fresh: bool,
    /// How many of its first bytes only the mirror's copy has: a hole here.
    head: u64,
}

/// A file that is still growing. Dropped, it is removed.
pub(crate) struct Growing<'a> {
    staging: &'a Staging,
    number: u64,
    pub(crate) file: File,
    kept: bool,
}

impl Staging {
    /// The folder `path`, emptied. `mirror` is the source's folder there.
    pub(crate) fn open(path: &Path, mirror: Option<&MirrorDir>) -> io::Result<Self> {
        let dir = MirrorDir::open_or_make(path)?;
        grown::put_back(&dir, mirror)?;
        dir.empty()?;
        Ok(Self { dir, path: path.to_owned(), next: Cell::new(0), staged: RefCell::default() })
    }

    /// A new, empty file.
    pub(crate) fn begin(&self) -> io::Result<Growing<'_>> {
        let number = self.next.replace(self.next.get() + 1);
        let file = self.dir.create_file(&name(number))?;
        Ok(Growing { staging: self, number, file, kept: false })
    }

    /// What was staged for `path`, if that was the file that is now listed as `listed`.
    pub(crate) fn find(&self, path: &Path, listed: &Meta) -> Option<Staged> {
        self.staged
            .borrow()
            .get(&PathKey::of(path))
            .filter(|staged| staged.listed.as_deref().unwrap_or(&staged.meta) == listed)
            .cloned()
    }

    /// Whether something is staged for `path`.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.staged.borrow().contains_key(&PathKey::of(path))
    }

    /// What is staged for `path`, to be read.
    pub(crate) fn reader(&self, path: &Path) -> Option<File> {
        let staged = self.staged.borrow();
        self.dir.open_file(&name(staged.get(&PathKey::of(path))?.number)).ok()
    }

    /// What is staged for `path` isn't needed.
    pub(crate) fn forget(&self, path: &Path) {
        self.staged.borrow_mut().remove(&PathKey::of(path));
    }

    /// Gives what is staged for `path` its name in `to`.
    pub(crate) fn place(&self, path: &Path, to: &MirrorDir, as_name: &OsStr) -> io::Result<()> {
        let staged = self.staged.borrow_mut().remove(&PathKey::of(path));
        let staged = staged.ok_or_else(|| io::Error::other("nothing is staged for it"))?;
        if staged.head > 0 {
            return grown::grow(&self.dir, &name(staged.number), staged.head, path, to, as_name, &staged.meta);
        }
        self.dir.place(&name(staged.number), to, as_name)
    }

    /// Puts what is staged for `path`, if anything is, aside into `aside`. `mirror` is the source's folder there.
    pub(crate) fn set_aside(&self, path: &Path, aside: &MirrorDir, mirror: Option<&MirrorDir>) -> io::Result<()> {
        let staged = self.staged.borrow_mut().remove(&PathKey::of(path));
        let Some(staged) = staged else { return Ok(()) };
        if let (true, Some(mirror)) = (staged.head > 0, mirror) {
            let whole = self.dir.open_to_change(&name(staged.number))?;
            grown::copy(&mirror.open_path(path)?, &whole, 0, staged.head)?;
            self.dir.apply_meta(&whole, &staged.meta)?;
        }
        move_aside(&self.dir, staged.number, aside, path)
    }

    /// How many bytes the file system still takes.
    pub(crate) fn room(&self) -> io::Result<u64> {
        self.dir.room()
    }
}

impl Growing<'_> {
    /// Where it is, for programs that look into it.
    pub(crate) fn path(&self) -> PathBuf {
        self.staging.path.join(name(self.number))
    }

    /// It is complete, and will be `path`; but for its first `head` bytes, which the mirror's copy has.
    pub(crate) fn keep(mut self, path: &Path, meta: Meta, listed: Meta, fresh: bool, head: u64) -> io::Result<Staged> {
        self.staging.dir.apply_meta(&self.file, &meta)?;
        self.kept = true;
        let listed = Some(listed).filter(|listed| *listed != meta).map(Box::new);
        let staged = Staged { number: self.number, meta, listed, fresh, head };
        self.staging.staged.borrow_mut().insert(PathKey::of(path), staged.clone());
        Ok(staged)
    }

    /// It is complete, but isn't wanted in the mirror.
    pub(crate) fn set_aside(mut self, aside: &MirrorDir, path: &Path) -> io::Result<()> {
        self.kept = true;
        move_aside(&self.staging.dir, self.number, aside, path)
    }
}

impl Drop for Growing<'_> {
    fn drop(&mut self) {
        if !self.kept {
            // If it can't be removed now, the next gathering removes it.
            let _next_time = self.staging.dir.remove(&name(self.number));
        }
    }
}

fn name(number: u64) -> OsString {
    OsString::from(number.to_string())
}

fn move_aside(from: &MirrorDir, number: u64, aside: &MirrorDir, path: &Path) -> io::Result<()> {
    let relative = within(path);
    let (Some(parent), Some(as_name)) = (relative.parent(), relative.file_name()) else {
        return Err(io::Error::other("a file without a name"));
    };
    from.place(&name(number), &aside.ensure_below(parent)?, as_name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs::{read_dir, write};

    use super::*;
    use crate::tree::{Kind, Mtime};

    fn meta(size: u64, seconds: i64) -> Meta {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mtime = Mtime { seconds, nanoseconds: 0 };
        Meta { kind: Kind::File, size, allocated: None, mode: 0o600, uid, gid, mtime }
    }

    #[test]
    fn a_file_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::open(dir.path(), None).unwrap();
        let growing = staging.begin().unwrap();
        write(growing.path(), "half").unwrap();
        drop(growing);
        assert_eq!(read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_staged_is_taken_again_only_for_the_file_that_was_listed() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::open(dir.path(), None).unwrap();
        let (path, listed, read) = (Path::new("/a"), meta(4, 1), meta(5, 2));
        staging.begin().unwrap().keep(path, read.clone(), listed.clone(), false, 0).unwrap();
        assert!(staging.find(path, &listed).is_some());
        for other in [read, meta(4, 2), meta(5, 1)] {
            assert!(staging.find(path, &other).is_none(), "{other:?}");
        }
        assert!(staging.find(Path::new("/b"), &listed).is_none());
    }
}
