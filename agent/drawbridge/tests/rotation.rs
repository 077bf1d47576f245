//! Thirty days of logs that are written, rotated, compressed and truncated between the runs: after each run stock restic finds the
//! vault's copy without fault, every byte of it read, and what it restores is what lay there on that day.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use support::restic::restic;
use support::stack::TestStack;
use support::{describe, noise};

const DAYS: u64 = 30;

const PASSWORD: &str = "canary-of-the-repository";

/// The folder of a log server, and the hands of `logrotate`.
struct Logs(PathBuf);

impl Logs {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A day's lines at the end of a log, as a daemon writes them: into the same file, whatever its size.
    fn append(&self, name: &str, day: u64, lines: u64) {
        let text = (0..lines).fold(String::new(), |mut text, line| {
            let word = u64::from_le_bytes(noise(day * 100_000 + line, 8).try_into().unwrap());
            writeln!(text, "day {day:02} line {line:05} of {name}: connection {word:016x} accepted").unwrap();
            text
        });
        let mut log = OpenOptions::new().create(true).append(true).open(self.path(name)).unwrap();
        log.write_all(text.as_bytes()).unwrap();
        log.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000 + day * 86_400)).unwrap();
    }

    /// `rotate keep`, `compress`, `delaycompress`: `log` becomes `log.1`, that `log.2.gz`, and the last one goes.
    fn rotate(&self, name: &str, keep: u32) {
        let compressed = |number: u32| self.path(&format!("{name}.{number}.gz"));
        for number in (2..=keep).rev().filter(|number| compressed(*number).exists()) {
            if number == keep {
                fs::remove_file(compressed(number)).unwrap();
            } else {
                fs::rename(compressed(number), compressed(number + 1)).unwrap();
            }
        }
        let first = self.path(&format!("{name}.1"));
        if first.exists() {
            gzip(&first);
            fs::rename(self.path(&format!("{name}.1.gz")), compressed(2)).unwrap();
        }
        fs::rename(self.path(name), first).unwrap();
        File::create(self.path(name)).unwrap();
    }

    /// `copytruncate`, `dateext`, `compress`: the daemon keeps its file, which is copied under the day's name and cut to nothing; the
    /// copy of three days ago is compressed.
    fn copy_and_truncate(&self, name: &str, day: u64) {
        let dated = |day: u64| self.path(&format!("{name}-{day:02}"));
        fs::copy(self.path(name), dated(day)).unwrap();
        if day >= 3 && dated(day - 3).exists() {
            gzip(&dated(day - 3));
        }
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    /// A database beside the logs: some of its pages are written in place, so that its size stays.
    fn write_pages(&self, name: &str, day: u64) {
        let path = self.path(name);
        if !path.exists() {
            fs::write(&path, noise(7, 300_000)).unwrap();
        }
        let mut pages = OpenOptions::new().write(true).open(path).unwrap();
        for page in [day % 70, day * 13 % 70] {
            pages.seek(SeekFrom::Start(page * 4096)).unwrap();
            pages.write_all(&noise(day, 4096)).unwrap();
        }
    }

    /// What happens until the night of a day.
    fn live_through(&self, day: u64) {
        if day > 0 {
            self.rotate("messages", 5);
        }
        if day % 7 == 6 {
            self.rotate("auth.log", 3);
        }
        if day % 3 == 2 {
            self.copy_and_truncate("access.log", day);
        }
        self.append("messages", day, 800);
        self.append("auth.log", day, 60);
        self.append("access.log", day, 1500);
        self.write_pages("leases.db", day);
    }
}

fn gzip(file: &Path) {
    assert!(Command::new("gzip").arg(file).status().unwrap().success(), "{}", file.display());
}

/// A copy of the vault's repository, as it is now.
fn copied(stack: &TestStack, dir: &Path) -> tempfile::TempDir {
    let current: Value = serde_json::from_slice(&fs::read(dir.join("state/current.json")).unwrap()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    stack.vault.copy_repository(current["vault"].as_str().unwrap(), copy.path());
    copy
}

async fn back_up(config: &Path) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_drawbridge"));
    let output = command.arg("--config").arg(config).arg("run").kill_on_drop(true).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_finds_no_fault_after_any_of_thirty_runs_with_rotating_logs_and_restores_each_day() {
    let dir = tempfile::tempdir().unwrap();
    let logs = Logs(dir.path().join("source/log"));
    fs::create_dir_all(&logs.0).unwrap();
    let stack = TestStack::up().await;
    let config = stack.configure(dir.path(), &logs.0);
    let mut days = Vec::new();
    for day in 0..DAYS {
        logs.live_through(day);
        days.push(describe(&logs.0));
        back_up(&config).await;
        let said = restic(copied(&stack, dir.path()).path(), PASSWORD, &["check", "--read-data"]);
        assert!(said.contains("no errors were found"), "day {day}: {said}");
    }

    let copy = copied(&stack, dir.path());
    let snapshots = restic(copy.path(), PASSWORD, &["snapshots", "--json"]);
    let mut snapshots: Vec<Value> = serde_json::from_str(&snapshots).unwrap();
    snapshots.sort_by_key(|snapshot| snapshot["time"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap());
    assert_eq!(snapshots.len(), days.len(), "one a day");
    for (day, (snapshot, lay_there)) in snapshots.iter().zip(&days).enumerate().filter(|(day, _)| day % 7 == 1) {
        let restored = tempfile::tempdir().unwrap();
        let target = ["--target", restored.path().to_str().unwrap()];
        restic(copy.path(), PASSWORD, &["restore", snapshot["id"].as_str().unwrap(), target[0], target[1]]);
        let inside = restored.path().join("here").join(logs.0.strip_prefix("/").unwrap());
        assert_eq!(&describe(&inside), lay_there, "day {day}");
    }
}
