use std::io;
use std::path::PathBuf;

use drawbridge_gather::one_line;
use drawbridge_wire::{InvalidName, Sha256Digest};
use rustic_core::RusticError;
use thiserror::Error;

use super::Dropped;
use super::health::Damage;

/// How many dropped files an error names.
const NAMED_FILES: usize = 10;

/// What can go wrong with the local repository.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The repository's folder can't be made or read.
    #[error("cannot {action} {}", one_line(path))]
    Folder {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A key of the repository exists, but not for this password.
    #[error(
        "the repository password does not open the local repository {}: put the right password back into \
         [repository] password_file, or move that folder away to begin a new repository", path.display()
    )]
    WrongPassword {
        /// The repository.
        path: PathBuf,
    },
    /// Its files aren't what was written.
    #[error("the local repository {} is damaged: {damage}", path.display())]
    Damaged {
        /// The repository.
        path: PathBuf,
        /// What is wrong: which file, and how.
        damage: Damage,
    },
    /// The engine failed.
    #[error("cannot {action} the local repository {}", path.display())]
    Repository {
        /// What was tried.
        action: &'static str,
        /// The repository.
        path: PathBuf,
        /// What the engine says.
        source: EngineFailure,
    },
    /// A repository that is only read can't be.
    #[error("cannot {action} the repository {place}")]
    Archive {
        /// What was tried.
        action: &'static str,
        /// Where the repository lies.
        place: String,
        /// What the engine says.
        source: EngineFailure,
    },
    /// A key of a repository that is only read exists, but not for this password.
    #[error("the password does not open the repository {place}")]
    NotThePassword {
        /// Where the repository lies.
        place: String,
    },
    /// A snapshot can't be read.
    #[error("the snapshot {} of the repository {place} can't be read", id.get(..8).unwrap_or(id))]
    Snapshot {
        /// Its id, 64 hex digits.
        id: String,
        /// Where the repository lies.
        place: String,
        /// What the engine says.
        source: EngineFailure,
    },
    /// Somebody who had the key has put other bytes under a name.
    #[error("the repository {place} holds other bytes under the name {piece} than those whose hash that is")]
    OtherBytes {
        /// Where the repository lies.
        place: String,
        /// What the bytes should be.
        piece: Sha256Digest,
    },
    /// A name of the engine's that isn't one of ours.
    #[error("the engine named something in the local repository in an unknown way")]
    Name(#[from] InvalidName),
    /// The engine's threads ended without an answer.
    #[error("the backup engine stopped unexpectedly")]
    Stopped(#[from] tokio::task::JoinError),
    /// The snapshot would not have held everything; it was taken back.
    #[error("{} of {expected} files did not get into the snapshot, which was taken back: {}", files.len().max(1), name_files(files))]
    Incomplete {
        /// How many files the mirror holds.
        expected: u64,
        /// Which are missing.
        files: Vec<Dropped>,
    },
}

/// An error of `rustic_core` on one line; its own form is a page long.
#[derive(Debug, Error)]
#[error("{}", said(.0))]
pub struct EngineFailure(pub(super) Box<RusticError>);

impl EngineFailure {
    /// What the system said, if that is where it comes from.
    #[must_use]
    pub fn io(&self) -> Option<&io::Error> {
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(self.0.as_ref());
        while let Some(error) = next {
            if let Some(error) = error.downcast_ref::<io::Error>() {
                return Some(error);
            }
            next = error.source();
        }
        None
    }
}

/// What the engine says of an error and of each of its causes; of a cause its own log line would show the whole page.
fn said(error: &RusticError) -> String {
    let mut text = own_words(error);
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let of_engine = cause
            .downcast_ref::<RusticError>()
            .or_else(|| cause.downcast_ref::<Box<RusticError>>().map(|inner| &**inner));
        text.push_str(": ");
        text.push_str(&of_engine.map_or_else(|| cause.to_string(), own_words));
        next = cause.source();
    }
    text
}

fn own_words(error: &RusticError) -> String {
    let line = error.display_log();
    let line = line.split(": caused by: ").next().unwrap_or(&line);
    line.trim_start_matches("Error: ").to_owned()
}

fn name_files(files: &[Dropped]) -> String {
    let mut named: Vec<String> = files
        .iter()
        .take(NAMED_FILES)
        .map(|file| one_line(format!("{} ({})", file.path.display(), file.reason)))
        .collect();
    if files.len() > NAMED_FILES {
        named.push(format!("and {} more", files.len() - NAMED_FILES));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use rustic_core::ErrorKind;

    use super::*;

    #[test]
    fn an_error_of_the_engine_and_its_causes_are_one_line() {
        let inner = RusticError::with_source(ErrorKind::Cryptography, "Inner.", std::io::Error::other("the cause"));
        let outer = RusticError::with_source(ErrorKind::Backend, "Outer {id}.", inner).attach_context("id", "7");
        let text = EngineFailure(outer).to_string();
        assert!(text.starts_with("Outer 7.") && text.contains(": Inner.") && text.ends_with(": the cause"), "{text}");
        assert!(!text.contains('\n') && text.matches("Inner.").count() == 1, "{text}");
    }

    #[test]
    fn an_error_names_ten_dropped_files_and_counts_the_others() {
        let dropped = |index| Dropped { path: format!("/mirror/{index}").into(), reason: "gone".to_owned() };
        let named = |count| name_files(&(0..count).map(dropped).collect::<Vec<_>>());
        assert!(named(10).ends_with("/mirror/9 (gone)"), "{}", named(10));
        assert!(named(12).ends_with("/mirror/9 (gone), and 2 more"), "{}", named(12));
    }
}
