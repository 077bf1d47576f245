use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::Sshd;

/// How a benchmark's tools reach a server, the same for each.
#[derive(Debug)]
pub struct Route {
    /// Where it is, perhaps through something that delays.
    pub at: SocketAddr,
    /// Whom to log in as.
    pub user: String,
    /// The private key.
    pub identity: PathBuf,
    /// The pinned host key.
    pub known_hosts: PathBuf,
}

impl Route {
    /// Over `at`, which leads to `sshd`. Writes the host key into `scratch`.
    pub fn new(scratch: &Path, sshd: &Sshd, at: SocketAddr) -> Self {
        let known_hosts = scratch.join(format!("known_hosts-{}", at.port()));
        fs::write(&known_hosts, sshd.known_as(at)).unwrap();
        Self { at, user: sshd.user().to_owned(), identity: sshd.client_key(), known_hosts }
    }

    /// The arguments of OpenSSH's programs, and of what starts them; with the cipher in `DRAWBRIDGE_BENCH_CIPHER`, if there is one.
    pub fn options(&self) -> Vec<String> {
        let mut options = vec!["-F".to_owned(), "none".to_owned()];
        let mut set = |option: String| options.extend(["-o".to_owned(), option]);
        set("BatchMode=yes".to_owned());
        set("IdentitiesOnly=yes".to_owned());
        set(format!("IdentityFile={}", self.identity.display()));
        set(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        set(format!("Port={}", self.at.port()));
        if let Ok(cipher) = std::env::var("DRAWBRIDGE_BENCH_CIPHER") {
            set(format!("Ciphers={cipher}"));
        }
        options
    }

    /// A path there, as OpenSSH's programs and rsync write it.
    pub fn remote(&self, path: &Path) -> String {
        format!("{}@{}:{}", self.user, self.at.ip(), path.display())
    }
}
