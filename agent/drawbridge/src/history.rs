//! What happened last: `state_dir/last-run.json`, one record, replaced at the end of every run.

use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{RunId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::gather::SourceOutcome;
use crate::state_file::{self, Damage, ReadError};

const LAST_RUN: &str = "last-run.json";

/// One run, as `drawbridge status` tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// The run, if it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// When it began.
    pub started: Timestamp,
    /// When it was over.
    pub ended: Timestamp,
    /// How it ended.
    pub outcome: RunOutcome,
    /// The snapshot that it made, if it came to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// How many objects crossed.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// What became of each source.
    pub sources: Vec<SourceOutcome>,
    /// The program's exit code.
    pub exit_code: u8,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum RunOutcome {
    /// The vault holds the whole repository, and this was verified at rest.
    Verified,
    /// Verified at rest, but the copies of these sources in it are older than their `max_age` allows.
    Stale {
        /// Their names.
        sources: Vec<String>,
    },
    /// Another run was open; until then, at the latest.
    Busy {
        /// When it will be over.
        until: Timestamp,
    },
    /// The time slot had had its run.
    TooSoon {
        /// When the next one begins.
        retry_after: Timestamp,
    },
    /// The last 24 hours had had their number of runs.
    DailyLimit {
        /// When the next one may begin.
        retry_after: Timestamp,
    },
    /// Anything else.
    Failed {
        /// The error and its causes, for a person.
        reason: String,
    },
}

/// The record can't be read or written.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// Reading or writing failed.
    #[error("the record of the last run, {}, can't be read or written", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of the last run, {}, is damaged: the next run writes a new one", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why.
        source: Damage,
    },
}

impl LastRun {
    /// The record in `state_dir`, or `None` before the first run.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Option<Self>, HistoryError> {
        let path = || state_dir.join(LAST_RUN);
        state_file::read_json(state_dir, LAST_RUN).map_err(|error| match error {
            ReadError::Io(source) => HistoryError::Io { path: path(), source },
            ReadError::Damaged(source) => HistoryError::Damaged { path: path(), source },
        })
    }

    /// Replaces the record in `state_dir`.
    ///
    /// # Errors
    /// When it can't be written; the old record stays then.
    pub fn save(&self, state_dir: &Path) -> Result<(), HistoryError> {
        state_file::write_json(state_dir, LAST_RUN, self)
            .map_err(|source| HistoryError::Io { path: state_dir.join(LAST_RUN), source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_record_is_read_back_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(LastRun::load(dir.path()).unwrap(), None);
        for outcome in [
            RunOutcome::Verified,
            RunOutcome::Stale { sources: vec!["dns".to_owned()] },
            RunOutcome::Busy { until: "2026-11-23T20:30:00Z".parse().unwrap() },
            RunOutcome::DailyLimit { retry_after: "2026-11-24T20:30:00Z".parse().unwrap() },
            RunOutcome::Failed { reason: "no bridge".to_owned() },
        ] {
            let record = LastRun {
                run: Some("home-20261123T203000Z".parse().unwrap()),
                started: "2026-11-23T20:30:01Z".parse().unwrap(),
                ended: "2026-11-23T20:33:00Z".parse().unwrap(),
                outcome,
                snapshot: None,
                objects: 3,
                bytes: 12,
                sources: vec![SourceOutcome::failed("dns", "no route to host".to_owned())],
                exit_code: 3,
            };
            record.save(dir.path()).unwrap();
            assert_eq!(LastRun::load(dir.path()).unwrap(), Some(record));
        }
    }

    #[test]
    fn a_damaged_record_is_an_error_and_not_a_first_run() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LAST_RUN), "{").unwrap();
        assert!(matches!(LastRun::load(dir.path()), Err(HistoryError::Damaged { .. })));
    }
}
