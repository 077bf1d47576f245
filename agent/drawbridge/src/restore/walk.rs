//! A snapshot's tree, walked without trusting it.
//!
//! Invariants:
//! - no path is told that has an impossible name in it, and none twice;
//! - memory is bounded by the largest folders on the way to one entry, and a path by what Linux takes.

use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use drawbridge_gather::{check_name, in_one_line};

use super::select::{Selection, Want};
use crate::engine::{EngineError, EntryKind, Snapshot, SnapshotEntry};

/// The longest path that Linux takes, in bytes (PATH_MAX less the closing NUL).
const MAX_PATH_BYTES: usize = 4095;

/// The walk was called off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CalledOff;

/// Hears of what is wanted of a snapshot. Every call may call the walk off.
pub(crate) trait Visitor {
    /// A folder, before anything that it holds.
    fn enter(&mut self, path: &Path, folder: &SnapshotEntry, role: Role) -> Result<(), CalledOff>;
    /// Anything else that is wanted.
    fn entry(&mut self, path: &Path, entry: &SnapshotEntry, role: Role) -> Result<(), CalledOff>;
    /// A folder, after everything that it holds.
    fn leave(&mut self, path: &Path) -> Result<(), CalledOff>;
    /// Something that can't be looked at: the entry, with all that it may hold.
    fn trouble(&mut self, path: &Path, because: String) -> Result<(), CalledOff>;
}

/// Why the walk comes by an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It may only lead to what is wanted.
    Way,
    /// A glob names it.
    Named,
    /// All of what holds it is wanted.
    Held,
}

impl Role {
    fn of(want: &Want) -> Self {
        match want {
            _ if !want.ends().is_empty() => Self::Named,
            _ if want.is_whole() => Self::Held,
            _ => Self::Way,
        }
    }
}

enum Step {
    Enter(PathBuf, Box<SnapshotEntry>, Want),
    Leave(PathBuf),
}

/// Tells `visitor` of all of `snapshot` that is wanted: of a folder, what lies in it before what its folders hold. Answers which
/// globs named something.
pub(crate) fn walk(
    snapshot: &Snapshot,
    selection: &Selection,
    visitor: &mut dyn Visitor,
) -> Result<BTreeSet<usize>, CalledOff> {
    let mut walk = Walk { selection, visitor, steps: Vec::new(), matched: BTreeSet::new() };
    walk.folder(Path::new(""), &Want::Sources, snapshot.root())?;
    while let Some(step) = walk.steps.pop() {
        match step {
            Step::Leave(path) => walk.visitor.leave(&path)?,
            Step::Enter(path, entry, want) => {
                walk.visitor.enter(&path, &entry, Role::of(&want))?;
                walk.steps.push(Step::Leave(path.clone()));
                walk.folder(&path, &want, snapshot.folder(&entry))?;
            }
        }
    }
    Ok(walk.matched)
}

struct Walk<'a> {
    selection: &'a Selection,
    visitor: &'a mut dyn Visitor,
    /// What is still to be done, the last one first.
    steps: Vec<Step>,
    matched: BTreeSet<usize>,
}

impl Walk<'_> {
    fn folder(
        &mut self,
        path: &Path,
        want: &Want,
        children: Result<Vec<SnapshotEntry>, EngineError>,
    ) -> Result<(), CalledOff> {
        let children = match children {
            Ok(children) => children,
            Err(error) => {
                let because = format!("what this folder holds is lacking: {}", in_one_line(&error));
                return self.visitor.trouble(path, because);
            }
        };
        let mut names: HashSet<OsString> = HashSet::with_capacity(children.len());
        let first = self.steps.len();
        for entry in children {
            let Some(want) = self.selection.step(want, &entry.name) else { continue };
            let inner = path.join(&entry.name);
            // Before anything is made of the path: joining an absolute name would have left `path` behind.
            if let Err(error) = check_name(&entry.name) {
                let shown = path.join(format!("({:?})", entry.name.to_string_lossy()));
                self.visitor.trouble(&shown, error.to_string())?;
            } else if inner.as_os_str().len() > MAX_PATH_BYTES {
                self.visitor.trouble(&inner, format!("its path has more than {MAX_PATH_BYTES} bytes"))?;
            } else if !names.insert(entry.name.clone()) {
                self.visitor.trouble(&inner, "the snapshot has another entry of this name".to_owned())?;
            } else {
                self.matched.extend(want.ends());
                if entry.facts.kind == EntryKind::Folder {
                    self.steps.push(Step::Enter(inner, Box::new(entry), want));
                } else if want.is_whole() {
                    self.visitor.entry(&inner, &entry, Role::of(&want))?;
                }
            }
        }
        // The last one is taken first.
        if let Some(new) = self.steps.get_mut(first..) {
            new.reverse();
        }
        Ok(())
    }
}
