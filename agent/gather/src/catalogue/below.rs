use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Catalogue, CatalogueError, Folder};
use crate::tree::Kind;

/// Goes through a folder of a catalogue and all below it. Of paths, it holds only those of the folders on the way.
pub(crate) struct Below {
    first: Option<PathBuf>,
    /// The folders on the way, with how many of their entries were looked at.
    way: Vec<(Arc<Folder>, usize)>,
}

impl Below {
    pub(crate) fn of(path: &Path) -> Self {
        Self { first: Some(path.to_owned()), way: Vec::new() }
    }

    /// The next folder; each comes after the one that it lies in.
    pub(crate) fn next(&mut self, catalogue: &mut Catalogue) -> Result<Option<Arc<Folder>>, CatalogueError> {
        while let Some(path) = self.next_path() {
            if let Some(folder) = catalogue.folder(&path)? {
                self.way.push((Arc::clone(&folder), 0));
                return Ok(Some(folder));
            }
        }
        Ok(None)
    }

    fn next_path(&mut self) -> Option<PathBuf> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let (folder, looked_at) = self.way.last_mut()?;
            match folder.entries.get(*looked_at) {
                None => drop(self.way.pop()),
                Some(entry) => {
                    *looked_at += 1;
                    if entry.meta.kind == Kind::Directory {
                        return Some(folder.path().join(&entry.name));
                    }
                }
            }
        }
    }
}
