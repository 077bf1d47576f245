use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

use crate::catalogue::Entry;
use crate::pattern::{Patterns, Wanted};
use crate::room::Held;
use crate::tree::{Meta, Tree, TreeError};

/// What there is to look at in a folder, sorted by name.
pub(super) type Entries = Vec<(OsString, io::Result<Meta>)>;

/// A folder of which not everything is settled.
pub(super) struct OpenFolder {
    pub(super) path: PathBuf,
    pub(super) entries: Vec<Entry>,
    /// What their names and link targets take.
    pub(super) held: Held,
    /// How many of its entries are under way.
    pub(super) waiting: usize,
}

/// Lists a folder; or, where no glob makes that necessary, looks at the wanted names alone: a folder on the way may be one
/// that mustn't be listed.
pub(super) async fn entries<T: Tree>(
    tree: &T,
    patterns: &Patterns,
    dir: &T::Dir,
    wanted: &Wanted,
    held: &mut Held,
) -> Result<Entries, TreeError> {
    let mut entries: Entries = match patterns.names(wanted) {
        None => tree.list(dir, held).await?.into_iter().map(|(name, meta)| (name, Ok(meta))).collect(),
        Some(names) => {
            let mut entries = Vec::with_capacity(names.len());
            for name in names {
                match tree.stat(dir, &name).await {
                    Ok(meta) => entries.push((name, Ok(meta))),
                    Err(TreeError::Entry(error)) => entries.push((name, Err(error))),
                    Err(fatal) => return Err(fatal),
                }
            }
            entries
        }
    };
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}
