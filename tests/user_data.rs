//! What the box runs at boot, run here: `infra/user-data.sh` with a gate that only says who it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

use drawbridge_domain::user_data::render;
use drawbridge_tests::{digest, need};
use drawbridge_wire::{BoxConfig, Timestamp};
use tempfile::TempDir;

/// Tells what it was started as and with, in the machine's diary.
const GATE: &str = "#!/bin/bash\necho \"gate $(id -u) $(grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status | tr -d '\\t' | tr '\\n' ' ')$*\" >>\"$DIARY\"\n";

/// A folder that plays the machine: `shutdown` only writes the diary there.
struct Machine {
    folder: TempDir,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("drawbridge-box-").tempdir().unwrap();
        let machine = Self { folder };
        // The gate runs as nobody.
        fs::set_permissions(machine.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(machine.path("bin")).unwrap();
        for (name, text, mode) in [
            ("bin/shutdown", "#!/bin/bash\necho \"shutdown $*\" >>\"$DIARY\"\n", 0o755),
            ("gate", GATE, 0o644),
            ("diary", "", 0o666),
        ] {
            fs::write(machine.path(name), text).unwrap();
            fs::set_permissions(machine.path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        machine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Off in two minutes and a bit; its gate is the one that lies here.
    fn config(&self) -> BoxConfig {
        let now = Timestamp::now();
        BoxConfig {
            shutdown_at: now.as_second() + 130,
            gate_url: format!("file://{}", self.path("gate").display()),
            gate_sha256: digest(GATE.as_bytes()),
            run: "home-20261123T203000Z".parse().unwrap(),
            region: "eu-central-1".to_owned(),
            vault: "vault".to_owned(),
            repository: "2026-11-0123456789abcdef".parse().unwrap(),
            public_key: "ssh-ed25519 AAAA".to_owned(),
            port: 2222,
            objects: 1,
            bytes: 1,
            manifest_sha256: digest(b""),
            deadline: now,
            unusual: None,
        }
    }

    fn boot(&self, script: &str) -> Output {
        need("setpriv", "util-linux");
        need("curl", "curl");
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.env_clear().env("PATH", path).env("TMPDIR", self.folder.path()).env("DIARY", self.path("diary"));
        command.arg("-c").arg(script).output().unwrap()
    }

    fn diary(&self) -> Vec<String> {
        fs::read_to_string(self.path("diary")).unwrap().lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_power_off_is_armed_first_then_the_gate_starts_with_no_rights_and_then_the_box_goes() {
    let machine = Machine::new();
    let output = machine.boot(&render(&machine.config()).unwrap());
    let diary = machine.diary();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(diary[0], "shutdown -P +3", "{diary:?}");
    assert_eq!(diary[2], "shutdown -P now", "{diary:?}");
    assert_eq!(diary.len(), 3, "{diary:?}");
    let gate = &diary[1];
    assert!(gate.starts_with("gate ") && gate.ends_with("--config config.json"), "{gate}");
    assert!(gate.contains("NoNewPrivs:1"), "{gate}");
    if rustix::process::geteuid().is_root() {
        assert!(gate.starts_with("gate 65534 "), "{gate}");
        assert!(gate.contains("CapEff:0000000000000000"), "{gate}");
        assert!(gate.contains("CapBnd:0000000000000000"), "{gate}");
    }
}

#[test]
fn a_gate_with_another_hash_is_never_started() {
    let machine = Machine::new();
    let output = machine.boot(&render(&BoxConfig { gate_sha256: digest(b"another"), ..machine.config() }).unwrap());
    assert!(!output.status.success());
    assert_eq!(machine.diary(), ["shutdown -P +3", "shutdown -P now"]);
}

#[test]
fn a_gate_that_cannot_be_fetched_or_fails_takes_the_box_with_it() {
    let machine = Machine::new();
    let nowhere = BoxConfig { gate_url: "file:///nonexistent".to_owned(), ..machine.config() };
    machine.boot(&render(&nowhere).unwrap());
    assert_eq!(machine.diary().last().unwrap(), "shutdown -P now");

    let machine = Machine::new();
    fs::write(machine.path("gate"), "#!/bin/bash\nexit 7\n").unwrap();
    let failing = BoxConfig { gate_sha256: digest(b"#!/bin/bash\nexit 7\n"), ..machine.config() };
    let output = machine.boot(&render(&failing).unwrap());
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(machine.diary(), ["shutdown -P +3", "shutdown -P now"]);
}

#[test]
fn a_deadline_that_is_over_still_arms_a_timer_and_a_damaged_configuration_powers_off() {
    let machine = Machine::new();
    machine.boot(&render(&BoxConfig { shutdown_at: 0, ..machine.config() }).unwrap());
    assert_eq!(machine.diary()[0], "shutdown -P +1");

    for damaged in ["", "e30=", "%%%"] {
        let machine = Machine::new();
        let script = include_str!("../infra/user-data.sh").replace("@DRAWBRIDGE_CONFIG@", damaged);
        assert!(!machine.boot(&script).status.success());
        assert_eq!(machine.diary(), ["shutdown -P now"], "{damaged:?}");
    }
}
