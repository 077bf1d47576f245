//! Symbolic links: kept as links, or followed.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::rc::Rc;

use super::decide::Here;
use super::{CollectError, Collector, Done, MAX_PATH_BYTES, Slot, Todo};
use crate::pattern::Wanted;
use crate::tree::{Followed, Meta, Tree, TreeError};

impl<'a, T: Tree> Collector<'a, T> {
    pub(super) fn symlink(
        &mut self,
        here: &Here<T>,
        name: &OsStr,
        path: PathBuf,
        meta: &Meta,
    ) -> Result<(), CollectError> {
        if let Some(old) = here.old(name).filter(|old| old.meta == *meta && !old.fresh) {
            return self.has(here.slot, name, meta, old.link.clone(), false, false);
        }
        let (tree, todo, meta, name) = (self.tree, Rc::clone(&here.todo), meta.clone(), name.to_owned());
        let slot = self.awaited(here, path);
        self.running.push(Box::pin(async move {
            let target = tree.read_link(&todo.dir, &name).await;
            Done::Linked(slot, meta, target)
        }));
        Ok(())
    }

    pub(super) fn linked(
        &mut self,
        slot: &Slot,
        meta: Meta,
        target: Result<OsString, TreeError>,
    ) -> Result<(), CollectError> {
        let name = slot.path.file_name().unwrap_or_default();
        match target {
            Ok(target) => {
                let bytes = target.as_encoded_bytes();
                if bytes.is_empty() || bytes.len() > MAX_PATH_BYTES || bytes.contains(&0) {
                    self.problems.note(&slot.path, "is a symbolic link to an impossible target");
                    self.keep(slot)?;
                } else {
                    let fresh = super::fetch::is_fresh(&meta);
                    self.has(slot.folder, name, &meta, target, fresh, false)?;
                }
            }
            Err(error) if error.is_not_found() => {}
            Err(error) => {
                self.problem(&slot.path, error)?;
                self.keep(slot)?;
            }
        }
        self.arrived(slot.folder)
    }

    pub(super) fn follow(
        &mut self,
        here: &Here<T>,
        name: &OsStr,
        path: PathBuf,
        wanted: Wanted,
    ) -> Result<(), CollectError> {
        let (tree, todo, name) = (self.tree, Rc::clone(&here.todo), name.to_owned());
        let slot = self.awaited(here, path);
        self.running.push(Box::pin(async move {
            let target = tree.follow(&todo.dir, &name).await;
            Done::Followed(Box::new((slot, todo, wanted)), target)
        }));
        Ok(())
    }

    pub(super) fn followed(
        &mut self,
        slot: &Slot,
        todo: &Rc<Todo<T>>,
        wanted: &Wanted,
        target: Result<Followed, TreeError>,
    ) -> Result<(), CollectError> {
        let name = slot.path.file_name().unwrap_or_default().to_owned();
        let here = self.here(todo, slot.folder)?;
        match target {
            Ok(Followed::Directory(_, real)) if todo.real.iter().any(|folder| folder.starts_with(&real)) => {
                self.problems.note(&slot.path, "leads back to a folder that it lies in, and isn't followed");
            }
            Ok(Followed::Directory(meta, real)) => self.folder(&here, &name, &slot.path, &meta, Some(real))?,
            Ok(Followed::File(meta)) if wanted.whole => {
                self.file(&here, &name, slot.path.clone(), &meta, true)?;
            }
            Ok(Followed::File(..)) => {}
            Ok(Followed::Special) => self.counts.skipped_special += 1,
            Err(error) => {
                self.problem(&slot.path, error)?;
                self.keep(slot)?;
            }
        }
        self.arrived(slot.folder)
    }
}
