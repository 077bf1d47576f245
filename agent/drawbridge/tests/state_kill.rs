//! SIGKILL and a full disk at any write to the state folder: the next undisturbed run succeeds, and what it claims is true.
//!
//! `DRAWBRIDGE_STATE_KILLS=all` tries every place instead of some that a fixed seed chooses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use drawbridge_peers::{need, need_root};
use support::agent::{Ended, PASSWORD, Site};
use support::noise;
use support::restic::restic;

/// How many places are tried of those that there are.
const SOME: usize = 14;

/// System calls by which a file of the state folder becomes another one.
const CALLS: [&str; 9] = ["write", "fsync", "fdatasync", "rename", "openat", "ftruncate", "mkdir", "unlink", "syncfs"];

/// Those of them that nothing but files are used with: a full disk answers there.
const FILE_CALLS: [&str; 5] = ["fsync", "fdatasync", "rename", "ftruncate", "mkdir"];

impl Site {
    fn change(&self, round: u64) {
        fs::write(self.source("log-0"), noise(1000 + round, 300_000)).unwrap();
    }

    async fn traced(&self, options: &[&str], arguments: &[&str]) -> Ended {
        let strace = need("strace", "strace");
        let wrapper: Vec<&str> =
            [strace.to_str().unwrap(), "-f", "-qq"].into_iter().chain(options.iter().copied()).collect();
        self.wait(self.spawn_under(&wrapper, arguments)).await
    }

    /// How often each thread calls what is in `calls`, at most: strace counts by thread.
    async fn counts(&self, calls: &[&str], arguments: &[&str]) -> BTreeMap<String, usize> {
        let log = self.dir.path().join("strace");
        let only = format!("trace={}", calls.join(","));
        let ended = self.traced(&["-e", &only, "-o", log.to_str().unwrap()], arguments).await;
        assert_eq!(ended.code, Some(0), "{}", ended.err);
        let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
        for line in fs::read_to_string(log).unwrap().lines().filter(|line| !line.contains("resumed>")) {
            let (thread, call) = line.split_once(' ').unwrap();
            if let Some((call, _)) = call.trim().split_once('(') {
                *by_thread.entry((call.to_owned(), thread.to_owned())).or_default() += 1;
            }
        }
        let mut most = BTreeMap::new();
        for ((call, _), count) in by_thread {
            let known: &mut usize = most.entry(call).or_default();
            *known = count.max(*known);
        }
        most
    }

    /// Places to strike at: a system call, and its how-manieth occurrence.
    async fn places(&self, calls: &[&str], arguments: &[&str]) -> Vec<(String, usize)> {
        let counts = self.counts(calls, arguments).await;
        let mut all: Vec<(String, usize)> =
            counts.iter().flat_map(|(call, count)| (1..=*count).map(|at| (call.clone(), at))).collect();
        assert!(all.len() > SOME, "{counts:?}");
        if std::env::var("DRAWBRIDGE_STATE_KILLS").is_ok_and(|value| value == "all") {
            return all;
        }
        // The same of them each time: one of each call first, then any.
        let mut random = 11_u64;
        let mut some = Vec::new();
        let mut draw = |from: &mut Vec<(String, usize)>| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from.swap_remove(usize::try_from(random >> 33).unwrap() % from.len())
        };
        for call in counts.keys() {
            let mut of_it: Vec<_> = all.iter().filter(|(name, _)| name == call).cloned().collect();
            some.push(draw(&mut of_it));
        }
        while some.len() < SOME {
            some.push(draw(&mut all));
        }
        some
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_write_of_a_run_is_its_last_the_next_run_is_verified_and_right() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified at rest");
    site.change(0);
    let mut killed = 0;
    for (round, (call, at)) in (1..).zip(site.places(&CALLS, &["run"]).await) {
        site.change(round);
        let kill = format!("inject={call}:signal=SIGKILL:when={at}");
        let only = format!("trace={call}");
        let ended = site.traced(&["-o", "/dev/null", "-e", &only, "-e", &kill], &["run"]).await;
        killed += usize::from(ended.code.is_none());
        site.run().await.assert(0, "verified at rest");
        if round % 4 == 0 {
            site.assert_vault_is_whole();
        }
    }
    site.assert_vault_is_whole();
    assert!(killed >= SOME / 2, "only {killed} died");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_write_of_a_gathering_is_its_last_the_next_one_makes_the_mirror_as_the_source_is() {
    let site = Site::new().await;
    assert_eq!(site.wait(site.spawn(&["gather"])).await.code, Some(0));
    site.change(0);
    let mut killed = 0;
    for (round, (call, at)) in (1..).zip(site.places(&CALLS, &["gather"]).await) {
        site.change(round);
        let kill = format!("inject={call}:signal=SIGKILL:when={at}");
        let only = format!("trace={call}");
        let ended = site.traced(&["-o", "/dev/null", "-e", &only, "-e", &kill], &["gather"]).await;
        killed += usize::from(ended.code.is_none());
        let next = site.wait(site.spawn(&["gather"])).await;
        assert_eq!(next.code, Some(0), "{call} {at}: {}", next.err);
        let mirrored = site.state("mirror/here").join(site.source("log-0").strip_prefix("/").unwrap());
        assert!(fs::read(mirrored).unwrap() == fs::read(site.source("log-0")).unwrap(), "{call} {at}");
    }
    assert!(killed >= SOME / 2, "only {killed} died");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_at_any_call_is_named_and_loses_nothing() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified at rest");
    site.change(0);
    let mut named = 0;
    for (round, (call, at)) in (1..).zip(site.places(&FILE_CALLS, &["run"]).await) {
        site.change(round);
        let full = format!("inject={call}:error=ENOSPC:when={at}");
        let only = format!("trace={call}");
        let ended = site.traced(&["-o", "/dev/null", "-e", &only, "-e", &full], &["run"]).await;
        let said = format!("{}{}", ended.out, ended.err);
        if ended.code == Some(1) {
            assert!(said.contains("is full") && said.contains("make room"), "{call} {at}: {said}");
            named += 1;
        }
        assert!(!said.contains("panicked"), "{call} {at}: {said}");
        assert!(!site.state("damaged").exists(), "{call} {at}: {said}");
        site.run().await.assert(0, "verified at rest");
    }
    site.assert_vault_is_whole();
    assert!(named > 0, "no call failed a run");
}

/// A file system of its own until the test ends. Gathering leaves 256 MiB free.
struct Small(PathBuf);

impl Small {
    fn at(path: &Path) -> Self {
        need_root("it mounts a file system");
        fs::create_dir_all(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=300m,mode=0700", "none"]).arg(path).status();
        assert!(mounted.unwrap().success());
        Self(path.to_owned())
    }

    fn free(&self) -> u64 {
        let stat = rustix::fs::statvfs(&self.0).unwrap();
        stat.f_bavail * stat.f_frsize
    }

    /// Takes all room but so many bytes.
    fn fill(&self, but: u64) {
        let length = usize::try_from(self.free().saturating_sub(but)).unwrap();
        fs::write(self.0.join("filler"), vec![0; length]).unwrap();
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_file_system_is_named_nothing_is_lost_and_with_room_the_next_run_is_verified() {
    let site = Site::new().await;
    let small = Small::at(&site.state(""));
    site.run().await.assert(0, "verified at rest");
    let repository = site.state("repository").join(site.vault_repository().id().as_str());
    for (round, but) in (0..).zip([0, 4 << 10, 16 << 10, 64 << 10]) {
        site.change(round);
        let last_good = fs::read(site.state("current.json")).unwrap();
        small.fill(but);
        let run = site.run().await;
        let said = format!("{}{}", run.out, run.err);
        match run.code {
            Some(1) => {
                assert!(said.contains(" is full (") && said.contains("make room"), "{but}: {said}");
                assert_eq!(fs::read(site.state("current.json")).unwrap(), last_good);
            }
            // Nothing new could be gathered, but there was room for a snapshot of what had been.
            code => assert!(but > 0 && code == Some(3) && said.contains("make room for state_dir"), "{but}: {said}"),
        }
        restic(&repository, PASSWORD, &["check", "--read-data"]);
        small.empty();
        site.run().await.assert(0, "verified at rest");
        site.assert_vault_is_whole();
        assert!(!site.state("damaged").exists());
    }
}

#[test]
fn a_killed_program_has_no_exit_code() {
    let status = Command::new("sh").args(["-c", "kill -9 $$"]).status().unwrap();
    assert_eq!((status.code(), status.signal()), (None, Some(9)));
}
