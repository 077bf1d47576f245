//! Which local repository is current, and where in the vault it is filed: `state_dir/current.json`.
//!
//! Invariants that this module owns:
//! - the file names a repository that was complete when it was named;
//! - it names a vault repository only after the cloud has, and one with the same id;
//! - what is known to be wrong with the local repository is written here before anything is done about it.
//!
//! A machine that is set back to an earlier state has an older file. It names an earlier repository, or an earlier place in
//! the vault, or none: the cloud says when its generation is over, and `verify` looks at the whole repository, so the worst that
//! comes of it is a new repository, or objects that cross twice.

use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{RepositoryId, VaultRepository};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state_file::{self, Damage, ReadError};
use crate::verdicts::Verdicts;

const CURRENT: &str = "current.json";

/// The record can't be used.
#[derive(Debug, Error)]
pub enum StateError {
    /// Reading or writing failed.
    #[error("the record of the current repository, {}, can't be read or written", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of the current repository, {}, is damaged: the next run sets it aside and begins a new repository", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: Damage,
    },
}

/// The repository that runs back up into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Current {
    /// The local repository.
    pub repository: RepositoryId,
    /// Where the vault files it, once a run has told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultRepository>,
    /// What a run has found wrong with the local repository, in words: the next one begins a new repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
    /// The repository that a rotation of the keys has made: the next run backs up into it, if the password file's password opens it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<RepositoryId>,
    /// The damaged repository that gives way to this one, until it has been set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaving: Option<RepositoryId>,
    /// What was found of the vault's repositories, this one's and others'.
    #[serde(default, skip_serializing_if = "Verdicts::is_empty")]
    pub verdicts: Verdicts,
}

impl Current {
    /// The record in `state_dir`; `None` before the first backup.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, StateError> {
        let path = || state_dir.join(CURRENT);
        let current: Self = match state_file::read_json(state_dir, CURRENT) {
            Ok(None) => return Ok(None),
            Ok(Some(current)) => current,
            Err(ReadError::Io(source)) => return Err(StateError::Io { path: path(), source }),
            Err(ReadError::Damaged(source)) => return Err(StateError::Damaged { path: path(), source }),
        };
        // A foreign vault repository must not vouch for anything here.
        let vault = current.vault.filter(|vault| vault.id() == current.repository);
        Ok(Some(Self { vault, ..current }))
    }

    /// A repository that nothing is known of but that it is there.
    #[must_use]
    pub fn of(repository: RepositoryId) -> Self {
        Self { repository, vault: None, damage: None, next: None, leaving: None, verdicts: Verdicts::default() }
    }

    /// The local repositories that runs back up into, now or next.
    #[must_use]
    pub fn in_use(&self) -> Vec<&RepositoryId> {
        [Some(&self.repository), self.next.as_ref()].into_iter().flatten().collect()
    }

    /// Replaces the record in `state_dir`.
    ///
    /// # Errors
    /// When it can't be written; the old one stays then.
    pub fn save(&self, state_dir: &Path) -> Result<(), StateError> {
        state_file::write_json(state_dir, CURRENT, self)
            .map_err(|source| StateError::Io { path: state_dir.join(CURRENT), source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_current_repository_is_read_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Current::load(dir.path()).unwrap(), None);
        let mut current = Current::of("0123456789abcdef".parse().unwrap());
        current.save(dir.path()).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap().as_ref(), Some(&current));
        current.vault = Some("2026-q4-0123456789abcdef".parse().unwrap());
        current.save(dir.path()).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap(), Some(current));
    }

    #[test]
    fn a_vault_repository_with_another_id_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let vault = Some("2026-q4-ffffffffffffffff".parse().unwrap());
        Current { vault, ..Current::of("0123456789abcdef".parse().unwrap()) }.save(dir.path()).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap().unwrap().vault, None);
    }

    #[test]
    fn a_damaged_record_is_neither_believed_nor_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"repository": "0123456789abcdef"}"#;
        std::fs::write(dir.path().join(CURRENT), text).unwrap();
        assert!(matches!(Current::load(dir.path()), Err(StateError::Damaged { .. })));
    }
}
