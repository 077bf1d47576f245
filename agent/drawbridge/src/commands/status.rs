//! `drawbridge status`: how the last run went, how old each source's last complete copy is and why, and what to do next. Asks nobody
//! else: it reads what runs and gatherings have written down.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drawbridge_wire::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::config::Config;
use crate::exit::Exit;
use crate::gather::{RecordsError, SourceRecord, SourceRecords, Trouble};
use crate::grades::{Drill, Grades, GradesError, Passed};
use crate::history::{HistoryError, LastRun, RunOutcome};
use crate::retire::{Kept, RetireError, survey};
use crate::stale::{Stale, age, human_duration, stale};
use crate::state::{Current, StateError};
use crate::state_file::DAMAGED;
use crate::ui::{Ui, human_bytes};

/// Why there is nothing to tell.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The record of the last run can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The record of the current repository can't be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The local repositories can't be looked at.
    #[error(transparent)]
    Retire(#[from] RetireError),
    /// The record of gathered sources can't be used.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// The record of grades can't be used.
    #[error(transparent)]
    Grades(#[from] GradesError),
}

/// Tells how things stand at `now`.
///
/// # Errors
/// When a record can't be read.
pub fn status(config: &Config, ui: &Ui, now: Timestamp) -> Result<Exit, StatusError> {
    let last_run = LastRun::load(&config.state_dir)?;
    let records = SourceRecords::load(&config.state_dir)?;
    let limits: Vec<(&str, Option<Duration>)> =
        config.sources.iter().map(|source| (source.name.as_str(), source.max_age)).collect();
    let sources = source_ages(&limits, |name| records.of(name), now);
    let next = next_step(last_run.as_ref(), &sources);
    let grades = Grades::load(&config.state_dir)?;
    let current = Current::load(&config.state_dir)?;
    let in_use = current.as_ref().map(Current::in_use).unwrap_or_default();
    let verdicts = current.as_ref().map(|current| current.verdicts.clone()).unwrap_or_default();
    let mut kept = survey(&config.repository_dir(), &in_use, &verdicts)?;
    // The others go with the next good verdict.
    kept.retain(|kept| kept.uncovered > 0);
    let status = Status { last_run, grades, sources, kept, damaged: damaged(&config.state_dir), next, now };
    ui.result("status", &status, &status);
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Status {
    last_run: Option<LastRun>,
    grades: Grades,
    sources: Vec<SourceAge>,
    /// Local repositories that are over and stay.
    kept: Vec<Kept>,
    /// What was set aside because it was damaged.
    damaged: Vec<PathBuf>,
    next: String,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct SourceAge {
    name: String,
    /// When it was last complete.
    complete: Option<Timestamp>,
    /// It is older than it may be.
    #[serde(skip_serializing_if = "Option::is_none")]
    too_old: Option<Stale>,
    /// Why the last attempt made it no younger.
    #[serde(flatten)]
    trouble: Option<Trouble>,
}

fn source_ages(
    limits: &[(&str, Option<Duration>)],
    record: impl Fn(&str) -> SourceRecord,
    now: Timestamp,
) -> Vec<SourceAge> {
    let mut stale = stale(limits.iter().copied(), |name| record(name).complete, now);
    let of = |(name, _): &(&str, Option<Duration>)| {
        let SourceRecord { complete, trouble } = record(name);
        let too_old = stale.iter().position(|stale| stale.name == *name).map(|at| stale.swap_remove(at));
        SourceAge { name: (*name).to_owned(), complete, too_old, trouble }
    };
    limits.iter().map(of).collect()
}

fn next_step(last: Option<&LastRun>, sources: &[SourceAge]) -> String {
    let Some(last) = last else { return "`drawbridge check`, then `drawbridge run`".to_owned() };
    let wanting = |source: &&SourceAge| source.trouble.is_some() || source.too_old.is_some();
    let names: Vec<&str> = sources.iter().filter(wanting).map(|source| source.name.as_str()).collect();
    match &last.outcome {
        RunOutcome::Verified | RunOutcome::Stale { .. } if names.is_empty() => "nothing".to_owned(),
        RunOutcome::Verified | RunOutcome::Stale { .. } => {
            format!("look after {}: `drawbridge check` tries every source; then `drawbridge run`", names.join(", "))
        }
        RunOutcome::Busy { until } => format!("`drawbridge run` again, at the latest after {}", short(*until)),
        RunOutcome::TooSoon { retry_after } | RunOutcome::DailyLimit { retry_after } => {
            format!("`drawbridge run` again after {}", short(*retry_after))
        }
        RunOutcome::Failed { .. } => {
            "mend what is named above, then `drawbridge run`; only the rest will cross".to_owned()
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.last_run {
            None => writeln!(f, "last run    none yet")?,
            Some(last) => write_run(f, last, self.now)?,
        }
        write_grades(f, &self.grades, self.now)?;
        for source in &self.sources {
            write_source(f, source, self.now)?;
        }
        for kept in &self.kept {
            write_kept(f, kept)?;
        }
        for path in &self.damaged {
            writeln!(f, "damaged     {}: set aside; remove it when nobody needs it any more", path.display())?;
        }
        write!(f, "next        {}", self.next)
    }
}

/// What was set aside. A folder that can't be listed is told when something has to go there.
fn damaged(state_dir: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(state_dir.join(DAMAGED)).into_iter().flatten().filter_map(Result::ok);
    let mut paths: Vec<PathBuf> = listed.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn write_kept(f: &mut fmt::Formatter<'_>, kept: &Kept) -> fmt::Result {
    let Kept { repository, uncovered, snapshots, beyond_healing } = kept;
    let are = if *uncovered == 1 { "is" } else { "are" };
    write!(
        f,
        "kept        repository {repository}: {uncovered} of its {snapshots} snapshots {are} not known to be whole in the vault"
    )?;
    if *beyond_healing {
        write!(f, ", whose copy nothing can mend")?;
    }
    writeln!(f)
}

fn write_source(f: &mut fmt::Formatter<'_>, source: &SourceAge, now: Timestamp) -> fmt::Result {
    let SourceAge { name, complete, too_old, trouble } = source;
    let at_most = |stale: &Stale| human_duration(stale.max_age.as_secs());
    write!(f, "source      {name}: ")?;
    match (complete, too_old) {
        (None, None) => write!(f, "never complete")?,
        (None, Some(stale)) => write!(f, "too old: never complete, at most {}", at_most(stale))?,
        (Some(then), None) => write!(f, "complete {} ago, {}", age(*then, now), short(*then))?,
        (Some(then), Some(stale)) => {
            write!(f, "too old: {}, at most {}; complete {}", age(*then, now), at_most(stale), short(*then))?
        }
    }
    if let Some(Trouble { tried, because }) = trouble {
        write!(f, "\n            because {because} (tried {} ago)", age(*tried, now))?;
    }
    writeln!(f)
}

fn write_run(f: &mut fmt::Formatter<'_>, last: &LastRun, now: Timestamp) -> fmt::Result {
    let name = last.run.as_ref().map_or_else(|| "(no bridge)".to_owned(), ToString::to_string);
    writeln!(f, "last run    {name}, ended {} ago, {}", age(last.ended, now), short(last.ended))?;
    match &last.outcome {
        RunOutcome::Verified => writeln!(f, "outcome     verified at rest")?,
        RunOutcome::Stale { sources } => {
            writeln!(f, "outcome     FAILED: verified at rest, but too old: {}", sources.join(", "))?
        }
        RunOutcome::Busy { until } => {
            writeln!(f, "outcome     busy: another run was open until {} at the latest", short(*until))?
        }
        RunOutcome::TooSoon { retry_after } => {
            writeln!(f, "outcome     too soon: the next run may begin after {}", short(*retry_after))?
        }
        RunOutcome::DailyLimit { retry_after } => writeln!(
            f,
            "outcome     too often: the last 24 hours had had their runs; the next may begin after {}",
            short(*retry_after)
        )?,
        RunOutcome::Failed { reason } => writeln!(f, "outcome     FAILED: {reason}")?,
    }
    writeln!(f, "crossed     {} objects, {}", last.objects, human_bytes(last.bytes))?;
    Ok(())
}

/// The three grades, each with when it was last reached, whatever came after that.
fn write_grades(f: &mut fmt::Formatter<'_>, grades: &Grades, now: Timestamp) -> fmt::Result {
    let reached = |passed: &Option<Passed>| match passed {
        None => "never".to_owned(),
        Some(Passed { at, run, .. }) => {
            let run = run.as_ref().map_or_else(String::new, |run| format!(", {run}"));
            format!("{} ago, {}{run}", age(*at, now), short(*at))
        }
    };
    writeln!(f, "uploaded    {}", reached(&grades.uploaded))?;
    writeln!(f, "verified    at rest: {}", reached(&grades.verified))?;
    for (place, drill) in [("vault", &grades.tested_vault), ("local", &grades.tested_local)] {
        match drill {
            None => writeln!(f, "tested      {place}: never restore-tested")?,
            Some(Drill { at, sample, .. }) => {
                writeln!(
                    f,
                    "tested      {place}: {} ago, {}: {} files restored",
                    age(*at, now),
                    short(*at),
                    sample.len()
                )?;
            }
        }
    }
    match grades.last_drill.as_ref().filter(|drill| !drill.passed()) {
        None => Ok(()),
        Some(Drill { at, sample, wrong, .. }) => {
            let (count, files) = (wrong.len(), sample.len());
            writeln!(f, "drill       FAILED {} ago: {count} of {files} files did not come back", age(*at, now))?;
            wrong.first().map_or(Ok(()), |first| writeln!(f, "            {first}"))
        }
    }
}

/// A moment to the second.
fn short(moment: Timestamp) -> impl fmt::Display {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: &str = "2026-11-25T22:33:00Z";

    fn last(outcome: RunOutcome) -> LastRun {
        LastRun {
            run: Some("home-20261123T203000Z".parse().unwrap()),
            started: "2026-11-23T20:30:00Z".parse().unwrap(),
            ended: "2026-11-23T20:31:00Z".parse().unwrap(),
            outcome,
            snapshot: None,
            objects: 7,
            bytes: 4096,
            sources: Vec::new(),
            exit_code: 0,
        }
    }

    const DAY: Duration = Duration::from_secs(86_400);

    fn shown(last_run: Option<LastRun>) -> String {
        shown_with(last_run, None)
    }

    /// How things stand when `dns` has this trouble.
    fn shown_with(last_run: Option<LastRun>, trouble: Option<Trouble>) -> String {
        let now = NOW.parse().unwrap();
        let limits = [("this-host", Some(DAY)), ("fw", Some(3 * DAY)), ("dns", None)];
        let complete = |at: &str| SourceRecord { complete: Some(at.parse().unwrap()), trouble: None };
        let records = |name: &str| match name {
            "this-host" => complete("2026-11-25T22:00:00Z"),
            "fw" => complete("2026-11-21T20:33:00Z"),
            _ => SourceRecord { complete: None, trouble: trouble.clone() },
        };
        let sources = source_ages(&limits, records, now);
        let next = next_step(last_run.as_ref(), &sources);
        Status { last_run, grades: Grades::default(), sources, kept: Vec::new(), damaged: Vec::new(), next, now }
            .to_string()
    }

    #[test]
    fn before_the_first_run_status_says_how_to_begin() {
        let text = shown(None);
        assert!(
            text.contains("none yet") && text.contains("drawbridge run") && text.contains("dns: never complete"),
            "{text}"
        );
    }

    #[test]
    fn the_three_grades_are_shown_with_their_dates_and_a_failed_drill_beside_them() {
        let passed = |at: &str| Some(Passed { at: at.parse().unwrap(), run: None, snapshot: None });
        let drill = |at: &str, wrong: &[&str]| Drill {
            at: at.parse().unwrap(),
            milliseconds: 1,
            source: crate::archives::Source::Vault,
            snapshot: "ab".repeat(32),
            seed: 1,
            sample: vec!["dns/etc/hosts".to_owned()],
            bytes: 1,
            wrong: wrong.iter().map(|line| (*line).to_owned()).collect(),
        };
        let grades = Grades {
            uploaded: passed("2026-11-25T20:33:00Z"),
            verified: passed("2026-11-24T20:33:00Z"),
            tested_vault: Some(drill("2026-11-20T22:33:00Z", &[])),
            tested_local: None,
            last_drill: Some(drill("2026-11-25T21:33:00Z", &["dns/etc/hosts: other bytes came back"])),
        };
        let status = |grades| {
            let (now, next) = (NOW.parse().unwrap(), String::new());
            Status { last_run: None, grades, sources: Vec::new(), kept: Vec::new(), damaged: Vec::new(), next, now }
                .to_string()
        };
        let text = status(grades);
        for line in [
            "uploaded    2 h ago, 2026-11-25T20:33:00Z\n",
            "verified    at rest: 1 d 2 h ago, 2026-11-24T20:33:00Z\n",
            "tested      vault: 5 d ago, 2026-11-20T22:33:00Z: 1 files restored\n",
            "tested      local: never restore-tested\n",
            "drill       FAILED 1 h ago: 1 of 1 files did not come back\n            dns/etc/hosts: other bytes",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        let text = status(Grades::default());
        assert!(text.contains("uploaded    never") && !text.contains("FAILED"), "{text}");
    }

    #[test]
    fn a_failure_is_shown_with_its_reason_and_the_way_on() {
        let text = shown(Some(last(RunOutcome::Failed { reason: "the bridge fell".to_owned() })));
        assert!(text.contains("FAILED: the bridge fell") && text.contains("only the rest"), "{text}");
        assert!(text.contains("2 d 2 h ago") && text.contains("complete 33 min ago"), "{text}");
    }

    #[test]
    fn a_verified_run_with_a_failed_source_does_not_look_finished() {
        let trouble = Trouble { tried: "2026-11-25T20:33:00Z".parse().unwrap(), because: "no route".to_owned() };
        let text = shown_with(Some(last(RunOutcome::Verified)), Some(trouble));
        let reason = "dns: never complete\n            because no route (tried 2 h ago)\n";
        assert!(text.contains("verified at rest") && text.contains(reason), "{text}");
        assert!(text.contains("next        look after fw, dns:"), "{text}");
        let fine = next_step(Some(&last(RunOutcome::Verified)), &[]);
        assert_eq!(fine, "nothing");
    }

    #[test]
    fn a_source_that_is_too_old_is_named_with_its_age_and_its_limit() {
        let text = shown(Some(last(RunOutcome::Stale { sources: vec!["fw".to_owned()] })));
        assert!(
            text.contains("source      fw: too old: 4 d 2 h, at most 3 d; complete 2026-11-21T20:33:00Z\n"),
            "{text}"
        );
        assert!(
            text.contains("FAILED: verified at rest, but too old: fw") && text.contains("look after fw:"),
            "{text}"
        );
        assert!(text.contains("this-host: complete 33 min ago"), "{text}");
    }
}
