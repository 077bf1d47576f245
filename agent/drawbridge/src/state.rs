//! Which local repository is current, and where in the vault it is filed: `state_dir/current.json`.
//!
//! Invariants that this module owns:
//! - the file names a repository that was complete when it was named;
//! - it names a vault repository only after the cloud has, and one with the same id.

use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{RepositoryId, VaultRepository};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state_file;

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
    #[error(
        "the record of the current repository, {}, is damaged: put it back from a backup, or remove it to begin a new repository",
        path.display()
    )]
    Damaged {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
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
}

impl Current {
    /// The record in `state_dir`; `None` before the first backup.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, StateError> {
        let path = state_dir.join(CURRENT);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::Io { path, source }),
            Ok(bytes) => bytes,
        };
        let current: Self = serde_json::from_slice(&bytes).map_err(|source| StateError::Damaged { path, source })?;
        // A foreign vault repository must not vouch for anything here.
        let vault = current.vault.filter(|vault| vault.id() == current.repository);
        Ok(Some(Self { repository: current.repository, vault }))
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
        let mut current = Current { repository: "0123456789abcdef".parse().unwrap(), vault: None };
        current.save(dir.path()).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap().as_ref(), Some(&current));
        current.vault = Some("2026-q4-0123456789abcdef".parse().unwrap());
        current.save(dir.path()).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap(), Some(current));
    }

    #[test]
    fn a_vault_repository_with_another_id_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"repository": "0123456789abcdef", "vault": "2026-q4-ffffffffffffffff"}"#;
        std::fs::write(dir.path().join(CURRENT), text).unwrap();
        assert_eq!(Current::load(dir.path()).unwrap().unwrap().vault, None);
    }

    #[test]
    fn a_damaged_record_is_an_error_that_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CURRENT), "{").unwrap();
        assert!(Current::load(dir.path()).unwrap_err().to_string().contains("remove it"));
    }
}
