//! What is remembered and said of a run.

use std::fmt;

use drawbridge_wire::{RunId, Timestamp, Unusual};
use jiff::tz::TimeZone;

use super::error::RunError;
use super::prepare::Prepared;
use crate::config::Config;
use crate::engine::SnapshotInfo;
use crate::exit::Exit;
use crate::gather::{Gathered, SourceRecords, SourceState, Troubles, in_one_line};
use crate::grades::{Grades, Passed};
use crate::history::{LastRun, RunOutcome};
use crate::stale::stale;
use crate::ui::{Ui, human_bytes};

/// As much of a snapshot's id as people need; restic shows and takes as much.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// What is said of a run that the stack let through and flagged: it declared far more bytes than usual.
pub(super) fn far_more(declared: u64, Unusual { usual_bytes }: Unusual) -> String {
    let (times, declared) = (declared / usual_bytes.max(1), human_bytes(declared));
    format!(
        "this run carries {times} times the usual: {declared} where {} are usual; it goes on, and the operator is told. If nobody \
         expects that, `drawbridge diff` shows what has changed",
        human_bytes(usual_bytes)
    )
}

/// What is said when a clock was ahead once: restic and everybody else take the latest time for the latest snapshot.
pub(super) fn made_later(later: &SnapshotInfo, made: &str) -> String {
    let (later, at, made) = (short(&later.id), moment(later.time), short(made));
    format!(
        "the snapshot {later} says that it was made at {at}, after the one of this run: this machine's clock was ahead then, or is \
         behind now. `latest` means {later} and not {made} until that time has come; restore {made} by its name"
    )
}

/// A run as far as it has come.
#[derive(Debug)]
pub(super) struct Record {
    last: LastRun,
    records: SourceRecords,
    files: u64,
    file_bytes: u64,
    declared: (u64, u64),
    open: bool,
    uploaded: Option<Passed>,
}

impl Record {
    pub(super) fn begin() -> Self {
        let now = Timestamp::now();
        let last = LastRun {
            run: None,
            started: now,
            ended: now,
            outcome: RunOutcome::Failed { reason: "it did not end".to_owned() },
            snapshot: None,
            objects: 0,
            bytes: 0,
            sources: Vec::new(),
            exit_code: Exit::Failed.code(),
        };
        Self {
            last,
            records: SourceRecords::default(),
            files: 0,
            file_bytes: 0,
            declared: (0, 0),
            open: false,
            uploaded: None,
        }
    }

    pub(super) fn gathered(&mut self, gathered: Gathered) {
        self.last.sources = gathered.summary.sources;
        self.records = gathered.records;
    }

    pub(super) fn prepared(&mut self, prepared: &Prepared) {
        self.last.snapshot = Some(prepared.backup.snapshot.clone());
        (self.files, self.file_bytes) = (prepared.backup.files, prepared.backup.bytes);
        self.declared = prepared.manifest.declared();
    }

    /// The stack has begun a run, which waits for us from now on.
    pub(super) fn opened(&mut self, run: RunId) {
        self.last.run = Some(run);
        self.open = true;
    }

    /// Everything is over there.
    pub(super) fn crossed(&mut self) {
        (self.last.objects, self.last.bytes) = self.declared;
        self.open = false;
        self.uploaded.get_or_insert_with(|| passed(&self.last, Timestamp::now()));
    }

    /// The stack doesn't wait for us any more.
    pub(super) fn closed(&mut self) {
        self.open = false;
    }

    /// The run that has to be given up when this fails.
    pub(super) fn open_run(&self) -> Option<&RunId> {
        self.last.run.as_ref().filter(|_| self.open)
    }

    /// Writes down how it ended, and says so.
    pub(super) fn end(
        mut self,
        config: &Config,
        ui: &Ui,
        outcome: Result<RunOutcome, RunError>,
    ) -> Result<Exit, RunError> {
        let outcome = outcome.map(|outcome| with_ages(config, &self.records, outcome));
        let complete = self.last.sources.iter().all(|source| source.state == SourceState::Complete);
        let exit = match &outcome {
            Ok(RunOutcome::Verified) if complete => Exit::Done,
            Ok(RunOutcome::Verified) => Exit::Incomplete,
            Ok(RunOutcome::Busy { .. } | RunOutcome::TooSoon { .. } | RunOutcome::DailyLimit { .. }) => Exit::Later,
            Ok(RunOutcome::Failed { .. } | RunOutcome::Stale { .. }) | Err(_) => Exit::Failed,
        };
        self.last.outcome = match &outcome {
            Ok(outcome) => outcome.clone(),
            Err(error) => RunOutcome::Failed { reason: in_one_line(error) },
        };
        self.last.exit_code = exit.code();
        self.last.ended = Timestamp::now();
        let saved = self.last.save(&config.state_dir);
        let is_verified = matches!(outcome, Ok(RunOutcome::Verified | RunOutcome::Stale { .. }));
        let verified = is_verified.then(|| passed(&self.last, self.last.ended));
        let graded = Grades::note_run(&config.state_dir, self.uploaded.take(), verified);
        if outcome.is_ok() || ui.is_json() {
            ui.result("run", &self.last, &Summary(&self));
        }
        // What went wrong first is what has to be said.
        outcome?;
        saved?;
        graded?;
        Ok(exit)
    }
}

fn passed(run: &LastRun, at: Timestamp) -> Passed {
    Passed { at, run: run.run.clone(), snapshot: run.snapshot.clone() }
}

/// A run that was verified has failed nevertheless for sources that are too old: what the vault holds of them is, too.
fn with_ages(config: &Config, records: &SourceRecords, outcome: RunOutcome) -> RunOutcome {
    if outcome != RunOutcome::Verified {
        return outcome;
    }
    let sources = config.sources.iter().map(|source| (source.name.as_str(), source.max_age));
    let stale = stale(sources, |name| records.of(name).complete, Timestamp::now());
    if stale.is_empty() {
        return outcome;
    }
    RunOutcome::Stale { sources: stale.into_iter().map(|stale| stale.name).collect() }
}

/// A run in a few lines.
struct Summary<'a>(&'a Record);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { last, records, files, file_bytes, .. } = self.0;
        match &last.outcome {
            RunOutcome::Verified | RunOutcome::Stale { .. } => {
                let seconds = last.ended.duration_since(last.started).as_secs();
                writeln!(f, "Backup verified at rest, after {seconds} s.")?;
                if let Some(run) = &last.run {
                    writeln!(f, "  run       {run}")?;
                }
                let id = last.snapshot.as_deref().unwrap_or_default();
                let id = short(id);
                writeln!(f, "  snapshot  {id}: {files} files, {}", human_bytes(*file_bytes))?;
                write!(f, "  crossed   {} objects, {}", last.objects, human_bytes(last.bytes))?;
            }
            RunOutcome::Busy { .. } | RunOutcome::TooSoon { .. } | RunOutcome::DailyLimit { .. } => {
                write!(f, "Nothing crossed; what was backed up locally crosses with the next run.")?;
            }
            RunOutcome::Failed { .. } => write!(f, "The run failed.")?,
        }
        write!(f, "{}", Troubles { sources: &last.sources, records, now: last.ended })?;
        if let RunOutcome::Stale { sources } = &last.outcome {
            write!(f, "\n  too old   {}; `drawbridge status` tells since when", sources.join(", "))?;
        }
        Ok(())
    }
}

/// A moment in this machine's time, and how far away it is: `14:05:00, in 12 min`.
pub(super) fn moment(at: Timestamp) -> String {
    let clock = at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S");
    match at.duration_since(Timestamp::now()).as_secs() {
        ..=0 => format!("{clock}, which is now"),
        seconds @ 1..=90 => format!("{clock}, in {seconds} s"),
        seconds @ 91..=7200 => format!("{clock}, in {} min", (seconds + 59) / 60),
        seconds => format!("{clock}, in {} h", (seconds + 3599) / 3600),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::gather::{GatherSummary, SourceOutcome};

    #[test]
    fn what_carries_far_more_says_how_much_and_how_much_is_usual() {
        let said = far_more(14 << 30, Unusual { usual_bytes: 1 << 30 });
        assert!(said.contains("14 times the usual: 14.00 GiB where 1.00 GiB are usual"), "{said}");
        assert!(far_more(20 << 20, Unusual { usual_bytes: 0 }).contains("20.00 MiB where 0 B are usual"));
    }

    /// How a verified run ends with a source that may be a day old, and was last complete at `complete`.
    fn ended(complete: Option<&str>) -> (Exit, LastRun) {
        let dir = tempfile::tempdir().unwrap();
        let text = format!(
            "state_dir = {:?}\n[repository]\npassword_file = \"p\"\n[stack]\nregion = \"eu-central-1\"\nstart = \"a\"\n\
             session = \"b\"\nreport = \"c\"\n[[source]]\nname = \"fw\"\npaths = [\"/etc/hosts\"]\nmax_age = \"1 day\"\n",
            dir.path()
        );
        let config = Config::parse(&text, &dir.path().join("drawbridge.toml")).unwrap();
        let mut record = Record::begin();
        if let Some(complete) = complete {
            let outcome = SourceOutcome { state: SourceState::Complete, ..SourceOutcome::failed("fw", String::new()) };
            record.records.note(&outcome, complete.parse().unwrap());
        }
        let exit = record.end(&config, &Ui::silent(), Ok(RunOutcome::Verified)).unwrap();
        (exit, LastRun::load(dir.path()).unwrap().unwrap())
    }

    #[test]
    fn a_verified_run_with_a_source_that_is_too_old_has_failed_and_names_it() {
        for complete in [None, Some("2020-01-01T00:00:00Z")] {
            let (exit, last) = ended(complete);
            assert_eq!((exit, last.exit_code), (Exit::Failed, 1));
            assert_eq!(last.outcome, RunOutcome::Stale { sources: vec!["fw".to_owned()] });
        }
    }

    #[test]
    fn a_verified_run_whose_sources_are_young_is_done() {
        let (exit, last) = ended(Some(&Timestamp::now().to_string()));
        assert_eq!((exit, last.outcome), (Exit::Done, RunOutcome::Verified));
    }

    #[test]
    fn a_run_says_of_a_source_that_failed_why_and_how_old_its_copy_is() {
        let failed = SourceOutcome::failed("fw", "no route to host".to_owned());
        let mut records = SourceRecords::default();
        records.note(&failed, Timestamp::now());
        let mut record = Record::begin();
        record.gathered(Gathered { summary: GatherSummary { sources: vec![failed] }, records });
        let said = Summary(&record).to_string();
        assert!(said.contains("fw failed: no route to host (there is no complete copy of it yet)"), "{said}");
    }
}
