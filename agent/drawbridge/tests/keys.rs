//! `drawbridge key`, and what opens with which password: here, in the vault, and with stock restic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use drawbridge_peers::need;
use serde_json::Value;
use support::agent::{Ended, PASSWORD, Site};
use support::restic::restic;
use tempfile::TempDir;

const RECOVERY: &str = "canary-of-the-recovery";

impl Site {
    fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, format!("{content}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    async fn key(&self, arguments: &[&str]) -> Ended {
        self.wait(self.spawn(&[&["--json", "key"], arguments].concat())).await
    }

    async fn add_recovery(&self) {
        let file = self.secret("recovery", RECOVERY);
        self.key(&["add", "--new-password-file", file.to_str().unwrap()]).await.assert(0, "added");
    }

    async fn keys(&self) -> Vec<Value> {
        let listed = self.key(&["list"]).await;
        let listed: Value = serde_json::from_str(listed.out.lines().last().unwrap()).unwrap();
        listed["keys"].as_array().unwrap().clone()
    }

    /// A copy of what the vault has of the current repository.
    fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        self.stack.vault.copy_repository(self.vault_repository().as_str(), copy.path());
        copy
    }
}

fn opens(repository: &Path, password: &str) -> bool {
    let cache = tempfile::tempdir().unwrap();
    let mut restic = Command::new(need("restic", "restic"));
    restic.arg("-r").arg(repository).arg("--no-lock").arg("--cache-dir").arg(cache.path()).args(["cat", "config"]);
    restic.env("RESTIC_PASSWORD", password).output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recovery_password_opens_every_generation_and_the_old_one_nothing_after_a_rotation() {
    let site = Site::new().await;
    site.key(&["list"]).await.assert(1, "there is no local repository yet");
    site.run().await.assert(0, "verified");
    site.add_recovery().await;
    site.add_recovery_again().await;
    site.run().await.assert(0, "verified");
    restic(site.copy().path(), RECOVERY, &["check"]);

    site.stack.turn_to("2026-12");
    site.run().await.assert(0, "opens with all 2 passwords");
    let december = site.copy();
    restic(december.path(), RECOVERY, &["check", "--read-data"]);
    assert!(opens(december.path(), PASSWORD));

    site.key(&["rotate"]).await.assert(1, "--drop-others");
    let carry = site.dir.path().join("recovery");
    site.key(&["rotate", "--carry", carry.to_str().unwrap()]).await.assert(0, "rotated");
    site.key(&["rotate"]).await.assert(1, "`drawbridge run` first");
    let new = fs::read_to_string(site.dir.path().join("password")).unwrap().trim().to_owned();
    let run = site.run().await;
    run.assert(0, "the keys were rotated");
    run.assert(0, "verified at rest");
    let rotated = site.copy();
    assert!(opens(rotated.path(), &new) && opens(rotated.path(), RECOVERY) && !opens(rotated.path(), PASSWORD));
    restic(rotated.path(), RECOVERY, &["check", "--read-data"]);
    // The vault's earlier repository opens as before, and the file with the old password is named and closed.
    assert!(opens(december.path(), PASSWORD) && !opens(december.path(), &new));
    let kept = fs::read_dir(site.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.to_string_lossy().contains("password.until-")).collect();
    assert_eq!(fs::read_to_string(&kept[0]).unwrap().trim(), PASSWORD);
    assert_eq!(fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777, 0o600);

    // And so does the generation after it.
    site.stack.turn_to("2027-01");
    site.run().await.assert(0, "verified");
    let january = site.copy();
    assert!(opens(january.path(), &new) && opens(january.path(), RECOVERY) && !opens(january.path(), PASSWORD));
}

impl Site {
    async fn add_recovery_again(&self) {
        let file = self.dir.path().join("recovery");
        self.key(&["add", "--new-password-file", file.to_str().unwrap()])
            .await
            .assert(1, "opens the repository already");
        let short = self.secret("short", "elevenchars");
        self.key(&["add", "--new-password-file", short.to_str().unwrap()]).await.assert(1, "fewer than 12");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_and_the_one_in_use_stay_and_a_removed_one_is_gone_here() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    let keys = site.keys().await;
    assert_eq!((keys.len(), &keys[0]["in_use"], &keys[0]["label"]), (1, &true.into(), &"drawbridge".into()));
    let id = |key: &Value| key["id"].as_str().unwrap().to_owned();
    site.key(&["remove", &id(&keys[0])]).await.assert(1, "the only key");
    site.add_recovery().await;
    let keys = site.keys().await;
    let (daily, recovery) = if keys[0]["in_use"] == true { (&keys[0], &keys[1]) } else { (&keys[1], &keys[0]) };
    assert_eq!((&recovery["label"], &recovery["opens"]), (&"recovery".into(), &daily["opens"]));
    assert!(recovery["created"].is_string() && recovery["host"].is_string());
    site.key(&["remove", &id(daily)]).await.assert(1, "in use");
    site.key(&["remove", ""]).await.assert(1, "is the beginning of 2 keys");
    site.run().await.assert(0, "verified");
    site.key(&["remove", &id(recovery)[..8]]).await.assert(0, "removed");
    assert_eq!(site.keys().await.len(), 1);
    site.run().await.assert(0, "verified");
    // As was said: it is locked there.
    assert!(opens(site.copy().path(), RECOVERY));
    let local = site.state("repository").join(site.vault_repository().id().as_str());
    assert!(!opens(&local, RECOVERY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_was_cut_off_before_the_password_file_was_replaced_changes_nothing() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    let first = site.vault_repository();
    site.key(&["rotate"]).await.assert(0, "rotated");
    site.secret("password", PASSWORD);
    site.run().await.assert(0, "was cut off");
    assert_eq!(site.vault_repository(), first);
    site.key(&["rotate"]).await.assert(0, "rotated");
    site.run().await.assert(0, "the keys were rotated");
    assert_ne!(site.vault_repository(), first);
}

/// The arguments and the environment of a process and its children, as `ps` shows them.
fn shown(pid: u32) -> Vec<u8> {
    let read = |pid: &str, name: &str| fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let children = String::from_utf8(read(&pid.to_string(), &format!("task/{pid}/children"))).unwrap();
    let pids = std::iter::once(pid.to_string()).chain(children.split_whitespace().map(str::to_owned));
    pids.flat_map(|pid| [read(&pid, "cmdline"), read(&pid, "environ")].concat()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_ever_in_an_argument_or_in_the_environment() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    let recovery = site.secret("recovery", RECOVERY);
    let (recovery, made) = (recovery.to_str().unwrap(), site.dir.path().join("made"));
    for arguments in [
        &["key", "add", "--new-password-file", recovery][..],
        &["key", "add", "--generate-to", made.to_str().unwrap()],
        &["key", "list"],
        &["key", "rotate", "--carry", recovery, "--drop-others"],
        &["run"],
    ] {
        let child = site.spawn(arguments);
        let pid = child.id().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let watch = std::thread::spawn({
            let over = Arc::clone(&over);
            move || {
                let (mut looks, mut seen) = (0, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    let shown = shown(pid);
                    // Nothing is shown while a program gives way to another one, and when it has ended.
                    looks += usize::from(!shown.is_empty());
                    seen.extend(shown);
                    std::thread::sleep(Duration::from_millis(5));
                }
                (looks, seen)
            }
        });
        let ended = site.wait(child).await;
        over.store(true, Ordering::Relaxed);
        ended.assert(0, "");
        let (looks, seen) = watch.join().unwrap();
        let seen = String::from_utf8_lossy(&seen);
        assert!(looks > 3 && seen.contains("--config"), "{arguments:?}");
        let made = fs::read_to_string(&made).unwrap_or_else(|_| "not made yet".to_owned());
        let now = fs::read_to_string(site.dir.path().join("password")).unwrap();
        for secret in [PASSWORD, RECOVERY, made.trim(), now.trim()] {
            assert!(!seen.contains(secret), "{arguments:?} shows a password");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_is_typed_is_asked_for_twice_and_not_shown() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    site.key(&["add"]).await.assert(1, "there is no terminal");
    let line = format!("{} --config {} key add", env!("CARGO_BIN_EXE_drawbridge"), site.config.display());
    let mut terminal = Command::new(need("script", "bsdutils"))
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keyboard, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut seen = Vec::new();
    for prompt in ["New password: ", "Once more: "] {
        while !String::from_utf8_lossy(&seen).contains(prompt) {
            let mut part = [0; 256];
            let read = screen.read(&mut part).unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend(&part[..read]);
        }
        // It has asked; it may still be about to turn the echo off.
        std::thread::sleep(Duration::from_millis(500));
        keyboard.write_all(format!("{RECOVERY}\n").as_bytes()).unwrap();
    }
    screen.read_to_end(&mut seen).unwrap();
    assert!(terminal.wait().unwrap().success(), "{}", String::from_utf8_lossy(&seen));
    assert!(!String::from_utf8_lossy(&seen).contains(RECOVERY));
    let local = site.state("repository").join(site.vault_repository().id().as_str());
    assert!(opens(&local, RECOVERY));
}
