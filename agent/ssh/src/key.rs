//! The ed25519 keys of a run, and their text form: one line of OpenSSH public key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, HashAlg, PrivateKey, ssh_key};
use thiserror::Error;

/// The longest line that is looked at, in bytes. An ed25519 key has 80; the rest is room for a comment.
const MAX_LINE_BYTES: usize = 1024;

/// A text that is not one ed25519 public key.
#[derive(Debug, Error)]
pub enum InvalidKey {
    /// More than one line, or one far too long.
    #[error("expected one line such as \"ssh-ed25519 AAAA...\", at most {MAX_LINE_BYTES} bytes long")]
    NotOneLine,
    /// Not OpenSSH's form.
    #[error("not an OpenSSH public key; expected one line such as \"ssh-ed25519 AAAA...\"")]
    Malformed(#[source] ssh_key::Error),
    /// Well formed, of another kind.
    #[error("a key of kind {0}: only ssh-ed25519 is accepted")]
    NotEd25519(String),
}

/// The generator or the encoder failed. Neither happens with ed25519; the library's signatures allow it.
#[derive(Debug, Error)]
#[error("cannot make an ed25519 key")]
pub struct KeyGenerationFailed(#[from] ssh_key::Error);

/// An ed25519 public key without comment or options. `Display` is its one line, parsing reads it back.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: ssh_key::PublicKey,
    line: String,
}

impl PublicKey {
    /// Takes a key over from the library, without its comment.
    ///
    /// # Errors
    /// When it is of another kind.
    pub fn new(key: &ssh_key::PublicKey) -> Result<Self, InvalidKey> {
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(InvalidKey::NotEd25519(key.algorithm().to_string()));
        }
        let key = ssh_key::PublicKey::new(key.key_data().clone(), "");
        let line = key.to_openssh().map_err(InvalidKey::Malformed)?;
        Ok(Self { key, line })
    }

    /// What people compare: `SHA256:` and 43 characters, as `ssh-keygen -l` prints it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// Whether the library's key is this one, whatever its comment.
    #[must_use]
    pub fn is(&self, other: &ssh_key::PublicKey) -> bool {
        self.key.key_data() == other.key_data()
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    /// Parses one line; a comment is dropped, options before the key and a second line are refused.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let line = text.strip_suffix('\n').unwrap_or(text);
        if line.len() > MAX_LINE_BYTES || line.chars().any(char::is_control) {
            return Err(InvalidKey::NotOneLine);
        }
        Self::new(&ssh_key::PublicKey::from_openssh(line).map_err(InvalidKey::Malformed)?)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A key's SHA-256 fingerprint in OpenSSH's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An ed25519 key pair that lives in memory and for one run. It is never written anywhere; `Debug` shows the public
/// half only.
#[derive(Clone)]
pub struct KeyPair {
    private: Arc<PrivateKey>,
    public: PublicKey,
}

impl KeyPair {
    /// A new pair from the operating system's random numbers.
    ///
    /// # Errors
    /// See [`KeyGenerationFailed`].
    pub fn generate() -> Result<Self, KeyGenerationFailed> {
        let private = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519)?;
        let key = ssh_key::PublicKey::new(private.public_key().key_data().clone(), "");
        let line = key.to_openssh()?;
        Ok(Self { private: Arc::new(private), public: PublicKey { key, line } })
    }

    /// The half that may be shown.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(crate) const fn private(&self) -> &Arc<PrivateKey> {
        &self.private
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use russh::keys::ssh_key::LineEnding;

    use super::*;

    /// From `ssh-keygen -t ed25519`, whose `-l` printed the fingerprint.
    const LINE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJnX4mDAdI+980SPR8D3tVqkJ47kC+7uWBWOZcYj5wFK";
    const FINGERPRINT: &str = "SHA256:8kVq+xHPLohZK2o+pSbzr0i+bA3NPuxr0+vaW+eaAUk";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQC1eZ9HY9nfU8Mk+jytiyvfuAtlAuzGyDXWtbYN+9J05JdAhbBHYg5fPnPH45+E++xZBbXOSxwUD5hKMZS1h1MzvYcig+nMa+PWjXTfg08hR7oYWwkiSNlhCT1ktDiVVdrtf4FxI+fQUprOaBiF9FsYNahPEqFQLnAE4mBv4/BAxQ==";

    #[test]
    fn a_line_comes_back_without_its_comment() {
        let pair = KeyPair::generate().unwrap();
        let line = pair.public().to_string();
        assert!(line.starts_with("ssh-ed25519 AAAA") && line.len() == 80, "{line}");
        let parsed: PublicKey = format!("{line} somebody@somewhere\n").parse().unwrap();
        assert_eq!(&parsed, pair.public());
        assert_eq!(parsed.to_string(), line);
    }

    #[test]
    fn anything_but_one_ed25519_key_is_refused() {
        let line = KeyPair::generate().unwrap().public().to_string();
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 AAAA",
            RSA,
            &format!("command=\"sh\" {line}"),
            &format!("{line}\n{line}"),
            &format!("{line} \r"),
            &format!("{line} {}", "x".repeat(MAX_LINE_BYTES)),
        ] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        assert_eq!(LINE.parse::<PublicKey>().unwrap().fingerprint().to_string(), FINGERPRINT);
    }

    #[test]
    fn debug_shows_nothing_of_the_private_half() {
        let pair = KeyPair::generate().unwrap();
        let secret = pair.private().to_openssh(LineEnding::LF).unwrap().lines().nth(3).unwrap().to_owned();
        let debug = format!("{pair:?}");
        assert!(!debug.contains(&secret) && debug.contains(&pair.public().to_string()), "{debug}");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_what_parses_prints_one_clean_line(text in ".{0,200}") {
            for candidate in [text.clone(), format!("ssh-ed25519 {text}"), format!("{LINE} {text}")] {
                if let Ok(key) = candidate.parse::<PublicKey>() {
                    prop_assert_eq!(key.to_string().split(' ').count(), 2);
                }
            }
        }
    }
}
