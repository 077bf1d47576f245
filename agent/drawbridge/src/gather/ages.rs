use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::state_file;

const SOURCES: &str = "sources.json";

/// When each source was last read completely: `state_dir/sources.json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceAges(BTreeMap<String, Timestamp>);

/// The record can't be read or written.
#[derive(Debug, Error)]
pub enum AgesError {
    /// Reading or writing failed.
    #[error("the record of gathered sources, {}, can't be read or written", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of gathered sources, {}, is damaged: it may be removed, the next run writes a new one", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl SourceAges {
    /// The record in `state_dir`; empty before the first run.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Self, AgesError> {
        let path = state_dir.join(SOURCES);
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(AgesError::Io { path, source }),
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| AgesError::Damaged { path, source }),
        }
    }

    /// When `source` was last complete.
    #[must_use]
    pub fn of(&self, source: &str) -> Option<Timestamp> {
        self.0.get(source).copied()
    }

    pub(super) fn complete(&mut self, source: &str, now: Timestamp) {
        self.0.insert(source.to_owned(), now);
    }

    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| wanted(name));
    }

    pub(super) fn save(&self, state_dir: &Path) -> Result<(), AgesError> {
        state_file::write_json(state_dir, SOURCES, self)
            .map_err(|source| AgesError::Io { path: state_dir.join(SOURCES), source })
    }
}
