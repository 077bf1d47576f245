//! A walk that restores what it is told of.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use drawbridge_gather::in_one_line;

use super::target::{Because, Target};
use super::walk::{CalledOff, Role, Visitor};
use super::{Lack, Listener, Restored};
use crate::engine::{EntryFacts, EntryKind, Snapshot, SnapshotEntry};

pub(super) struct Restorer<'a> {
    snapshot: &'a Snapshot,
    target: &'a Target,
    listener: &'a mut dyn Listener,
    called_off: &'a AtomicBool,
    /// The folders on the way to where the walk is.
    levels: Vec<Level>,
    restored: Restored,
}

/// A folder of the snapshot.
struct Level {
    path: PathBuf,
    facts: EntryFacts,
    made: Made,
}

enum Made {
    /// Nothing in it was wanted as yet.
    NotYet,
    Yes,
    /// And why.
    Never(String),
}

impl<'a> Restorer<'a> {
    pub(super) fn new(
        snapshot: &'a Snapshot,
        target: &'a Target,
        listener: &'a mut dyn Listener,
        called_off: &'a AtomicBool,
    ) -> Self {
        let restored = Restored { owners: target.owners(), ..Restored::default() };
        Self { snapshot, target, listener, called_off, levels: Vec::new(), restored }
    }

    pub(super) fn done(self) -> Restored {
        self.restored
    }

    /// Makes the folders on the way that aren't made yet.
    fn make_levels(&mut self) -> Result<(), Because> {
        for level in &mut self.levels {
            match &level.made {
                Made::Yes => {}
                Made::Never(because) => return Err(Because::Folder(because.clone())),
                Made::NotYet => match self.target.make(&level.path) {
                    Ok(()) => level.made = Made::Yes,
                    Err(because) => {
                        let because = in_one_line(&because);
                        level.made = Made::Never(because.clone());
                        return Err(Because::Folder(because));
                    }
                },
            }
        }
        Ok(())
    }

    fn one(&mut self, path: &Path, entry: &SnapshotEntry) -> Result<(), Because> {
        self.make_levels()?;
        let Self { snapshot, target, listener, called_off, .. } = self;
        match &entry.facts.kind {
            EntryKind::File => target.file(path, snapshot, entry, &mut |bytes| listener.bytes(bytes), called_off),
            EntryKind::Link(to) => target.link(path, to, &entry.facts),
            EntryKind::Folder | EntryKind::Other => Err(Because::Special),
        }
    }

    fn lacks(&mut self, path: &Path, because: &str) {
        self.restored.lacking += 1;
        self.listener.lacks(&Lack::new(path, because));
    }

    fn note_attributes(&mut self, path: &Path, facts: &EntryFacts) {
        if facts.attributes > 0 {
            self.restored.without_attributes += 1;
            let because = format!("restored without its {} extended attributes", facts.attributes);
            self.listener.notes(&Lack::new(path, &because));
        }
    }

    fn go_on(&self) -> Result<(), CalledOff> {
        if self.called_off.load(Ordering::Relaxed) { Err(CalledOff) } else { Ok(()) }
    }
}

impl Visitor for Restorer<'_> {
    fn enter(&mut self, path: &Path, folder: &SnapshotEntry, role: Role) -> Result<(), CalledOff> {
        self.go_on()?;
        self.levels.push(Level { path: path.to_owned(), facts: folder.facts.clone(), made: Made::NotYet });
        if role != Role::Way
            && let Err(because) = self.make_levels()
        {
            self.lacks(path, &in_one_line(&because));
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, entry: &SnapshotEntry, _: Role) -> Result<(), CalledOff> {
        self.go_on()?;
        match self.one(path, entry) {
            Ok(()) => {
                self.note_attributes(path, &entry.facts);
                let counts = &mut self.restored.counts;
                if entry.facts.kind == EntryKind::File {
                    counts.files += 1;
                    counts.bytes += entry.facts.size;
                } else {
                    counts.links += 1;
                }
            }
            Err(Because::CalledOff) => return Err(CalledOff),
            Err(because) => self.lacks(path, &in_one_line(&because)),
        }
        Ok(())
    }

    fn leave(&mut self, path: &Path) -> Result<(), CalledOff> {
        let Some(Level { facts, made: Made::Yes, .. }) = self.levels.pop() else { return Ok(()) };
        match self.target.finish(path, &facts) {
            Ok(()) => {
                self.note_attributes(path, &facts);
                self.restored.counts.folders += 1;
            }
            Err(because) => self.lacks(path, &in_one_line(&because)),
        }
        Ok(())
    }

    fn trouble(&mut self, path: &Path, because: String) -> Result<(), CalledOff> {
        self.lacks(path, &because);
        self.go_on()
    }
}
