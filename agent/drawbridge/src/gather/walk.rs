//! From a source into its folder in the mirror, entry by entry.
//!
//! Invariants:
//! - what can't be read keeps its last good copy in the mirror and is named as a problem;
//! - nothing leaves the mirror before the whole source has been read without a problem: an unreachable disk must not look
//!   like a deleted one;
//! - memory is bounded by the largest directory, disk by the room that is left.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use globset::GlobSet;
use thiserror::Error;

use super::copy::Copied;
use super::mirror::{MirrorDir, Workshop};
use super::outcome::{Counts, MAX_PROBLEMS_NAMED, SourceOutcome, SourceState, in_one_line};
use super::tree::{Kind, Meta, Tree, TreeError, check_name};
use super::wanted::Wanted;
use crate::ui::Transfer;

/// The longest target of a symbolic link, in bytes (PATH_MAX of Linux, without its end).
const MAX_LINK_BYTES: usize = 4095;

/// What a source may ask of this machine.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The deepest directory, counted from `/`. Each one takes two of the process's file descriptors while it is open.
    pub(super) depth: usize,
    /// The most entries of one source: more than any file server that belongs into this program, fewer than would keep it
    /// busy for days.
    pub(super) entries: u64,
    /// Bytes that gathering leaves free on the mirror's file system, for the repository and for everybody else.
    pub(super) room: u64,
    /// The longest time for one source. A host that trickles must not keep the others from being backed up.
    pub(super) time: Duration,
}

impl Limits {
    pub(super) const DEFAULT: Self =
        Self { depth: 200, entries: 10_000_000, room: 256 * 1024 * 1024, time: Duration::from_secs(6 * 3600) };
}

/// Why a walk ended before its end.
#[derive(Debug, Error)]
pub(super) enum WalkError {
    #[error("the source can't be read any further")]
    Source(#[source] TreeError),
    #[error("the mirror can't be written at {}", path.display())]
    Mirror { path: PathBuf, source: io::Error },
    #[error("the source has more than {0} entries: exclude what isn't needed")]
    TooMany(u64),
    #[error("reading the source took longer than {} minutes", .0.as_secs() / 60)]
    TooSlow(Duration),
    #[error("gathering was called off")]
    CalledOff,
}

/// Everything that one source's walk needs.
pub(super) struct Job<'a> {
    pub(super) name: &'a str,
    pub(super) paths: &'a [PathBuf],
    pub(super) exclude: &'a GlobSet,
    pub(super) limits: Limits,
    pub(super) workshop: &'a Workshop,
    pub(super) mirror: &'a MirrorDir,
    pub(super) transfer: &'a Transfer,
    pub(super) called_off: Arc<AtomicBool>,
}

/// Brings the source's folder in the mirror up to date.
pub(super) fn gather<T: Tree>(tree: &T, job: &Job<'_>) -> SourceOutcome {
    let mut walk = Walk::new(tree, job);
    let state = match walk.run() {
        Err(error) => SourceState::Failed { error: in_one_line(&error) },
        Ok(()) if walk.problem_count == 0 => SourceState::Complete,
        Ok(()) => SourceState::Partial { count: walk.problem_count, problems: walk.problems },
    };
    SourceOutcome { name: job.name.to_owned(), state, counts: walk.counts }
}

pub(super) struct Walk<'a, T: Tree> {
    pub(super) tree: &'a T,
    pub(super) job: &'a Job<'a>,
    began: Instant,
    entries: u64,
    pub(super) counts: Counts,
    problem_count: u64,
    problems: Vec<String>,
    /// What the source has no more: the directory, from the source's folder on, and the name in it.
    gone: Vec<(PathBuf, OsString)>,
    pub(super) buffer: Vec<u8>,
}

/// A place in both trees.
struct Place<'p, T: Tree> {
    from: &'p T::Dir,
    to: &'p MirrorDir,
    wanted: &'p Wanted,
    path: &'p Path,
    depth: usize,
}

/// What there is to look at in a directory. Without [`Meta`], nobody could tell what it is now.
type Entries = Vec<(OsString, Option<Meta>)>;

impl<'a, T: Tree> Walk<'a, T> {
    fn new(tree: &'a T, job: &'a Job<'a>) -> Self {
        Self {
            tree,
            job,
            began: Instant::now(),
            entries: 0,
            counts: Counts::default(),
            problem_count: 0,
            problems: Vec::new(),
            gone: Vec::new(),
            buffer: vec![0; super::copy::BUFFER_BYTES],
        }
    }

    fn run(&mut self) -> Result<(), WalkError> {
        let top = Path::new("/");
        let (root, meta) = self.tree.root().map_err(WalkError::Source)?;
        let mirror = mirrored(top, self.job.mirror.ensure_dir(OsStr::new(self.job.name)))?;
        let wanted = Wanted::new(self.job.paths);
        self.directory(&Place { from: &root, to: &mirror, wanted: &wanted, path: top, depth: 0 })?;
        mirrored(top, mirror.ensure_own_meta(&meta))?;
        if self.problem_count == 0 { self.remove_gone(&mirror) } else { Ok(()) }
    }

    fn directory(&mut self, at: &Place<'_, T>) -> Result<(), WalkError> {
        let Some(entries) = self.entries_of(at)? else { return Ok(()) };
        let mut kept: HashSet<&OsStr> = HashSet::with_capacity(entries.len());
        for (name, meta) in &entries {
            self.check_limits()?;
            let path = at.path.join(name);
            if self.job.exclude.is_match(&path) || self.entry(at, name, &path, meta.as_ref())? == Fate::Gone {
                continue;
            }
            kept.insert(name);
        }
        for name in mirrored(at.path, at.to.names())? {
            if !kept.contains(name.as_os_str()) {
                let parent = at.path.strip_prefix("/").unwrap_or(at.path);
                self.gone.push((parent.to_owned(), name));
            }
        }
        Ok(())
    }

    /// What there is to look at; `None` when nobody can tell.
    fn entries_of(&mut self, at: &Place<'_, T>) -> Result<Option<Entries>, WalkError> {
        if at.wanted.whole {
            return match self.tree.list(at.from) {
                Ok(entries) => Ok(Some(entries.into_iter().map(|(name, meta)| (name, Some(meta))).collect())),
                Err(error) => self.problem(at.path, error).map(|()| None),
            };
        }
        let mut entries = Vec::with_capacity(at.wanted.children.len());
        for name in at.wanted.children.keys() {
            // Whether or not a configured path is there, its last good copy stays.
            let meta = match self.tree.stat(at.from, name) {
                Ok(meta) => Some(meta),
                Err(error) => self.problem(&at.path.join(name), error).map(|()| None)?,
            };
            entries.push((name.clone(), meta));
        }
        Ok(Some(entries))
    }

    fn entry(&mut self, at: &Place<'_, T>, name: &OsStr, path: &Path, meta: Option<&Meta>) -> Result<Fate, WalkError> {
        let (Some(meta), Some(wanted)) = (meta, at.wanted.child(name)) else { return Ok(Fate::Kept) };
        if let Err(error) = check_name(name) {
            return self.problem(path, TreeError::Entry(error)).map(|()| Fate::Kept);
        }
        match meta.kind {
            Kind::Directory => self.subdirectory(at, name, path, meta, wanted),
            Kind::Symlink if !at.wanted.whole => self.kept_with_problem(
                path,
                "a configured path must not lead through a symbolic link: name the path that it links to",
            ),
            _ if !wanted.whole => {
                self.kept_with_problem(path, "is not a directory, but a configured path leads through it")
            }
            Kind::Symlink => self.symlink(at, name, path, meta),
            Kind::File => self.file(at, name, path, meta),
            Kind::Special => {
                self.counts.skipped_special += 1;
                Ok(Fate::Gone)
            }
        }
    }

    fn subdirectory(
        &mut self,
        at: &Place<'_, T>,
        name: &OsStr,
        path: &Path,
        meta: &Meta,
        wanted: &Wanted,
    ) -> Result<Fate, WalkError> {
        let depth = at.depth + 1;
        if depth > self.job.limits.depth {
            return self.kept_with_problem(path, "lies deeper than directories are followed");
        }
        let from = match self.tree.open_dir(at.from, name) {
            Ok(from) => from,
            Err(error) => return self.fate_of(at, path, error),
        };
        let to = mirrored(path, at.to.ensure_dir(name))?;
        self.directory(&Place { from: &from, to: &to, wanted, path, depth })?;
        mirrored(path, to.ensure_own_meta(meta))?;
        Ok(Fate::Kept)
    }

    fn symlink(&mut self, at: &Place<'_, T>, name: &OsStr, path: &Path, meta: &Meta) -> Result<Fate, WalkError> {
        let target = match self.tree.read_link(at.from, name) {
            Ok(target) => target,
            Err(error) => return self.fate_of(at, path, error),
        };
        let bytes = target.as_encoded_bytes();
        if bytes.is_empty() || bytes.len() > MAX_LINK_BYTES || bytes.contains(&0) {
            return self.kept_with_problem(path, "is a symbolic link to an impossible target");
        }
        mirrored(path, at.to.ensure_symlink(name, &target, meta))?;
        Ok(Fate::Kept)
    }

    fn file(&mut self, at: &Place<'_, T>, name: &OsStr, path: &Path, meta: &Meta) -> Result<Fate, WalkError> {
        let copy = mirrored(path, at.to.stat(name))?.filter(|found| found.kind == Kind::File);
        if let Some(copy) = copy
            && (copy.size, copy.mtime) == (meta.size, meta.mtime)
        {
            mirrored(path, at.to.ensure_meta(name, &copy, meta))?;
            self.counts.files += 1;
            self.counts.bytes = self.counts.bytes.saturating_add(meta.size);
            return Ok(Fate::Kept);
        }
        match self.copy(at.from, at.to, name, path)? {
            Copied::Done { bytes } => {
                self.counts.files += 1;
                self.counts.copied_files += 1;
                self.counts.bytes = self.counts.bytes.saturating_add(bytes);
                self.counts.copied_bytes = self.counts.copied_bytes.saturating_add(bytes);
                Ok(Fate::Kept)
            }
            Copied::Unreadable(error) => self.fate_of(at, path, error),
        }
    }

    /// What becomes of an entry that was listed and couldn't be read.
    fn fate_of(&mut self, at: &Place<'_, T>, path: &Path, error: TreeError) -> Result<Fate, WalkError> {
        // A name that isn't UTF-8 comes through SFTP in a form that leads nowhere: it is there all the same.
        let mangled = path.as_os_str().to_string_lossy().contains('\u{fffd}');
        if error.is_not_found() && at.wanted.whole && !mangled {
            // Deleted since it was listed, as files are.
            return Ok(Fate::Gone);
        }
        self.problem(path, error).map(|()| Fate::Kept)
    }

    /// Takes note of what can't be read, unless it is the source itself.
    fn problem(&mut self, path: &Path, error: TreeError) -> Result<(), WalkError> {
        match error {
            lost @ TreeError::Lost(_) => Err(WalkError::Source(lost)),
            TreeError::Entry(error) => {
                self.note(path, &in_one_line(&error));
                Ok(())
            }
        }
    }

    fn kept_with_problem(&mut self, path: &Path, what: &str) -> Result<Fate, WalkError> {
        self.note(path, what);
        Ok(Fate::Kept)
    }

    fn note(&mut self, path: &Path, what: &str) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS_NAMED {
            self.problems.push(format!("{}: {what}", path.display()));
        }
    }

    fn check_limits(&mut self) -> Result<(), WalkError> {
        self.entries += 1;
        if self.entries > self.job.limits.entries {
            return Err(WalkError::TooMany(self.job.limits.entries));
        }
        self.check_time()
    }

    pub(super) fn check_time(&self) -> Result<(), WalkError> {
        if self.job.called_off.load(Ordering::Relaxed) {
            return Err(WalkError::CalledOff);
        }
        if self.began.elapsed() > self.job.limits.time {
            return Err(WalkError::TooSlow(self.job.limits.time));
        }
        Ok(())
    }

    fn remove_gone(&mut self, mirror: &MirrorDir) -> Result<(), WalkError> {
        for (parent, name) in std::mem::take(&mut self.gone) {
            let path = parent.join(&name);
            mirrored(&path, remove(mirror, &parent, &name))?;
            self.counts.removed += 1;
        }
        Ok(())
    }
}

/// Names the entry at which the mirror failed.
pub(super) fn mirrored<V>(path: &Path, result: io::Result<V>) -> Result<V, WalkError> {
    result.map_err(|source| WalkError::Mirror { path: path.to_owned(), source })
}

fn remove(mirror: &MirrorDir, parent: &Path, name: &OsStr) -> io::Result<()> {
    let mut below: Option<MirrorDir> = None;
    for part in parent.iter() {
        below = Some(below.as_ref().unwrap_or(mirror).open(part)?);
    }
    below.as_ref().unwrap_or(mirror).remove_keeping_time(name)
}

/// Whether the mirror goes on having an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Kept,
    Gone,
}
