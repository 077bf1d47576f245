//! A certificate authority: a key that signs others' keys.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::{keygen, output};
use crate::need;

/// A certificate authority with a key of its own.
#[derive(Debug, Clone)]
pub struct Authority {
    folder: Arc<TempDir>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    /// When its key can't be made.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        keygen(folder.path(), "ca", "ed25519");
        Self { folder: Arc::new(folder) }
    }

    /// Its public key: algorithm and key.
    ///
    /// # Panics
    /// When it can't be read.
    #[must_use]
    pub fn public_key(&self) -> String {
        let text = fs::read_to_string(self.key().with_extension("pub")).unwrap();
        text.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// The line of `known_hosts` that trusts it for these hosts.
    #[must_use]
    pub fn known_hosts_line(&self, pattern: &str) -> String {
        format!("@cert-authority {pattern} {}\n", self.public_key())
    }

    /// Certifies a host's public key for these names; the certificate comes beside it, as `NAME-cert.pub`.
    pub fn certify_host(&self, public_key: &Path, names: &str) {
        self.sign(public_key, &["-h", "-n", names]);
    }

    /// Certifies a user's public key for these users; the certificate comes beside it, as `NAME-cert.pub`.
    pub fn certify_user(&self, public_key: &Path, users: &str) {
        self.sign(public_key, &["-n", users]);
    }

    /// Signs with these arguments of `ssh-keygen`, such as `-V 20200101:20200102` for a certificate that is over.
    pub fn sign(&self, public_key: &Path, arguments: &[&str]) {
        let mut command = Command::new(need("ssh-keygen", "openssh-client"));
        output(command.args(["-q", "-I", "drawbridge-peers", "-s"]).arg(self.key()).args(arguments).arg(public_key));
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("ca")
    }
}
