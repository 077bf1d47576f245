//! Which host keys are trusted: OpenSSH's `known_hosts`, as sshd(8) describes it under SSH_KNOWN_HOSTS FILE FORMAT. Nothing is
//! ever added to it.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use thiserror::Error;

use crate::config::DEFAULT_SSH_PORT;

/// What a `known_hosts` file says of one host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KnownKeys {
    trusted: Vec<KnownKey>,
    revoked: Vec<KnownKey>,
}

#[derive(Debug, PartialEq, Eq)]
struct KnownKey {
    algorithm: String,
    /// The key as SSH sends it (RFC 4253, section 6.6).
    blob: Vec<u8>,
    line: usize,
}

/// What a `known_hosts` file says of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// This is the host.
    Known,
    /// The host isn't in the file.
    UnknownHost,
    /// The host is in the file with another key, in this line.
    OtherKey {
        /// From 1.
        line: usize,
    },
    /// Nobody may use this key any more, says this line.
    Revoked {
        /// From 1.
        line: usize,
    },
}

/// The file can't be read.
#[derive(Debug, Error)]
#[error("the file of known host keys, {}, can't be read", path.display())]
pub struct KnownHostsError {
    path: PathBuf,
    source: io::Error,
}

impl KnownKeys {
    /// What the file at `path` says of `host`; a missing file says nothing.
    pub(super) fn load(path: &Path, host: &str, port: u16) -> Result<Self, KnownHostsError> {
        match std::fs::read(path) {
            Ok(bytes) => Ok(Self::parse(&String::from_utf8_lossy(&bytes), host, port)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(KnownHostsError { path: path.to_owned(), source }),
        }
    }

    fn parse(text: &str, host: &str, port: u16) -> Self {
        let host = host.to_ascii_lowercase();
        let names = if port == DEFAULT_SSH_PORT {
            vec![format!("[{host}]:{port}"), host]
        } else {
            vec![format!("[{host}]:{port}")]
        };
        let mut keys = Self::default();
        for (index, line) in text.lines().enumerate() {
            let mut fields = line.split_ascii_whitespace().peekable();
            let marker = fields.next_if(|field| field.starts_with('@'));
            let (Some(hosts), Some(algorithm), Some(blob)) = (fields.next(), fields.next(), fields.next()) else {
                continue;
            };
            // A line that can't be read trusts nobody; a comment begins with # and has no hosts.
            let Ok(blob) = STANDARD.decode(blob) else { continue };
            if hosts.starts_with('#') || !names.iter().any(|name| matches_hosts(name, hosts)) {
                continue;
            }
            let key = KnownKey { algorithm: algorithm.to_owned(), blob, line: index + 1 };
            match marker {
                None => keys.trusted.push(key),
                Some("@revoked") => keys.revoked.push(key),
                // Certificate authorities are not supported: trusting less is safe.
                Some(_) => {}
            }
        }
        keys
    }

    /// What is said of `blob`.
    pub(super) fn trust(&self, blob: &[u8]) -> Trust {
        if let Some(revoked) = self.revoked.iter().find(|key| key.blob == blob) {
            return Trust::Revoked { line: revoked.line };
        }
        match self.trusted.first() {
            None => Trust::UnknownHost,
            Some(_) if self.trusted.iter().any(|key| key.blob == blob) => Trust::Known,
            Some(other) => Trust::OtherKey { line: other.line },
        }
    }

    /// Whether a key of this algorithm is known. A host has several keys and shows the one that is asked for first.
    pub(super) fn has_algorithm(&self, algorithm: &str) -> bool {
        self.trusted.iter().any(|key| key.algorithm == algorithm)
    }
}

/// Whether the field `hosts` of a line names `name`: a hashed name, or patterns of which none that begins with `!` matches.
fn matches_hosts(name: &str, hosts: &str) -> bool {
    if let Some(hashed) = hosts.strip_prefix("|1|") {
        return hashed.split_once('|').is_some_and(|(salt, hash)| is_hash_of(name, salt, hash));
    }
    let mut named = false;
    for pattern in hosts.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if matches_pattern(name, &pattern.to_ascii_lowercase()) => return false,
            Some(_) => {}
            None => named |= matches_pattern(name, &pattern.to_ascii_lowercase()),
        }
    }
    named
}

fn is_hash_of(name: &str, salt: &str, hash: &str) -> bool {
    let (Ok(salt), Ok(hash)) = (STANDARD.decode(salt), STANDARD.decode(hash)) else { return false };
    Hmac::<Sha1>::new_from_slice(&salt).is_ok_and(|hmac| hmac.chain_update(name).verify_slice(&hash).is_ok())
}

/// `*` stands for any number of characters, `?` for one.
fn matches_pattern(name: &str, pattern: &str) -> bool {
    let (name, pattern) = (name.as_bytes(), pattern.as_bytes());
    let (mut at, mut in_pattern) = (0, 0);
    // After the last `*`: where it is, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while let Some(byte) = name.get(at) {
        match pattern.get(in_pattern) {
            Some(b'*') => {
                star = Some((in_pattern, at));
                in_pattern += 1;
            }
            Some(b'?') => (at, in_pattern) = (at + 1, in_pattern + 1),
            Some(expected) if expected == byte => (at, in_pattern) = (at + 1, in_pattern + 1),
            _ => match star {
                None => return false,
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    (at, in_pattern) = (taken + 1, place + 1);
                }
            },
        }
    }
    pattern.get(in_pattern..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Not keys, but base64 that nobody looks into here.
    const A: &str = "AAAA";
    const B: &str = "BBBB";

    fn trust(text: &str, host: &str, port: u16, key: &str) -> Trust {
        KnownKeys::parse(text, host, port).trust(&STANDARD.decode(key).unwrap())
    }

    #[test]
    fn a_host_is_known_by_its_name_and_port() {
        let text = format!(
            "# comment\n\ndns.lan,192.0.2.1 ssh-ed25519 {A} admin@somewhere\n[dns.lan]:2222\tssh-ed25519\t{B}\n"
        );
        assert_eq!(trust(&text, "dns.lan", 22, A), Trust::Known);
        assert_eq!(trust(&text, "DNS.lan", 22, A), Trust::Known);
        assert_eq!(trust(&text, "192.0.2.1", 22, A), Trust::Known);
        assert_eq!(trust(&text, "dns.lan", 2222, B), Trust::Known);
        assert_eq!(trust(&text, "dns.lan", 22, B), Trust::OtherKey { line: 3 });
        assert_eq!(trust(&text, "dns.lan", 2222, A), Trust::OtherKey { line: 4 });
        assert_eq!(trust(&text, "dns.lan", 2223, A), Trust::UnknownHost);
        assert_eq!(trust(&text, "ns.lan", 22, A), Trust::UnknownHost);
    }

    #[test]
    fn a_hashed_name_is_recognised() {
        let salt = STANDARD.encode(b"01234567890123456789");
        let mac =
            Hmac::<Sha1>::new_from_slice(b"01234567890123456789").unwrap().chain_update("[127.0.0.1]:2222").finalize();
        let line = format!("|1|{salt}|{} ssh-ed25519 {A}", STANDARD.encode(mac.into_bytes()));
        assert_eq!(trust(&line, "127.0.0.1", 2222, A), Trust::Known);
        assert_eq!(trust(&line, "127.0.0.1", 22, A), Trust::UnknownHost);
        assert_eq!(trust("|1|AAAA|BBBB ssh-ed25519 AAAA", "127.0.0.1", 22, A), Trust::UnknownHost);
    }

    #[test]
    fn patterns_match_and_exceptions_win() {
        let text = format!("*.lan,!bad.lan ssh-ed25519 {A}\n");
        assert_eq!(trust(&text, "dns.lan", 22, A), Trust::Known);
        assert_eq!(trust(&text, "bad.lan", 22, A), Trust::UnknownHost);
        for (pattern, name, expected) in [
            ("a*c", "abbc", true),
            ("a*c", "abcd", false),
            ("a?c", "abc", true),
            ("*", "x", true),
            ("a*b*c", "a-b-b-c", true),
            ("", "a", false),
        ] {
            assert_eq!(matches_pattern(name, pattern), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_it_is_trusted_and_authorities_are_not_trusted() {
        let text = format!("dns.lan ssh-ed25519 {A}\n@revoked * ssh-ed25519 {A}\n@cert-authority * ssh-ed25519 {B}\n");
        assert_eq!(trust(&text, "dns.lan", 22, A), Trust::Revoked { line: 2 });
        assert_eq!(trust(&text, "other.lan", 22, B), Trust::UnknownHost);
    }

    #[test]
    fn a_damaged_line_trusts_nobody_and_hides_no_other() {
        let text = format!("dns.lan ssh-ed25519\ndns.lan ssh-ed25519 %%%\n\u{0}\ndns.lan ecdsa-sha2-nistp256 {A}\n");
        assert_eq!(trust(&text, "dns.lan", 22, A), Trust::Known);
        let keys = KnownKeys::parse(&text, "dns.lan", 22);
        assert!(keys.has_algorithm("ecdsa-sha2-nistp256") && !keys.has_algorithm("ssh-ed25519"));
    }

    #[test]
    fn a_missing_file_knows_nobody_and_an_unreadable_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(KnownKeys::load(&dir.path().join("none"), "a", 22).unwrap(), KnownKeys::default());
        assert!(KnownKeys::load(dir.path(), "a", 22).is_err());
    }
}
