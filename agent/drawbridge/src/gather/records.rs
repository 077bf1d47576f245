use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use drawbridge_gather::{SourceOutcome, SourceState};
use drawbridge_wire::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::stale::age;
use crate::state_file::{self, Damage, ReadError};

const SOURCES: &str = "sources.json";

/// How each source stands: `state_dir/sources.json`, written whenever any was gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SourceRecords(BTreeMap<String, SourceRecord>);

/// How a source stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// When it was last read completely.
    pub complete: Option<Timestamp>,
    /// What kept the last attempt from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<Trouble>,
}

/// What was wrong with a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// When it was tried.
    pub tried: Timestamp,
    /// What was wrong, in a line.
    pub because: String,
}

/// The record can't be read or written.
#[derive(Debug, Error)]
pub enum RecordsError {
    /// Reading or writing failed.
    #[error("the record of gathered sources, {}, can't be read or written", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of gathered sources, {}, is damaged: the next run or gathering sets it aside and begins a new one", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why.
        source: Damage,
    },
}

impl SourceRecords {
    /// The record in `state_dir`; empty before the first run.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Self, RecordsError> {
        let path = || state_dir.join(SOURCES);
        match state_file::read_json(state_dir, SOURCES) {
            Ok(records) => Ok(records.unwrap_or_default()),
            Err(ReadError::Io(source)) => Err(RecordsError::Io { path: path(), source }),
            Err(ReadError::Damaged(source)) => Err(RecordsError::Damaged { path: path(), source }),
        }
    }

    /// How `source` stands; of one that nobody has tried yet, nothing is known.
    #[must_use]
    pub fn of(&self, source: &str) -> SourceRecord {
        self.0.get(source).cloned().unwrap_or_default()
    }

    /// Writes down what became of a source that was tried until `now`.
    pub(crate) fn note(&mut self, outcome: &SourceOutcome, now: Timestamp) {
        let record = self.0.entry(outcome.name.clone()).or_default();
        record.trouble = trouble(&outcome.state).map(|because| Trouble { tried: now, because });
        if record.trouble.is_none() {
            record.complete = Some(now);
        }
    }

    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| wanted(name));
    }

    pub(crate) fn save(&self, state_dir: &Path) -> Result<(), RecordsError> {
        state_file::write_json(state_dir, SOURCES, self)
            .map_err(|source| RecordsError::Io { path: state_dir.join(SOURCES), source })
    }
}

impl SourceRecord {
    /// How old the last complete copy is at `now`, in words.
    #[must_use]
    pub fn copy_age(&self, now: Timestamp) -> String {
        match self.complete {
            None => "there is no complete copy of it yet".to_owned(),
            Some(then) => format!("the last complete copy is {} old", age(then, now)),
        }
    }
}

/// What was wrong, in a line.
fn trouble(state: &SourceState) -> Option<String> {
    match state {
        SourceState::Complete => None,
        SourceState::Partial { count, problems } => {
            let first = problems.first().map(String::as_str).unwrap_or_default();
            Some(if *count > 1 { format!("{first} ({count} problems in all)") } else { first.to_owned() })
        }
        SourceState::Failed { error } => Some(error.clone()),
    }
}

/// The sources of a summary that have trouble, a line each: what it is, and how old the last complete copy is.
pub(crate) struct Troubles<'a> {
    pub(crate) sources: &'a [SourceOutcome],
    pub(crate) records: &'a SourceRecords,
    pub(crate) now: Timestamp,
}

impl fmt::Display for Troubles<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for source in self.sources {
            let verb = if matches!(source.state, SourceState::Failed { .. }) { " failed" } else { "" };
            if let Some(because) = trouble(&source.state) {
                let age = self.records.of(&source.name).copy_age(self.now);
                write!(f, "\n  source    {}{verb}: {because} ({age})", source.name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn outcome(state: SourceState) -> SourceOutcome {
        SourceOutcome { state, ..SourceOutcome::failed("dns", String::new()) }
    }

    #[test]
    fn trouble_is_remembered_with_its_time_until_the_source_is_complete_again() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second, third] =
            ["2026-11-23T20:30:00Z", "2026-11-24T20:30:00Z", "2026-11-25T20:30:00Z"].map(|at| at.parse().unwrap());
        let mut records = SourceRecords::load(dir.path()).unwrap();
        records.note(&outcome(SourceState::Complete), first);
        records.note(&outcome(SourceState::Failed { error: "no route".to_owned() }), second);
        records.save(dir.path()).unwrap();
        let mut records = SourceRecords::load(dir.path()).unwrap();
        let trouble = Trouble { tried: second, because: "no route".to_owned() };
        assert_eq!(records.of("dns"), SourceRecord { complete: Some(first), trouble: Some(trouble) });
        assert_eq!(records.of("dns").copy_age(third), "the last complete copy is 2 d old");
        records.note(&outcome(SourceState::Complete), third);
        assert_eq!(records.of("dns"), SourceRecord { complete: Some(third), trouble: None });
        assert_eq!(records.of("fw").copy_age(third), "there is no complete copy of it yet");
    }

    #[test]
    fn a_summary_says_of_each_source_with_trouble_what_it_is_and_how_old_its_copy_is() {
        let now = "2026-11-25T20:30:00Z".parse().unwrap();
        let records = SourceRecords::default();
        let problems = vec!["/a: gone".to_owned(), "/b: gone".to_owned()];
        let sources = [
            outcome(SourceState::Complete),
            outcome(SourceState::Partial { count: 2, problems }),
            SourceOutcome::failed("fw", "no route".to_owned()),
        ];
        let said = Troubles { sources: &sources, records: &records, now }.to_string();
        assert_eq!(
            said,
            "\n  source    dns: /a: gone (2 problems in all) (there is no complete copy of it yet)\
             \n  source    fw failed: no route (there is no complete copy of it yet)"
        );
    }
}
