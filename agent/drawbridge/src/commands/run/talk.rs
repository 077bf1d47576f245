//! The conversation with the stack about one run.

use std::time::Duration;

use drawbridge_ssh::PublicKey;
use drawbridge_wire::{
    Defects, Generation, Report, ReportAnswer, RunId, SessionAnswer, StartAnswer, StartRequest, Timestamp, Unusual,
    VERDICT_BAD, VaultRepository, Verdict, VerdictSummary,
};
use tokio::time::{Instant, sleep, timeout};

use super::error::RunError;
use super::prepare::Prepared;
use crate::cloud::{Cloud, CloudError};
use crate::ui::Ui;

/// How long to ask for the bridge, or for the verdict, before giving up. The state machine's own timeouts are shorter; this only ends
/// what they can't.
const LONGEST_WAIT: Duration = Duration::from_secs(45 * 60);

/// The first wait between two questions.
const FIRST_POLL: Duration = Duration::from_millis(500);

/// The longest wait between two questions.
const LAST_POLL: Duration = Duration::from_secs(2);

/// How long the stack may be out of reach between two questions. A longer outage would outlast the heartbeats anyway.
const OUTAGE: Duration = Duration::from_secs(180);

/// How long a last word to the stack may take.
const LAST_WORD: Duration = Duration::from_secs(10);

/// How long to wait for the end of a run that has failed here.
const END_WAIT: Duration = Duration::from_secs(60);

/// What a request for a run came to.
#[derive(Debug)]
pub(super) enum Start {
    Started { run: RunId, vault: VaultRepository, heartbeat: Duration, deadline: Timestamp, unusual: Option<Unusual> },
    Busy { run: RunId, until: Timestamp },
    TooSoon { retry_after: Timestamp },
    DailyLimit { allowed: u32, retry_after: Timestamp },
    Turned(Generation),
}

/// Where and whom to connect to.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) address: std::net::Ipv4Addr,
    pub(super) port: u16,
    pub(super) host_key: PublicKey,
}

/// Asks for a run that carries what is `prepared`.
pub(super) async fn start(
    cloud: &Cloud,
    prepared: &Prepared,
    public_key: &PublicKey,
    source_cidr: Option<drawbridge_wire::Ipv4Net>,
) -> Result<Start, RunError> {
    let (objects, bytes) = prepared.manifest.declared();
    let request = StartRequest {
        public_key: public_key.to_string(),
        source_cidr,
        repository: prepared.current.repository.clone(),
        generation: prepared.counts_on.clone(),
        objects,
        bytes,
        manifest_sha256: prepared.sha256,
    };
    Ok(match cloud.start(&request).await? {
        StartAnswer::Started { run, repository, deadline, heartbeat_seconds, unusual } => {
            let heartbeat = Duration::from_secs(heartbeat_seconds.max(1).into());
            Start::Started { run, vault: repository, heartbeat, deadline, unusual }
        }
        StartAnswer::Busy { run, until } => Start::Busy { run, until },
        StartAnswer::TooSoon { retry_after } => Start::TooSoon { retry_after },
        StartAnswer::DailyLimit { allowed, retry_after } => Start::DailyLimit { allowed, retry_after },
        StartAnswer::TooMuch { ceiling, declared, allowed } => {
            return Err(RunError::TooMuch { ceiling, declared, allowed });
        }
        StartAnswer::GenerationTurned { generation } => Start::Turned(generation),
    })
}

/// Waits until the bridge is down.
pub(super) async fn await_open(cloud: &Cloud, run: &RunId) -> Result<Opened, RunError> {
    let waiting = |answer: &SessionAnswer| matches!(answer, SessionAnswer::Waiting);
    match poll(cloud, run, LONGEST_WAIT, waiting).await? {
        Some(SessionAnswer::Open { address, port, host_key, .. }) => {
            Ok(Opened { address, port, host_key: host_key.parse()? })
        }
        Some(SessionAnswer::Failed { failure, .. }) => Err(RunError::Failed { run: run.clone(), failure }),
        Some(SessionAnswer::Verified { .. }) => Err(RunError::EndedEarly(run.clone())),
        Some(SessionAnswer::Waiting) | None => Err(RunError::Late { run: run.clone(), what: "open the bridge" }),
    }
}

/// What became of a run whose upload is complete.
#[derive(Debug)]
pub(super) enum Judged {
    Good,
    /// With what is wrong in words, and as `session` tells it.
    Bad(String, Option<Defects>),
}

/// Waits for the verdict of a run whose upload is complete, or for the failure of one that was closed.
pub(super) async fn await_verdict(cloud: &Cloud, run: &RunId) -> Result<Judged, RunError> {
    match poll(cloud, run, LONGEST_WAIT, is_open).await? {
        Some(SessionAnswer::Verified { verdict }) if verdict.verdict == Verdict::Good => Ok(Judged::Good),
        Some(SessionAnswer::Verified { verdict }) => {
            let VerdictSummary { objects, missing, wrong, unlocked, undeclared, .. } = verdict;
            let said = format!(
                "{missing} missing, {wrong} wrong, {unlocked} unlocked, {undeclared} undeclared of {objects} objects"
            );
            Ok(Judged::Bad(said, None))
        }
        Some(SessionAnswer::Failed { failure, defects }) if failure.error == VERDICT_BAD => {
            Ok(Judged::Bad(failure.cause, defects))
        }
        Some(SessionAnswer::Failed { failure, .. }) => Err(RunError::Failed { run: run.clone(), failure }),
        Some(SessionAnswer::Waiting | SessionAnswer::Open { .. }) | None => {
            Err(RunError::Late { run: run.clone(), what: "verify and end" })
        }
    }
}

/// Says that everything has crossed.
pub(super) async fn tell_complete(cloud: &Cloud, run: &RunId) -> Result<ReportAnswer, CloudError> {
    cloud.report(run, Report::Complete).await
}

/// Says why this run is given up, so that its box needn't wait for a missing heartbeat.
pub(super) async fn tell_failed(cloud: &Cloud, run: &RunId, reason: &str) -> Result<ReportAnswer, CloudError> {
    cloud.report(run, Report::Failed { reason: reason.to_owned() }).await
}

/// Gives a run up that failed here: tells the stack, and waits a while to see it end. What goes wrong here is said, and
/// changes nothing: heartbeat and deadline end the run too.
pub(super) async fn give_up(cloud: &Cloud, run: &RunId, reason: &str, wait: bool, ui: &Ui) {
    match timeout(LAST_WORD, tell_failed(cloud, run, reason)).await {
        Ok(Ok(_)) if !wait => {}
        Ok(Ok(_)) => match poll(cloud, run, END_WAIT, is_open).await {
            Ok(Some(_)) => ui.note(&format!("the run {run} has ended and its bridge is gone")),
            Ok(None) => {
                ui.note(&format!("the run {run} is still ending; its deadline removes the bridge at the latest"))
            }
            Err(error) => ui.warn(&format!("cannot see the run {run} end: {error}")),
        },
        Ok(Err(error)) => {
            ui.warn(&format!("could not tell the stack ({error}); the missing heartbeat ends the run {run}"))
        }
        Err(_) => ui.warn(&format!("could not tell the stack in time; the missing heartbeat ends the run {run}")),
    }
}

fn is_open(answer: &SessionAnswer) -> bool {
    matches!(answer, SessionAnswer::Waiting | SessionAnswer::Open { .. })
}

/// Asks until the answer isn't what `go_on` describes; `None` when that takes longer than `limit`. Short outages are borne.
async fn poll(
    cloud: &Cloud,
    run: &RunId,
    limit: Duration,
    go_on: impl Fn(&SessionAnswer) -> bool,
) -> Result<Option<SessionAnswer>, CloudError> {
    let began = Instant::now();
    let mut heard = Instant::now();
    let mut wait = FIRST_POLL;
    loop {
        match cloud.session(run).await {
            Ok(answer) if go_on(&answer) => heard = Instant::now(),
            Ok(answer) => return Ok(Some(answer)),
            Err(error) if error.may_pass() && heard.elapsed() < OUTAGE => {}
            Err(error) => return Err(error),
        }
        if began.elapsed() + wait > limit {
            return Ok(None);
        }
        sleep(wait).await;
        wait = (wait * 3 / 2).min(LAST_POLL);
    }
}
