//! `start`: whether a request gets a run, and which.

use drawbridge_wire::{
    Ceiling, InvalidName, Ipv4Net, RunId, RunInput, Site, StartAnswer, StartRequest, Timestamp, VaultRepository,
};
use jiff::SignedDuration;
use thiserror::Error;

use crate::generation::GenerationLength;
use crate::key::{Ed25519Key, KeyError};
use crate::slot::Slot;
use crate::window::{WindowRule, deadline};

/// For which `max_runs_per_day` counts: any 24 hours, so that midnight brings no second helping.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// What the stack allows.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The stack's one site.
    pub site: Site,
    /// The length of a time slot in seconds.
    pub slot_seconds: u32,
    /// The most runs that begin within 24 hours.
    pub max_runs_per_day: u32,
    /// The most objects that cross in one run.
    pub max_objects: u64,
    /// The most bytes that cross in one run.
    pub max_bytes: u64,
    /// Where agents may come from.
    pub allowed: Ipv4Net,
    /// How long backups share a repository.
    pub generation: GenerationLength,
    /// Seconds from the execution's start until the bridge must be down.
    pub boot_seconds: u32,
    /// How long an upload may take.
    pub window: WindowRule,
    /// The longest silence of the agent, in seconds.
    pub heartbeat_seconds: u32,
}

/// An open execution of this stack's state machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    /// Its name.
    pub run: RunId,
    /// When it began.
    pub started_at: Timestamp,
    /// Its input, if it is one that `start` makes.
    pub input: Option<RunInput>,
}

/// What `start` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Begin this run.
    Start(Start),
    /// Begin nothing.
    Answer(StartAnswer),
}

/// A run to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The execution's name.
    pub run: RunId,
    /// The execution's input.
    pub input: RunInput,
    /// When the next slot begins.
    pub next_slot: Timestamp,
}

/// A request that no run can be made of, now or later.
#[derive(Debug, Error)]
pub enum Rejection {
    /// Its public key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It wants the bridge open for somebody whom the stack doesn't allow.
    #[error("source_cidr {asked} is outside the range {allowed} that this stack allows")]
    Source {
        /// What the request says.
        asked: Ipv4Net,
        /// What the stack says.
        allowed: Ipv4Net,
    },
    /// The clock shows no time that slots and deadlines can be made of.
    #[error("the clock is out of range")]
    Clock(#[from] jiff::Error),
    /// The clock shows a year without a name.
    #[error("the clock is out of range")]
    Generation(#[from] InvalidName),
}

/// Decides about `request`, with `open` being every run that is open, and `begun` when at least the last
/// [`Limits::max_runs_per_day`] runs began, the newest first.
///
/// # Errors
/// When the request can never become a run.
pub fn decide(
    request: &StartRequest,
    limits: &Limits,
    open: &[OpenRun],
    begun: &[Timestamp],
    now: Timestamp,
) -> Result<Plan, Rejection> {
    let slot = Slot::holding(now, limits.slot_seconds)?;
    let generation = limits.generation.holding(slot.begins())?;
    let input = RunInput {
        repository: VaultRepository::new(&generation, &request.repository),
        public_key: request.public_key.parse::<Ed25519Key>()?.into(),
        source_cidr: source(request, limits)?,
        objects: request.objects,
        bytes: request.bytes,
        manifest_sha256: request.manifest_sha256,
        window_seconds: limits.window.seconds_for(request.bytes),
        // Only a run that really begins is weighed, by `usual`.
        unusual: None,
    };
    if let Some(answer) = too_much(request, limits) {
        return Ok(Plan::Answer(answer));
    }
    // The answer to this very request got lost: give it again, even if another slot or generation has begun since.
    if let Some(open) = open.iter().find(|open| is_same_request(open, &input)) {
        return Ok(Plan::Answer(taken(open, &input, limits)?));
    }
    if let Some(open) = open.first() {
        return Ok(Plan::Answer(taken(open, &input, limits)?));
    }
    if let Some(retry_after) = day_is_full(limits, begun, now)? {
        let allowed = limits.max_runs_per_day;
        return Ok(Plan::Answer(StartAnswer::DailyLimit { allowed, retry_after }));
    }
    if request.generation.as_ref().is_some_and(|counted_on| *counted_on != generation) {
        return Ok(Plan::Answer(StartAnswer::GenerationTurned { generation }));
    }
    let run = RunId::new(&limits.site, slot.begins());
    Ok(Plan::Start(Start { run, input, next_slot: slot.next_begins()? }))
}

/// The answer for a run that began at `started_at`.
///
/// # Errors
/// When there is no such time as its deadline.
pub fn started(
    run: &RunId,
    input: &RunInput,
    started_at: Timestamp,
    limits: &Limits,
) -> Result<StartAnswer, Rejection> {
    Ok(StartAnswer::Started {
        run: run.clone(),
        repository: input.repository.clone(),
        deadline: deadline(started_at, limits.boot_seconds, input)?,
        heartbeat_seconds: limits.heartbeat_seconds,
        unusual: input.unusual,
    })
}

/// The answer when `open` stands in the way of `input`: it is that request's own run, or another's.
///
/// # Errors
/// When there is no such time as its deadline.
pub fn taken(open: &OpenRun, input: &RunInput, limits: &Limits) -> Result<StartAnswer, Rejection> {
    match &open.input {
        Some(theirs) if is_same_request(open, input) => started(&open.run, theirs, open.started_at, limits),
        Some(theirs) => Ok(StartAnswer::Busy {
            run: open.run.clone(),
            until: deadline(open.started_at, limits.boot_seconds, theirs)?,
        }),
        None => {
            let longest = i64::from(limits.boot_seconds) + i64::from(limits.window.max_seconds);
            let until = open.started_at.checked_add(SignedDuration::from_secs(longest))?;
            Ok(StartAnswer::Busy { run: open.run.clone(), until })
        }
    }
}

/// Whether an open run came from the same request as `input`. Its key is made for one run, so another request has
/// another one. Generation, window and what is usual are the cloud's doing and may have changed in between.
fn is_same_request(open: &OpenRun, input: &RunInput) -> bool {
    open.input.as_ref().is_some_and(|theirs| {
        let cloud_made = RunInput {
            repository: VaultRepository::new(&input.repository.generation(), &theirs.repository.id()),
            window_seconds: input.window_seconds,
            unusual: input.unusual,
            ..theirs.clone()
        };
        cloud_made == *input
    })
}

/// Until when no run may begin, because the last 24 hours have had their number.
fn day_is_full(limits: &Limits, begun: &[Timestamp], now: Timestamp) -> Result<Option<Timestamp>, jiff::Error> {
    // Of so many runs, the oldest. While it is a day old at most, they all are. None allowed counts as one.
    let last = usize::try_from(limits.max_runs_per_day.saturating_sub(1)).unwrap_or(usize::MAX);
    let Some(oldest) = begun.get(last) else { return Ok(None) };
    let leaves = oldest.checked_add(DAY)?;
    Ok(Some(leaves).filter(|leaves| now < *leaves))
}

fn source(request: &StartRequest, limits: &Limits) -> Result<Ipv4Net, Rejection> {
    let asked = request.source_cidr.unwrap_or(limits.allowed);
    if limits.allowed.contains(&asked) {
        // Without host bits, as EC2 writes it.
        Ok(asked.trunc())
    } else {
        Err(Rejection::Source { asked, allowed: limits.allowed })
    }
}

fn too_much(request: &StartRequest, limits: &Limits) -> Option<StartAnswer> {
    [(Ceiling::Objects, request.objects, limits.max_objects), (Ceiling::Bytes, request.bytes, limits.max_bytes)]
        .into_iter()
        .find(|(_, declared, allowed)| declared > allowed)
        .map(|(ceiling, declared, allowed)| StartAnswer::TooMuch { ceiling, declared, allowed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use drawbridge_wire::Unusual;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMmvmmPAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn limits() -> Limits {
        Limits {
            site: "home".parse().unwrap(),
            slot_seconds: 900,
            max_runs_per_day: 3,
            max_objects: 10,
            max_bytes: 1_000_000,
            allowed: "203.0.113.0/24".parse().unwrap(),
            generation: GenerationLength::Month,
            boot_seconds: 300,
            window: WindowRule { base_seconds: 60, bytes_per_second: 1000, max_seconds: 600 },
            heartbeat_seconds: 45,
        }
    }

    fn request() -> StartRequest {
        StartRequest {
            public_key: format!("{KEY} me@vm"),
            source_cidr: Some("203.0.113.7/32".parse().unwrap()),
            repository: "0123456789abcdef".parse().unwrap(),
            generation: Some("2026-11".parse().unwrap()),
            objects: 10,
            bytes: 1_000_000,
            manifest_sha256: crate::hash::sha256(b"manifest"),
        }
    }

    fn now() -> Timestamp {
        "2026-11-23T20:37:12Z".parse().unwrap()
    }

    fn start(request: &StartRequest) -> Start {
        match decide(request, &limits(), &[], &[], now()).unwrap() {
            Plan::Start(start) => start,
            Plan::Answer(answer) => panic!("{answer:?}"),
        }
    }

    fn answer(request: &StartRequest, open: &[OpenRun], now: Timestamp) -> StartAnswer {
        match decide(request, &limits(), open, &[], now).unwrap() {
            Plan::Answer(answer) => answer,
            Plan::Start(start) => panic!("{start:?}"),
        }
    }

    fn open_run(input: Option<RunInput>) -> OpenRun {
        let started_at = "2026-11-23T20:31:00Z".parse().unwrap();
        OpenRun { run: "home-20261123T203000Z".parse().unwrap(), started_at, input }
    }

    #[test]
    fn a_run_is_named_by_its_slot_and_its_input_holds_only_what_was_understood() {
        let start = start(&request());
        assert_eq!(start.run.as_str(), "home-20261123T203000Z");
        assert_eq!(start.input.public_key, KEY);
        assert_eq!(start.input.repository.as_str(), "2026-11-0123456789abcdef");
        assert_eq!(start.input.window_seconds, 600);
        assert_eq!(start.next_slot.to_string(), "2026-11-23T20:45:00Z");
    }

    #[test]
    fn without_a_source_the_whole_allowed_range_may_come_and_host_bits_are_dropped() {
        let of = |cidr: Option<&str>| {
            start(&StartRequest { source_cidr: cidr.map(|cidr| cidr.parse().unwrap()), ..request() }).input.source_cidr
        };
        assert_eq!(of(None).to_string(), "203.0.113.0/24");
        assert_eq!(of(Some("203.0.113.7/28")).to_string(), "203.0.113.0/28");
    }

    #[test]
    fn a_source_outside_the_allowed_range_is_refused_and_both_are_named() {
        for outside in ["203.0.114.7/32", "203.0.112.0/23", "0.0.0.0/0"] {
            let request = StartRequest { source_cidr: Some(outside.parse().unwrap()), ..request() };
            let error = decide(&request, &limits(), &[], &[], now()).unwrap_err().to_string();
            assert!(error.contains(outside) && error.contains("203.0.113.0/24"), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let request = StartRequest { public_key: format!("{KEY}\n{KEY}"), ..request() };
        assert!(matches!(decide(&request, &limits(), &[], &[], now()), Err(Rejection::Key(_))));
    }

    #[test]
    fn one_object_or_byte_over_the_ceiling_is_too_much() {
        let objects = StartRequest { objects: 11, ..request() };
        let bytes = StartRequest { bytes: 1_000_001, ..request() };
        for (request, ceiling, declared, allowed) in
            [(objects, Ceiling::Objects, 11, 10), (bytes, Ceiling::Bytes, 1_000_001, 1_000_000)]
        {
            assert_eq!(answer(&request, &[], now()), StartAnswer::TooMuch { ceiling, declared, allowed });
        }
    }

    #[test]
    fn another_open_run_makes_the_site_busy_until_that_runs_deadline() {
        let theirs = start(&StartRequest { public_key: OTHER_KEY.to_owned(), bytes: 0, ..request() }).input;
        let until = "2026-11-23T20:37:00Z".parse().unwrap();
        let run: RunId = "home-20261123T203000Z".parse().unwrap();
        assert_eq!(answer(&request(), &[open_run(Some(theirs))], now()), StartAnswer::Busy { run: run.clone(), until });
        let until = "2026-11-23T20:46:00Z".parse().unwrap();
        assert_eq!(answer(&request(), &[open_run(None)], now()), StartAnswer::Busy { run, until });
    }

    #[test]
    fn the_same_request_again_gets_its_open_run_again_even_in_the_next_slot_and_generation() {
        let open = [open_run(None), open_run(Some(start(&request()).input))];
        for now in ["2026-11-23T20:38:00Z", "2026-11-23T20:45:01Z", "2026-12-01T00:00:01Z"] {
            let StartAnswer::Started { run, repository, deadline, heartbeat_seconds, .. } =
                answer(&request(), &open, now.parse().unwrap())
            else {
                panic!("not started at {now}")
            };
            assert_eq!((run.as_str(), repository.as_str()), ("home-20261123T203000Z", "2026-11-0123456789abcdef"));
            assert_eq!((deadline.to_string().as_str(), heartbeat_seconds), ("2026-11-23T20:46:00Z", 45));
        }
    }

    #[test]
    fn the_same_request_gets_its_run_again_whatever_has_become_usual_and_hears_what_was_so_when_it_began() {
        let unusual = Some(Unusual { usual_bytes: 7 });
        let open = [open_run(Some(RunInput { unusual, ..start(&request()).input }))];
        let StartAnswer::Started { unusual: told, .. } = answer(&request(), &open, now()) else { panic!() };
        assert_eq!(told, unusual);
    }

    #[test]
    fn a_day_has_its_number_of_runs_and_the_next_one_begins_when_the_first_of_them_is_a_day_old() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let begun = [at("2026-11-23T19:00:00Z"), at("2026-11-23T01:00:00Z"), at("2026-11-22T20:37:13Z")];
        let decide =
            |open: &[OpenRun], begun: &[Timestamp], now| decide(&request(), &limits(), open, begun, now).unwrap();
        let retry_after = at("2026-11-23T20:37:13Z");
        let full = Plan::Answer(StartAnswer::DailyLimit { allowed: 3, retry_after });
        assert_eq!(decide(&[], &begun, now()), full);
        assert!(matches!(decide(&[], &begun, retry_after), Plan::Start(_)));
        assert!(matches!(decide(&[], &begun[..2], now()), Plan::Start(_)));
        // The last one that it allowed is open, and its answer was lost.
        let own = [open_run(Some(start(&request()).input))];
        assert!(matches!(decide(&own, &begun, now()), Plan::Answer(StartAnswer::Started { .. })));
    }

    #[test]
    fn a_request_that_counts_on_a_past_generation_is_told_the_new_one() {
        let turned = answer(&request(), &[], "2026-12-01T00:00:00Z".parse().unwrap());
        assert_eq!(turned, StartAnswer::GenerationTurned { generation: "2026-12".parse().unwrap() });
        let unbound = StartRequest { generation: None, ..request() };
        assert!(matches!(
            decide(&unbound, &limits(), &[], &[], "2026-12-01T00:00:00Z".parse().unwrap()).unwrap(),
            Plan::Start(_)
        ));
    }
}
