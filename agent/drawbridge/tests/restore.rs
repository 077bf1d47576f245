//! Restoring: everything comes back, nothing lands outside the target, and what is lacking is named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drawbridge::engine::{Archive, LocalRepository, Snapshot};
use drawbridge::restore::{Lack, Listener, RestoreError, Restored, Selection, Target, TargetError, restore};
use support::crafted::{self, Item};
use support::{describe, files, fill, no_origins, noise};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// A mirror, its repository, and a folder to restore into.
struct Place {
    dir: TempDir,
    repository: LocalRepository,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("mirror"));
        let repository = LocalRepository::create(&dir.path().join("repository"), PASSWORD).unwrap();
        repository.back_up(&dir.path().join("mirror"), no_origins(), Arc::new(|_| ())).unwrap();
        Self { dir, repository }
    }

    fn mirror(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn snapshot(&self) -> Snapshot {
        newest(self.repository.path())
    }

    fn restore(&self, sources: &[&str], globs: &[&str]) -> (Result<Restored, RestoreError>, Vec<Lack>) {
        let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let selection = Selection::new(&own(sources), &own(globs)).unwrap();
        let target = Target::open(&self.target(), false, Target::can_give_owners()).unwrap();
        restored(&self.snapshot(), &selection, &target)
    }
}

fn newest(repository: &Path) -> Snapshot {
    let archive = Archive::local(repository, PASSWORD).unwrap();
    let listing = archive.snapshots().unwrap();
    archive.index().unwrap().snapshot(listing.snapshots.last().unwrap()).unwrap()
}

#[derive(Default)]
struct Heard {
    lacks: Vec<Lack>,
    bytes: u64,
    /// Calls the restore off after so many bytes.
    enough: Option<(u64, Arc<AtomicBool>)>,
}

impl Listener for Heard {
    fn begins(&mut self, _: u64) {}
    fn bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some((_, off)) = self.enough.as_ref().filter(|(enough, _)| self.bytes >= *enough) {
            off.store(true, Ordering::Relaxed);
        }
    }
    fn lacks(&mut self, lack: &Lack) {
        self.lacks.push(lack.clone());
    }
    fn notes(&mut self, _: &Lack) {}
}

fn restored(
    snapshot: &Snapshot,
    selection: &Selection,
    target: &Target,
) -> (Result<Restored, RestoreError>, Vec<Lack>) {
    let mut heard = Heard::default();
    let done = restore(snapshot, selection, target, &mut heard, &AtomicBool::new(false));
    (done, heard.lacks)
}

/// What a restore has to bring back: all of a mirror, but that only root restores set-id bits.
fn expected(mirror: &Path) -> Vec<String> {
    let lines = describe(mirror);
    if Target::can_give_owners() {
        lines
    } else {
        lines.iter().map(|line| line.replace(" 104755 ", " 100755 ")).collect()
    }
}

#[test]
fn everything_comes_back_with_contents_modes_owners_times_and_links() {
    let place = Place::new();
    let (done, lacks) = place.restore(&[], &[]);
    let done = done.unwrap();
    assert_eq!((lacks, done.lacking), (Vec::new(), 0));
    assert_eq!(describe(&place.target()), expected(&place.mirror()));
    let info = place.snapshot().info().clone();
    assert_eq!((done.counts.files + done.counts.links, done.counts.bytes), (info.files, info.bytes));
    assert!(done.counts.links == 2 && done.counts.folders > 5, "{done:?}");
}

#[test]
fn of_a_selection_only_what_it_names_comes_with_the_folders_on_the_way() {
    let place = Place::new();
    let (done, _) = place.restore(&["host"], &["/etc/hosts", "noise-*"]);
    done.unwrap();
    let found: Vec<_> = files(&place.target()).into_iter().map(|path| path.display().to_string()).collect();
    assert_eq!(found, ["host/etc/hosts", "host/var/log/noise-1", "host/var/log/noise-2", "host/var/log/noise-3"]);
    let folder = |root: &Path| fs::metadata(root.join("host/var/log")).unwrap().modified().unwrap();
    assert_eq!(folder(&place.target()), folder(&place.mirror()));
    assert!(!place.target().join("host/etc/empty").exists());
}

#[test]
fn what_is_not_there_is_refused_before_anything_is_written() {
    let place = Place::new();
    let error = place.restore(&["dns"], &[]).0.unwrap_err();
    assert!(error.to_string().contains("no source \"dns\": it has host"), "{error}");
    let error = place.restore(&[], &["/etc/hosts", "/etc/hots"]).0.unwrap_err();
    assert!(matches!(&error, RestoreError::NoMatch(glob) if glob == "/etc/hots"), "{error}");
    assert_eq!(fs::read_dir(place.target()).unwrap().count(), 0);
}

#[test]
fn a_target_that_is_not_empty_is_refused_unless_told() {
    let place = Place::new();
    let old = place.target().join("host/etc");
    fs::create_dir_all(&old).unwrap();
    fs::write(old.join("hosts"), "old").unwrap();
    fs::write(old.join("mine"), "mine").unwrap();
    let refused = Target::open(&place.target(), false, false).unwrap_err();
    assert!(matches!(refused, TargetError::NotEmpty(_)), "{refused}");
    let target = Target::open(&place.target(), true, false).unwrap();
    let (done, lacks) = restored(&place.snapshot(), &Selection::all(), &target);
    assert_eq!((done.unwrap().lacking, lacks), (0, Vec::new()));
    assert_eq!(fs::read(old.join("hosts")).unwrap(), b"127.0.0.1 localhost\n");
    assert_eq!(fs::read(old.join("mine")).unwrap(), b"mine");
}

#[test]
fn what_lies_in_the_target_is_never_gone_through_nor_a_folder_replaced() {
    let place = Place::new();
    let outside = place.dir.path().join("outside");
    fs::create_dir_all(outside.join("log")).unwrap();
    fs::create_dir_all(place.target().join("host/etc/hosts")).unwrap();
    symlink(&outside, place.target().join("host/var")).unwrap();
    symlink(outside.join("file"), place.target().join("host/etc/shadow")).unwrap();
    let target = Target::open(&place.target(), true, false).unwrap();
    let (done, lacks) = restored(&place.snapshot(), &Selection::all(), &target);
    assert_eq!(files(&outside), Vec::<PathBuf>::new());
    assert!(!outside.join("file").exists(), "the link gave way to the file");
    assert_eq!(fs::read(place.target().join("host/etc/shadow")).unwrap(), b"root:*:\n");
    let named: Vec<_> = lacks.iter().map(|lack| lack.path.as_str()).collect();
    for path in ["host/var", "host/var/link", "host/var/log/noise-1", "host/etc/hosts"] {
        assert!(named.contains(&path), "{path} in {named:?}");
    }
    assert_eq!(done.unwrap().lacking, lacks.len() as u64);
}

#[test]
fn a_crafted_snapshot_restores_nothing_outside_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let absolute = format!("{}/absolute", outside.display());
    let outside_text = outside.display().to_string();
    let items = [
        Item::folder("s", "s"),
        Item::file("s/01", "..", "x"),
        Item::file("s/02", "../../outside/up", "x"),
        Item::file("s/03", &absolute, "x"),
        Item::file("s/04", "a/b", "x"),
        Item::file("s/05", "nul\\x00", "x"),
        Item::file("s/06", ".", "x"),
        Item::folder("s/07", ".."),
        Item::file("s/07/1", "outside-of-s", "x"),
        Item::folder("s/08", &outside_text),
        Item::file("s/08/1", "in-absolute", "x"),
        // A link, and then a folder of the same name with something in it.
        Item::link("s/09", "way", &outside_text),
        Item::folder("s/10", "way"),
        Item::file("s/10/1", "through", "x"),
        // A link, and then a file of the same name.
        Item::link("s/11", "file", &format!("{outside_text}/through-file")),
        Item::file("s/12", "file", "x"),
        Item::file("s/13", "good", "good"),
    ];
    let repository = crafted::repository(&dir.path().join("repository"), PASSWORD, &items);
    let target_path = dir.path().join("target");
    let target = Target::open(&target_path, false, false).unwrap();
    let (done, lacks) = restored(&newest(&repository), &Selection::all(), &target);
    let done = done.unwrap();
    assert_eq!(files(&outside), Vec::<PathBuf>::new());
    assert_eq!(fs::read(target_path.join("s/good")).unwrap(), b"good");
    let there: Vec<_> = files(&target_path);
    assert_eq!(there, [Path::new("s/good")], "{there:?}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "repository, target, outside");
    // Eight impossible names, and two that are there twice.
    assert_eq!((done.lacking, lacks.len()), (10, 10), "{lacks:#?}");
    assert_eq!(lacks.iter().filter(|lack| lack.because.contains("impossible file name")).count(), 8, "{lacks:#?}");
    assert!(lacks.iter().all(|lack| !lack.because.contains('\0') && !lack.path.contains('\0')));
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let items =
        [Item::folder("s", "s"), Item::file("s/1", "small", "x"), Item::file("s/2", "claims", "x").of_size(1 << 50)];
    let repository = crafted::repository(&dir.path().join("repository"), PASSWORD, &items);
    let target = Target::open(&dir.path().join("target"), false, false).unwrap();
    let (done, lacks) = restored(&newest(&repository), &Selection::all(), &target);
    assert!(matches!(done, Err(RestoreError::NoRoom { needed, .. }) if needed == (1 << 50) + 1), "{done:?}");
    assert!(lacks.is_empty() && fs::read_dir(dir.path().join("target")).unwrap().next().is_none());
}

#[test]
fn a_file_that_is_shorter_than_the_snapshot_says_is_named_and_not_restored() {
    let dir = tempfile::tempdir().unwrap();
    let items = [Item::folder("s", "s"), Item::file("s/1", "whole", "x"), Item::file("s/2", "cut", "x").of_size(2)];
    let repository = crafted::repository(&dir.path().join("repository"), PASSWORD, &items);
    let target = Target::open(&dir.path().join("target"), false, false).unwrap();
    let (done, lacks) = restored(&newest(&repository), &Selection::all(), &target);
    assert_eq!((done.unwrap().lacking, lacks.len()), (1, 1));
    assert!(lacks[0].path == "s/cut" && lacks[0].because.contains("2 bytes, and holds 1 of it"), "{lacks:?}");
    assert_eq!(files(&dir.path().join("target")), [Path::new("s/whole")]);
}

#[test]
fn a_damaged_pack_loses_its_files_and_each_is_named() {
    let place = Place::new();
    // The largest pack holds files, not trees.
    let packs = files(&place.repository.path().join("data"));
    let size = |path: &PathBuf| fs::metadata(place.repository.path().join("data").join(path)).unwrap().len();
    let pack = place.repository.path().join("data").join(packs.into_iter().max_by_key(size).unwrap());
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();

    let (done, lacks) = place.restore(&[], &[]);
    assert!(!lacks.is_empty());
    assert_eq!(done.unwrap().lacking, lacks.len() as u64);
    for path in files(&place.mirror()).into_iter().filter(|path| !path.starts_with(".tmp")) {
        let name = drawbridge_gather::one_line(&path);
        let is_named = lacks.iter().any(|lack| lack.path == name);
        match fs::read(place.target().join(&path)) {
            Ok(found) => assert!(found == fs::read(place.mirror().join(&path)).unwrap() && !is_named, "{name}"),
            Err(_) => assert!(is_named, "{name} is neither there nor named"),
        }
    }
    assert_eq!(files(&place.target()).iter().filter(|path| path.to_string_lossy().contains("unfinished")).count(), 0);
}

#[test]
fn a_restore_that_is_called_off_leaves_only_whole_files() {
    let place = Place::new();
    fs::write(place.mirror().join("host/var/log/large"), noise(9, 12_000_000)).unwrap();
    place.repository.back_up(&place.mirror(), no_origins(), Arc::new(|_| ())).unwrap();
    let off = Arc::new(AtomicBool::new(false));
    let mut heard = Heard { enough: Some((4_000_000, Arc::clone(&off))), ..Heard::default() };
    let target = Target::open(&place.target(), false, false).unwrap();
    let error = restore(&place.snapshot(), &Selection::all(), &target, &mut heard, &off).unwrap_err();
    assert!(matches!(error, RestoreError::CalledOff), "{error}");
    assert!(heard.bytes < 12_000_000, "{} bytes were written", heard.bytes);
    for path in files(&place.target()) {
        let found = fs::read(place.target().join(&path)).unwrap();
        assert_eq!(found, fs::read(place.mirror().join(&path)).unwrap(), "{}", path.display());
    }
}

#[test]
fn a_wrong_password_opens_nothing_and_says_so() {
    let place = Place::new();
    let error = Archive::local(place.repository.path(), "wrong").unwrap_err().to_string();
    assert!(error.starts_with("the password does not open the repository"), "{error}");
}

#[test]
fn a_snapshot_that_cannot_be_read_takes_no_other_away() {
    let place = Place::new();
    place.repository.back_up(&place.mirror(), no_origins(), Arc::new(|_| ())).unwrap();
    let snapshots = place.repository.path().join("snapshots");
    let one = snapshots.join(&files(&snapshots)[0]);
    fs::set_permissions(&one, Permissions::from_mode(0o600)).unwrap();
    fs::write(&one, "rubbish").unwrap();
    let listing = Archive::local(place.repository.path(), PASSWORD).unwrap().snapshots().unwrap();
    assert_eq!((listing.snapshots.len(), listing.unreadable.len()), (1, 1));
    let name = one.file_name().unwrap().to_str().unwrap();
    assert!(listing.unreadable[0].to_string().contains(&name[..8]), "{:?}", listing.unreadable);
}
