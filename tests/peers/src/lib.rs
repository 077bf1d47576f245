//! What the tests of every crate meet: programs of Debian's, SSH servers, a network that is slow or breaks, and a
//! server that means harm.
//!
//! | module | what |
//! |---|---|
//! | [`sshd`] | OpenSSH's own server on loopback addresses |
//! | [`proxy`] | a TCP proxy that delays, cuts off, stalls and counts |
//! | [`crates`] | programs from crates.io |
//! | [`objects`] | what a gate takes for a repository's objects |
//! | [`hostile`] | an SFTP server that lies, behind a real sshd |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test stops at what isn't there"
)]

pub mod crates;
pub mod hostile;
pub mod objects;
pub mod proxy;
pub mod sshd;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// One installation at a time; between processes, apt waits for its own lock.
static INSTALLING: Mutex<()> = Mutex::new(());

/// Where Debian forbids its packages to start services; `sshd` is to run when a test starts it and not before.
const SERVICE_POLICY: &str = "/usr/sbin/policy-rc.d";

/// The path of a program that a test needs beside Rust's crates. Installs its Debian package when it may.
///
/// # Panics
/// When the program is not there and may not or cannot be installed; one line names the package.
pub fn need(program: &str, package: &str) -> PathBuf {
    let _one_at_a_time = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(path) = find(program) {
        return path;
    }
    let by_hand = format!("{program} is needed for this test: apt-get install {package}");
    assert!(rustix::process::geteuid().is_root() && find("apt-get").is_some(), "{by_hand}");
    install(package);
    find(program).unwrap_or_else(|| panic!("{by_hand} (tried, without success)"))
}

/// Ends a test that only root can do; one line says so. A test that returns instead counts as passed.
///
/// # Panics
/// When it isn't root that runs it.
#[track_caller]
pub fn need_root(why: &str) {
    assert!(rustix::process::geteuid().is_root(), "run this test as root: {why}");
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/usr/bin", "/sbin"]);
    folders.map(|folder| Path::new(folder).join(program)).find(|candidate| candidate.is_file())
}

fn install(package: &str) {
    let policy = Path::new(SERVICE_POLICY);
    let ours = !policy.exists();
    if ours {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(policy, "#!/bin/sh\nexit 101\n").unwrap();
        std::fs::set_permissions(policy, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let wait = "DPkg::Lock::Timeout=300";
    for arguments in [&["update"][..], &["install", "--yes", "--no-install-recommends", "-o", wait, package]] {
        // What went wrong shows in `need`: the program is still missing.
        let _status = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output();
    }
    if ours {
        std::fs::remove_file(policy).unwrap();
    }
}
