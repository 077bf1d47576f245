//! A snapshot's tree beside the mirror's, folder by folder.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use drawbridge_gather::one_line;
use thiserror::Error;

use super::entry::{facts_of, open, read};
use super::text::{self, Contents};
use crate::engine::{EngineError, EntryFacts, EntryKind, Snapshot, SnapshotEntry};

/// Up to how many bytes a file that is new or gone is shown as a whole: a new snippet of a configuration is, a new log isn't.
const MAX_SHOWN_WHOLE_BYTES: u64 = 64 * 1024;

/// Something of the mirror can't be read.
#[derive(Debug, Error)]
#[error("cannot read {} in the mirror", one_line(path))]
pub struct DiffIoError {
    path: PathBuf,
    source: io::Error,
}

/// What became of an entry.
#[derive(Debug)]
pub(super) struct Change {
    /// `<source>/<path>`.
    pub(super) path: PathBuf,
    /// In the snapshot, if it is there.
    pub(super) before: Option<EntryFacts>,
    /// In the mirror, if it is there.
    pub(super) after: Option<EntryFacts>,
    /// What is known of the content.
    pub(super) contents: Contents,
}

/// What is compared with what.
pub(super) struct Comparison<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) mirror: &'a Path,
    pub(super) stated: super::Stated<'a>,
}

/// A folder that is on one side or on both.
struct Folder {
    path: PathBuf,
    before: Option<SnapshotEntry>,
    in_mirror: bool,
}

type Found = Result<(), super::DiffError>;

impl Comparison<'_> {
    /// Tells every change in the sources `wanted`, or in all, in the order of their paths within a folder; folders come after what
    /// lies beside them.
    pub(super) fn run(&self, wanted: Option<&[OsString]>, tell: &mut dyn FnMut(Change)) -> Found {
        let is_wanted = |name: &OsStr| wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted == name));
        let before = self.snapshot.root()?.into_iter().filter(|entry| is_wanted(&entry.name)).collect();
        let mut names = self.names(Path::new(""))?;
        names.retain(|name| is_wanted(name) && !name.as_encoded_bytes().starts_with(b"."));
        let mut folders = Vec::new();
        self.side_by_side(Path::new(""), before, names, &mut folders, tell)?;
        while let Some(folder) = folders.pop() {
            let before = folder.before.as_ref().map_or_else(|| Ok(Vec::new()), |entry| self.snapshot.folder(entry))?;
            let names = if folder.in_mirror { self.names(&folder.path)? } else { Vec::new() };
            self.side_by_side(&folder.path, before, names, &mut folders, tell)?;
        }
        Ok(())
    }

    fn names(&self, folder: &Path) -> Result<Vec<OsString>, DiffIoError> {
        let path = self.mirror.join(folder);
        let error = |source| DiffIoError { path: path.clone(), source };
        match fs::read_dir(&path) {
            // Nothing has been gathered yet.
            Err(missing) if missing.kind() == io::ErrorKind::NotFound && folder.as_os_str().is_empty() => {
                Ok(Vec::new())
            }
            entries => {
                entries.map_err(error)?.map(|entry| entry.map(|entry| entry.file_name()).map_err(error)).collect()
            }
        }
    }

    fn side_by_side(
        &self,
        folder: &Path,
        before: Vec<SnapshotEntry>,
        names: Vec<OsString>,
        folders: &mut Vec<Folder>,
        tell: &mut dyn FnMut(Change),
    ) -> Found {
        let mut pairs: BTreeMap<OsString, (Option<SnapshotEntry>, bool)> =
            names.into_iter().map(|name| (name, (None, true))).collect();
        for entry in before {
            let name = entry.name.clone();
            pairs.entry(name).or_default().0 = Some(entry);
        }
        let first = folders.len();
        for (name, (before, in_mirror)) in pairs {
            self.pair(folder.join(name), before, in_mirror, folders, tell)?;
        }
        // The last one is taken first.
        if let Some(new) = folders.get_mut(first..) {
            new.reverse();
        }
        Ok(())
    }

    fn pair(
        &self,
        path: PathBuf,
        entry: Option<SnapshotEntry>,
        in_mirror: bool,
        folders: &mut Vec<Folder>,
        tell: &mut dyn FnMut(Change),
    ) -> Found {
        let before = entry.as_ref().map(|entry| entry.facts.clone());
        let after = if in_mirror { Some(self.facts(&path)?) } else { None };
        let is_folder =
            |facts: &Option<EntryFacts>| facts.as_ref().is_some_and(|facts| facts.kind == EntryKind::Folder);
        let (was, is) = (is_folder(&before), is_folder(&after));
        let contents = match (&before, &after) {
            (Some(old), Some(new)) if old.kind == EntryKind::File && new.kind == EntryKind::File => {
                self.contents(&path, entry.as_ref(), old, new)?
            }
            (Some(file), None) | (None, Some(file)) if file.kind == EntryKind::File => {
                self.whole(&path, entry.as_ref(), file)?
            }
            _ => Contents::None,
        };
        let differs = match (&before, &after) {
            (Some(old), Some(new)) => old.kind != new.kind || contents.differ() || !same_meta(old, new),
            _ => true,
        };
        if was || is {
            folders.push(Folder { path: path.clone(), before: entry.filter(|_| was), in_mirror: is });
        }
        if differs {
            tell(Change { path, before, after, contents });
        }
        Ok(())
    }

    fn facts(&self, path: &Path) -> Result<EntryFacts, super::DiffError> {
        let full = self.mirror.join(path);
        let stated = (self.stated)(path)?;
        facts_of(&full, stated.as_ref()).map_err(|source| DiffIoError { path: full, source }.into())
    }

    /// Two files of one name: whether they differ in content, and how.
    fn contents(
        &self,
        path: &Path,
        entry: Option<&SnapshotEntry>,
        old: &EntryFacts,
        new: &EntryFacts,
    ) -> Result<Contents, super::DiffError> {
        let Some(entry) = entry else { return Ok(Contents::None) };
        // A file that was fetched anew has the source's time; the mirror's own change time, where both are known, gives it away.
        let touched = old.touched.zip(new.touched).is_some_and(|(old, new)| old != new);
        if old.size == new.size && old.modified == new.modified && !touched {
            return Ok(Contents::Same);
        }
        let full = self.mirror.join(path);
        let error = |source| DiffIoError { path: full.clone(), source };
        if old.size.max(new.size) >= text::MAX_TEXT_BYTES {
            let same = old.size == new.size && self.same_bytes(entry, open(&full).map_err(error)?, &full)?;
            return Ok(if same { Contents::Same } else { Contents::Large });
        }
        let before = self.snapshot_bytes(entry)?;
        let after = read(&full, text::MAX_TEXT_BYTES).map_err(error)?;
        Ok(text::compare(&before, &after, path))
    }

    /// A file that is on one side only.
    fn whole(
        &self,
        path: &Path,
        entry: Option<&SnapshotEntry>,
        file: &EntryFacts,
    ) -> Result<Contents, super::DiffError> {
        if file.size > MAX_SHOWN_WHOLE_BYTES {
            return Ok(Contents::Large);
        }
        let full = self.mirror.join(path);
        Ok(match entry {
            Some(entry) => text::compare(&self.snapshot_bytes(entry)?, b"", path),
            None => {
                let bytes = read(&full, MAX_SHOWN_WHOLE_BYTES).map_err(|source| DiffIoError { path: full, source })?;
                text::compare(b"", &bytes, path)
            }
        })
    }

    fn snapshot_bytes(&self, entry: &SnapshotEntry) -> Result<Vec<u8>, EngineError> {
        let most = usize::try_from(text::MAX_TEXT_BYTES).unwrap_or(usize::MAX);
        let mut bytes = Vec::new();
        self.snapshot.read(entry, |part| {
            bytes.extend_from_slice(part);
            bytes.len() < most
        })?;
        Ok(bytes)
    }

    fn same_bytes(&self, entry: &SnapshotEntry, mut file: File, full: &Path) -> Result<bool, super::DiffError> {
        let mut buffer = Vec::new();
        let mut outcome = Ok(true);
        self.snapshot.read(entry, |part| {
            buffer.resize(part.len(), 0);
            outcome = match file.read_exact(&mut buffer) {
                Ok(()) => Ok(buffer == part),
                Err(short) if short.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
                Err(error) => Err(error),
            };
            matches!(outcome, Ok(true))
        })?;
        Ok(outcome.map_err(|source| DiffIoError { path: full.to_owned(), source })?)
    }
}

/// Whether two entries are the same but for their contents. A folder's time changes with what is in it, which is told anyway; a link's
/// says nothing.
fn same_meta(old: &EntryFacts, new: &EntryFacts) -> bool {
    let time = old.kind != EntryKind::File || old.modified == new.modified;
    // Linux gives every link all rights.
    let mode = matches!(old.kind, EntryKind::Link(_)) || old.mode == new.mode;
    time && mode && (old.uid, old.gid) == (new.uid, new.gid)
}
