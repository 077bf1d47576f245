//! What the tests of this crate share.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "each test file uses some of it")]

pub(crate) mod talker;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use drawbridge_hosts::{Ended, Host, Output, Patience, SshError, Target, connect};
use drawbridge_peers::need;
use drawbridge_peers::sshd::Sshd;
use tempfile::TempDir;

/// Long, because the machine is busy: what ends sooner ends by itself.
pub(crate) const PATIENCE: Patience = Patience { connect: Duration::from_secs(30), silence: Duration::from_secs(30) };

/// Short, for peers that never answer.
pub(crate) const SHORT: Patience =
    Patience { connect: Duration::from_millis(700), silence: Duration::from_millis(700) };

/// The server, with its key and its known_hosts, and no configuration of the SSH client.
pub(crate) fn target(sshd: &Sshd) -> Target {
    Target {
        host: sshd.address(),
        port: Some(sshd.port()),
        user: Some(sshd.user().to_owned()),
        identity_file: Some(sshd.client_key()),
        known_hosts: Some(sshd.known_hosts()),
        ssh_config: Some("/dev/null".into()),
        jump: None,
    }
}

/// The server as `server` in a configuration of the SSH client's with `lines` for it; nothing else is given.
pub(crate) fn configured(dir: &TempDir, sshd: &Sshd, lines: &str) -> Target {
    let path = dir.path().join("ssh_config");
    let (address, port, user, known) = (sshd.address(), sshd.port(), sshd.user(), sshd.known_hosts());
    let text = format!(
        "Host server\nHostName {address}\nPort {port}\nUser {user}\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\n{lines}",
        known.display()
    );
    std::fs::write(&path, text).unwrap();
    Target { ssh_config: Some(path), ..Target::parse("server").unwrap() }
}

pub(crate) async fn failure(target: &Target) -> SshError {
    connect(target, PATIENCE).await.expect_err("a connection")
}

/// What a command prints, and how it ends.
pub(crate) async fn run(host: &Host, command: &str) -> (Vec<u8>, Vec<u8>, Result<Ended, SshError>) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut running = host.run(command).await.unwrap();
    loop {
        match running.next().await {
            Ok(Some(Output::Stdout(bytes))) => out.extend_from_slice(&bytes),
            Ok(Some(Output::Stderr(bytes))) => err.extend_from_slice(&bytes),
            Ok(None) => return (out, err, running.end().await),
            Err(error) => return (out, err, Err(error)),
        }
    }
}

/// That the login works, shown by what a command says.
pub(crate) async fn assert_lets_in(target: &Target) {
    let host = connect(target, PATIENCE).await.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    let (out, _, ended) = run(&host, "echo in").await;
    assert_eq!((&*out, ended.unwrap()), (&b"in\n"[..], Ended::Exit(0)));
    host.close().await;
}

pub(crate) fn tool(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(need(program, "openssh-client")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A new key in `dir`, with a passphrase or an empty one.
pub(crate) fn key(dir: &Path, name: &str, kind: &str, passphrase: &str) -> PathBuf {
    let path = dir.join(name);
    let file = path.to_str().unwrap();
    let bits = if kind == "rsa" { &["-b", "2048"][..] } else { &[] };
    tool("ssh-keygen", &[&["-q", "-t", kind, "-N", passphrase, "-C", name, "-f", file], bits].concat());
    path
}

pub(crate) fn public(path: &Path) -> String {
    std::fs::read_to_string(format!("{}.pub", path.display())).unwrap()
}

/// Lets the owner of a key in, and nobody else.
pub(crate) fn authorize(sshd: &Sshd, options: &str, key: &Path) {
    std::fs::write(sshd.authorized_keys(), format!("{options}{}", public(key))).unwrap();
}

/// A real ssh-agent. Dropping it ends it.
pub(crate) struct Agent {
    pub(crate) socket: PathBuf,
    child: Child,
}

impl Agent {
    pub(crate) fn start(dir: &Path) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let socket = dir.join(format!("agent{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut child = Command::new(need("ssh-agent", "openssh-client"))
            .arg("-Da")
            .arg(&socket)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It says where it listens once it does.
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(socket.exists(), "{line}");
        Self { socket, child }
    }

    /// Gives it a key, whose passphrase is `passphrase`.
    pub(crate) fn add(&self, key: &Path, passphrase: &str) {
        use std::os::unix::fs::PermissionsExt;
        let ask = self.socket.with_file_name("ask");
        std::fs::write(&ask, format!("#!/bin/sh\necho '{passphrase}'\n")).unwrap();
        std::fs::set_permissions(&ask, std::fs::Permissions::from_mode(0o700)).unwrap();
        let output = Command::new(need("ssh-add", "openssh-client"))
            .arg("-q")
            .arg(key)
            .env("SSH_AUTH_SOCK", &self.socket)
            .env("SSH_ASKPASS", &ask)
            .env("SSH_ASKPASS_REQUIRE", "force")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    /// The line of the SSH client's configuration that leads to it.
    pub(crate) fn line(&self) -> String {
        format!("IdentityAgent {}\n", self.socket.display())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
