//! Debian's OpenSSH server on loopback addresses, each with its own keys and configuration.
//!
//! Invariants:
//! - the listening socket is the rig's own and stays open from the choice of the port on, so that no other process can
//!   take the port, and nothing listens any more once the test's process has gone, even if it was killed;
//! - a connection is one `sshd -i` that we started. Dropping the rig ends each, with all that descends from it, by
//!   process id; what such a server started and left behind is recognised by a mark in its environment.

mod authority;
mod builder;
mod route;
mod servers;
mod tree;

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use tempfile::TempDir;

pub use authority::Authority;
pub use builder::{KeyKind, SshdBuilder};
pub use route::Route;
use servers::Servers;

use crate::need;

/// A running server. Dropping it ends it and all of its connections.
#[derive(Debug)]
pub struct Sshd {
    at: SocketAddr,
    user: String,
    kinds: Vec<KeyKind>,
    chroot: Option<TempDir>,
    servers: Arc<Servers>,
    accepting: Option<JoinHandle<()>>,
    folder: TempDir,
}

impl Sshd {
    /// A server on 127.0.0.1 with an ed25519 host key that lets its one client's key in.
    #[must_use]
    pub fn builder() -> SshdBuilder {
        SshdBuilder::new()
    }

    /// As [`Sshd::builder`] has it.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// Its address and port.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> String {
        self.at.ip().to_string()
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.at.port()
    }

    /// Who may log in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The folder of its keys, configuration and log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The private key that may log in; its public half is beside it, with `.pub`.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.folder().join("user_key")
    }

    /// The keys that may log in. It is read at every login, so a test may change it.
    #[must_use]
    pub fn authorized_keys(&self) -> PathBuf {
        self.folder().join("authorized_keys")
    }

    /// A `known_hosts` file with all of its keys.
    #[must_use]
    pub fn known_hosts(&self) -> PathBuf {
        self.folder().join("known_hosts")
    }

    /// The lines of [`Sshd::known_hosts`].
    #[must_use]
    pub fn known_hosts_lines(&self) -> String {
        self.known_as(self.at)
    }

    /// Lines with its keys for another address that leads to it, a proxy's.
    #[must_use]
    pub fn known_as(&self, at: SocketAddr) -> String {
        let keys = self.kinds.iter();
        keys.map(|kind| format!("[{}]:{} {}\n", at.ip(), at.port(), self.host_key(*kind))).collect()
    }

    /// A public host key: algorithm and key.
    ///
    /// # Panics
    /// When it has no such key.
    #[must_use]
    pub fn host_key(&self, kind: KeyKind) -> String {
        let text = fs::read_to_string(self.folder().join(format!("host_{}.pub", kind.name()))).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// The folder that a chrooted server takes for `/`.
    ///
    /// # Panics
    /// When it isn't chrooted.
    #[must_use]
    pub fn chroot(&self) -> &Path {
        self.chroot.as_ref().unwrap().path()
    }

    /// What it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder().join("sshd.log")).unwrap_or_default()
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.servers.connections.load(Ordering::SeqCst)
    }

    /// Cuts all connections there are, and goes on listening.
    pub fn cut(&self) {
        self.servers.end_all();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.servers.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.at));
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
        self.servers.end_all();
        if std::thread::panicking() {
            eprintln!("sshd on {}:\n{}", self.at, self.log());
        }
    }
}

/// Different for every rig of every process that lives.
fn mark() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Makes a key without passphrase.
fn keygen(folder: &Path, name: &str, kind: &str) {
    let mut command = Command::new(need("ssh-keygen", "openssh-client"));
    command.args(["-q", "-N", "", "-C", name, "-t", kind]);
    if kind == "rsa" {
        // The largest that is still quick to make.
        command.args(["-b", "2048"]);
    }
    output(command.arg("-f").arg(folder.join(name)));
}

/// Runs a program that has to succeed; what it printed.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
