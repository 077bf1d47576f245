//! `drawbridge trust`: shows a host's key, and after a person's yes, or a fingerprint given beforehand, writes it down.
//!
//! Invariants:
//! - nothing is trusted because it came first: only on `yes` at a terminal, or when it is the key that was named;
//! - a key that is known, or revoked, is never replaced.

use std::fmt;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use drawbridge_gather::{Limits, Place, Source};
use drawbridge_hosts::{InvalidAddress, Line, Patience, ShownKey, SshError, Target, Trust, shown_key};
use serde::Serialize;
use thiserror::Error;

use crate::config::Config;
use crate::exit::Exit;
use crate::ui::Ui;

/// Why a host isn't trusted.
#[derive(Debug, Error)]
pub enum TrustError {
    /// Neither a source nor an address.
    #[error(transparent)]
    Name(#[from] InvalidAddress),
    /// A source on this machine.
    #[error("{0} is on this machine: there is no host to trust")]
    Local(String),
    /// It can't be reached.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// Another key is known.
    #[error(
        "{host} showed {came}, and {at} says {expected}. A known key is never replaced. Find out why it changed; only if the host was \
         set up anew, remove the line with `ssh-keygen -R '{known_as}' -f {}` and run this again",
        at.file.display()
    )]
    OtherKey {
        /// The host.
        host: String,
        /// What it is called in the file.
        known_as: String,
        /// The key that it showed.
        came: String,
        /// The known one.
        expected: String,
        /// Where that stands.
        at: Box<Line>,
    },
    /// The key was revoked.
    #[error("{host} showed {came}, which {at} revokes: it is not written down")]
    Revoked {
        /// The host.
        host: String,
        /// The key that it showed.
        came: String,
        /// Where that stands.
        at: Line,
    },
    /// Another key than the named one.
    #[error(
        "{host} showed {came}, not the {expected} that was given: somebody may be in the middle; nothing was written"
    )]
    OtherFingerprint {
        /// The host.
        host: String,
        /// The key that it showed.
        came: String,
        /// What was given.
        expected: String,
    },
    /// Nobody is there to ask.
    #[error(
        "nobody is at a terminal to be asked: give the fingerprint that `ssh-keygen -lf` shows on {host} itself, as --fingerprint \
         SHA256:..."
    )]
    NobodyThere {
        /// The host.
        host: String,
    },
    /// Somebody said something else than yes.
    #[error("the answer was not `yes`: nothing was written")]
    NotYes,
    /// No file is configured.
    #[error(
        "there is no file to write the key of {host} into: set known_hosts in the source, or UserKnownHostsFile for SSH"
    )]
    NoFile {
        /// The host.
        host: String,
    },
    /// It can't be written.
    #[error("the key can't be written into {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The answer can't be read.
    #[error("the answer can't be read")]
    Answer(#[source] io::Error),
    /// A thread of ours ended by itself.
    #[error("asking broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Whom to trust.
#[derive(Debug, Clone, clap::Args)]
pub struct TrustArgs {
    /// A source's name, or [user@]host[:port]
    #[arg(value_name = "HOST|SOURCE")]
    pub host: String,
    /// Don't ask; trust the host if its key has this fingerprint
    #[arg(long, value_name = "SHA256:...")]
    pub fingerprint: Option<String>,
}

/// Shows the key of a configured source's host, or of any host, and writes it down if it may be trusted. A configuration is needed
/// for the former only.
///
/// # Errors
/// See [`TrustError`]; nothing has been written then, except perhaps with [`TrustError::Write`].
pub async fn trust(config: Option<&Config>, ui: &Ui, args: &TrustArgs) -> Result<Exit, TrustError> {
    let (target, patience) = whom(config, &args.host)?;
    let shown = shown_key(&target, patience).await?;
    let host = shown.host().to_string();
    let came = format!("{} {}", shown.algorithm(), shown.fingerprint());
    if let Some(expected) = args.fingerprint.as_ref().filter(|expected| **expected != shown.fingerprint()) {
        return Err(TrustError::OtherFingerprint { host, came, expected: expected.clone() });
    }
    let file = match shown.known().clone() {
        Trust::Known(at) => return Ok(say(ui, &shown, &at.file, true)),
        Trust::Revoked(at) => return Err(TrustError::Revoked { host, came, at }),
        Trust::OtherKey { expected, at } => {
            return Err(TrustError::OtherKey {
                host,
                known_as: shown.host().known_as.clone(),
                came,
                expected,
                at: Box::new(at),
            });
        }
        Trust::Unknown => match shown.host().known_hosts.first() {
            Some(file) => file.clone(),
            None => return Err(TrustError::NoFile { host }),
        },
    };
    if args.fingerprint.is_none() {
        ui.note(&question(&shown, &file));
        let answer = tokio::task::spawn_blocking(ask).await?.map_err(TrustError::Answer)?;
        consent(answer.as_deref(), &host)?;
    }
    shown.append_to(&file).map_err(|source| TrustError::Write { path: file.clone(), source })?;
    Ok(say(ui, &shown, &file, false))
}

/// The host that `name` means: a source's, with its patience, or the one at an address.
fn whom(config: Option<&Config>, name: &str) -> Result<(Target, Patience), TrustError> {
    let patience = |limits: &Limits| Patience { connect: limits.connect, silence: limits.silence };
    let source: Option<&Source> = config.and_then(|config| config.sources.iter().find(|source| source.name == name));
    match source.map(|source| (&source.place, &source.limits)) {
        Some((Place::Ssh(target), limits)) => Ok((target.clone(), patience(limits))),
        Some((Place::Local { .. }, _)) => Err(TrustError::Local(name.to_owned())),
        None => Ok((Target::parse(name)?, patience(&Limits::default()))),
    }
}

fn question(shown: &ShownKey, file: &Path) -> String {
    let algorithm = shown.algorithm();
    // The name of the host's own file, as Debian, Alpine and the BSDs have it.
    let kind = match algorithm.as_str() {
        "ssh-ed25519" => "ed25519",
        "ssh-rsa" => "rsa",
        _ => "ecdsa",
    };
    format!(
        "{} shows the host key\n\n    {algorithm} {}\n\nCompare it with what this shows on the host itself, not through the network:\n\n    \
         ssh-keygen -lf /etc/ssh/ssh_host_{kind}_key.pub\n\nIt would be written into {} as {}.\nIs it the same? Type yes to trust \
         this key:",
        shown.host(),
        shown.fingerprint(),
        file.display(),
        shown.host().known_as,
    )
}

/// A line from the terminal; `None` when there is none.
fn ask() -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() {
        return Ok(None);
    }
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(Some(answer))
}

fn consent(answer: Option<&str>, host: &str) -> Result<(), TrustError> {
    match answer.map(str::trim) {
        None => Err(TrustError::NobodyThere { host: host.to_owned() }),
        Some("yes") => Ok(()),
        Some(_) => Err(TrustError::NotYes),
    }
}

#[derive(Serialize)]
struct Trusted {
    host: String,
    algorithm: String,
    fingerprint: String,
    file: PathBuf,
    /// Whether it was so before.
    already: bool,
}

impl fmt::Display for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, algorithm, fingerprint, file, already } = self;
        let what = if *already { "is known already" } else { "is now trusted" };
        write!(f, "{host}: {algorithm} {fingerprint} {what} ({})", file.display())
    }
}

fn say(ui: &Ui, shown: &ShownKey, file: &Path, already: bool) -> Exit {
    let trusted = Trusted {
        host: shown.host().to_string(),
        algorithm: shown.algorithm(),
        fingerprint: shown.fingerprint(),
        file: file.to_owned(),
        already,
    };
    ui.result("trusted", &trusted, &trusted);
    Exit::Done
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use drawbridge_peers::sshd::{KeyKind, Sshd};
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn only_yes_is_yes() {
        for answer in ["yes\n", " yes "] {
            assert!(consent(Some(answer), "h").is_ok(), "{answer}");
        }
        for answer in ["", "y", "no", "YES", "yes please"] {
            assert!(matches!(consent(Some(answer), "h"), Err(TrustError::NotYes)), "{answer}");
        }
        assert!(matches!(consent(None, "h"), Err(TrustError::NobodyThere { .. })));
    }

    /// A configuration with a source on `sshd` that knows `known`, and the file of what it knows.
    fn config(dir: &TempDir, sshd: &Sshd, known: &str) -> (Config, PathBuf) {
        let file = dir.path().join("known_hosts");
        fs::write(&file, known).unwrap();
        let text = format!(
            "state_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\nstart = \"a\"\nsession = \"b\"\n\
             report = \"c\"\n[[source]]\nname = \"fw\"\nhost = \"127.0.0.1\"\nport = {}\nknown_hosts = {file:?}\nssh_config = \
             \"/dev/null\"\npaths = [\"/etc\"]\n[[source]]\nname = \"here\"\npaths = [\"/etc\"]\n",
            sshd.port()
        );
        (Config::parse(&text, &dir.path().join("drawbridge.toml")).unwrap(), file)
    }

    fn args(host: &str, fingerprint: &str) -> TrustArgs {
        TrustArgs { host: host.to_owned(), fingerprint: Some(fingerprint.to_owned()) }
    }

    #[tokio::test]
    async fn the_named_key_is_written_once_and_another_one_never() {
        let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
        let (config, file) = config(&dir, &sshd, "");
        let (target, patience) = whom(Some(&config), "fw").unwrap();
        let right = shown_key(&target, patience).await.unwrap().fingerprint();

        let wrong = format!("SHA256:{}", "A".repeat(43));
        let error = trust(Some(&config), &Ui::silent(), &args("fw", &wrong)).await.unwrap_err();
        assert!(matches!(error, TrustError::OtherFingerprint { .. }), "{error}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "");

        for _ in 0..2 {
            assert_eq!(trust(Some(&config), &Ui::silent(), &args("fw", &right)).await.unwrap(), Exit::Done);
            let line = format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key(KeyKind::Ed25519));
            assert_eq!(fs::read_to_string(&file).unwrap(), line);
        }
    }

    #[tokio::test]
    async fn a_key_that_differs_from_the_known_one_or_is_revoked_is_not_written() {
        let (sshd, other, dir) = (Sshd::start(), Sshd::start(), TempDir::new().unwrap());
        let changed = format!("[127.0.0.1]:{} {}\n", sshd.port(), other.host_key(KeyKind::Ed25519));
        let revoked = format!("@revoked * {}\n", sshd.host_key(KeyKind::Ed25519));
        for known in [changed, revoked] {
            let (config, file) = config(&dir, &sshd, &known);
            let (target, patience) = whom(Some(&config), "fw").unwrap();
            let right = shown_key(&target, patience).await.unwrap().fingerprint();
            let error = trust(Some(&config), &Ui::silent(), &args("fw", &right)).await.unwrap_err();
            let remedy = format!("ssh-keygen -R '[127.0.0.1]:{}'", sshd.port());
            assert!(error.to_string().contains(&remedy) || matches!(error, TrustError::Revoked { .. }), "{error}");
            assert_eq!(fs::read_to_string(&file).unwrap(), known);
        }
    }

    #[test]
    fn a_name_is_a_source_or_else_an_address() {
        let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
        let (config, _) = config(&dir, &sshd, "");
        assert_eq!(whom(Some(&config), "fw").unwrap().0.port, Some(sshd.port()));
        assert!(matches!(whom(Some(&config), "here"), Err(TrustError::Local(_))));
        assert_eq!(whom(None, "root@fw:7").unwrap().0.port, Some(7));
        assert!(matches!(whom(None, "a b"), Err(TrustError::Name(_))));
    }
}
