//! Sources that fail, lie, or never end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::collect::collect;
use crate::room::Held;
use crate::tree::{Followed, Pace, Tree, TreeError, TreeFile};

/// What goes wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It may not be opened.
    Denied,
    /// The connection breaks when it is opened.
    Lost,
    /// It breaks off after its first byte.
    BreaksOff,
    /// The first time, the connection breaks when it is opened.
    LostOnce,
    /// It changes this many times while it is read.
    Changes(u32),
    /// It is gone when it is opened.
    Vanished,
}

#[derive(Clone)]
struct Entry {
    kind: Kind,
    content: Vec<u8>,
    fault: Option<Fault>,
}

/// A tree in memory; every directory is named by its path with a slash at its end.
#[derive(Default)]
struct FaultyTree {
    entries: BTreeMap<String, Entry>,
    changes: Rc<RefCell<u32>>,
    /// Every name is listed twice.
    twice: bool,
    /// How many files were opened.
    opened: RefCell<u32>,
}

impl FaultyTree {
    fn with(mut self, path: &str, kind: Kind, content: &str, fault: Option<Fault>) -> Self {
        self.entries.insert(path.to_owned(), Entry { kind, content: content.into(), fault });
        self
    }

    fn file(self, path: &str, content: &str) -> Self {
        self.with(path, Kind::File, content, None)
    }

    fn bad_file(self, path: &str, content: &str, fault: Fault) -> Self {
        self.with(path, Kind::File, content, Some(fault))
    }

    fn dir(self, path: &str) -> Self {
        self.with(path, Kind::Directory, "", None)
    }

    fn find(&self, path: &str) -> Result<&Entry, TreeError> {
        self.entries.get(path).ok_or(TreeError::Entry(io::ErrorKind::NotFound.into()))
    }

    fn open(&self, path: &str) -> Result<&Entry, TreeError> {
        let entry = self.find(path)?;
        match entry.fault {
            Some(Fault::Denied) => Err(TreeError::Entry(io::ErrorKind::PermissionDenied.into())),
            Some(Fault::Lost) => Err(TreeError::Lost(io::ErrorKind::ConnectionReset.into())),
            Some(Fault::Vanished) => Err(TreeError::Entry(io::ErrorKind::NotFound.into())),
            _ => Ok(entry),
        }
    }
}

fn meta(entry: &Entry, seconds: i64) -> Meta {
    // Somebody's own, so that only root has to change owners.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let size = u64::try_from(entry.content.len()).unwrap();
    Meta { kind: entry.kind, size, allocated: None, mode: 0o755, uid, gid, mtime: Mtime { seconds, nanoseconds: 0 } }
}

fn join(dir: &str, name: &OsStr) -> String {
    format!("{dir}{}", name.to_str().unwrap())
}

impl Tree for FaultyTree {
    type Dir = String;
    type File = FaultyFile;

    fn pace(&self) -> Pace {
        Pace { files: 3, folders: 2 }
    }

    async fn root(&self) -> Result<(String, Meta), TreeError> {
        Ok(("/".to_owned(), meta(&Entry { kind: Kind::Directory, content: Vec::new(), fault: None }, 1)))
    }

    async fn stat(&self, dir: &String, name: &OsStr) -> Result<Meta, TreeError> {
        self.find(&join(dir, name)).map(|entry| meta(entry, 1))
    }

    async fn open_dir(&self, dir: &String, name: &OsStr) -> Result<String, TreeError> {
        self.open(&join(dir, name)).map(|_| join(dir, name) + "/")
    }

    async fn list(&self, dir: &String, _: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let named = |(path, entry): (&String, &Entry)| {
            let name = path.strip_prefix(dir.as_str())?;
            // One level, but for names that only a liar has.
            (!name.contains('/') || name.starts_with("../")).then(|| (OsString::from(name), meta(entry, 1)))
        };
        let once: Vec<_> = self.entries.iter().filter_map(named).collect();
        Ok(if self.twice { [once.clone(), once].concat() } else { once })
    }

    async fn read_link(&self, dir: &String, name: &OsStr) -> Result<OsString, TreeError> {
        self.open(&join(dir, name)).map(|entry| OsString::from(String::from_utf8(entry.content.clone()).unwrap()))
    }

    async fn open_file(&self, dir: &String, name: &OsStr) -> Result<FaultyFile, TreeError> {
        let entry = self.open(&join(dir, name))?.clone();
        if entry.fault == Some(Fault::LostOnce) && *self.changes.borrow() == 0 {
            *self.changes.borrow_mut() = 1;
            return Err(TreeError::Lost(io::ErrorKind::ConnectionReset.into()));
        }
        *self.opened.borrow_mut() += 1;
        Ok(FaultyFile { entry, at: 0, to: 0, changes: Rc::clone(&self.changes) })
    }

    async fn follow(&self, _: &String, _: &OsStr) -> Result<Followed, TreeError> {
        Ok(Followed::Special)
    }
}

struct FaultyFile {
    entry: Entry,
    at: usize,
    to: usize,
    changes: Rc<RefCell<u32>>,
}

impl TreeFile for FaultyFile {
    fn read(&mut self, from: u64, to: u64) {
        (self.at, self.to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        let mut changes = self.changes.borrow_mut();
        match self.entry.fault {
            Some(Fault::BreaksOff) if self.at > 0 => return Err(TreeError::Entry(io::ErrorKind::UnexpectedEof.into())),
            Some(Fault::BreaksOff) => {
                self.at = 1;
                return Ok(Some(Bytes::from_static(b"?")));
            }
            Some(Fault::Changes(times)) if *changes < times && self.at < self.to => *changes += 1,
            _ => {}
        }
        let end = self.to.min(self.entry.content.len());
        let chunk = self.entry.content.get(self.at..end).unwrap_or_default().to_vec();
        self.at = end;
        Ok(if chunk.is_empty() { None } else { Some(Bytes::from(chunk)) })
    }

    async fn after(&mut self) -> Result<Meta, TreeError> {
        Ok(meta(&self.entry, 1 + i64::from(*self.changes.borrow())))
    }
}

/// A mirror to gather faulty trees into: the source `h`, with the path `/d`.
struct Mirrored {
    dir: tempfile::TempDir,
}

impl Mirrored {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn gather(&self, tree: &FaultyTree) -> SourceOutcome {
        self.gather_until(tree, false)
    }

    fn gather_until(&self, tree: &FaultyTree, called_off: bool) -> SourceOutcome {
        let site = Site::new(self.dir.path());
        site.prepare().unwrap();
        let shared = one::Shared {
            site,
            settings: Settings::default(),
            throttle: Throttle::new(None),
            called_off: AtomicBool::new(called_off),
            was_settled: true,
            boot: "this".to_owned(),
        };
        let files = Files { paths: vec![Pattern::new("/d").unwrap()], ..Files::none() };
        let source = Source {
            name: "h".to_owned(),
            place: Place::Local { require_mount: Vec::new() },
            what: What::Files(files),
            limits: Limits::default(),
            rule: SourceRule::default(),
            max_age: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let once = async |job: &collect::Job<'_>| Ok(collect(tree, job).await?);
        runtime.block_on(one::gather_by(&shared, &source, &Deaf, once))
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join("mirror/h").join(path.trim_start_matches('/'))).ok()
    }
}

fn good() -> FaultyTree {
    FaultyTree::default().dir("/d").file("/d/a", "old a").dir("/d/s").file("/d/s/b", "old b").file("/d/z", "old z")
}

#[test]
fn what_may_not_be_read_is_named_and_the_rest_goes_on() {
    let mirror = Mirrored::new();
    assert_eq!(mirror.gather(&good()).state, SourceState::Complete);
    let tree = FaultyTree::default()
        .dir("/d")
        .bad_file("/d/a", "new and longer a", Fault::Denied)
        .with("/d/s", Kind::Directory, "", Some(Fault::Denied))
        .file("/d/y", "new y");
    let outcome = mirror.gather(&tree);
    let text = problems(&outcome);
    assert!(text.contains("/d/a: permission denied") && text.contains("/d/s: permission denied"), "{text}");
    assert_eq!(mirror.read("/d/a").unwrap(), "old a");
    assert_eq!(mirror.read("/d/s/b").unwrap(), "old b");
    assert_eq!(mirror.read("/d/y").unwrap(), "new y");
    assert_eq!((mirror.read("/d/z").unwrap().as_str(), outcome.counts.removed), ("old z", 0), "removed too early");
}

#[test]
fn a_lost_connection_fails_the_source_and_keeps_everything() {
    let mirror = Mirrored::new();
    mirror.gather(&good());
    let outcome = mirror.gather(&FaultyTree::default().dir("/d").bad_file("/d/a", "new and longer a", Fault::Lost));
    let SourceState::Failed { error } = &outcome.state else { panic!("{outcome:?}") };
    assert!(error.contains("connection to the source was lost"), "{error}");
    for (path, content) in [("/d/a", "old a"), ("/d/s/b", "old b"), ("/d/z", "old z")] {
        assert_eq!(mirror.read(path).unwrap(), content);
    }
}

#[test]
fn a_file_that_breaks_off_keeps_its_last_good_copy() {
    let mirror = Mirrored::new();
    mirror.gather(&good());
    let outcome =
        mirror.gather(&FaultyTree::default().dir("/d").bad_file("/d/a", "new and longer a", Fault::BreaksOff));
    assert!(problems(&outcome).contains("/d/a"));
    assert_eq!(mirror.read("/d/a").unwrap(), "old a");
}

#[test]
fn a_file_that_changes_once_is_read_again_and_one_that_goes_on_is_noted() {
    for (times, noted) in [(0, 0), (1, 0), (2, 1), (9, 1)] {
        let mirror = Mirrored::new();
        let outcome = mirror.gather(&FaultyTree::default().dir("/d").bad_file("/d/a", "log", Fault::Changes(times)));
        assert_eq!(outcome.counts.changed_while_read, noted, "{times} changes");
        assert_eq!((outcome.state, mirror.read("/d/a").unwrap().as_str()), (SourceState::Complete, "log"));
    }
}

#[test]
fn a_file_that_vanishes_before_it_is_read_is_gone_and_no_problem() {
    let mirror = Mirrored::new();
    mirror.gather(&good());
    let tree = FaultyTree::default().dir("/d").bad_file("/d/a", "new and longer a", Fault::Vanished);
    let outcome = mirror.gather(&tree.file("/d/z", "old z"));
    assert_eq!((outcome.state, mirror.read("/d/a")), (SourceState::Complete, None));
}

#[test]
fn impossible_names_and_link_targets_stay_outside_the_mirror() {
    let mirror = Mirrored::new();
    let tree = FaultyTree::default()
        .dir("/d")
        .file("/d/../../../escaped", "x")
        .file("/d/..", "x")
        .file("/d/", "x")
        .with("/d/link", Kind::Symlink, "", None)
        .with("/d/long", Kind::Symlink, &"x".repeat(4096), None)
        .file("/d/good", "x");
    let outcome = mirror.gather(&tree);
    let SourceState::Partial { count, .. } = outcome.state else { panic!("{outcome:?}") };
    assert_eq!(count, 5);
    assert_eq!(mirror.read("/d/good").unwrap(), "x");
    let escaped = walkdir::WalkDir::new(mirror.dir.path()).into_iter().map(Result::unwrap);
    assert!(!escaped.map(|entry| entry.file_name().to_owned()).any(|name| name == "escaped"));
}

#[test]
fn only_so_many_problems_are_kept_in_words() {
    let mut tree = FaultyTree::default().dir("/d");
    for number in 0..=MAX_PROBLEMS_NAMED {
        tree = tree.bad_file(&format!("/d/{number}"), "x", Fault::Denied);
    }
    let SourceState::Partial { count, problems } = Mirrored::new().gather(&tree).state else { panic!() };
    assert_eq!((usize::try_from(count).unwrap(), problems.len()), (MAX_PROBLEMS_NAMED + 1, MAX_PROBLEMS_NAMED));
}

#[test]
fn a_walk_that_was_called_off_ends() {
    let outcome = Mirrored::new().gather_until(&good(), true);
    assert!(matches!(outcome.state, SourceState::Failed { .. }));
}

#[test]
fn after_a_lost_connection_it_is_tried_again_and_what_had_come_does_not_come_twice() {
    let mirror = Mirrored::new();
    let mut tree = FaultyTree::default().dir("/d");
    for number in 0..40 {
        tree = tree.file(&format!("/d/{number:02}"), "content");
    }
    let tree = tree.bad_file("/d/30-breaks", "x", Fault::LostOnce);
    let outcome = mirror.gather(&tree);
    assert_eq!((outcome.state, outcome.counts.files), (SourceState::Complete, 41));
    // Those that were under way when it broke, and no others, are read twice.
    let opened = *tree.opened.borrow();
    assert!((41..=41 + 3).contains(&opened), "{opened} files were read for 41");
    assert_eq!(mirror.read("/d/30-breaks").unwrap(), "x");
}

#[test]
fn a_name_that_is_listed_twice_is_taken_once_and_told() {
    let tree = FaultyTree { twice: true, ..FaultyTree::default().dir("/d").file("/d/a", "first") };
    let mirror = Mirrored::new();
    let outcome = mirror.gather(&tree);
    assert!(problems(&outcome).contains("/d/a: is listed twice"), "{outcome:?}");
    assert_eq!(mirror.read("/d/a").unwrap(), "first");
}
