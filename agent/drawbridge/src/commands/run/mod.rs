//! `drawbridge run`: gather, back up, ask for a bridge, cross it, and wait for the verdict.
//!
//! Invariants that this module owns:
//! - one run at a time on this machine;
//! - a bridge is asked for only when everything that will cross is on the disk and declared;
//! - a run that was started and fails here is given up with the stack before the program ends;
//! - exit code 0 means verified at rest, never only uploaded;
//! - how the run ended is written down before the program ends, whatever happened.

mod after;
mod error;
mod open;
mod prepare;
mod report;
mod talk;

use std::time::Duration;

use drawbridge_ssh::KeyPair;
use drawbridge_wire::{ReportAnswer, RunId, Timestamp, VaultRepository};
use tokio::task::spawn_blocking;

use crate::cloud::Cloud;
use crate::config::Config;
use crate::cross::{BridgeEnd, CrossError, Crossing, Patience, beat};
use crate::exit::Exit;
use crate::gather::{gather, in_one_line};
use crate::history::RunOutcome;
use crate::interruption::interruption;
use crate::journal::Journal;
use crate::lock::{Lock, Locking};
use crate::secret::Secret;
use crate::state::Current;
use crate::state_file;
use crate::ui::Ui;
use open::Turned;
use prepare::{Prepared, prepare};
use report::Record;
use talk::{Judged, Start};

pub use after::Healing;
pub use error::RunError;

/// By how much this machine's clock may be behind the cloud's before a deadline is taken for over. AWS refuses requests from clocks that
/// are off by more.
const CLOCK_SLACK: Duration = Duration::from_secs(15 * 60);

/// Backs up, once.
///
/// # Errors
/// See [`RunError`]. Busy, too soon and too often are no errors but [`Exit::Later`].
pub async fn run(config: &Config, ui: &Ui) -> Result<Exit, RunError> {
    state_file::prepare(&config.state_dir)?;
    let _lock = match Lock::take(&config.state_dir)? {
        Locking::Taken(lock) => lock,
        Locking::HeldBy(pid) => {
            ui.warn(&format!("another `drawbridge run` is at work (process {pid}); this one ends"));
            return Ok(Exit::Later);
        }
    };
    let cloud = Cloud::connect(&config.stack).await;
    let mut record = Record::begin();
    let outcome = tokio::select! {
        outcome = attempt(config, &cloud, ui, &mut record) => outcome,
        signal = interrupted() => Err(signal),
    };
    if let (Err(error), Some(run)) = (&outcome, record.open_run()) {
        let stopped_by_hand = matches!(error, RunError::Interrupted(_));
        let reason = in_one_line(error);
        tokio::select! {
            () = talk::give_up(&cloud, run, &reason, !stopped_by_hand, ui) => {}
            // Whoever asks again doesn't want to wait; heartbeat and deadline end the run too.
            _ = interruption() => {}
        }
    }
    record.end(config, ui, outcome)
}

async fn interrupted() -> RunError {
    interruption().await.map_or_else(RunError::Signals, RunError::Interrupted)
}

async fn attempt(config: &Config, cloud: &Cloud, ui: &Ui, record: &mut Record) -> Result<RunOutcome, RunError> {
    let password = config.read_password()?;
    ui.stage("Gathering");
    record.gathered(gather(config, ui).await?);

    let key = KeyPair::generate()?;
    let Begun { prepared, run, vault, heartbeat, deadline } =
        match begin(config, cloud, ui, record, &password, &key).await? {
            Beginning::Begun(begun) => *begun,
            Beginning::Later(outcome) => return Ok(outcome),
        };
    record.opened(run.clone());
    let as_declared = prepared.counts_on.as_ref().is_none_or(|generation| *generation == vault.generation());
    if vault.id() != prepared.current.repository || !as_declared {
        return Err(RunError::Misfiled(vault));
    }
    let mut current = Current { vault: Some(vault.clone()), ..prepared.current.clone() };
    current.save(&config.state_dir)?;
    let mut journal = Journal::open(&config.state_dir, &vault)?;

    let limit = until(deadline) + CLOCK_SLACK;
    let crossing = cross(config, cloud, ui, &prepared, &run, key, &mut journal, heartbeat);
    let crossed = tokio::time::timeout(limit, crossing).await.unwrap_or(Err(CrossError::Deadline.into()));
    if matches!(crossed, Err(RunError::Cross(CrossError::Closed))) {
        // The stack knows why, and that is worth more than that it did: the run may have failed there, or it has heard that
        // all has crossed and its answer was lost.
        record.closed();
        ui.stage(&format!("Waiting for the end of run {run}"));
    } else {
        if let Some(damage) = crossed.as_ref().err().and_then(RunError::damage) {
            after::damaged(config, &current, &damage)?;
        }
        crossed?;
        record.crossed();
        ui.stage("Verifying");
    }
    let judged = talk::await_verdict(cloud, &run).await?;
    record.crossed();
    match judged {
        Judged::Good => after::good(config, ui, &mut current, &prepared.manifest, &vault, &run)?,
        Judged::Bad(said, defects) => {
            let healing = after::bad(config, ui, (&mut current, &mut journal), &vault, &run, defects.as_ref());
            return Err(RunError::Bad { said, healing });
        }
    }
    Ok(RunOutcome::Verified)
}

/// A run that the stack has begun, and what it is for.
struct Begun {
    prepared: Prepared,
    run: RunId,
    vault: VaultRepository,
    heartbeat: Duration,
    deadline: Timestamp,
}

/// What asking for a bridge comes to.
enum Beginning {
    Begun(Box<Begun>),
    /// Not now.
    Later(RunOutcome),
}

/// Backs up and asks for a bridge; once more, with a new repository, when the generation has turned.
async fn begin(
    config: &Config,
    cloud: &Cloud,
    ui: &Ui,
    record: &mut Record,
    password: &Secret,
    key: &KeyPair,
) -> Result<Beginning, RunError> {
    let mut turned: Option<Turned> = None;
    loop {
        ui.stage("Backing up");
        let prepared = in_background(config, password, ui, turned.clone()).await?;
        record.prepared(&prepared);
        ui.stage("Asking for a bridge");
        match talk::start(cloud, &prepared, key.public(), config.stack.source_cidr).await? {
            Start::Started { run, vault, heartbeat, deadline, unusual } => {
                if let Some(unusual) = unusual {
                    ui.warn(&report::far_more(prepared.manifest.declared().1, unusual));
                }
                return Ok(Beginning::Begun(Box::new(Begun { prepared, run, vault, heartbeat, deadline })));
            }
            Start::Busy { run, until } => {
                ui.warn(&format!("the run {run} is open, until {} at the latest", report::moment(until)));
                return Ok(Beginning::Later(RunOutcome::Busy { until }));
            }
            Start::TooSoon { retry_after } => {
                ui.warn(&format!("too soon after the last run: the next may begin at {}", report::moment(retry_after)));
                return Ok(Beginning::Later(RunOutcome::TooSoon { retry_after }));
            }
            Start::DailyLimit { allowed, retry_after } => {
                let at = report::moment(retry_after);
                ui.warn(&format!(
                    "the last 24 hours have had all the runs that the stack allows, {allowed} (MaxRunsPerDay): the next may begin at {at}"
                ));
                return Ok(Beginning::Later(RunOutcome::DailyLimit { retry_after }));
            }
            Start::Turned(generation) if turned.is_some() => return Err(RunError::TurnedTwice(generation)),
            Start::Turned(generation) => {
                ui.note(&format!("the generation {generation} has begun, and with it a new repository"));
                turned = Some(Turned { snapshot: prepared.backup.snapshot.clone() });
            }
        }
    }
}

async fn in_background(
    config: &Config,
    password: &Secret,
    ui: &Ui,
    turned: Option<Turned>,
) -> Result<Prepared, RunError> {
    let (config, password, ui) = (config.clone(), password.clone(), ui.clone());
    spawn_blocking(move || prepare(&config, &password, &ui, turned.as_ref())).await?
}

/// Waits for the bridge, crosses it, and says so.
#[expect(clippy::too_many_arguments, reason = "the parts of one run, each used once; a struct would only rename them")]
async fn cross(
    config: &Config,
    cloud: &Cloud,
    ui: &Ui,
    prepared: &Prepared,
    run: &RunId,
    key: KeyPair,
    journal: &mut Journal,
    heartbeat: Duration,
) -> Result<(), RunError> {
    ui.stage(&format!("Waiting for the bridge of run {run}"));
    let opened = talk::await_open(cloud, run).await?;
    let (objects, bytes) = prepared.manifest.declared();
    ui.stage(&format!("Crossing with {objects} objects"));
    let progress = ui.transfer("crossing", Some(bytes));
    let crossing = Crossing {
        end: BridgeEnd { address: opened.address, port: opened.port, host_key: opened.host_key, user_key: key },
        manifest: &prepared.manifest,
        manifest_bytes: prepared.bytes.clone(),
        stock: &prepared.stock,
        streams: config.streams,
        patience: Patience::default(),
        progress: progress.clone(),
    };
    let over = async {
        crossing.cross(journal).await?;
        progress.finish();
        match talk::tell_complete(cloud, run).await? {
            ReportAnswer::Accepted => Ok(()),
            ReportAnswer::Closed => Err(RunError::from(CrossError::Closed)),
        }
    };
    tokio::select! {
        over = over => over,
        error = beat(cloud, run, heartbeat) => Err(error.into()),
    }
}

/// From now until `moment`, by this machine's clock.
fn until(moment: Timestamp) -> Duration {
    Duration::try_from(moment.duration_since(Timestamp::now())).unwrap_or_default()
}
