//! The local repository: what stock restic makes of it, and what doesn't get into a manifest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use drawbridge::engine::{BackupSummary, EngineError, LocalRepository, list_snapshots, measure};
use drawbridge::stock::{Stock, StockError};
use drawbridge_wire::{MAX_PACK_BYTES, ManifestError, ObjectKind, ObjectName};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use sha2::{Digest, Sha256};
use support::restic::restic;
use support::{describe, files, fill, no_origins, noise};
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

struct Place {
    dir: TempDir,
    repository: LocalRepository,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fill(&dir.path().join("mirror"));
        let repository = LocalRepository::create(&dir.path().join("repository"), PASSWORD).unwrap();
        Self { dir, repository }
    }

    fn mirror(&self) -> PathBuf {
        self.dir.path().join("mirror")
    }

    fn back_up(&self) -> Result<BackupSummary, EngineError> {
        self.repository.back_up(&self.mirror(), no_origins(), Arc::new(|_| ()))
    }

    fn files(&self) -> BTreeSet<PathBuf> {
        files(self.repository.path()).into_iter().collect()
    }

    fn one_of(&self, kind: &str) -> PathBuf {
        let found = self.files().into_iter().find(|path| path.starts_with(kind)).unwrap();
        self.repository.path().join(found)
    }
}

#[test]
fn stock_restic_accepts_a_backup_and_restores_the_same_tree() {
    let place = Place::new();
    let counted = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&counted);
    let advance = Arc::new(move |bytes| {
        counter.fetch_add(bytes, Ordering::Relaxed);
    });
    let backup = place.repository.back_up(&place.mirror(), no_origins(), advance).unwrap();
    let size = measure(&place.mirror()).unwrap();
    assert_eq!((backup.files, backup.bytes), (size.files, size.bytes));
    assert_eq!(counted.load(Ordering::Relaxed), size.bytes);

    let path = place.repository.path();
    restic(path, PASSWORD, &["check", "--read-data"]);
    let snapshots = restic(path, PASSWORD, &["snapshots", "--json"]);
    let snapshots: serde_json::Value = serde_json::from_str(&snapshots).unwrap();
    assert_eq!(snapshots[0]["paths"], serde_json::json!(["/"]));
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["drawbridge"]));
    assert_eq!(snapshots[0]["id"], backup.snapshot);
    let config: serde_json::Value = serde_json::from_str(&restic(path, PASSWORD, &["cat", "config"])).unwrap();
    assert_eq!(config["version"], 2);
    assert_eq!(&config["id"].as_str().unwrap()[..16], place.repository.id().as_str());

    let target = tempfile::tempdir().unwrap();
    restic(path, PASSWORD, &["restore", "latest", "--target", target.path().to_str().unwrap()]);
    assert_eq!(describe(target.path()), describe(&place.mirror()));
}

#[test]
fn an_unchanged_mirror_adds_one_snapshot_file_and_nothing_else() {
    let place = Place::new();
    place.back_up().unwrap();
    let before = place.files();
    // Gather sets times and modes of folders again, which changes nothing but their change times.
    let folder = place.mirror().join("host/etc");
    fs::set_permissions(&folder, fs::metadata(&folder).unwrap().permissions()).unwrap();
    let second = place.back_up().unwrap();
    let added: Vec<_> = place.files().difference(&before).cloned().collect();
    assert_eq!(added, [Path::new("snapshots").join(&second.snapshot)]);
    assert_eq!(list_snapshots(&place.dir.path().join("repository"), PASSWORD).unwrap().len(), 2);
}

#[test]
fn a_file_of_the_same_size_and_time_but_other_content_is_read_again() {
    let place = Place::new();
    place.back_up().unwrap();
    let path = place.mirror().join("host/etc/hosts");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "127.0.0.2 localhost\n").unwrap();
    fs::File::open(&path).unwrap().set_modified(time).unwrap();
    place.back_up().unwrap();
    assert_eq!(
        restic(place.repository.path(), PASSWORD, &["dump", "latest", "/host/etc/hosts"]),
        "127.0.0.2 localhost\n"
    );
}

#[test]
fn a_mirror_with_something_that_cannot_be_stored_leaves_no_snapshot_and_names_it() {
    let place = Place::new();
    place.back_up().unwrap();
    let pipe = place.mirror().join("host/etc/pipe");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
    let error = place.back_up().unwrap_err();
    let EngineError::Incomplete { files, .. } = &error else { panic!("{error}") };
    assert_eq!(files[0].path, fs::canonicalize(place.mirror()).unwrap().join("host/etc/pipe"));
    assert!(error.to_string().contains("etc/pipe"), "{error}");
    assert_eq!(place.repository.snapshots().unwrap().len(), 1);
    fs::remove_file(pipe).unwrap();
    place.back_up().unwrap();
}

#[test]
fn an_empty_mirror_can_be_backed_up() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("mirror")).unwrap();
    let repository = LocalRepository::create(&dir.path().join("repository"), PASSWORD).unwrap();
    assert_eq!(repository.back_up(&dir.path().join("mirror"), no_origins(), Arc::new(|_| ())).unwrap().files, 0);
    restic(repository.path(), PASSWORD, &["check", "--read-data"]);
}

#[test]
fn the_wrong_password_is_named_as_such_and_no_debug_shows_a_key() {
    let place = Place::new();
    let error =
        LocalRepository::open(&place.dir.path().join("repository"), place.repository.id(), "wrong").unwrap_err();
    assert!(matches!(error, EngineError::WrongPassword { .. }), "{error:?}");
    assert!(error.to_string().contains("password_file"), "{error}");
    let shown = format!("{:?}", place.repository);
    assert!(!shown.contains("key") && !shown.contains(PASSWORD), "{shown}");
}

#[test]
fn what_a_cut_off_creation_left_is_cleaned_up_and_nothing_else() {
    let place = Place::new();
    let folder = place.dir.path().join("repository");
    fs::create_dir(folder.join(".new-1")).unwrap();
    LocalRepository::create(&folder, PASSWORD).unwrap();
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_manifest_declares_every_object_and_neither_orphans_nor_temporary_files() {
    let place = Place::new();
    place.back_up().unwrap();
    let whole = Stock::take(&place.repository).unwrap().manifest(None).unwrap();
    let names: BTreeSet<PathBuf> = whole.objects().iter().map(|object| object.name().path().into()).collect();
    assert_eq!(names, place.files());
    assert!(whole.objects().iter().all(drawbridge_wire::ManifestObject::crosses));

    let orphan = place.repository.path().join("data/00").join("0".repeat(64));
    fs::create_dir_all(orphan.parent().unwrap()).unwrap();
    fs::write(&orphan, "left by a backup that was cut off").unwrap();
    fs::write(place.repository.path().join("index").join(format!("{}-tmp-", "1".repeat(64))), "half").unwrap();
    let stock = Stock::take(&place.repository).unwrap();
    assert_eq!(stock.orphans(), 1);
    assert_eq!(stock.manifest(None).unwrap(), whole);
}

#[test]
fn a_pack_that_is_gone_or_cut_off_stops_the_run_before_anything_is_declared() {
    let place = Place::new();
    place.back_up().unwrap();
    let pack = place.one_of("data");
    let content = fs::read(&pack).unwrap();
    fs::write(&pack, &content[..content.len() - 1]).unwrap();
    let error = Stock::take(&place.repository).unwrap_err();
    assert!(error.damage().is_some(), "{error}");
    fs::remove_file(&pack).unwrap();
    let error = Stock::take(&place.repository).unwrap_err();
    assert!(matches!(&error, StockError::Pack { path, .. } if *path == pack), "{error}");
    assert!(error.damage().is_some(), "{error}");
    fs::write(&pack, content).unwrap();
    Stock::take(&place.repository).unwrap();
}

#[test]
fn a_rotten_snapshot_or_key_and_an_index_that_is_gone_are_damage_before_anything_is_declared() {
    let place = Place::new();
    place.back_up().unwrap();
    for kind in ["snapshots", "keys", "index"] {
        let path = place.one_of(kind);
        let content = fs::read(&path).unwrap();
        fs::write(&path, [&content[1..], b"x"].concat()).unwrap();
        let error = Stock::take(&place.repository).unwrap_err();
        assert!(error.damage().unwrap().contains("is not what was written"), "{error}");
        fs::remove_file(&path).unwrap();
        if kind == "index" {
            let error = Stock::take(&place.repository).unwrap_err();
            assert!(error.damage().unwrap().contains("no index knows the root"), "{error}");
        }
        fs::write(&path, content).unwrap();
        Stock::take(&place.repository).unwrap();
    }
}

#[test]
fn an_object_larger_than_any_pack_is_refused_and_one_as_large_is_not() {
    let place = Place::new();
    place.back_up().unwrap();
    // Of keys nothing but their hash is looked at.
    let key_of = |length: u64| {
        let zeros = vec![0; usize::try_from(length).unwrap()];
        let name: ObjectName = format!("keys/{}", hex::encode(Sha256::digest(&zeros))).parse().unwrap();
        let path = place.repository.path().join(name.path());
        fs::write(&path, zeros).unwrap();
        (name, path)
    };
    let (_, path) = key_of(MAX_PACK_BYTES);
    Stock::take(&place.repository).unwrap().manifest(None).unwrap();
    fs::remove_file(path).unwrap();
    let (name, _) = key_of(MAX_PACK_BYTES + 1);
    let error = Stock::take(&place.repository).unwrap().manifest(None).unwrap_err();
    assert_eq!(error, ManifestError::TooLarge { name, size: MAX_PACK_BYTES + 1 });
}

#[test]
fn packs_are_closed_at_sixteen_mebibytes() {
    let place = Place::new();
    fs::write(place.mirror().join("host/large"), noise(7, 36 << 20)).unwrap();
    place.back_up().unwrap();
    let manifest = Stock::take(&place.repository).unwrap().manifest(None).unwrap();
    let packs: Vec<u64> =
        manifest.objects().iter().filter(|o| o.name().kind() == ObjectKind::Data).map(|o| o.size()).collect();
    assert!(packs.len() >= 3 && packs.iter().all(|size| *size < 26 << 20), "{packs:?}");
}

#[test]
fn a_config_that_its_key_does_not_open_is_damage_and_one_beyond_64_kibibytes_is_not_even_read() {
    let place = Place::new();
    place.back_up().unwrap();
    let config = place.repository.path().join("config");
    fs::write(&config, vec![0; 64 * 1024]).unwrap();
    let error = Stock::take(&place.repository).unwrap_err();
    assert!(matches!(&error, StockError::Engine(EngineError::Damaged { .. })), "{error}");
    fs::write(&config, vec![0; 64 * 1024 + 1]).unwrap();
    assert!(matches!(Stock::take(&place.repository).unwrap_err(), StockError::Config { .. }));
}
