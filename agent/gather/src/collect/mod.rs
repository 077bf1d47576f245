//! From a source into staging: what is there is listed, what is new or has changed is fetched, and a new catalogue says what
//! the mirror is to hold. The mirror itself isn't touched.
//!
//! Invariants:
//! - what can't be read keeps its last good copy and is named as a problem;
//! - memory is bounded: by the largest folder, by the number of changed files, by what is under way at once, and all names
//!   that are held together by [`Room`];
//! - what is open is bounded: by what is under way at once, and by how deep folders are followed.

mod append;
mod decide;
mod fetch;
mod folder;
mod links;
mod settle;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;
use futures::future::LocalBoxFuture;
use futures::stream::FuturesUnordered;
use thiserror::Error;

use crate::Progress;
use crate::catalogue::{Catalogue, CatalogueError, CatalogueWriter, Draft, Entry, Folder, Header};
use crate::mirror::MirrorDir;
use crate::outcome::{Counts, Problems};
use crate::pattern::{Patterns, Wanted};
use crate::preview::Coming;
use crate::room::{Held, Room};
use crate::source::{Files, Limits};
use crate::staging::Staging;
use crate::throttle::Throttle;
use crate::tree::{Followed, Meta, Tree, TreeError};
use decide::HalfListed;
#[cfg(test)]
pub(crate) use fetch::check_room;
use fetch::{Fetched, Task};
use folder::OpenFolder;

/// The longest path, and so the longest target of a symbolic link, in bytes (PATH_MAX of Linux, without its end).
pub(crate) const MAX_PATH_BYTES: usize = 4095;

/// Entries aren't looked at while so many files wait to be fetched, or so much else is under way: each takes memory.
const MAX_FILES_WAITING: usize = 4096;

/// Folders aren't listed while more files wait than so many times those that are fetched at once: each may keep another
/// folder open.
const FILES_AHEAD: usize = 32;

/// Why a source can't be read to its end.
#[derive(Debug, Error)]
pub(crate) enum CollectError {
    #[error("the source can't be read any further")]
    Source(#[source] TreeError),
    #[error("the mirror can't be written at {}", path.display())]
    Mirror { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    #[error("the source has more than {0} entries: exclude what isn't needed, or raise max_entries")]
    TooMany(u64),
    #[error(
        "the names of what the source has at once take more memory than {0} entries should: exclude what isn't needed, or raise max_entries"
    )]
    TooLong(u64),
    #[error("the source has more than {0} bytes: exclude what isn't needed, or raise max_size")]
    TooLarge(u64),
    #[error("gathering was called off")]
    CalledOff,
}

impl CollectError {
    /// Whether another attempt might fare better.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Source(TreeError::Lost(_)))
    }
}

/// Everything that collecting one source needs.
pub(crate) struct Job<'a> {
    pub(crate) files: &'a Files,
    pub(crate) limits: &'a Limits,
    pub(crate) patterns: &'a Patterns,
    /// How many of the patterns, from the first, must lead to something.
    pub(crate) required: usize,
    /// The longest path that the mirror takes, in bytes.
    pub(crate) longest_path: usize,
    /// The source's folder in the mirror, if there is one yet.
    pub(crate) mirror: Option<&'a MirrorDir>,
    pub(crate) old: &'a RefCell<Option<Catalogue>>,
    /// Not all that earlier gatherings fetched is known to be on the disk.
    pub(crate) unsettled: bool,
    /// Nor has this machine been up since: what they fetched may have lost its content.
    pub(crate) distrust: bool,
    pub(crate) errand: Errand<'a>,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) throttles: [&'a Throttle; 2],
    pub(crate) called_off: &'a AtomicBool,
}

impl Job<'_> {
    /// What the last catalogue says of the folder `path`.
    fn old_folder(&self, path: &Path) -> Result<Option<Arc<Folder>>, CatalogueError> {
        self.old.borrow_mut().as_mut().map_or(Ok(None), |old| old.folder(path))
    }

    /// Why the source can't be read any further.
    fn fatal(&self, error: TreeError) -> CollectError {
        match error {
            TreeError::TooMany => CollectError::TooMany(self.limits.entries),
            TreeError::TooLong => CollectError::TooLong(self.limits.entries),
            other => CollectError::Source(other),
        }
    }

    /// Takes so many more bytes of the source's room.
    fn take(&self, held: &mut Held, bytes: usize) -> Result<(), CollectError> {
        held.take(bytes).map_err(|error| self.fatal(error))
    }

    /// What the last catalogue says of the entry at `path`.
    pub(crate) fn old_entry(&self, path: &Path) -> Result<Option<Entry>, CatalogueError> {
        self.old.borrow_mut().as_mut().map_or(Ok(None), |old| old.entry(path))
    }
}

/// What a source is listed for.
pub(crate) enum Errand<'a> {
    /// To fetch what is new or has changed.
    Fetch {
        staging: &'a Staging,
        /// Where files go that don't pass their checks.
        aside: &'a Path,
        catalogue: &'a Path,
        place: &'a str,
        boot: &'a str,
    },
    /// To say what would be fetched.
    Preview(&'a dyn Fn(Coming)),
}

/// What collecting a source came to.
pub(crate) struct Collected {
    /// The new catalogue; none of a preview.
    pub(crate) draft: Option<Draft>,
    pub(crate) counts: Counts,
    pub(crate) problems: Problems,
    /// The first of the files that changed whenever they were read.
    pub(crate) changed: Vec<String>,
    /// Of the files in the last catalogue, those that the new one still has.
    pub(crate) still_there: u64,
}

/// A folder that is to be listed when its turn comes. It isn't open: there may be many.
struct Later<T: Tree> {
    parent: Rc<Todo<T>>,
    name: OsString,
    /// It is a link that leads to this folder.
    followed: Option<PathBuf>,
}

impl<T: Tree> Later<T> {
    fn bytes(&self) -> usize {
        self.name.len() + self.followed.as_ref().map_or(0, |real| real.as_os_str().len())
    }
}

/// A folder whose turn to be listed has come.
struct Todo<T: Tree> {
    dir: T::Dir,
    path: PathBuf,
    wanted: Wanted,
    depth: usize,
    /// Paths without links, if links are followed: of this folder, and of those in which one was followed to get here.
    real: Vec<PathBuf>,
    /// What its paths take.
    _held: Held,
}

/// Something under way that has ended.
enum Done<T: Tree> {
    Listed(Todo<T>, Result<folder::Entries, TreeError>, Held),
    Linked(Slot, Meta, Result<OsString, TreeError>),
    Followed(Box<(Slot, Rc<Todo<T>>, Wanted)>, Result<Followed, TreeError>),
    Fetched(Box<Task<T>>, Result<Fetched, CollectError>),
    Probed(PathBuf, Result<(), TreeError>),
}

/// An entry that isn't settled yet: its folder, and its path.
#[derive(Debug, Clone)]
struct Slot {
    folder: u64,
    path: PathBuf,
}

struct Collector<'a, T: Tree> {
    tree: &'a T,
    job: &'a Job<'a>,
    running: FuturesUnordered<LocalBoxFuture<'a, Done<T>>>,
    /// How many of them list, and how many fetch.
    listing: usize,
    fetching: usize,
    todo: Vec<Later<T>>,
    /// What they take.
    todo_held: Held,
    room: Rc<Room>,
    waiting: VecDeque<Task<T>>,
    half_listed: VecDeque<HalfListed<T>>,
    open: HashMap<u64, OpenFolder>,
    next_folder: u64,
    writer: Option<CatalogueWriter>,
    /// Which patterns have led to something, or have been complained about.
    led: Vec<bool>,
    entries: u64,
    counts: Counts,
    problems: Problems,
    changed: Vec<String>,
    still_there: u64,
}

/// Collects everything that the job's patterns name.
pub(crate) async fn collect<T: Tree>(tree: &T, job: &Job<'_>) -> Result<Collected, CollectError> {
    let (root, meta) = tree.root().await.map_err(CollectError::Source)?;
    let writer = match &job.errand {
        Errand::Preview(_) => None,
        Errand::Fetch { catalogue, place, boot, .. } => {
            let header = Header { place: (*place).to_owned(), root: meta, boot: (*boot).to_owned() };
            Some(CatalogueWriter::begin(catalogue, &header)?)
        }
    };
    let room = Room::new(job.limits.entries);
    let mut collector = Collector {
        tree,
        job,
        running: FuturesUnordered::new(),
        listing: 0,
        fetching: 0,
        todo: Vec::new(),
        todo_held: room.hold(),
        waiting: VecDeque::new(),
        half_listed: VecDeque::new(),
        open: HashMap::new(),
        next_folder: 0,
        writer,
        led: vec![false; job.patterns.len()],
        entries: 0,
        counts: Counts::default(),
        problems: Problems::default(),
        changed: Vec::new(),
        still_there: 0,
        room,
    };
    let path = PathBuf::from("/");
    let (real, held) = (vec![path.clone()], collector.room.hold());
    collector.list(Todo { dir: root, path, wanted: job.patterns.root(), depth: 0, real, _held: held });
    collector.run().await?;
    collector.end()
}

impl<'a, T: Tree> Collector<'a, T> {
    async fn run(&mut self) -> Result<(), CollectError> {
        loop {
            if self.job.called_off.load(Ordering::Relaxed) {
                return Err(CollectError::CalledOff);
            }
            self.look_on()?;
            self.begin_more()?;
            match self.running.next().await {
                None => return Ok(()),
                Some(done) => self.take_in(done)?,
            }
        }
    }

    fn begin_more(&mut self) -> Result<(), CollectError> {
        let pace = self.tree.pace();
        while self.fetching < pace.files {
            let Some(task) = self.waiting.pop_front() else { break };
            self.fetching += 1;
            let (tree, job) = (self.tree, self.job);
            self.running.push(Box::pin(async move {
                let fetched = fetch::fetch(tree, job, &task).await;
                Done::Fetched(Box::new(task), fetched)
            }));
        }
        let files_ahead = pace.files.saturating_mul(FILES_AHEAD);
        while self.listing < pace.folders && self.half_listed.is_empty() && self.waiting.len() <= files_ahead {
            let Some(later) = self.todo.pop() else { break };
            self.its_turn(later)?;
        }
        Ok(())
    }

    fn list(&mut self, todo: Todo<T>) {
        self.listing += 1;
        let (tree, patterns, mut held) = (self.tree, self.job.patterns, self.room.hold());
        self.running.push(Box::pin(async move {
            let entries = folder::entries(tree, patterns, &todo.dir, &todo.wanted, &mut held).await;
            Done::Listed(todo, entries, held)
        }));
    }

    fn take_in(&mut self, done: Done<T>) -> Result<(), CollectError> {
        match done {
            Done::Listed(todo, entries, held) => {
                self.listing -= 1;
                self.listed(todo, entries, held)
            }
            Done::Linked(slot, meta, target) => self.linked(&slot, meta, target),
            Done::Followed(from, target) => {
                let (slot, todo, wanted) = *from;
                self.followed(&slot, &todo, &wanted, target)
            }
            Done::Fetched(task, fetched) => {
                self.fetching -= 1;
                self.fetched(*task, fetched?)
            }
            Done::Probed(path, probed) => match probed {
                Ok(()) => Ok(()),
                Err(error) => self.problem(&path, error),
            },
        }
    }

    /// Takes note of what can't be read, unless it is the source itself.
    fn problem(&mut self, path: &Path, error: TreeError) -> Result<(), CollectError> {
        match error {
            TreeError::Entry(error) => {
                self.problems.note(path, &crate::outcome::in_one_line(&error));
                Ok(())
            }
            fatal => Err(self.job.fatal(fatal)),
        }
    }

    fn end(mut self) -> Result<Collected, CollectError> {
        for (index, led) in self.led.iter().enumerate() {
            if let Some(pattern) = self.job.patterns.get(index).filter(|_| !led && index < self.job.required) {
                self.problems.note(Path::new(&pattern.to_string()), "leads to nothing");
            }
        }
        let Self { counts, problems, changed, still_there, writer, .. } = self;
        let draft = writer.map(CatalogueWriter::finish).transpose()?;
        Ok(Collected { draft, counts, problems, changed, still_there })
    }

    fn write(&mut self, folder: &Folder) -> Result<(), CollectError> {
        match &mut self.writer {
            Some(writer) => Ok(writer.add(folder)?),
            None => Ok(()),
        }
    }
}

/// Names the entry at which the mirror failed.
pub(crate) fn mirrored<V>(path: &Path, result: io::Result<V>) -> Result<V, CollectError> {
    result.map_err(|source| CollectError::Mirror { path: path.to_owned(), source })
}
