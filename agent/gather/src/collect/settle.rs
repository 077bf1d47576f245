//! What a folder's block in the new catalogue comes to hold, and when it is written.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::decide::Here;
use super::{CollectError, Collector, Slot};
use crate::catalogue::{Entry, Folder};
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
        if let Some(open) = self.open.get_mut(&slot.folder) {
            open.entries.push(Entry { fetched: self.job.unsettled && old.fetched, ..old });
        }
        if is_folder { self.keep_folders(&slot.path) } else { Ok(()) }
    }

    pub(super) fn keep_folders(&mut self, path: &Path) -> Result<(), CollectError> {
        let below = self.job.old.borrow().as_ref().map(|old| old.below(path)).unwrap_or_default();
        for folder in below {
            if let Some(kept) = self.job.old_folder(&folder)? {
                self.still_there += kept.entries.iter().filter(|entry| entry.meta.kind == Kind::File).count() as u64;
                self.write(&kept)?;
            }
        }
        Ok(())
    }

    pub(super) fn has(&mut self, folder: u64, name: &OsStr, meta: &Meta, link: OsString, fresh: bool, fetched: bool) {
        if let Some(open) = self.open.get_mut(&folder) {
            open.entries.push(Entry { name: name.to_owned(), meta: meta.clone(), link, fresh, fetched });
        }
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
