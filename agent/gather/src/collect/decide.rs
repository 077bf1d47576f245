//! What becomes of each entry.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use super::append::is_appended;
use super::fetch::{Fetched, Task, Want, open_file};
use super::folder::{Entries, OpenFolder};
use super::{CollectError, Collector, Done, Errand, Later, MAX_FILES_WAITING, Slot, Todo, mirrored};
use crate::catalogue::{Entry, Folder};
use crate::mirror::{MirrorDir, within};
use crate::outcome::MAX_PROBLEMS_NAMED;
use crate::pattern::Wanted;
use crate::preview::{Coming, Why};
use crate::room::Held;
use crate::source::Symlinks;
use crate::staging::Staged;
use crate::tree::{Kind, Meta, Tree, TreeError, check_name};

/// A folder whose entries are being looked at.
pub(super) struct Here<T: Tree> {
    pub(super) todo: Rc<Todo<T>>,
    pub(super) slot: u64,
    pub(super) old: Option<Arc<Folder>>,
    pub(super) mirror: Option<MirrorDir>,
}

/// A folder whose entries haven't all been looked at: of a large one, what is known of every file to fetch would take memory.
pub(super) struct HalfListed<T: Tree> {
    here: Here<T>,
    /// The files that a newest-only rule leaves out.
    dropped: HashSet<OsString>,
    entries: std::vec::IntoIter<(OsString, io::Result<Meta>)>,
    /// The name before.
    last: Option<OsString>,
    /// What the entries take.
    held: Held,
}

impl<T: Tree> Here<T> {
    pub(super) fn slot(&self, path: &Path) -> Slot {
        Slot { folder: self.slot, path: path.to_owned() }
    }

    pub(super) fn old(&self, name: &OsStr) -> Option<&Entry> {
        self.old.as_ref()?.get(name)
    }
}

impl<'a, T: Tree> Collector<'a, T> {
    /// Opens a folder, and begins to list it.
    pub(super) fn its_turn(&mut self, later: Later<T>) -> Result<(), CollectError> {
        self.todo_held.give(later.bytes());
        let Later { parent, name, followed } = later;
        let (tree, path) = (self.tree, parent.path.join(&name));
        let Some(wanted) = self.job.patterns.step(&parent.wanted, &name) else { return Ok(()) };
        // Opening a folder never waits, here or there.
        let dir = futures::executor::block_on(async {
            match &followed {
                None => tree.open_dir(&parent.dir, &name).await,
                Some(real) => tree.open_followed_dir(&parent.dir, &name, real).await,
            }
        });
        let dir = match dir {
            Ok(dir) => dir,
            Err(error) => return self.unlisted(&path, &wanted, error),
        };
        let real = match followed {
            _ if self.job.files.symlinks == Symlinks::Keep => Vec::new(),
            Some(real) => [parent.real.as_slice(), &[real]].concat(),
            None => {
                let mut real = parent.real.clone();
                if let Some(last) = real.last_mut() {
                    last.push(&name);
                }
                real
            }
        };
        let mut held = self.room.hold();
        let bytes = real.iter().chain([&path]).map(|path| path.as_os_str().len()).sum();
        self.job.take(&mut held, bytes)?;
        self.list(Todo { dir, path, wanted, depth: parent.depth + 1, real, _held: held });
        Ok(())
    }

    fn unlisted(&mut self, path: &Path, wanted: &Wanted, error: TreeError) -> Result<(), CollectError> {
        // Deleted since its parent was listed, as folders are.
        if error.is_not_found() && wanted.whole {
            return Ok(());
        }
        self.problem(path, error)?;
        self.keep_folders(path)
    }

    pub(super) fn listed(
        &mut self,
        todo: Todo<T>,
        entries: Result<Entries, TreeError>,
        held: Held,
    ) -> Result<(), CollectError> {
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unlisted(&todo.path, &todo.wanted, error),
        };
        let here = self.open(todo)?;
        let dropped = self.beyond_the_newest(&here.todo, &entries);
        self.tell_what_is_gone(&here, &entries);
        // What isn't looked at yet counts as one more entry under way.
        self.awaited(&here, PathBuf::new());
        self.half_listed.push_back(HalfListed { here, dropped, entries: entries.into_iter(), last: None, held });
        Ok(())
    }

    /// Looks at listed entries, as long as not too much waits or is under way.
    pub(super) fn look_on(&mut self) -> Result<(), CollectError> {
        while self.waiting.len().max(self.running.len()) < MAX_FILES_WAITING {
            let Some(mut half) = self.half_listed.pop_front() else { break };
            match half.entries.next() {
                None => self.arrived(half.here.slot)?,
                Some((name, meta)) => {
                    half.held.give_entry(&name);
                    let path = half.here.todo.path.join(&name);
                    if half.last.as_ref() == Some(&name) {
                        self.problems.note(&path, "is listed twice, and only the first is taken");
                    } else if !half.dropped.contains(&name) {
                        self.entry(&half.here, &name, path, meta)?;
                    }
                    half.last = Some(name);
                    self.half_listed.push_front(half);
                }
            }
        }
        Ok(())
    }

    fn tell_what_is_gone(&self, here: &Here<T>, entries: &Entries) {
        let (Errand::Preview(tell), Some(old)) = (&self.job.errand, &here.old) else { return };
        let listed: HashSet<&OsStr> = entries.iter().map(|(name, _)| name.as_os_str()).collect();
        for gone in old.entries.iter().filter(|entry| !listed.contains(entry.name.as_os_str())) {
            tell(Coming { path: here.todo.path.join(&gone.name), bytes: 0, why: Why::Gone });
        }
    }

    fn open(&mut self, todo: Todo<T>) -> Result<Here<T>, CollectError> {
        let slot = self.next_folder;
        self.next_folder += 1;
        let held = self.room.hold();
        self.open.insert(slot, OpenFolder { path: todo.path.clone(), entries: Vec::new(), held, waiting: 0 });
        self.here(&Rc::new(todo), slot)
    }

    /// The open folder `slot`, to look at its entries.
    pub(super) fn here(&self, todo: &Rc<Todo<T>>, slot: u64) -> Result<Here<T>, CollectError> {
        let mirror = self.job.mirror.map(|mirror| mirrored(&todo.path, mirror.below(within(&todo.path))));
        let mirror = mirror.transpose()?.flatten();
        Ok(Here { todo: Rc::clone(todo), slot, old: self.job.old_folder(&todo.path)?, mirror })
    }

    /// The files that a newest-only rule leaves out.
    fn beyond_the_newest(&self, todo: &Todo<T>, entries: &Entries) -> HashSet<OsString> {
        let mut dropped = HashSet::new();
        for rule in &self.job.files.newest {
            let mut files: Vec<(&OsString, &Meta)> = entries
                .iter()
                .filter_map(|(name, meta)| Some((name, meta.as_ref().ok()?)))
                .filter(|(name, meta)| meta.kind == Kind::File && rule.files.is_match(todo.path.join(name)))
                .collect();
            // Of equally old ones the later name counts as newer: dates in names sort so.
            files.sort_by(|(a, a_meta), (b, b_meta)| (b_meta.mtime, b).cmp(&(a_meta.mtime, a)));
            dropped.extend(files.into_iter().skip(rule.keep).map(|(name, _)| name.clone()));
        }
        dropped
    }

    fn entry(
        &mut self,
        here: &Here<T>,
        name: &OsStr,
        path: PathBuf,
        meta: io::Result<Meta>,
    ) -> Result<(), CollectError> {
        let todo = &here.todo;
        let Some(wanted) = self.job.patterns.step(&todo.wanted, name) else { return Ok(()) };
        let meta = match meta {
            Ok(meta) => meta,
            Err(error) => return self.missing(here, name, &path, error),
        };
        wanted.ends.iter().for_each(|ended| self.has_led(*ended));
        if self.job.files.exclude.is_match(&path) {
            return Ok(());
        }
        self.entries += 1;
        if self.entries > self.job.limits.entries {
            return Err(CollectError::TooMany(self.job.limits.entries));
        }
        if let Err(error) = check_name(name) {
            // No copy of it is kept: by such a name, another entry's would be found.
            return self.problem(&path, TreeError::Entry(error));
        }
        let longest = self.job.longest_path;
        if path.as_os_str().len() > longest {
            let problem = format!("its path is longer than {longest} bytes, which the mirror can't hold: exclude it");
            return self.refuse(here, &path, &problem);
        }
        let through = self.job.patterns.leads_through(&todo.wanted, name);
        let meta = &meta;
        match meta.kind {
            Kind::Directory => self.folder(here, name, &path, meta, None),
            Kind::Symlink if self.job.files.symlinks == Symlinks::Follow => self.follow(here, name, path, wanted),
            Kind::Symlink if wanted.whole => self.symlink(here, name, path, meta),
            Kind::Symlink if through => self.refuse(
                here,
                &path,
                "a configured path must not lead through a symbolic link: name the path that it links to",
            ),
            Kind::File if wanted.whole => self.file(here, name, path, meta, false),
            Kind::Special if wanted.whole => {
                self.counts.skipped_special += 1;
                Ok(())
            }
            _ if through => self.refuse(here, &path, "is not a folder, but a configured path leads through it"),
            _ => Ok(()),
        }
    }

    /// A wanted name that isn't there, or can't be looked at.
    fn missing(&mut self, here: &Here<T>, name: &OsStr, path: &Path, error: io::Error) -> Result<(), CollectError> {
        let named: Vec<usize> = self.job.patterns.naming(&here.todo.wanted, name).collect();
        named.iter().for_each(|pattern| self.has_led(*pattern));
        let needed = named.iter().any(|pattern| *pattern < self.job.required);
        if error.kind() == io::ErrorKind::NotFound && !needed {
            return Ok(());
        }
        self.unreadable(here, path, TreeError::Entry(error))
    }

    fn has_led(&mut self, pattern: usize) {
        if let Some(led) = self.led.get_mut(pattern) {
            *led = true;
        }
    }

    pub(super) fn folder(
        &mut self,
        here: &Here<T>,
        name: &OsStr,
        path: &Path,
        meta: &Meta,
        followed: Option<PathBuf>,
    ) -> Result<(), CollectError> {
        let depth = here.todo.depth + 1;
        if depth > self.job.limits.depth {
            return self.refuse(here, path, "lies deeper than folders are followed: exclude it");
        }
        let later = Later { parent: Rc::clone(&here.todo), name: name.to_owned(), followed };
        self.job.take(&mut self.todo_held, later.bytes())?;
        self.todo.push(later);
        self.has(here.slot, name, meta, OsString::new(), false, false)
    }

    pub(super) fn file(
        &mut self,
        here: &Here<T>,
        name: &OsStr,
        path: PathBuf,
        meta: &Meta,
        followed: bool,
    ) -> Result<(), CollectError> {
        let old = here.old(name).filter(|old| old.meta.kind == Kind::File);
        if meta.size > self.job.limits.file_bytes {
            let problem = format!("has {} bytes, and max_file_size is {}", meta.size, self.job.limits.file_bytes);
            return self.refuse(here, &path, &problem);
        }
        self.counts.files += 1;
        self.counts.bytes = self.counts.bytes.saturating_add(meta.size);
        if self.counts.bytes > self.job.limits.total_bytes {
            return Err(CollectError::TooLarge(self.job.limits.total_bytes));
        }
        let copy = match (&here.mirror, old) {
            (Some(mirror), Some(_)) => mirrored(&path, mirror.stat(name))?,
            _ => None,
        };
        // The mirror's copy, if it is what the catalogue says that it is.
        let copied = old.filter(|old| !(self.job.distrust && old.fetched)).filter(|old| {
            copy.is_some_and(|copy| (copy.kind, copy.size, copy.mtime) == (Kind::File, old.meta.size, old.meta.mtime))
        });
        if let Some(old) = copied.filter(|old| !old.fresh && (old.meta.size, old.meta.mtime) == (meta.size, meta.mtime))
        {
            return self.has(here.slot, name, meta, OsString::new(), false, self.job.unsettled && old.fetched);
        }
        let grown = copied.filter(|old| is_appended(self.job.files, &path, &old.meta, meta)).map(|old| old.meta.size);
        let known = old.is_some();
        self.want(here, name, path, Want { meta: meta.clone(), grown, known, followed })
    }

    fn want(&mut self, here: &Here<T>, name: &OsStr, path: PathBuf, want: Want) -> Result<(), CollectError> {
        match &self.job.errand {
            Errand::Preview(tell) => {
                let (why, bytes) = match (want.grown, want.known) {
                    (Some(from), _) => (Why::Grown, want.meta.size.saturating_sub(from)),
                    (None, true) => (Why::Changed, want.meta.size),
                    (None, false) => (Why::New, want.meta.size),
                };
                self.counts.copied_files += 1;
                self.counts.copied_bytes = self.counts.copied_bytes.saturating_add(bytes);
                tell(Coming { path: path.clone(), bytes, why });
                let (tree, todo, name) = (self.tree, Rc::clone(&here.todo), name.to_owned());
                if here.todo.wanted.whole {
                    return Ok(());
                }
                // A path of the configuration's own: whether it may be read is worth knowing now.
                self.running.push(Box::pin(async move {
                    let opened = open_file(tree, &todo.dir, &name, want.followed).await.map(|_| ());
                    Done::Probed(path, opened)
                }));
                Ok(())
            }
            Errand::Fetch { staging, .. } => {
                if let Some(staged) = staging.find(&path, &want.meta) {
                    return self.staged(&here.slot(&path), &staged);
                }
                let slot = self.awaited(here, path);
                self.waiting.push_back(Task { slot, dir: here.todo.dir.clone(), file: name.to_owned(), want });
                Ok(())
            }
        }
    }

    pub(super) fn fetched(&mut self, task: Task<T>, fetched: Fetched) -> Result<(), CollectError> {
        let slot = task.slot;
        match fetched {
            Fetched::Staged { staged, bytes, changed } => {
                self.counts.copied_files += 1;
                self.counts.copied_bytes = self.counts.copied_bytes.saturating_add(bytes);
                self.counts.changed_while_read += u64::from(changed);
                if changed && self.changed.len() < MAX_PROBLEMS_NAMED {
                    self.changed.push(slot.path.display().to_string());
                }
                self.counts.bytes =
                    self.counts.bytes.saturating_sub(task.want.meta.size).saturating_add(staged.meta.size);
                self.staged(&slot, &staged)?;
            }
            // Deleted since it was listed, as files are.
            Fetched::Unreadable(error) if error.is_not_found() => self.counts.files -= 1,
            Fetched::Unreadable(error) => {
                self.problem(&slot.path, error)?;
                self.keep(&slot)?;
            }
            Fetched::Rejected(why) => {
                self.counts.rejected += 1;
                self.problems.note(&slot.path, &why);
                self.keep(&slot)?;
            }
        }
        self.job.progress.file();
        self.arrived(slot.folder)
    }

    fn staged(&mut self, slot: &Slot, staged: &Staged) -> Result<(), CollectError> {
        let name = slot.path.file_name().unwrap_or_default();
        self.has(slot.folder, name, &staged.meta, OsString::new(), staged.fresh, true)
    }
}
