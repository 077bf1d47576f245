//! Which host keys are trusted: OpenSSH's `known_hosts`, as sshd(8) describes it under SSH_KNOWN_HOSTS FILE FORMAT.
//!
//! Invariants:
//! - a revoked key or authority is refused, whatever else says that it is trusted;
//! - a line that can't be read trusts nobody and hides no other line.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::{HashAlg, PublicKey};
use sha1::Sha1;
use thiserror::Error;

use crate::pattern;

/// A line in a file of known host keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1.
    pub number: usize,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.number)
    }
}

/// What the files say of a key that a host showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// This is the host.
    Known(Line),
    /// The host is in none of the files.
    Unknown,
    /// The host is in a file with another key.
    OtherKey {
        /// The known key's algorithm and fingerprint.
        expected: String,
        /// Where it stands.
        at: Line,
    },
    /// Nobody may use this key any more.
    Revoked(Line),
}

/// A file of known host keys can't be read.
#[derive(Debug, Error)]
#[error("the file of known host keys, {}, can't be read", path.display())]
pub struct KnownHostsError {
    path: PathBuf,
    source: io::Error,
}

/// What files of known host keys say of one host.
#[derive(Debug, Default)]
pub(crate) struct KnownKeys {
    trusted: Vec<KnownKey>,
    /// Trusted under another name, the one without the port: enough to accept a key, not to call another one wrong.
    also_trusted: Vec<KnownKey>,
    authorities: Vec<KnownKey>,
    revoked: Vec<KnownKey>,
}

#[derive(Debug)]
struct KnownKey {
    algorithm: String,
    /// The key as SSH sends it (RFC 4253, section 6.6).
    blob: Vec<u8>,
    at: Line,
}

impl KnownKey {
    /// `ssh-ed25519 SHA256:...`, or the algorithm alone of a key that we can't read.
    fn describe(&self) -> String {
        match PublicKey::from_bytes(&self.blob) {
            Ok(key) => describe(&key),
            Err(_) => self.algorithm.clone(),
        }
    }
}

/// A key as people compare it: algorithm and fingerprint.
pub(crate) fn describe(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.fingerprint(HashAlg::Sha256))
}

impl KnownKeys {
    /// What `files` say of the host that is called `name` in them, or `also` without its port; a missing file says nothing.
    pub(crate) fn load(files: &[PathBuf], name: &str, also: Option<&str>) -> Result<Self, KnownHostsError> {
        let mut keys = Self::default();
        for file in files {
            match std::fs::read(file) {
                Ok(bytes) => keys.add(&String::from_utf8_lossy(&bytes), file, name, also),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(KnownHostsError { path: file.clone(), source }),
            }
        }
        Ok(keys)
    }

    fn add(&mut self, text: &str, file: &Path, name: &str, also: Option<&str>) {
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (Some(hosts), Some(algorithm), Some(blob)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            let Ok(blob) = STANDARD.decode(blob) else { continue };
            if hosts.starts_with('#') {
                continue;
            }
            let named = matches_hosts(name, hosts);
            let also_named = also.is_some_and(|name| matches_hosts(name, hosts));
            if !named && !also_named {
                continue;
            }
            let at = Line { file: file.to_owned(), number: index + 1 };
            let key = KnownKey { algorithm: algorithm.to_owned(), blob, at };
            match marker {
                None if named => self.trusted.push(key),
                None => self.also_trusted.push(key),
                Some("@cert-authority") => self.authorities.push(key),
                Some("@revoked") => self.revoked.push(key),
                // Of a later OpenSSH, perhaps; trusting less is safe.
                Some(_) => {}
            }
        }
    }

    /// What is said of a key that isn't in a certificate.
    pub(crate) fn trust(&self, key: &PublicKey) -> Trust {
        let Ok(blob) = key.to_bytes() else { return Trust::Unknown };
        if let Some(revoked) = find(&self.revoked, &blob) {
            return Trust::Revoked(revoked.at.clone());
        }
        if let Some(known) = find(&self.trusted, &blob).or_else(|| find(&self.also_trusted, &blob)) {
            return Trust::Known(known.at.clone());
        }
        let same_kind = self.trusted.iter().find(|known| known.algorithm == key.algorithm().as_str());
        match same_kind.or_else(|| self.trusted.first()) {
            None => Trust::Unknown,
            Some(other) => Trust::OtherKey { expected: other.describe(), at: other.at.clone() },
        }
    }

    /// The line that makes `key` an authority for the host's certificates.
    pub(crate) fn authority(&self, key: &PublicKey) -> Option<&Line> {
        Some(&find(&self.authorities, &key.to_bytes().ok()?)?.at)
    }

    /// The line that revokes `key`.
    pub(crate) fn revoked(&self, key: &PublicKey) -> Option<&Line> {
        Some(&find(&self.revoked, &key.to_bytes().ok()?)?.at)
    }

    /// Whether some authority may certify the host's key.
    pub(crate) fn has_authority(&self) -> bool {
        !self.authorities.is_empty()
    }

    /// Whether a key of this kind is known: `ssh-rsa`, not the hash that signs with it. A host has several keys and shows the one
    /// that is asked for first.
    pub(crate) fn has_kind(&self, kind: &str) -> bool {
        self.trusted.iter().chain(&self.also_trusted).any(|key| key.algorithm == kind)
    }
}

fn find<'a>(keys: &'a [KnownKey], blob: &[u8]) -> Option<&'a KnownKey> {
    keys.iter().find(|key| key.blob == blob)
}

/// Whether the field `hosts` of a line names `name`: a hashed name, or patterns of which none that begins with `!` matches.
fn matches_hosts(name: &str, hosts: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hashed.split_once('|').is_some_and(|(salt, hash)| is_hash_of(name, salt, hash));
    }
    pattern::matches_any(&name.to_ascii_lowercase(), hosts.to_ascii_lowercase().split(','))
}

fn is_hash_of(name: &str, salt: &str, hash: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    Hmac::<Sha1>::new_from_slice(&salt).is_ok_and(|hmac| hmac.chain_update(name).verify_slice(&hash).is_ok())
}

/// `name` as a hashed line has it: `|1|salt|HMAC-SHA1(salt, name)`.
pub(crate) fn hash(name: &str, salt: &[u8; HASH_SALT_BYTES]) -> Option<String> {
    let hmac = Hmac::<Sha1>::new_from_slice(salt).ok()?.chain_update(name).finalize();
    Some(format!("|1|{}|{}", STANDARD.encode(salt), STANDARD.encode(hmac.into_bytes())))
}

/// A hashed name's salt: as long as the hash, as OpenSSH makes it.
pub(crate) const HASH_SALT_BYTES: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    /// Two keys of `ssh-keygen`'s.
    const A: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJnX4mDAdI+980SPR8D3tVqkJ47kC+7uWBWOZcYj5wFK";
    const B: &str = "AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    fn key(base64: &str) -> PublicKey {
        PublicKey::from_bytes(&STANDARD.decode(base64).unwrap()).unwrap()
    }

    fn known(text: &str, name: &str, also: Option<&str>) -> KnownKeys {
        let mut keys = KnownKeys::default();
        keys.add(text, Path::new("kh"), name, also);
        keys
    }

    fn trust(text: &str, name: &str, base64: &str) -> Trust {
        known(text, name, None).trust(&key(base64))
    }

    fn line(number: usize) -> Line {
        Line { file: PathBuf::from("kh"), number }
    }

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        let text = format!(
            "# comment\n\ndns.lan,192.0.2.1 ssh-ed25519 {A} admin@somewhere\n[dns.lan]:2222\tssh-ed25519\t{B}\n"
        );
        assert_eq!(trust(&text, "dns.lan", A), Trust::Known(line(3)));
        assert_eq!(trust(&text, "192.0.2.1", A), Trust::Known(line(3)));
        assert_eq!(trust(&text, "[dns.lan]:2222", B), Trust::Known(line(4)));
        assert_eq!(trust(&text, "[dns.lan]:2223", A), Trust::Unknown);
        assert_eq!(trust(&text, "ns.lan", A), Trust::Unknown);
    }

    #[test]
    fn another_key_names_the_expected_one_and_its_line() {
        let text = format!("x ssh-ed25519 {A}\ndns.lan ssh-rsa AAAA\ndns.lan ssh-ed25519 {A}\n");
        let Trust::OtherKey { expected, at } = trust(&text, "dns.lan", B) else { panic!("trusted") };
        assert_eq!(expected, format!("ssh-ed25519 {}", key(A).fingerprint(HashAlg::Sha256)));
        assert_eq!(at, line(3));
    }

    #[test]
    fn a_name_without_port_accepts_a_key_and_calls_none_wrong() {
        let text = format!("dns.lan ssh-ed25519 {A}\n");
        let keys = known(&text, "[dns.lan]:2222", Some("dns.lan"));
        assert_eq!(keys.trust(&key(A)), Trust::Known(line(1)));
        assert_eq!(keys.trust(&key(B)), Trust::Unknown);
    }

    #[test]
    fn a_hashed_name_is_recognised() {
        let hashed = hash("[127.0.0.1]:2222", b"01234567890123456789").unwrap();
        let text = format!("{hashed} ssh-ed25519 {A}");
        assert_eq!(trust(&text, "[127.0.0.1]:2222", A), Trust::Known(line(1)));
        assert_eq!(trust(&text, "127.0.0.1", A), Trust::Unknown);
        assert_eq!(trust(&format!("|1|AAAA|BBBB ssh-ed25519 {A}"), "127.0.0.1", A), Trust::Unknown);
    }

    #[test]
    fn patterns_match_and_exceptions_win() {
        let text = format!("*.LAN,!bad.lan ssh-ed25519 {A}\n");
        assert_eq!(trust(&text, "dns.lan", A), Trust::Known(line(1)));
        assert_eq!(trust(&text, "bad.lan", A), Trust::Unknown);
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_it_is_trusted() {
        let text = format!("dns.lan ssh-ed25519 {A}\n@revoked * ssh-ed25519 {A}\n@unheard-of * ssh-ed25519 {B}\n");
        assert_eq!(trust(&text, "dns.lan", A), Trust::Revoked(line(2)));
        assert_eq!(trust(&text, "other.lan", B), Trust::Unknown);
    }

    #[test]
    fn an_authority_is_no_host_key_and_counts_for_its_hosts_only() {
        let text = format!("@cert-authority *.lan ssh-ed25519 {A}\n");
        assert_eq!(trust(&text, "dns.lan", A), Trust::Unknown);
        assert_eq!(known(&text, "dns.lan", None).authority(&key(A)), Some(&line(1)));
        assert_eq!(known(&text, "[dns.lan]:22", Some("dns.lan")).authority(&key(A)), Some(&line(1)));
        assert!(known(&text, "dns.lan", None).authority(&key(B)).is_none());
        assert!(!known(&text, "dns.wan", None).has_authority());
    }

    #[test]
    fn a_damaged_line_trusts_nobody_and_hides_no_other() {
        let text = format!("dns.lan ssh-ed25519\ndns.lan ssh-ed25519 %%%\n\u{0}\ndns.lan ssh-ed25519 {A}\n");
        assert_eq!(trust(&text, "dns.lan", A), Trust::Known(line(4)));
        let keys = known(&text, "dns.lan", None);
        assert!(keys.has_kind("ssh-ed25519") && !keys.has_kind("ssh-rsa"));
    }

    #[test]
    fn a_missing_file_knows_nobody_and_an_unreadable_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let missing = KnownKeys::load(&[dir.path().join("none")], "a", None).unwrap();
        assert_eq!(missing.trust(&key(A)), Trust::Unknown);
        assert!(KnownKeys::load(&[dir.path().to_owned()], "a", None).is_err());
    }
}
