//! Restoring: what a snapshot holds, written below a folder, and read back.
//!
//! Invariants that this module owns:
//! - nothing is written outside the target, whatever a snapshot says: every step is relative to an open folder of the target and goes
//!   through no link, and no name is used before it was checked;
//! - what has its final name is whole: a file grows under a name of ours, is read back and compared with the hashes that the
//!   repository states, and is then renamed. Whatever fails on the way leaves nothing;
//! - nothing is left out in silence: what isn't restored is told, each by its path;
//! - memory doesn't grow with a file's size, nor with the number of files.

mod place;
mod select;
mod target;
mod walk;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use drawbridge_gather::{in_one_line, one_line};
use serde::Serialize;
use thiserror::Error;

use crate::engine::{EntryKind, Snapshot, SnapshotEntry};
use place::Restorer;

pub use select::Selection;
pub use target::{Target, TargetError};
pub(crate) use walk::{CalledOff, Role, Visitor, walk};

/// What is wanted of a snapshot, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Regular files.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Folders.
    pub folders: u64,
    /// Symbolic links.
    pub links: u64,
}

/// What a restore came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// What was restored; every file was read back and compared.
    #[serde(flatten)]
    pub counts: Counts,
    /// How many entries are lacking; each was told.
    pub lacking: u64,
    /// Entries that were restored without their extended attributes.
    pub without_attributes: u64,
    /// Whether everything got its owner and group.
    pub owners: bool,
}

/// Something that isn't restored, or not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// Its path: `<source>/<path>`.
    pub path: String,
    /// Why, in a line.
    pub because: String,
}

impl Lack {
    fn new(path: &Path, because: &str) -> Self {
        Self { path: one_line(path), because: one_line(because) }
    }
}

/// Why nothing is restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The snapshot has no such source.
    #[error("the snapshot has no source {name:?}: it has {}", there.join(", "))]
    NoSource {
        /// What was asked for.
        name: String,
        /// What there is.
        there: Vec<String>,
    },
    /// Nothing has such a path.
    #[error("nothing in the snapshot matches {0}: `drawbridge find` tells which snapshots hold something of that name")]
    NoMatch(String),
    /// Nothing is wanted, or the snapshot is empty.
    #[error("the snapshot holds nothing that could be restored")]
    Nothing,
    /// It won't fit.
    #[error(
        "{needed} bytes are to be restored, and the target's file system has room for {room}: choose another --target, or less with --path"
    )]
    NoRoom {
        /// Bytes.
        needed: u64,
        /// Bytes.
        room: u64,
    },
    /// The target can't be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// It was called off; what was restored until then is whole.
    #[error("the restore was called off")]
    CalledOff,
    /// The snapshot's first folder can't be read.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

/// What is heard of a restore on the way.
pub trait Listener {
    /// So many bytes of files are to come.
    fn begins(&mut self, bytes: u64);
    /// So many more bytes are written.
    fn bytes(&mut self, bytes: u64);
    /// Something isn't restored.
    fn lacks(&mut self, lack: &Lack);
    /// Something is restored, but not all of it, and no more can be.
    fn notes(&mut self, lack: &Lack);
}

/// Restores what is wanted of `snapshot` below `target`. Blocks. With `called_off` it ends at the next piece of a file.
///
/// # Errors
/// When nothing is restored, or it was called off. What is lacking is told, and counted in what is answered.
pub fn restore(
    snapshot: &Snapshot,
    selection: &Selection,
    target: &Target,
    listener: &mut dyn Listener,
    called_off: &AtomicBool,
) -> Result<Restored, RestoreError> {
    let counts = measure(snapshot, selection)?;
    let room = target.room()?;
    if counts.bytes > room {
        return Err(RestoreError::NoRoom { needed: counts.bytes, room });
    }
    listener.begins(counts.bytes);
    let mut restorer = Restorer::new(snapshot, target, listener, called_off);
    walk(snapshot, selection, &mut restorer).map_err(|CalledOff| RestoreError::CalledOff)?;
    let restored = restorer.done();
    target.sync()?;
    Ok(restored)
}

/// Restores the one file `entry` as `name` right below `target`, whatever its own name is. Blocks.
///
/// # Errors
/// Says why it can't be restored.
pub(crate) fn restore_one(
    snapshot: &Snapshot,
    entry: &SnapshotEntry,
    target: &Target,
    name: &str,
) -> Result<(), String> {
    let never = AtomicBool::new(false);
    target.file(Path::new(name), snapshot, entry, &mut |_| (), &never).map_err(|because| in_one_line(&because))
}

/// Counts what is wanted of `snapshot`.
///
/// # Errors
/// When it has none of it, although all of it could be looked at.
pub fn measure(snapshot: &Snapshot, selection: &Selection) -> Result<Counts, RestoreError> {
    let there: Vec<_> = snapshot.root()?.into_iter().map(|entry| entry.name).collect();
    if let Some(missing) = selection.sources().iter().find(|name| !there.contains(name)) {
        let there = there.iter().map(one_line).collect();
        return Err(RestoreError::NoSource { name: missing.to_string_lossy().into_owned(), there });
    }
    let mut measure = Measure::default();
    let matched = walk(snapshot, selection, &mut measure).map_err(|CalledOff| RestoreError::CalledOff)?;
    if let Some(glob) = selection.unmatched(&matched).into_iter().next()
        && !measure.troubled
    {
        return Err(RestoreError::NoMatch(glob));
    }
    if measure.counts == Counts::default() && !measure.troubled {
        return Err(RestoreError::Nothing);
    }
    Ok(measure.counts)
}

#[derive(Default)]
struct Measure {
    counts: Counts,
    /// Something can't be looked at; whoever restores it will tell.
    troubled: bool,
}

impl Visitor for Measure {
    fn enter(&mut self, _: &Path, _: &SnapshotEntry, role: Role) -> Result<(), CalledOff> {
        self.counts.folders += u64::from(role != Role::Way);
        Ok(())
    }

    fn entry(&mut self, _: &Path, entry: &SnapshotEntry, _: Role) -> Result<(), CalledOff> {
        match entry.facts.kind {
            EntryKind::File => {
                self.counts.files += 1;
                self.counts.bytes = self.counts.bytes.saturating_add(entry.facts.size);
            }
            EntryKind::Link(_) => self.counts.links += 1,
            EntryKind::Folder => {}
            EntryKind::Other => self.troubled = true,
        }
        Ok(())
    }

    fn leave(&mut self, _: &Path) -> Result<(), CalledOff> {
        Ok(())
    }

    fn trouble(&mut self, _: &Path, _: String) -> Result<(), CalledOff> {
        self.troubled = true;
        Ok(())
    }
}
