//! What anybody restores with when Drawbridge is gone: stock restic and stock rustic, each from a copy of the vault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use drawbridge_local::Workspace;
use drawbridge_local::compare::compare_mirror;
use drawbridge_peers::crates::Program;
use drawbridge_tests::{Dice, Rig, need};

/// rustic itself, without what shows itself in a terminal or a browser.
const RUSTIC: Program = Program {
    name: "rustic",
    package: "rustic-rs",
    version: "0.11.4",
    arguments: &["--debug", "--no-default-features"],
};

/// A program that reads restic's format, and how it is told not to keep anything of its own.
#[derive(Debug)]
struct Reader {
    program: PathBuf,
    settings: &'static [&'static str],
    /// What stands between the snapshot and the folder that it is restored to.
    target: &'static [&'static str],
}

impl Reader {
    fn both() -> [Self; 2] {
        let below = Workspace::here().target().join("programs");
        [
            Self { program: need("restic", "restic"), settings: &["--no-cache", "--quiet"], target: &["--target"] },
            Self { program: RUSTIC.below(&below), settings: &["--no-cache", "--no-progress"], target: &[] },
        ]
    }

    /// The latest snapshot is whole and, restored, is the mirror.
    fn reads(&self, password: &Path, repository: &Path, mirror: &Path, restored: &Path) {
        self.asked(password, repository, &["check", "--read-data"]);
        let mut restore = vec!["restore", "latest"];
        restore.extend(self.target);
        restore.push(restored.to_str().unwrap());
        self.asked(password, repository, &restore);
        let compared = compare_mirror(mirror, restored).unwrap();
        compared.verdict().unwrap_or_else(|problem| panic!("{self:?}: {problem}"));
        assert!(compared.links == 2, "{self:?}: {compared:?}");
    }

    fn asked(&self, password: &Path, repository: &Path, arguments: &[&str]) {
        let mut command = Command::new(&self.program);
        command.args(self.settings).arg("--password-file").arg(password).arg("-r").arg(repository);
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {arguments:?}: {said}");
    }
}

/// Text, noise, links, an empty folder, a name that isn't UTF-8, and a file of several chunks.
fn plant(source: &Path, dice: &mut Dice) {
    use std::os::unix::ffi::OsStrExt;
    fs::create_dir_all(source.join("etc/empty")).unwrap();
    fs::create_dir_all(source.join("log")).unwrap();
    fs::write(source.join("etc/hosts"), "127.0.0.1 localhost\n".repeat(500)).unwrap();
    fs::write(source.join("etc").join(std::ffi::OsStr::from_bytes(b"caf\xe9.conf")), "in Latin-1\n").unwrap();
    symlink("hosts", source.join("etc/link")).unwrap();
    symlink("/nowhere/at/all", source.join("etc/dangling")).unwrap();
    fs::write(source.join("log/noise"), dice.bytes(3 << 20)).unwrap();
    fs::write(source.join("log/messages"), "day 0\n".repeat(20_000)).unwrap();
    fs::set_permissions(source.join("log"), fs::Permissions::from_mode(0o750)).unwrap();
}

/// The log goes on, is rotated every other day, and one file comes and goes.
fn live(source: &Path, day: u32, dice: &mut Dice) {
    let log = source.join("log/messages");
    if day.is_multiple_of(2) {
        fs::rename(&log, source.join("log/messages.1")).unwrap();
        fs::write(source.join("etc/short-lived"), dice.bytes(300)).unwrap();
    } else {
        // Not there on the first day.
        let _gone = fs::remove_file(source.join("etc/short-lived"));
    }
    let mut text = fs::read(&log).unwrap_or_default();
    text.extend(format!("day {day}\n").repeat(1000).bytes());
    fs::write(&log, text).unwrap();
}

#[tokio::test]
async fn stock_restic_and_stock_rustic_read_and_restore_the_vault_after_each_of_three_runs() {
    let readers = Reader::both();
    let rig = Rig::up().await;
    let mut dice = Dice::new(5);
    plant(&rig.source(), &mut dice);
    for day in 1..=3 {
        live(&rig.source(), day, &mut dice);
        rig.agent().run(&["run"]).await.expect(0);
        let execution = rig.latest_execution().await;
        let copy = rig.vault_copy(&execution, &format!("day-{day}")).await;
        for (number, reader) in readers.iter().enumerate() {
            let restored = rig.folder().join(format!("restored-{day}-{number}"));
            reader.reads(&rig.files().password_file(), &copy, &rig.mirror(), &restored);
        }
    }
}
