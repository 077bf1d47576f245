//! The program's own word on what can be restored: listing, finding, restoring and drills, with a state folder as a run leaves it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drawbridge::engine::LocalRepository;
use drawbridge::hashes;
use drawbridge_wire::RepositoryId;
use serde_json::Value;
use site::{AgentSite, run};
use support::crafted::{self, Item};
use support::{describe, files, fill, no_origins, noise};

const PASSWORD: &str = "correct horse";

/// A site that has backed up, without a cloud.
struct Site {
    site: AgentSite,
    repository: Option<RepositoryId>,
}

impl Site {
    fn new() -> Self {
        let mut site = AgentSite::new();
        site.local("host", Path::new("/etc/hosts"));
        fs::create_dir(site.state()).unwrap();
        fs::set_permissions(site.state(), Permissions::from_mode(0o700)).unwrap();
        fs::write(site.path().join("password"), PASSWORD).unwrap();
        fs::set_permissions(site.path().join("password"), Permissions::from_mode(0o600)).unwrap();
        Self { site, repository: None }
    }

    /// With the mirror of [`fill`], backed up once.
    fn backed_up() -> Self {
        let mut site = Self::new();
        fill(&site.mirror());
        site.back_up();
        site
    }

    fn mirror(&self) -> PathBuf {
        self.site.state().join("mirror")
    }

    /// Backs the mirror up and records its hashes, as a run does. Answers the snapshot.
    fn back_up(&mut self) -> String {
        let folder = self.site.state().join("repository");
        let repository = match &self.repository {
            Some(id) => LocalRepository::open(&folder, id, PASSWORD).unwrap(),
            None => LocalRepository::create(&folder, PASSWORD).unwrap(),
        };
        let backup = repository.back_up(&self.mirror(), no_origins(), Arc::new(|_| ())).unwrap();
        hashes::record(&self.site.state(), &self.mirror(), &backup.snapshot).unwrap();
        self.repository = Some(repository.id().clone());
        backup.snapshot
    }

    fn says(&self, arguments: &[&str]) -> (Option<i32>, String) {
        run(self.site.drawbridge(arguments[0]).args(&arguments[1..]))
    }

    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, said) = run(self.site.drawbridge(arguments[0]).args(&arguments[1..]).arg("--json"));
        assert_eq!(code, Some(0), "{said}");
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn largest_pack(&self) -> PathBuf {
        let repository = self.site.state().join("repository").join(self.repository.as_ref().unwrap().as_str());
        let packs = files(&repository.join("data")).into_iter().map(|path| repository.join("data").join(path));
        packs.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap()
    }
}

#[test]
fn a_drill_finds_a_flipped_byte_and_status_keeps_the_last_one_that_passed() {
    let site = Site::backed_up();
    let (code, said) = site.says(&["drill", "--files", "1000"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("Restore-tested: 12 of 12 files") && said.contains("from the local repository"), "{said}");
    assert!(!site.site.state().join("drill").exists());

    let pack = site.largest_pack();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::set_permissions(&pack, Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();
    let (code, said) = site.says(&["drill", "--files", "1000"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("host/var/log/noise-") && said.contains("did not come back"), "{said}");
    let (_, status) = site.says(&["status"]);
    assert!(status.contains("tested      local: ") && status.contains(": 12 files restored"), "{status}");
    assert!(status.contains("drill       FAILED ") && status.contains("tested      vault: never"), "{status}");
}

#[test]
fn a_drill_finds_bytes_that_restore_well_and_are_not_those_that_were_gathered() {
    let mut site = Site::backed_up();
    let first = site.back_up();
    fs::write(site.mirror().join("host/etc/hosts"), "127.0.0.2 localhost\n").unwrap();
    let second = site.back_up();
    // The second snapshot is held against what was gathered at the first.
    let records = site.site.state().join("hashes");
    fs::copy(records.join(&first), records.join(&second)).unwrap();
    let (code, said) = site.says(&["drill", "--files", "1000"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("host/etc/hosts: other bytes came back") && said.contains("1 of 12 files"), "{said}");
}

#[test]
fn a_drill_without_anything_to_compare_with_does_not_pass() {
    let site = Site::backed_up();
    fs::remove_dir_all(site.site.state().join("hashes")).unwrap();
    let (code, said) = site.says(&["drill"]);
    assert!(code == Some(1) && said.contains("make one first"), "{said}");
}

#[test]
fn the_same_seed_draws_the_same_sample_and_it_is_written_down() {
    let site = Site::backed_up();
    let sample = |seed: &str| site.json(&["drill", "--files", "3", "--seed", seed]).pop().unwrap()["sample"].clone();
    let (first, again) = (sample("7"), sample("7"));
    assert_eq!(first, again);
    assert_eq!(first.as_array().unwrap().len(), 3);
    let grades: Value = serde_json::from_slice(&fs::read(site.site.state().join("grades.json")).unwrap()).unwrap();
    assert_eq!((&grades["last_drill"]["sample"], &grades["last_drill"]["seed"]), (&first, &7.into()));
    assert_eq!(grades["tested_local"]["source"], "local");
}

#[test]
fn find_tells_the_snapshots_newest_first_and_ls_what_one_holds() {
    let mut site = Site::backed_up();
    let first = site.back_up();
    fs::write(site.mirror().join("host/etc/hosts"), "127.0.0.2 localhost.localdomain\n").unwrap();
    let second = site.back_up();

    let found = site.json(&["find", "/etc/hosts"]);
    assert_eq!(found.len(), 1, "{found:?}");
    let versions = found[0]["versions"].as_array().unwrap();
    assert_eq!((found[0]["path"].as_str(), versions.len()), (Some("host/etc/hosts"), 2));
    assert_eq!((&versions[0]["newest"]["id"], &versions[0]["size"]), (&second.clone().into(), &32.into()));
    assert_eq!((&versions[1]["newest"]["id"], &versions[1]["snapshots"]), (&first.clone().into(), &2.into()));
    let (code, said) = site.says(&["find", "nowhere*"]);
    assert!(code == Some(1) && said.contains("no snapshot holds nowhere*"), "{said}");

    let listed = site.json(&["ls", &first[..8], "/host/etc"]);
    let hosts = listed.iter().find(|entry| entry["path"] == "host/etc/hosts").unwrap();
    assert_eq!(
        (hosts["size"].as_u64(), hosts["modified"].as_str()),
        (Some(20), Some("2017-07-14T02:40:00.123456789Z"))
    );
    assert_eq!(site.json(&["ls"]).len(), 1, "one folder a source");
    let all = site.json(&["ls", "latest", "-R"]).len();
    assert!(all > 18, "{all}");
    let (code, said) = site.says(&["ls", "/host/etc/none"]);
    assert!(code == Some(1) && said.contains("the snapshot has no host/etc/none"), "{said}");
}

#[test]
fn names_in_a_snapshot_forge_no_line_and_command_no_terminal() {
    let site = Site::new();
    let items = [
        Item::folder("s", "s"),
        Item::file("s/1", "evil\\n  deadbeef  forged\\x1b[2J", "x"),
        Item::file("s/2", "../../evil", "x"),
        Item::link("s/3", "evil-link", "\u{1b}]0;owned\u{7}\n"),
    ];
    let repository = site.site.state().join("repository");
    fs::create_dir(&repository).unwrap();
    crafted::repository(&repository.join("0123456789abcdef"), PASSWORD, &items);
    let target = site.site.path().join("target");
    for (arguments, lines) in
        [(vec!["ls", "-R"], 4), (vec!["find", "*evil*"], 4), (vec!["restore", "--target", target.to_str().unwrap()], 8)]
    {
        let (_, said) = site.says(&arguments);
        assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said:?}");
        assert!(!said.lines().any(|line| line.trim_start().starts_with("deadbeef")), "{said}");
        assert!(said.lines().count() <= lines + 4 && said.contains("evil"), "{said}");
    }
    assert!(!site.site.path().join("evil").exists());
}

#[test]
fn the_program_restores_and_says_what_is_wrong_with_what_it_was_asked() {
    let site = Site::backed_up();
    let target = site.site.path().join("target");
    let restore = |more: &[&str]| {
        let all: Vec<&str> = ["restore", "--target", target.to_str().unwrap()].iter().chain(more).copied().collect();
        site.says(&all)
    };
    let (code, said) = restore(&["--path", "/etc"]);
    assert!(code == Some(0) && said.contains("each read back and compared"), "{said}");
    let etc = |root: &Path| describe(&root.join("host/etc")).len();
    assert_eq!(etc(&target), etc(&site.mirror()));
    let (code, said) = restore(&[]);
    assert!(code == Some(1) && said.contains("is not empty"), "{said}");
    let (code, said) = restore(&["--snapshot", "ffff", "--into-nonempty"]);
    assert!(code == Some(1) && said.contains("begins with ffff"), "{said}");
    fs::write(site.site.path().join("password"), "wrong").unwrap();
    let (code, said) = restore(&["--into-nonempty"]);
    assert!(code == Some(1) && said.contains("the password does not open the repository"), "{said}");
    let (code, said) = restore(&["--into-nonempty", "--password-file", "/nowhere/password"]);
    assert!(code == Some(1) && said.contains("/nowhere/password does not exist"), "{said}");
}

#[test]
fn a_restore_that_is_killed_leaves_nothing_half_done_under_a_final_name() {
    let mut site = Site::new();
    let folder = site.mirror().join("host");
    fs::create_dir_all(&folder).unwrap();
    for number in 0..5 {
        fs::write(folder.join(format!("noise-{number}")), noise(number, 10_000_000)).unwrap();
    }
    site.back_up();
    let target = site.site.path().join("target");
    let mut child = site.site.drawbridge("restore");
    let mut child = child.arg("--target").arg(&target).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let is_unfinished = |path: &Path| path.to_string_lossy().contains(".drawbridge-unfinished-");
    let deadline = Instant::now() + Duration::from_secs(60);
    // Until one file is whole and another is being written.
    loop {
        let found = if target.exists() { files(&target) } else { Vec::new() };
        if found.len() > 1 && found.iter().any(|path| is_unfinished(path)) {
            break;
        }
        assert!(
            Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "it was over before it could be killed"
        );
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let found = files(&target);
    assert!(found.iter().any(|path| is_unfinished(path)), "{found:?}");
    for path in found.iter().filter(|path| !is_unfinished(path)) {
        assert!(
            fs::read(target.join(path)).unwrap() == fs::read(site.mirror().join(path)).unwrap(),
            "{}",
            path.display()
        );
    }
}
