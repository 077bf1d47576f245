//! What an operator is told of a run that could not tell its end itself: how it ended, what was found of it, and what became
//! of that. In plain words.

use std::collections::BTreeMap;

use drawbridge_wire::{Remains, RunId, Site};

use crate::destruction::{self, Found};
use crate::execution::{Execution, Status};
use crate::reason::bounded;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Where its execution stands.
    pub status: Status,
    /// The name of its error, or what an operator gave as one.
    pub error: Option<String>,
    /// What that says, or what an operator gave as the cause.
    pub cause: Option<String>,
}

impl From<&Execution> for End {
    fn from(execution: &Execution) -> Self {
        Self { status: execution.status, error: execution.error.clone(), cause: execution.cause.clone() }
    }
}

impl End {
    /// Whether it says more than that the run is over.
    #[must_use]
    pub const fn says_why(&self) -> bool {
        self.error.is_some() || self.cause.is_some()
    }

    /// For example `was ABORTED: somebody stopped it: the disk is full`.
    fn told(&self) -> String {
        let how = match self.status {
            Status::Running => "is RUNNING past its deadline",
            Status::Succeeded => "SUCCEEDED",
            Status::Failed => "FAILED",
            Status::TimedOut => "TIMED_OUT: it ran into its own time limit",
            Status::Aborted => "was ABORTED: somebody stopped it",
        };
        let why: Vec<&str> = [&self.error, &self.cause].into_iter().flatten().map(String::as_str).collect();
        match (why.is_empty(), self.status) {
            (false, _) => format!("{how}: {}", bounded(&why.join(": "))),
            (true, Status::Aborted) => format!("{how} and gave no cause"),
            (true, _) => how.to_owned(),
        }
    }
}

/// What is told of one run's end. `end` is `None` when nobody could tell it.
#[must_use]
pub fn of_run(run: &RunId, end: Option<&End>, found: &Remains, destroyed: &Remains) -> String {
    let how = end.map_or_else(|| "has an end that could not be looked up".to_owned(), End::told);
    format!("Drawbridge run {run} {how}. Found of it: {}. Destroyed now: {}.", listed(found), listed(destroyed))
}

/// What is told of a sweep: every run of which it destroyed something, and what it destroyed that names no run.
#[must_use]
pub fn of_sweep(site: &Site, found: &Found, ends: &BTreeMap<RunId, End>, destroyed: &Remains) -> String {
    let (mut told, mut of_none) = (Vec::new(), destroyed.clone());
    for run in destruction::runs_of(site, found) {
        let destruction::Condemned { remains, going } = destruction::of_run(&run, site, found);
        let its = remains.clone().among(destroyed);
        if !its.is_empty() {
            of_none = of_none.except(&its);
            let all = remains.and(Remains { instances: going, ..Remains::default() });
            told.push(of_run(&run, ends.get(&run), &all, &its));
        }
    }
    if !of_none.is_empty() {
        told.push(format!("Destroyed now, of a Drawbridge run that nothing names: {}.", listed(&of_none)));
    }
    told.join(" ")
}

/// A notice's last words: what is left, and why.
#[must_use]
pub fn with_left(told: &str, left: Option<&str>) -> String {
    format!("{told} Left: {}.", left.unwrap_or("nothing"))
}

fn listed(remains: &Remains) -> String {
    if remains.is_empty() { "nothing".to_owned() } else { remains.names().collect::<Vec<_>>().join(", ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(status: Status, error: Option<&str>, cause: Option<&str>) -> String {
        let end = End { status, error: error.map(str::to_owned), cause: cause.map(str::to_owned) };
        let found = Remains { instances: vec!["i-0123456789abcdef0".parse().unwrap()], ..Remains::default() };
        let said = of_run(&"home-20261123T203000Z".parse().unwrap(), Some(&end), &found, &Remains::default());
        with_left(&said, None)
    }

    #[test]
    fn a_notice_names_the_run_its_end_and_what_became_of_its_things() {
        assert_eq!(
            told(Status::Aborted, None, Some("a \"test\"")),
            "Drawbridge run home-20261123T203000Z was ABORTED: somebody stopped it: a \"test\". Found of it: \
             i-0123456789abcdef0. Destroyed now: nothing. Left: nothing."
        );
        assert!(told(Status::Aborted, None, None).contains("gave no cause."));
        assert!(told(Status::Failed, Some("OutOfCapacity"), Some("none")).contains("FAILED: OutOfCapacity: none."));
        assert!(told(Status::TimedOut, None, None).contains("TIMED_OUT: it ran into its own time limit."));
        let unknown = of_run(&"home-20261123T203000Z".parse().unwrap(), None, &Remains::default(), &Remains::default());
        assert!(unknown.contains("could not be looked up"), "{unknown}");
    }

    #[test]
    fn a_sweep_tells_of_every_run_of_which_it_destroyed_something_and_of_no_other() {
        let site: Site = "home".parse().unwrap();
        let tagged =
            |run: &str| crate::tags::of_run(&site, &run.parse().unwrap(), "2026-11-23T21:00:00Z".parse().unwrap());
        let rule = |id: &str, tags| destruction::Rule { id: id.into(), cidr: None, port: None, tags };
        let (dead, open) = ("home-20261123T190000Z", "home-20261123T203000Z");
        let mut nameless = tagged(dead);
        nameless.remove(crate::tags::RUN);
        let found = Found {
            rules: vec![rule("sgr-1", tagged(dead)), rule("sgr-2", tagged(open)), rule("sgr-3", nameless)],
            parameters: vec![format!("/drawbridge/home/{dead}/session")],
            ..Found::default()
        };
        let end = End { status: Status::Aborted, error: None, cause: Some("by hand".into()) };
        let destroyed = Remains { rules: vec!["sgr-1".into(), "sgr-3".into()], ..Remains::default() };
        let said = of_sweep(&site, &found, &[(dead.parse().unwrap(), end)].into(), &destroyed);
        assert!(said.contains(dead) && said.contains("by hand. Found of it: sgr-1, /drawbridge/"), "{said}");
        assert!(said.contains("Destroyed now: sgr-1. Destroyed now, of a Drawbridge run that nothing names: sgr-3."));
        assert!(!said.contains(open), "{said}");
    }

    #[test]
    fn a_cause_of_any_length_leaves_room_for_the_rest() {
        let said = told(Status::Failed, Some("Long"), Some(&"x".repeat(32_768)));
        assert!(said.len() < 2048 && said.ends_with("Left: nothing."), "{} bytes", said.len());
    }
}
