//! Sources that fail, lie, or never end.

use super::faulty::{Fault, FaultyTree};
use super::*;
use crate::collect::collect;

/// A mirror to gather faulty trees into: the source `h`, with the path `/d`.
struct Mirrored {
    dir: tempfile::TempDir,
}

impl Mirrored {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn gather(&self, tree: &FaultyTree) -> SourceOutcome {
        self.gather_as(tree, Limits::default(), false)
    }

    fn gather_within(&self, tree: &FaultyTree, limits: Limits) -> SourceOutcome {
        self.gather_as(tree, limits, false)
    }

    fn gather_as(&self, tree: &FaultyTree, limits: Limits, called_off: bool) -> SourceOutcome {
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
            limits,
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
    // The catalogue went on speaking of what couldn't be read.
    let outcome = mirror.gather(&good());
    assert_eq!((outcome.state, outcome.counts.copied_files), (SourceState::Complete, 1), "z alone had left it");
}

#[test]
fn a_lost_connection_fails_the_source_and_keeps_everything() {
    let mirror = Mirrored::new();
    mirror.gather(&good());
    let tree = FaultyTree::default().dir("/d").bad_file("/d/a", "new and longer a", Fault::Lost);
    let outcome = mirror.gather(&tree);
    assert!(failure(&outcome).contains("connection to the source was lost"), "{outcome:?}");
    assert_eq!(*tree.attempts.borrow(), 1 + Limits::default().retries);
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
    // In a tree without files too: not only reading one ends.
    for tree in [good(), FaultyTree::default().dir("/d").dir("/d/s")] {
        let outcome = Mirrored::new().gather_as(&tree, Limits::default(), true);
        assert!(failure(&outcome).contains("called off"), "{outcome:?}");
    }
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
    let tree = FaultyTree::default().dir("/d").file("/d/a", "first").listed_twice();
    let mirror = Mirrored::new();
    let outcome = mirror.gather(&tree);
    assert!(problems(&outcome).contains("/d/a: is listed twice"), "{outcome:?}");
    assert_eq!(mirror.read("/d/a").unwrap(), "first");
}

#[test]
fn a_source_that_breaks_the_rules_is_not_tried_again() {
    let tree = FaultyTree::default().dir("/d").bad_file("/d/a", "x", Fault::Misbehaves);
    let outcome = Mirrored::new().gather(&tree);
    assert!(failure(&outcome).contains("doesn't behave"), "{outcome:?}");
    assert_eq!(*tree.attempts.borrow(), 1);
}

#[test]
fn the_entries_of_all_folders_together_stay_within_the_limit() {
    let within = |entries| Mirrored::new().gather_within(&good(), Limits { entries, ..Limits::default() });
    assert_eq!(within(5).state, SourceState::Complete);
    let outcome = within(4);
    assert!(failure(&outcome).contains("max_entries"), "{outcome:?}");
}

#[test]
fn of_a_file_that_grows_while_it_is_read_no_more_comes_than_it_was_said_to_have() {
    let mirror = Mirrored::new();
    mirror.gather(&FaultyTree::default().dir("/d").bad_file("/d/a", &"x".repeat(1000), Fault::Grows));
    assert_eq!(mirror.read("/d/a").unwrap().len(), 5, "as many as after the first reading");
}

#[test]
fn a_file_for_which_there_is_no_room_is_not_opened() {
    let tree = FaultyTree::default().dir("/d").bad_file("/d/a", "x", Fault::Giant);
    let limits = Limits { file_bytes: u64::MAX, total_bytes: u64::MAX, ..Limits::default() };
    let outcome = Mirrored::new().gather_within(&tree, limits);
    assert!(problems(&outcome).contains("make room"), "{outcome:?}");
    assert_eq!(*tree.opened.borrow(), 0);
}
