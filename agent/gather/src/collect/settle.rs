//! What a folder's block in the new catalogue comes to hold, and when it is written.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::decide::Here;
use super::{CollectError, Collector, Slot};
use crate::catalogue::{Below, Entry, Folder};
use crate::tree::{Kind, Meta, Tree, TreeError};

impl<T: Tree> Collector<'_, T> {
    /// The mirror goes on having the last good copy, and the problem has a name.
    pub(super) fn refuse(&mut self, here: &Here<T>, path: &Path, why: &str) -> Result<(), CollectError> {
        self.unreadable(here, path, TreeError::other(why))
    }

    pub(super) fn unreadable(&mut self, here: &Here<T>, path: &Path, error: TreeError) -> Result<(), CollectError> {
        self.problem(path, error)?;
        self.keep(&here.slot(path))
    }

    /// What the last catalogue says of an entry, and all below it, stands.
    pub(super) fn keep(&mut self, slot: &Slot) -> Result<(), CollectError> {
        let Some(old) = self.job.old_entry(&slot.path)? else { return Ok(()) };
        let is_folder = old.meta.kind == Kind::Directory;
        self.add(slot.folder, Entry { fetched: self.job.unsettled && old.fetched, ..old })?;
        if is_folder { self.keep_folders(&slot.path) } else { Ok(()) }
    }

    pub(super) fn keep_folders(&mut self, path: &Path) -> Result<(), CollectError> {
        let mut below = Below::of(path);
        loop {
            let next = self.job.old.borrow_mut().as_mut().map_or(Ok(None), |old| below.next(old))?;
            let Some(kept) = next else { return Ok(()) };
            self.still_there += kept.entries.iter().filter(|entry| entry.meta.kind == Kind::File).count() as u64;
            self.write(&kept)?;
        }
    }

    pub(super) fn has(
        &mut self,
        folder: u64,
        name: &OsStr,
        meta: &Meta,
        link: OsString,
        fresh: bool,
        fetched: bool,
    ) -> Result<(), CollectError> {
        self.add(folder, Entry { name: name.to_owned(), meta: meta.clone(), link, fresh, fetched })
    }

    fn add(&mut self, folder: u64, entry: Entry) -> Result<(), CollectError> {
        let Some(open) = self.open.get_mut(&folder) else { return Ok(()) };
        self.job.take(&mut open.held, entry.name.len() + entry.link.len())?;
        open.entries.push(entry);
        Ok(())
    }

    pub(super) fn awaited(&mut self, here: &Here<T>, path: PathBuf) -> Slot {
        if let Some(open) = self.open.get_mut(&here.slot) {
            open.waiting += 1;
        }
        Slot { folder: here.slot, path }
    }

    pub(super) fn arrived(&mut self, folder: u64) -> Result<(), CollectError> {
        if let Some(open) = self.open.get_mut(&folder) {
            open.waiting -= 1;
        }
        self.settle_if_done(folder)
    }

    pub(super) fn settle_if_done(&mut self, folder: u64) -> Result<(), CollectError> {
        if self.open.get(&folder).is_none_or(|open| open.waiting > 0) {
            return Ok(());
        }
        let Some(open) = self.open.remove(&folder) else { return Ok(()) };
        let folder = Folder::new(&open.path, open.entries);
        if let Some(old) = self.job.old_folder(&open.path)? {
            let files = |entry: &&Entry| entry.meta.kind == Kind::File;
            let known = |entry: &&Entry| old.get(&entry.name).is_some_and(|old| files(&old));
            self.still_there += folder.entries.iter().filter(files).filter(known).count() as u64;
        }
        self.write(&folder)
    }
}
