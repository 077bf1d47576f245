//! `drawbridge status`: how the last run went, how old each source's last complete copy is, and what to do next. Asks nobody
//! else: it reads what runs have written down.

use std::fmt;

use drawbridge_wire::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::config::Config;
use crate::exit::Exit;
use crate::gather::{AgesError, SourceAges, SourceOutcome, SourceState};
use crate::history::{HistoryError, LastRun, RunOutcome};
use crate::ui::{Ui, human_bytes};

/// Why there is nothing to tell.
#[derive(Debug, Error)]
pub enum StatusError {
    /// The record of the last run can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The record of gathered sources can't be used.
    #[error(transparent)]
    Ages(#[from] AgesError),
}

/// Tells how things stand at `now`.
///
/// # Errors
/// When a record can't be read.
pub fn status(config: &Config, ui: &Ui, now: Timestamp) -> Result<Exit, StatusError> {
    let last_run = LastRun::load(&config.state_dir)?;
    let ages = SourceAges::load(&config.state_dir)?;
    let sources: Vec<SourceAge> = config
        .sources
        .iter()
        .map(|source| SourceAge { name: source.name.clone(), complete: ages.of(&source.name) })
        .collect();
    let next = next_step(last_run.as_ref());
    let status = Status { last_run, sources, next, now };
    ui.result("status", &status, &status);
    Ok(Exit::Done)
}

#[derive(Debug, Serialize)]
struct Status {
    last_run: Option<LastRun>,
    sources: Vec<SourceAge>,
    next: String,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Serialize)]
struct SourceAge {
    name: String,
    complete: Option<Timestamp>,
}

fn next_step(last: Option<&LastRun>) -> String {
    let Some(last) = last else { return "`drawbridge check`, then `drawbridge run`".to_owned() };
    let incomplete = last.sources.iter().any(|source| source.state != SourceState::Complete);
    match &last.outcome {
        RunOutcome::Verified if incomplete => {
            "look after the sources that are not complete; `drawbridge check` tries them".to_owned()
        }
        RunOutcome::Verified => "nothing".to_owned(),
        RunOutcome::Busy { until } => format!("`drawbridge run` again, at the latest after {}", short(*until)),
        RunOutcome::TooSoon { retry_after } => format!("`drawbridge run` again after {}", short(*retry_after)),
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
        for source in &self.sources {
            match source.complete {
                None => writeln!(f, "source      {}: never complete", source.name)?,
                Some(then) => {
                    writeln!(f, "source      {}: complete {} ago, {}", source.name, age(then, self.now), short(then))?
                }
            }
        }
        write!(f, "next        {}", self.next)
    }
}

fn write_run(f: &mut fmt::Formatter<'_>, last: &LastRun, now: Timestamp) -> fmt::Result {
    let name = last.run.as_ref().map_or_else(|| "(no bridge)".to_owned(), ToString::to_string);
    writeln!(f, "last run    {name}, ended {} ago, {}", age(last.ended, now), short(last.ended))?;
    match &last.outcome {
        RunOutcome::Verified => writeln!(f, "outcome     verified at rest")?,
        RunOutcome::Busy { until } => {
            writeln!(f, "outcome     busy: another run was open until {} at the latest", short(*until))?
        }
        RunOutcome::TooSoon { retry_after } => {
            writeln!(f, "outcome     too soon: the next run may begin after {}", short(*retry_after))?
        }
        RunOutcome::Failed { reason } => writeln!(f, "outcome     FAILED: {reason}")?,
    }
    writeln!(f, "crossed     {} objects, {}", last.objects, human_bytes(last.bytes))?;
    for SourceOutcome { name, state, .. } in &last.sources {
        match state {
            SourceState::Complete => {}
            SourceState::Partial { count, problems } => {
                let first = problems.first().map(String::as_str).unwrap_or_default();
                writeln!(f, "incomplete  {name}: {first} ({count} in all)")?;
            }
            SourceState::Failed { error } => writeln!(f, "incomplete  {name}: {error}")?,
        }
    }
    Ok(())
}

/// A moment to the second.
fn short(moment: Timestamp) -> impl fmt::Display {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ")
}

/// How long ago `then` was, in its two largest units.
fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs().max(0);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: &str = "2026-11-25T22:33:00Z";

    fn last(outcome: RunOutcome, sources: Vec<SourceOutcome>) -> LastRun {
        LastRun {
            run: Some("home-20261123T203000Z".parse().unwrap()),
            started: "2026-11-23T20:30:00Z".parse().unwrap(),
            ended: "2026-11-23T20:31:00Z".parse().unwrap(),
            outcome,
            snapshot: None,
            objects: 7,
            bytes: 4096,
            sources,
            exit_code: 0,
        }
    }

    fn shown(last_run: Option<LastRun>) -> String {
        let next = next_step(last_run.as_ref());
        let sources = vec![
            SourceAge { name: "this-host".to_owned(), complete: Some("2026-11-25T22:00:00Z".parse().unwrap()) },
            SourceAge { name: "dns".to_owned(), complete: None },
        ];
        Status { last_run, sources, next, now: NOW.parse().unwrap() }.to_string()
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
    fn a_failure_is_shown_with_its_reason_and_the_way_on() {
        let text = shown(Some(last(RunOutcome::Failed { reason: "the bridge fell".to_owned() }, Vec::new())));
        assert!(text.contains("FAILED: the bridge fell") && text.contains("only the rest"), "{text}");
        assert!(text.contains("2 d 2 h ago") && text.contains("complete 33 min ago"), "{text}");
    }

    #[test]
    fn a_verified_run_with_a_failed_source_does_not_look_finished() {
        let sources = vec![SourceOutcome::failed("dns", "no route".to_owned())];
        let text = shown(Some(last(RunOutcome::Verified, sources)));
        assert!(text.contains("verified at rest") && text.contains("incomplete  dns: no route"), "{text}");
        assert!(!text.ends_with("nothing"), "{text}");
        assert!(shown(Some(last(RunOutcome::Verified, Vec::new()))).ends_with("nothing"));
    }

    #[test]
    fn ages_are_told_in_fitting_units() {
        let age_of = |text: &str| age(text.parse().unwrap(), NOW.parse().unwrap());
        assert_eq!(age_of("2026-11-25T22:32:18Z"), "42 s");
        assert_eq!(age_of("2026-11-25T20:30:00Z"), "2 h 3 min");
        // A clock that was set back is no reason for nonsense.
        assert_eq!(age_of("2027-01-01T00:00:00Z"), "0 s");
    }
}
