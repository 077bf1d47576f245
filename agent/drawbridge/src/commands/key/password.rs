//! Where a new password comes from.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::Args;
use console::Term;
use thiserror::Error;

use crate::commands::init::{InitError, new_password};
use crate::config::{Config, PasswordError};
use crate::secret::Secret;

/// The shortest password that somebody may choose, in characters. Its key lies in the vault: whoever gets to read that may guess as
/// often as they like.
const MIN_CHARACTERS: usize = 12;

/// Where a new password comes from; without any of these, from the terminal.
#[derive(Debug, Clone, Default, Args)]
#[group(multiple = false)]
pub struct NewPassword {
    /// Read it from this file, which only its owner may read
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// Make one, and write it to this new file, which only its owner may read
    #[arg(long, value_name = "FILE")]
    generate_to: Option<PathBuf>,
    /// Make one, and show it on the terminal, once
    #[arg(long)]
    generate: bool,
}

/// Why there is no new password.
#[derive(Debug, Error)]
pub enum NewPasswordError {
    /// The file.
    #[error(transparent)]
    File(#[from] PasswordError),
    /// No randomness.
    #[error(transparent)]
    Random(#[from] InitError),
    /// Nobody to ask or tell.
    #[error(
        "there is no terminal: give the new password with --new-password-file FILE, or have it made with --generate-to FILE"
    )]
    NoTerminal,
    /// The terminal.
    #[error("cannot read from the terminal")]
    Terminal(#[source] io::Error),
    /// A guess away.
    #[error("the password has fewer than {MIN_CHARACTERS} characters")]
    Short,
    /// Typed in two ways.
    #[error("the two are not the same")]
    Differ,
    /// The file for it.
    #[error("cannot write the new password to {}, which must not exist yet", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl NewPassword {
    /// Gets it from wherever it was said that it comes from.
    ///
    /// # Errors
    /// See [`NewPasswordError`].
    pub(super) fn obtain(&self) -> Result<Secret, NewPasswordError> {
        let password = match self {
            Self { new_password_file: Some(file), .. } => Config::read_password_file(file)?,
            Self { generate_to: Some(file), .. } => {
                let password = Secret::from(new_password()?);
                write_new(file, &password)?;
                return Ok(password);
            }
            Self { generate: true, .. } => return show(Secret::from(new_password()?)),
            Self { .. } => ask()?,
        };
        if password.reveal().chars().count() < MIN_CHARACTERS {
            return Err(NewPasswordError::Short);
        }
        Ok(password)
    }
}

/// Writes a password to a file that isn't there yet.
pub(super) fn write_new(path: &Path, password: &Secret) -> Result<(), NewPasswordError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        writeln!(file, "{}", password.reveal())?;
        file.sync_all()
    };
    write().map_err(|source| NewPasswordError::Write { path: path.to_owned(), source })
}

fn show(password: Secret) -> Result<Secret, NewPasswordError> {
    let terminal = Term::stderr();
    if !terminal.is_term() {
        return Err(NewPasswordError::NoTerminal);
    }
    let text = format!(
        "The new password, shown this once:\n\n    {}\n\nWrite it down, and keep it elsewhere.",
        password.reveal()
    );
    terminal.write_line(&text).map_err(NewPasswordError::Terminal)?;
    Ok(password)
}

/// Twice from the terminal, without showing it.
fn ask() -> Result<Secret, NewPasswordError> {
    let terminal = Term::stderr();
    if !terminal.is_term() || !io::stdin().is_terminal() {
        return Err(NewPasswordError::NoTerminal);
    }
    let once = |what: &str| {
        terminal.write_str(what).and_then(|()| terminal.read_secure_line()).map_err(NewPasswordError::Terminal)
    };
    let first = once("New password: ")?;
    if first != once("Once more: ")? {
        return Err(NewPasswordError::Differ);
    }
    Ok(Secret::from(first))
}
