//! From staging into the mirror, as the new catalogue says.
//!
//! Invariants:
//! - every step can be done again: a commit that was cut off is finished, or overtaken, by the next one;
//! - a file changes by one rename; nothing leaves the mirror of a source that wasn't read completely;
//! - the new catalogue takes its name last: until then the old one, which the mirror no longer agrees with, causes what was
//!   already placed to be fetched again, never to be taken for something else.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use crate::catalogue::{Catalogue, CatalogueError, Draft, Entry, Folder};
use crate::collect::{CollectError, mirrored};
use crate::mirror::{MirrorDir, within};
use crate::staging::Staging;
use crate::tree::{Kind, Meta};

/// Brings the source's folder in the mirror to what `draft` says; returns how many entries left it.
pub(crate) fn commit(
    draft: Draft,
    old: Option<&mut Catalogue>,
    staging: &Staging,
    mirror: &MirrorDir,
    complete: bool,
) -> Result<u64, CollectError> {
    let new = Catalogue::open(draft.still_at())?.ok_or_else(|| lost(draft.still_at()))?;
    let mut commit = Commit { old, staging, mirror, complete, removed: 0 };
    for folder in new.folders() {
        commit.folder(&folder?)?;
    }
    // After everything is in place: what is placed in a folder changes the folder's own time.
    for folder in new.folders() {
        commit.times(&folder?)?;
    }
    mirrored(Path::new("/"), mirror.ensure_own_meta(new.root()))?;
    draft.take_name()?;
    Ok(commit.removed)
}

struct Commit<'a> {
    old: Option<&'a mut Catalogue>,
    staging: &'a Staging,
    mirror: &'a MirrorDir,
    complete: bool,
    removed: u64,
}

impl Commit<'_> {
    fn folder(&mut self, folder: &Folder) -> Result<(), CollectError> {
        let at = folder.path();
        let old = match &mut self.old {
            Some(old) => old.folder(at)?,
            None => None,
        };
        let dir = mirrored(at, self.mirror.ensure_below(within(at)))?;
        for entry in &folder.entries {
            let path = at.join(&entry.name);
            let unchanged = old.as_ref().and_then(|old| old.get(&entry.name)).is_some_and(|old| old.meta == entry.meta);
            mirrored(&path, self.entry(&dir, &path, entry, unchanged))?;
        }
        if self.complete {
            let wanted: HashSet<&OsStr> = folder.entries.iter().map(|entry| entry.name.as_os_str()).collect();
            for name in mirrored(at, dir.names())? {
                if !wanted.contains(name.as_os_str()) {
                    mirrored(&at.join(&name), dir.remove(&name))?;
                    self.removed += 1;
                }
            }
        }
        Ok(())
    }

    fn entry(&self, dir: &MirrorDir, path: &Path, entry: &Entry, unchanged: bool) -> io::Result<()> {
        match entry.meta.kind {
            Kind::Directory => dir.ensure_dir(&entry.name).map(|_| ()),
            Kind::Symlink => dir.ensure_symlink(&entry.name, &entry.link, &entry.meta),
            Kind::File if self.staging.has(path) => self.staging.place(path, dir, &entry.name),
            Kind::File if unchanged => Ok(()),
            Kind::File => dir.ensure_meta(&entry.name, &entry.meta),
            Kind::Special => Ok(()),
        }
    }

    fn times(&self, folder: &Folder) -> Result<(), CollectError> {
        let mut dir = None;
        for entry in folder.entries.iter().filter(|entry| entry.meta.kind == Kind::Directory) {
            let path = folder.path().join(&entry.name);
            mirrored(&path, self.time(&mut dir, folder.path(), &entry.name, &entry.meta))?;
        }
        Ok(())
    }

    fn time(&self, dir: &mut Option<MirrorDir>, at: &Path, name: &OsStr, meta: &Meta) -> io::Result<()> {
        if dir.is_none() {
            *dir = self.mirror.below(within(at))?;
        }
        match dir {
            Some(dir) => dir.open(name)?.ensure_own_meta(meta),
            None => Ok(()),
        }
    }
}

fn lost(path: &Path) -> CatalogueError {
    CatalogueError::Io { path: PathBuf::from(path), source: io::Error::from(io::ErrorKind::NotFound) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::ffi::OsString;
    use std::fs::write;

    use super::*;
    use crate::catalogue::{CatalogueWriter, Header};
    use crate::tree::Mtime;

    fn file(name: &str) -> Entry {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mtime = Mtime { seconds: 7, nanoseconds: 0 };
        let meta = Meta { kind: Kind::File, size: 1, allocated: None, mode: 0o600, uid, gid, mtime };
        Entry { name: OsString::from(name), meta, link: OsString::new(), fresh: false, fetched: true }
    }

    /// A complete catalogue, not named yet, of `/` with these files.
    fn draft(path: &Path, files: &[&str]) -> Draft {
        let root = Meta { kind: Kind::Directory, mode: 0o700, ..file("").meta };
        let header = Header { place: "here".to_owned(), root, boot: "b".to_owned() };
        let mut writer = CatalogueWriter::begin(path, &header).unwrap();
        writer.add(&Folder::new(Path::new("/"), files.iter().map(|name| file(name)).collect())).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_commit_that_fails_on_the_way_leaves_the_old_catalogue_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("catalogue");
        let staging = Staging::open(&dir.path().join("staging"), None).unwrap();
        let mirror = MirrorDir::open_or_make(&dir.path().join("mirror")).unwrap();
        write(dir.path().join("mirror/a"), "x").unwrap();
        commit(draft(&path, &["a"]), None, &staging, &mirror, true).unwrap();
        // Of this one the mirror has nothing, and nothing is staged.
        commit(draft(&path, &["a", "b"]), None, &staging, &mirror, true).unwrap_err();
        let mut catalogue = Catalogue::open(&path).unwrap().unwrap();
        assert!(catalogue.entry(Path::new("/a")).unwrap().is_some());
        assert!(catalogue.entry(Path::new("/b")).unwrap().is_none());
        assert!(dir.path().join("mirror/a").exists());
    }
}
