//! Stock `ssh`, `sftp` and `curl` against an open gate: what anybody can try, and what it gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use common::{Cargo, Gate, LOOPBACK, Memory, SOON};
use drawbridge_gate::Ending;
use drawbridge_peers::need;
use drawbridge_ssh::KeyPair;
use drawbridge_wire::ObjectKind;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, PrivateKey};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::timeout;

struct Stock {
    gate: Gate,
    store: Memory,
    cargo: Cargo,
    folder: TempDir,
}

fn write_key(path: &Path) -> PrivateKey {
    use std::io::Write as _;
    let key = PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap();
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(key.to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    key
}

impl Stock {
    async fn open() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let key = write_key(&folder.path().join("key"));
        write_key(&folder.path().join("other"));
        let (cargo, store) = (Cargo::small(), Memory::default());
        let config = cargo.config(&key.public_key().to_openssh().unwrap(), 0);
        let gate = Gate::open_config(&config, KeyPair::generate().unwrap(), &store, common::patience()).await;
        let known = format!("[{LOOPBACK}]:{} {}\n", gate.port, gate.host_key);
        std::fs::write(folder.path().join("known_hosts"), known).unwrap();
        Self { gate, store, cargo, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ssh(&self, key: &str) -> Command {
        let mut ssh = Command::new(need("ssh", "openssh-client"));
        ssh.args(["-F", "none", "-p", &self.gate.port.to_string(), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes"])
            .args(["-o", "StrictHostKeyChecking=yes", "-o", "ExitOnForwardFailure=yes"])
            .arg("-o")
            .arg(format!("UserKnownHostsFile={}", self.path("known_hosts").display()))
            .arg("-i")
            .arg(self.path(key))
            .env_remove("SSH_AUTH_SOCK")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        ssh
    }

    /// Runs ssh to its end.
    async fn attempt(&self, key: &str, arguments: &[&str]) -> Output {
        let mut ssh = self.ssh(key);
        timeout(SOON, ssh.args(arguments).output()).await.expect("ssh should give up").unwrap()
    }

    /// `ssh -N -L`, up and listening on the port that is returned.
    async fn forward(&self, destination: &str) -> (Child, u16) {
        let port = TcpListener::bind((LOOPBACK, 0)).await.unwrap().local_addr().unwrap().port();
        let mut ssh = self.ssh("key");
        let forward = format!("{LOOPBACK}:{port}:{destination}");
        ssh.args(["-v", "-N", "-L", &forward, "drawbridge@127.0.0.1"]).stderr(Stdio::piped());
        let mut child = ssh.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let up = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if line.contains("Entering interactive session") || line.contains("pledge: ") {
                    return;
                }
            }
            panic!("ssh ended");
        };
        timeout(SOON, up).await.expect("ssh should log in");
        // Read on, so that ssh never waits for somebody to read its messages.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        (child, port)
    }
}

async fn curl(port: u16, path: &str, arguments: &[&str]) -> String {
    let mut curl = Command::new(need("curl", "curl"));
    curl.args([
        "-q",
        "-sS",
        "--noproxy",
        "*",
        "--path-as-is",
        "--max-time",
        "20",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
    ])
    .args(arguments)
    .arg(format!("http://{LOOPBACK}:{port}{path}"));
    let output = curl.output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn ssh_gets_no_shell_command_terminal_subsystem_or_forwarding() {
    let stock = Stock::open().await;
    let user = "drawbridge@127.0.0.1";
    for arguments in [
        &[user][..],
        &["-tt", user],
        &[user, "id"],
        &["-A", user, "true"],
        &["-s", user, "sftp"],
        &["-W", "127.0.0.1:22", user],
        &["-W", "169.254.169.254:80", user],
        &["-N", "-R", "0:127.0.0.1:22", user],
        &["-N", "-R", "/tmp/never:127.0.0.1:22", user],
    ] {
        let output = stock.attempt("key", arguments).await;
        assert_eq!(output.status.code(), Some(255), "{arguments:?} {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?} {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!text.contains("Permission denied"), "it must fail after the login: {arguments:?} {text}");
    }
}

#[tokio::test]
async fn ssh_gets_in_with_one_key_and_one_name_only() {
    let stock = Stock::open().await;
    for (key, user) in [("other", "drawbridge"), ("key", "root"), ("key", "ec2-user")] {
        let output = stock.attempt(key, &["-N", &format!("{user}@127.0.0.1")]).await;
        let text = String::from_utf8_lossy(&output.stderr);
        let refused =
            text.contains("Permission denied (publickey)") || text.contains("Too many authentication failures");
        assert!(output.status.code() == Some(255) && refused, "{text}");
    }
}

#[tokio::test]
async fn a_forward_to_anywhere_else_carries_nothing() {
    let stock = Stock::open().await;
    let target = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let (_ssh, port) = stock.forward(&target.local_addr().unwrap().to_string()).await;
    let mut socket = TcpStream::connect((LOOPBACK, port)).await.unwrap();
    let mut bytes = Vec::new();
    let ended = timeout(SOON, tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut bytes)).await.unwrap();
    assert!(ended.is_err() || bytes.is_empty());
    assert!(futures_now(target.accept()).await.is_none(), "the gate must not have connected");
}

/// The future's value if it is there already.
async fn futures_now<F: Future>(future: F) -> Option<F::Output> {
    timeout(std::time::Duration::ZERO, future).await.ok()
}

#[tokio::test]
async fn curl_through_ssh_puts_what_is_declared_and_nothing_else() {
    let stock = Stock::open().await;
    let (mut ssh, port) = stock.forward("vault.drawbridge.internal:80").await;
    let put = |name: &str, content: &[u8]| {
        let path = stock.path(name);
        std::fs::write(&path, content).unwrap();
        format!("@{}", path.display())
    };
    let manifest = put("manifest", &stock.cargo.manifest_text());
    assert_eq!(curl(port, "/manifest", &["--data-binary", &manifest]).await, "200");
    let pack = stock.cargo.crossing().find(|object| object.content.len() > 1_000_000).unwrap();
    let (right, forged) = (put("right", &pack.content), put("forged", &pack.forged()));
    let (short, long) = (put("short", &pack.content[1..]), put("long", &[&pack.content[..], b"x"].concat()));
    let path = pack.path();
    assert_eq!(curl(port, &path, &["--data-binary", &forged]).await, "400", "wrong hash");
    assert_eq!(curl(port, &path, &["--data-binary", &short]).await, "400", "too short");
    assert_eq!(curl(port, &path, &["--data-binary", &long]).await, "507", "too long");
    assert_eq!(curl(port, &path, &["-H", "Transfer-Encoding: chunked", "--data-binary", &right]).await, "411");
    assert_eq!(stock.store.get(&pack.key()), None);
    assert_eq!(curl(port, &path, &["--data-binary", &right]).await, "200");
    assert_eq!(curl(port, &path, &["--data-binary", &right]).await, "200", "the same again");
    let before = stock.store.objects();
    assert_eq!(curl(port, &path, &["--data-binary", &forged]).await, "400", "overwrite");
    let undeclared = "/data/0000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(curl(port, undeclared, &["--data-binary", &right]).await, "403");
    for verb in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        assert_eq!(curl(port, &path, &["-X", verb]).await, "403", "{verb}");
    }
    assert_eq!(curl(port, &path, &["-I"]).await, "403", "HEAD");
    for path in ["/data/../config", "/../config", "/data/%2e%2e/config", "/?create=true", "/", "/config/"] {
        assert_eq!(curl(port, path, &["--data-binary", "a config"]).await, "403", "{path}");
    }
    assert_eq!(stock.store.objects(), before);
    assert_eq!(curl(port, "/receipt", &["-X", "POST"]).await, "409");
    for object in stock.cargo.crossing() {
        let content = put("object", &object.content);
        let protocol = if object.name.kind() == ObjectKind::Key { "--http2-prior-knowledge" } else { "--http1.1" };
        assert_eq!(curl(port, &object.path(), &[protocol, "--data-binary", &content]).await, "200", "{}", object.name);
    }
    assert_eq!(curl(port, "/receipt", &["-X", "POST"]).await, "200");
    ssh.kill().await.unwrap();
    assert_eq!(stock.gate.ended().await, Ending::Complete);
}
