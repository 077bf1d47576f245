//! A host's key, to be compared by somebody and then trusted.
//!
//! Invariants:
//! - nothing is written before its caller, who has asked a person, says so;
//! - a line is appended as a whole or not at all, and none is changed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use rand::TryRng;
use rand::rngs::SysRng;
use russh::keys::{HashAlg, PublicKey};

use crate::host::open_jumps;
use crate::known_hosts::{self, HASH_SALT_BYTES, KnownKeys, Trust};
use crate::link::Link;
use crate::{Patience, Resolved, SshError, Target, resolve};

/// The key that a host showed.
#[derive(Debug, Clone)]
pub struct ShownKey {
    host: Resolved,
    key: PublicKey,
    trust: Trust,
}

/// Connects to `target`, takes the key that it shows, and goes before anything is said about a user. Its jump hosts, on which one
/// has to log in, must be trusted already.
///
/// # Errors
/// When it can't be reached.
pub async fn shown_key(target: &Target, patience: Patience) -> Result<ShownKey, SshError> {
    let host = resolve(target)?;
    let jumps = open_jumps(&host, patience).await?;
    let key = Link::look(&host, &host.to_string(), jumps.last(), patience).await?;
    let known = KnownKeys::load(&host.known_hosts, &host.known_as, host.also_known_as.as_deref())?;
    let trust = known.trust(&key);
    Ok(ShownKey { host, key, trust })
}

impl ShownKey {
    /// The host, as it was resolved.
    #[must_use]
    pub const fn host(&self) -> &Resolved {
        &self.host
    }

    /// What people compare: `SHA256:` and 43 characters, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    /// The kind of key, such as `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        self.key.algorithm().to_string()
    }

    /// What the files of trusted keys say of it.
    #[must_use]
    pub const fn known(&self) -> &Trust {
        &self.trust
    }

    /// Appends a line for the host to `file`, as OpenSSH would: hashed when `HashKnownHosts` says so. Makes the file, mode 600, and its
    /// folder, mode 700, where they are missing. Durable when it returns.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn append_to(&self, file: &Path) -> io::Result<()> {
        let line = self.line()?;
        if let Some(folder) = file.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(file)?;
        // One write, so that nobody who appends as well gets between its halves.
        let line = if ends_in_a_line(&mut opened)? { line } else { format!("\n{line}") };
        opened.write_all(line.as_bytes())?;
        opened.sync_all()?;
        match file.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }

    fn line(&self) -> io::Result<String> {
        let key = PublicKey::new(self.key.key_data().clone(), "").to_openssh().map_err(io::Error::other)?;
        let name = if self.host.hash_known_hosts {
            let mut salt = [0; HASH_SALT_BYTES];
            SysRng.try_fill_bytes(&mut salt).map_err(io::Error::other)?;
            known_hosts::hash(&self.host.known_as, &salt).ok_or_else(|| io::Error::other("HMAC-SHA1 failed"))?
        } else {
            self.host.known_as.clone()
        };
        Ok(format!("{name} {key}\n"))
    }
}

/// Whether the file is empty or its last line is complete.
fn ends_in_a_line(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
