//! How sure the backups are, in three grades that are never mixed up: `state_dir/grades.json`. Each keeps its last success when what came
//! after it failed.
//!
//! - *uploaded*: the gate has acknowledged every object that a run declared;
//! - *verified at rest*: what S3 holds was compared with what was declared;
//! - *restore-tested*: files were restored, and were the bytes that had been gathered.

use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{RunId, Timestamp};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::archives::Source;
use crate::state_file::{self, Damage, ReadError};

const GRADES: &str = "grades.json";

/// The record can't be used.
#[derive(Debug, Error)]
pub enum GradesError {
    /// Reading or writing failed.
    #[error("the record of grades, {}, can't be read or written", path.display())]
    Io {
        /// The record.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of grades, {}, is damaged: it may be removed, runs and drills write a new one", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// Why.
        source: Damage,
    },
}

/// When each grade was last reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grades {
    /// Every object was acknowledged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded: Option<Passed>,
    /// The verdict was good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verified: Option<Passed>,
    /// The last drill from the repositories on this machine that found nothing wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_local: Option<Drill>,
    /// The last drill from the vault that found nothing wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tested_vault: Option<Drill>,
    /// The last drill, however it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drill: Option<Drill>,
}

/// A run that reached a grade.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// When.
    pub at: Timestamp,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// The snapshot that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// A drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// When it was over.
    pub at: Timestamp,
    /// How long it took, in milliseconds.
    pub milliseconds: u64,
    /// Where it restored from.
    pub source: Source,
    /// Which snapshot.
    pub snapshot: String,
    /// What drew the sample.
    pub seed: u64,
    /// The files that were restored and compared: `<source>/<path>`.
    pub sample: Vec<String>,
    /// Their bytes together.
    pub bytes: u64,
    /// What was wrong, a line a file.
    pub wrong: Vec<String>,
}

impl Drill {
    /// Whether every file was as it had been gathered.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.wrong.is_empty() && !self.sample.is_empty()
    }
}

impl Grades {
    /// The record in `state_dir`; empty before the first run.
    ///
    /// # Errors
    /// When it is there and can't be read or understood.
    pub fn load(state_dir: &Path) -> Result<Self, GradesError> {
        let path = || state_dir.join(GRADES);
        let read = state_file::read_json(state_dir, GRADES).map_err(|error| match error {
            ReadError::Io(source) => GradesError::Io { path: path(), source },
            ReadError::Damaged(source) => GradesError::Damaged { path: path(), source },
        });
        Ok(read?.unwrap_or_default())
    }

    /// Writes down that a run has uploaded everything, or was verified.
    ///
    /// # Errors
    /// When the record can't be written. A damaged one is begun anew.
    pub fn note_run(state_dir: &Path, uploaded: Option<Passed>, verified: Option<Passed>) -> Result<(), GradesError> {
        if uploaded.is_none() && verified.is_none() {
            return Ok(());
        }
        let mut grades = Self::or_new(state_dir)?;
        grades.uploaded = uploaded.or(grades.uploaded);
        grades.verified = verified.or(grades.verified);
        grades.save(state_dir)
    }

    /// Writes down how a drill went.
    ///
    /// # Errors
    /// When the record can't be written. A damaged one is begun anew.
    pub fn note_drill(state_dir: &Path, drill: &Drill) -> Result<(), GradesError> {
        let mut grades = Self::or_new(state_dir)?;
        if drill.passed() {
            let tested = match drill.source {
                Source::Local => &mut grades.tested_local,
                Source::Vault => &mut grades.tested_vault,
            };
            *tested = Some(drill.clone());
        }
        grades.last_drill = Some(drill.clone());
        grades.save(state_dir)
    }

    fn or_new(state_dir: &Path) -> Result<Self, GradesError> {
        match Self::load(state_dir) {
            Err(GradesError::Damaged { .. }) => Ok(Self::default()),
            loaded => loaded,
        }
    }

    fn save(&self, state_dir: &Path) -> Result<(), GradesError> {
        state_file::write_json(state_dir, GRADES, self)
            .map_err(|source| GradesError::Io { path: state_dir.join(GRADES), source })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn passed(at: &str) -> Option<Passed> {
        Some(Passed { at: at.parse().unwrap(), run: None, snapshot: None })
    }

    fn drill(source: Source, wrong: &[&str]) -> Drill {
        Drill {
            at: "2026-11-25T20:30:00Z".parse().unwrap(),
            milliseconds: 1,
            source,
            snapshot: "ab".repeat(32),
            seed: 1,
            sample: vec!["dns/etc/hosts".to_owned()],
            bytes: 3,
            wrong: wrong.iter().map(|text| (*text).to_owned()).collect(),
        }
    }

    #[test]
    fn each_grade_keeps_its_last_success_when_a_later_run_or_drill_fails() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (passed("2026-11-24T20:30:00Z"), passed("2026-11-25T20:30:00Z"));
        Grades::note_run(dir.path(), first.clone(), first.clone()).unwrap();
        // Uploaded, and then the verdict was bad.
        Grades::note_run(dir.path(), second.clone(), None).unwrap();
        Grades::note_run(dir.path(), None, None).unwrap();
        let good = drill(Source::Vault, &[]);
        Grades::note_drill(dir.path(), &good).unwrap();
        let bad = drill(Source::Vault, &["dns/etc/hosts: other bytes"]);
        Grades::note_drill(dir.path(), &bad).unwrap();
        let grades = Grades::load(dir.path()).unwrap();
        assert_eq!((grades.uploaded, grades.verified), (second, first));
        assert_eq!((grades.tested_vault, grades.tested_local, grades.last_drill), (Some(good), None, Some(bad)));
    }

    #[test]
    fn a_drill_that_compared_nothing_has_not_passed() {
        assert!(!Drill { sample: Vec::new(), ..drill(Source::Local, &[]) }.passed());
    }

    #[test]
    fn a_damaged_record_is_an_error_for_who_reads_and_is_replaced_by_who_writes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(GRADES), "{").unwrap();
        assert!(matches!(Grades::load(dir.path()), Err(GradesError::Damaged { .. })));
        Grades::note_run(dir.path(), passed("2026-11-24T20:30:00Z"), None).unwrap();
        assert!(Grades::load(dir.path()).unwrap().uploaded.is_some());
    }
}
