//! The agent's one-run key and the gate's host key: text from outside, of which only the understood part goes on.

use std::fmt;
use std::str::FromStr;

use ssh_key::{Algorithm, PublicKey};
use thiserror::Error;

/// The longest line that is looked at, in bytes. An ed25519 key takes 80; the rest is a comment's.
pub const MAX_KEY_LINE_BYTES: usize = 1024;

/// One ed25519 public key. Its text was written anew from the parsed key: no options, no comment, nothing of the
/// sender's own wording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ed25519Key(String);

/// A text that isn't exactly one ed25519 public key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// Longer than any such key.
    #[error("the public key is {0} bytes long: one line of at most {MAX_KEY_LINE_BYTES} is expected")]
    TooLong(usize),
    /// More than one line, or control characters.
    #[error("the public key must be a single line of printable text")]
    NotOneLine,
    /// Not an OpenSSH public key; options before the key are refused here too.
    #[error("the public key must look like \"ssh-ed25519 AAAA...\", without options")]
    Unreadable(#[source] ssh_key::Error),
    /// Another kind of key.
    #[error("the public key's algorithm is {0}: only ssh-ed25519 is taken")]
    Algorithm(String),
}

impl FromStr for Ed25519Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_KEY_LINE_BYTES {
            return Err(KeyError::TooLong(text.len()));
        }
        let line = text.strip_suffix('\n').unwrap_or(text);
        if line.chars().any(char::is_control) {
            return Err(KeyError::NotOneLine);
        }
        let mut key = PublicKey::from_openssh(line).map_err(KeyError::Unreadable)?;
        if key.algorithm() != Algorithm::Ed25519 {
            return Err(KeyError::Algorithm(key.algorithm().to_string()));
        }
        key.set_comment("");
        Ok(Self(key.to_openssh().map_err(KeyError::Unreadable)?.trim_end().to_owned()))
    }
}

impl Ed25519Key {
    /// The key as one line, without a line end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<Ed25519Key> for String {
    fn from(key: Ed25519Key) -> Self {
        key.0
    }
}

impl fmt::Display for Ed25519Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

    #[test]
    fn a_key_is_written_anew_without_its_comment() {
        for text in [KEY.to_owned(), format!("{KEY}\n"), format!("{KEY} me@vm '$(reboot)' \"'")] {
            assert_eq!(text.parse::<Ed25519Key>().unwrap().as_str(), KEY, "{text}");
        }
    }

    #[test]
    fn everything_but_one_ed25519_key_is_refused() {
        let ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";
        for wrong in [
            String::new(),
            "\n".to_owned(),
            format!("{KEY}\n{KEY}"),
            format!("{KEY}\n\n"),
            format!("command=\"id\" {KEY}"),
            format!("cert-authority {KEY}"),
            format!("{KEY}\0"),
            KEY.replace("ssh-ed25519", "ssh-rsa"),
            KEY.get(..60).unwrap().to_owned(),
            ecdsa.to_owned(),
            "x".repeat(MAX_KEY_LINE_BYTES + 1),
        ] {
            assert!(wrong.parse::<Ed25519Key>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_line_may_be_exactly_as_long_as_the_limit() {
        let comment = "c".repeat(MAX_KEY_LINE_BYTES - KEY.len() - 1);
        assert!(format!("{KEY} {comment}").parse::<Ed25519Key>().is_ok());
        assert!(matches!(format!("{KEY} {comment}c").parse::<Ed25519Key>(), Err(KeyError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_comes_out_as_bare_base64(comment in "[ -~]{0,200}", noise in ".{0,80}") {
            for text in [format!("{KEY} {comment}"), noise] {
                if let Ok(key) = text.parse::<Ed25519Key>() {
                    prop_assert!(key.as_str().strip_prefix("ssh-ed25519 ").unwrap().bytes()
                        .all(|b| b.is_ascii_alphanumeric() || b"+/=".contains(&b)));
                }
            }
        }
    }
}
