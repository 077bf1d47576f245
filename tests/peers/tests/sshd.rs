//! The sshd rig, by OpenSSH's own client.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use drawbridge_peers::sshd::{Authority, KeyKind, Sshd};
use drawbridge_peers::{need, need_root};

/// OpenSSH's client for a server, with nothing of this machine's own configuration.
fn ssh(sshd: &Sshd) -> Command {
    let mut command = Command::new(need("ssh", "openssh-client"));
    let known = format!("UserKnownHostsFile={}", sshd.known_hosts().display());
    command.args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", &known, "-i"]);
    command.arg(sshd.client_key()).args(["-p", &sshd.port().to_string(), "-l", sshd.user(), &sshd.address()]);
    command.stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn lives(process: u32) -> bool {
    // A zombie has ended; only nobody has asked.
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn descends(process: u32, ancestor: u32) -> bool {
    let parent = |process: u32| {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok())
    };
    std::iter::successors(Some(process), |process| parent(*process)).any(|process| process == ancestor)
}

/// A command on the server that says its process id and then does nothing for longer than any test takes.
fn start_sleeper(sshd: &Sshd, folder: &Path) -> (Child, u32) {
    let note = folder.join("sleeper");
    let made = Command::new("mkfifo").arg(&note).status().unwrap();
    assert!(made.success());
    let script = format!("sh -c 'echo $$ > {}; trap \"\" HUP TERM; sleep 1000 & wait'", note.display());
    let client = ssh(sshd).arg(script).spawn().unwrap();
    let process = fs::read_to_string(&note).unwrap().trim().parse().unwrap();
    (client, process)
}

#[test]
fn several_servers_run_at_once_on_addresses_of_their_own_and_run_commands() {
    let servers = [Sshd::builder().address(2).start(), Sshd::builder().address(3).start(), Sshd::start()];
    for sshd in &servers {
        let output = ssh(sshd).arg("echo $SSH_CONNECTION; exit 3").output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{}", said(&output));
        assert!(said(&output).contains(&format!("{} {}", sshd.address(), sshd.port())), "{}", said(&output));
        assert_eq!(sshd.connections(), 1);
    }
}

#[test]
fn each_kind_of_host_key_is_what_the_server_shows() {
    let all = [KeyKind::Ed25519, KeyKind::Ecdsa, KeyKind::Rsa];
    let sshd = Sshd::builder().host_keys(&all).start();
    assert_eq!(sshd.known_hosts_lines().lines().count(), 3);
    for kind in all {
        let line = format!("[{}]:{} {}\n", sshd.address(), sshd.port(), sshd.host_key(kind));
        fs::write(sshd.known_hosts(), line).unwrap();
        let output = ssh(&sshd).arg("true").output().unwrap();
        assert!(output.status.success(), "{kind:?}: {}", said(&output));
    }
    let other = Sshd::start();
    fs::copy(other.known_hosts(), sshd.known_hosts()).unwrap();
    assert!(!ssh(&sshd).arg("true").status().unwrap().success());
}

#[test]
fn a_certified_host_is_known_by_its_authority_alone() {
    let authority = Authority::new();
    let sshd = Sshd::builder().certified(&authority, "127.0.0.1").start();
    fs::write(sshd.known_hosts(), authority.known_hosts_line("[127.0.0.1]:*")).unwrap();
    let output = ssh(&sshd).arg("true").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    fs::write(sshd.known_hosts(), Authority::new().known_hosts_line("[127.0.0.1]:*")).unwrap();
    assert!(!ssh(&sshd).arg("true").status().unwrap().success());
}

#[test]
fn options_of_the_key_lines_of_the_configuration_and_the_banner_count() {
    let sshd = Sshd::builder()
        .key_options("restrict,command=\"echo forced\"")
        .config("AcceptEnv NOTHING\nLogLevel DEBUG1")
        .banner("keep out\n")
        .start();
    let said = said(&ssh(&sshd).arg("echo mine").output().unwrap());
    assert!(said.contains("forced") && !said.contains("mine") && said.contains("keep out"), "{said}");
    assert!(sshd.log().contains("debug1"), "{}", sshd.log());
}

#[test]
fn a_chrooted_server_has_sftp_alone_and_nothing_above_its_root() {
    need_root("only root may have sshd chroot");
    let sshd = Sshd::builder().user("nobody").chrooted().start();
    fs::write(sshd.chroot().join("inside"), "x").unwrap();
    let sftp = |batch: &str| {
        fs::write(sshd.folder().join("batch"), batch).unwrap();
        let mut command = Command::new(need("sftp", "openssh-client"));
        command.args(["-F", "none", "-o", "BatchMode=yes", "-i"]).arg(sshd.client_key());
        command.args(["-o", &format!("UserKnownHostsFile={}", sshd.known_hosts().display())]);
        command.args(["-P", &sshd.port().to_string(), "-b"]).arg(sshd.folder().join("batch"));
        command.arg(format!("nobody@{}", sshd.address())).output().unwrap()
    };
    let listed = sftp("ls -1 /\n");
    assert!(listed.status.success() && said(&listed).contains("inside"), "{}", said(&listed));
    assert!(!sftp("ls /etc/passwd\n").status.success());
    assert!(!said(&ssh(&sshd).arg("echo shell").output().unwrap()).contains("shell"));
}

#[test]
fn dropping_a_server_ends_what_its_sessions_run_and_frees_its_port() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Sshd::start();
    let (mut client, sleeper) = start_sleeper(&sshd, folder.path());
    let at = sshd.at();
    assert!(lives(sleeper));
    drop(sshd);
    assert!(!lives(sleeper), "{sleeper} is left");
    assert!(!client.wait().unwrap().success());
    assert!(std::net::TcpStream::connect(at).is_err());
}

#[test]
fn what_a_session_left_behind_is_ended_even_when_its_server_has_gone() {
    let folder = tempfile::tempdir().unwrap();
    let sshd = Sshd::start();
    let (mut client, sleeper) = start_sleeper(&sshd, folder.path());
    client.kill().unwrap();
    client.wait().unwrap();
    // The server of this connection ends by itself, and the session's process is nobody's child that we could find.
    while descends(sleeper, std::process::id()) {
        std::thread::yield_now();
    }
    assert!(lives(sleeper));
    drop(sshd);
    assert!(!lives(sleeper), "{sleeper} is left");
}

#[test]
fn a_panic_ends_the_server_too() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_owned();
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let sshd = Sshd::start();
        let (client, sleeper) = start_sleeper(&sshd, &at);
        sender.send((client, sleeper, sshd.at())).unwrap();
        panic!("as a test does that fails");
    });
    let (mut client, sleeper, at) = receiver.recv().unwrap();
    assert!(panicked.join().is_err());
    assert!(!lives(sleeper) && std::net::TcpStream::connect(at).is_err());
    client.wait().unwrap();
}
