//! What the agent does about a vault, a repository or a record that isn't as it was: what can be healed is, what can't begins anew,
//! and no run claims what isn't so.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use support::agent::Site;
use support::stack::Script;
use support::{files, noise};

impl Site {
    fn repository(&self) -> PathBuf {
        self.state("repository").join(self.vault_repository().id().as_str())
    }

    /// One of the repository's files on the disk, as a path in it.
    fn one_of(&self, kind: &str) -> PathBuf {
        files(&self.repository()).into_iter().find(|path| path.starts_with(kind)).unwrap()
    }

    fn in_vault(&self, path: &Path) -> String {
        format!("repo/{}/{}", self.vault_repository(), path.display())
    }

    fn repositories(&self) -> usize {
        fs::read_dir(self.state("repository")).unwrap().count()
    }

    fn set_aside(&self) -> Vec<String> {
        let Ok(listed) = fs::read_dir(self.state("damaged")) else { return Vec::new() };
        listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// Everything in the state folder as it is now.
    fn keep(&self) -> tempfile::TempDir {
        let kept = tempfile::tempdir().unwrap();
        copy(&self.state(""), &kept.path().join("state"));
        kept
    }

    /// The machine is set back: these parts of the state folder are as they were. What wasn't there then isn't there now.
    fn set_back(&self, kept: &Path, parts: &[&str]) {
        for part in parts {
            let (now, then) = (self.state(part), kept.join("state").join(part));
            if now.is_dir() {
                fs::remove_dir_all(&now).unwrap();
            } else if now.exists() {
                fs::remove_file(&now).unwrap();
            }
            if then.exists() {
                copy(&then, &now);
            }
        }
    }

    fn change(&self, round: u64) {
        fs::write(self.source("log-0"), noise(100 + round, 300_000)).unwrap();
    }

    async fn verified(&self) {
        self.run().await.assert(0, "verified at rest");
        self.assert_vault_is_whole();
    }
}

fn copy(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

/// Another bit somewhere in the middle.
fn flip(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    let mut content = fs::read(path).unwrap();
    let middle = content.len() / 2;
    content[middle] ^= 4;
    fs::write(path, content).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_vault_has_lost_crosses_again_and_nothing_else_does() {
    let site = Site::new().await;
    site.verified().await;
    let first = site.vault_repository();
    let (pack, index) = (site.one_of("data"), site.one_of("index"));
    for lost in [&pack, &index] {
        site.stack.vault.lose(&site.in_vault(lost));
    }
    site.run().await.assert(1, "the 2 missing objects cross again in the next run");

    site.stack.vault.forget_arrivals();
    site.verified().await;
    let arrived = site.stack.vault.arrived();
    assert!(arrived.iter().any(|path| *path == pack.to_str().unwrap()), "{arrived:?}");
    assert!(arrived.iter().any(|path| *path == index.to_str().unwrap()), "{arrived:?}");
    let keys = arrived.iter().filter(|path| path.starts_with("keys") || *path == "config").count();
    assert!(keys == 0 && arrived.len() <= 5, "{arrived:?}");
    assert_eq!(site.vault_repository(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_or_undeclared_in_the_vault_begins_a_new_repository_in_the_next_run_and_not_in_this_one() {
    let site = Site::new().await;
    site.verified().await;
    for planted in ["one", "other"] {
        let first = site.vault_repository();
        let path = match planted {
            "one" => site.one_of("data"),
            _ => Path::new("data/00").join("0".repeat(64)),
        };
        site.stack.vault.plant(&site.in_vault(&path), b"not what it should be");
        let starts = site.stack.starts().len();
        site.run().await.assert(1, "THE NEXT RUN BEGINS A NEW REPOSITORY");
        assert_eq!(site.stack.starts().len(), starts + 1, "one run, one bridge");
        assert_eq!(site.vault_repository(), first);

        let next = site.run().await;
        next.assert(0, "verified at rest");
        next.assert(0, &format!("nothing can mend the vault's copy {first}"));
        assert_ne!(site.vault_repository(), first);
        site.assert_vault_is_whole();
        // The local one is the only good copy of its snapshots now.
        assert!(site.state("repository").join(first.id().as_str()).is_dir());
        site.verified().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_beyond_healing_stays_so_when_the_machine_is_set_back() {
    let site = Site::new().await;
    site.verified().await;
    let (first, before) = (site.vault_repository(), site.keep());
    site.stack.vault.plant(&site.in_vault(&site.one_of("data")), b"not what it should be");
    site.run().await.assert(1, "THE NEXT RUN BEGINS A NEW REPOSITORY");
    let kept = site.keep();
    site.verified().await;
    // The record names the old one again, as if the run had been killed before it wrote down the new one.
    site.set_back(kept.path(), &["current.json"]);
    site.run().await.assert(0, "nothing can mend");
    assert_ne!(site.vault_repository(), first);
    // A record from before anybody knew: it has to be found once more, and is.
    site.set_back(before.path(), &["current.json"]);
    site.run().await.assert(1, "THE NEXT RUN BEGINS A NEW REPOSITORY");
    site.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_local_repository_is_set_aside_and_a_new_one_begins_with_all_its_keys_that_can_be_read() {
    let site = Site::new().await;
    site.verified().await;
    for (count, part) in ["config", "keys", "index", "snapshots", "data"].into_iter().enumerate() {
        let first = site.vault_repository();
        let path = site.repository().join(site.one_of(part));
        match part {
            "config" | "data" => fs::write(&path, fs::read(&path).unwrap().split_last().unwrap().1).unwrap(),
            _ => flip(&path),
        }
        let run = site.run().await;
        run.assert(0, &format!("the local repository {} is damaged", first.id()));
        run.assert(0, "is kept as");
        assert_ne!(site.vault_repository(), first, "{part}");
        assert_eq!((site.set_aside().len(), site.repositories()), (count + 1, 1), "{part}");
        assert!(site.set_aside().contains(&first.id().to_string()));
        site.assert_vault_is_whole();
    }
    site.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotten_object_that_should_cross_is_named_and_the_next_run_begins_anew() {
    let site = Site::new().await;
    site.verified().await;
    let first = site.vault_repository();
    let pack = site.one_of("data");
    // Of the same size: nobody notices before it crosses.
    flip(&site.repository().join(&pack));
    site.stack.vault.lose(&site.in_vault(&pack));
    site.run().await.assert(1, "crosses again in the next run");
    site.run().await.assert(1, &format!("{} holds is not what was written", pack.display()));
    assert_eq!(site.vault_repository(), first);
    site.run().await.assert(0, "is kept as");
    assert_eq!(site.set_aside(), [first.id().to_string()]);
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_a_wrong_password_nor_an_unreadable_disk_begins_a_new_repository() {
    let site = Site::new().await;
    site.verified().await;
    let (first, password) = (site.vault_repository(), site.dir.path().join("password"));
    let right = fs::read(&password).unwrap();
    fs::write(&password, "wrong\n").unwrap();
    site.run().await.assert(1, "the repository password does not open");
    fs::write(&password, right).unwrap();
    for part in ["config", "keys", "index", "snapshots"] {
        let path = site.repository().join(site.one_of(part));
        let strace = drawbridge_peers::need("strace", "strace");
        // A sector that can't be read.
        let bad_sector =
            ["-f", "-qq", "-o", "/dev/null", "-P", path.to_str().unwrap(), "-e", "inject=openat:error=EIO"];
        let run = site.wait(site.spawn_under(&[&[strace.to_str().unwrap()], &bad_sector[..]].concat(), &["run"])).await;
        run.assert(1, "os error 5");
    }
    assert_eq!((site.set_aside().len(), site.repositories()), (0, 1));
    site.verified().await;
    assert_eq!(site.vault_repository(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_are_set_aside_and_the_run_goes_on() {
    let site = Site::new().await;
    site.verified().await;
    for (record, said) in [
        ("current.json", "the record of the current repository was damaged"),
        ("sources.json", "the record of gathered sources was damaged"),
    ] {
        flip(&site.state(record));
        let run = site.run().await;
        run.assert(0, said);
        run.assert(0, "verified at rest");
        assert!(site.set_aside().contains(&record.to_owned()), "{:?}", site.set_aside());
        site.assert_vault_is_whole();
    }
    flip(&site.state("last-run.json"));
    site.verified().await;
    flip(&site.state("journal").join(site.vault_repository().as_str()));
    site.run().await.assert(0, "the journal of what the vault has was unreadable");
    // Half an hour of somebody else's work.
    fs::remove_dir_all(site.state("")).unwrap();
    site.verified().await;
}

/// The parts of the state folder that can be older than the others.
const PARTS: [&str; 5] = ["repository", "journal", "current.json", "catalogue", "mirror"];

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_set_back_to_an_earlier_state_no_run_claims_what_is_not_so() {
    let mut sets: Vec<Vec<&str>> = PARTS.iter().map(|part| vec![*part]).collect();
    sets.push(PARTS.to_vec());
    sets.extend(PARTS.iter().take(2).map(|part| PARTS.iter().copied().filter(|other| other != part).collect()));
    let site = Site::new().await;
    site.verified().await;
    for (round, set) in (0..).step_by(2).zip(sets) {
        let kept = site.keep();
        site.change(round);
        site.run().await.assert(0, "verified at rest");
        site.change(round + 1);
        site.set_back(kept.path(), &set);
        let run = site.run().await;
        run.assert(0, "verified at rest");
        site.assert_vault_is_whole();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_from_before_the_generation_turned_leads_into_the_new_one() {
    let site = Site::new().await;
    site.verified().await;
    let kept = site.keep();
    site.stack.turn_to("2026-12");
    site.verified().await;
    for set in [&PARTS[..], &["current.json"], &["repository"], &["journal"]] {
        site.set_back(kept.path(), set);
        site.verified().await;
        assert_eq!(site.vault_repository().generation().as_str(), "2026-12", "{set:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_repository_goes_when_a_later_one_is_verified_and_the_vault_has_every_snapshot_of_it() {
    let site = Site::new().await;
    site.verified().await;
    let first = site.vault_repository();
    site.stack.turn_to("2026-12");
    let run = site.run().await;
    run.assert(0, &format!("removed the local repository {}", first.id()));
    assert_eq!(site.repositories(), 1);
    assert!(!site.state("journal").join(first.as_str()).exists());

    // One whose last snapshot never reached the vault stays.
    let second = site.vault_repository();
    site.stack.script(Script::StartFails { error_type: "InvalidRequest", message: "not today" });
    site.run().await.assert(1, "not today");
    site.stack.turn_to("2027-01");
    site.verified().await;
    assert_ne!(site.vault_repository(), second);
    assert_eq!(site.repositories(), 2);
    let status = site.wait(site.spawn(&["status"])).await;
    status.assert(0, &format!("{}: 1 of its 2 snapshots is not known to be whole in the vault", second.id()));
}
