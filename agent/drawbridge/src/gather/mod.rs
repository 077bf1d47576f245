//! Gathering: every source into its folder in the mirror.
//!
//! A source that fails never stops another, and leaves its last good copy. What is configured no more leaves the mirror;
//! earlier snapshots still have it.

mod ages;
mod copy;
mod known_hosts;
mod local;
mod mirror;
mod outcome;
mod probe;
mod sftp;
mod ssh;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod wanted;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use drawbridge_wire::Timestamp;
use futures::StreamExt;
use thiserror::Error;

pub use ages::{AgesError, SourceAges};
pub use known_hosts::KnownHostsError;
pub use outcome::{Counts, GatherSummary, MAX_PROBLEMS_NAMED, SourceOutcome, SourceState, in_one_line};
pub use probe::probe;
pub use ssh::SshError;

use crate::config::{Config, Place, Source};
use crate::state_file::{self, StateDirError};
use crate::ui::{Transfer, Ui, human_bytes};
use local::LocalTree;
use mirror::{MirrorDir, Owner, Workshop};
use sftp::SftpTree;
use walk::{Job, Limits};

/// How many sources are gathered at once: enough that one slow host doesn't hold up the rest, few enough for a small
/// machine's disk.
const PARALLEL_SOURCES: usize = 4;

/// Why nothing could be gathered, whatever the sources.
#[derive(Debug, Error)]
pub enum GatherError {
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The mirror can't be used.
    #[error("the mirror {} can't be used", path.display())]
    Mirror {
        /// The mirror, or a folder in or beside it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The record of when sources were last complete can't be used.
    #[error(transparent)]
    Ages(#[from] AgesError),
    /// A thread of ours ended by itself.
    #[error("gathering broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Brings the mirror up to date with every source.
///
/// Dropping the future calls the walks off; they end at their next entry.
///
/// # Errors
/// When the mirror itself can't be used. What is wrong with a source is part of the summary.
pub async fn gather(config: &Config, ui: &Ui) -> Result<GatherSummary, GatherError> {
    gather_within(config, ui, Limits::DEFAULT).await
}

async fn gather_within(config: &Config, ui: &Ui, limits: Limits) -> Result<GatherSummary, GatherError> {
    state_file::prepare(&config.state_dir)?;
    let mut ages = SourceAges::load(&config.state_dir)?;
    forget_strangers(config, ui)?;
    let called_off = CalledOff::default();
    let outcomes: Vec<Result<SourceOutcome, GatherError>> = futures::stream::iter(&config.sources)
        .map(|source| gather_source(config, source, ui, limits, Arc::clone(&called_off.0)))
        .buffered(PARALLEL_SOURCES)
        .collect()
        .await;
    let sources = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let now = Timestamp::now();
    for source in sources.iter().filter(|source| source.state == SourceState::Complete) {
        ages.complete(&source.name, now);
    }
    ages.retain(|name| config.sources.iter().any(|source| source.name == name));
    ages.save(&config.state_dir)?;
    Ok(GatherSummary { sources })
}

async fn gather_source(
    config: &Config,
    source: &Source,
    ui: &Ui,
    limits: Limits,
    called_off: Arc<AtomicBool>,
) -> Result<SourceOutcome, GatherError> {
    let transfer = ui.transfer(&source.name, None);
    let login = match &source.place {
        Place::Local => None,
        Place::Ssh(place) => match ssh::log_in(place).await {
            Ok(login) => Some(login),
            Err(error) => {
                let outcome = SourceOutcome::failed(&source.name, in_one_line(&error));
                tell(ui, &outcome);
                return Ok(outcome);
            }
        },
    };
    let (config, owned, counted) = (config.clone(), source.clone(), transfer.clone());
    let runtime = tokio::runtime::Handle::current();
    let outcome = tokio::task::spawn_blocking(move || match login {
        None => {
            let tree = LocalTree::without(&config.state_dir).map_err(mirror_error(&config.state_dir))?;
            walk_source(&tree, &config, &owned, limits, &counted, called_off)
        }
        Some(login) => walk_source(&SftpTree::new(login, runtime), &config, &owned, limits, &counted, called_off),
    })
    .await??;
    // Not finished in words: what was copied is told with the rest.
    drop(transfer);
    tell(ui, &outcome);
    Ok(outcome)
}

fn walk_source<T: tree::Tree>(
    tree: &T,
    config: &Config,
    source: &Source,
    limits: Limits,
    transfer: &Transfer,
    called_off: Arc<AtomicBool>,
) -> Result<SourceOutcome, GatherError> {
    let owner = Owner::current();
    let (mirror, workshop) = (config.mirror_dir(), workshop_dir(config));
    let job = Job {
        name: &source.name,
        paths: &source.paths,
        exclude: &source.exclude,
        limits,
        workshop: &Workshop::open(&workshop, owner).map_err(mirror_error(&workshop))?,
        mirror: &MirrorDir::open_or_make(&mirror, owner).map_err(mirror_error(&mirror))?,
        transfer,
        called_off,
    };
    Ok(walk::gather(tree, &job))
}

/// Empties the workshop, and takes what is no source's out of the mirror.
fn forget_strangers(config: &Config, ui: &Ui) -> Result<(), GatherError> {
    let (path, workshop) = (config.mirror_dir(), workshop_dir(config));
    Workshop::open(&workshop, Owner::current())
        .and_then(|workshop| workshop.empty())
        .map_err(mirror_error(&workshop))?;
    let mirror = MirrorDir::open_or_make(&path, Owner::current()).map_err(mirror_error(&path))?;
    for name in mirror.names().map_err(mirror_error(&path))? {
        if !config.sources.iter().any(|source| name == *source.name) {
            ui.note(&format!("{} is no source any more and leaves the mirror", name.display()));
            mirror.remove(&name).map_err(mirror_error(&path))?;
        }
    }
    Ok(())
}

/// Where files grow: beside the mirror, so that the mirror never holds a part of a file, and on the same file system, so that
/// they can be renamed into it.
fn workshop_dir(config: &Config) -> PathBuf {
    config.state_dir.join("mirror.tmp")
}

fn mirror_error(path: &std::path::Path) -> impl FnOnce(io::Error) -> GatherError {
    let path = path.to_owned();
    move |source| GatherError::Mirror { path, source }
}

fn tell(ui: &Ui, outcome: &SourceOutcome) {
    /// How many problems are told at once; the outcome keeps more.
    const TOLD: usize = 5;
    let (name, counts) = (&outcome.name, &outcome.counts);
    if !matches!(outcome.state, SourceState::Failed { .. }) {
        ui.note(&format!(
            "{name}: {} files, {}; {} new or changed, {} removed",
            counts.files,
            human_bytes(counts.bytes),
            counts.copied_files,
            counts.removed
        ));
    }
    if counts.changed_while_read > 0 {
        ui.note(&format!("{name}: {} files changed while they were read", counts.changed_while_read));
    }
    match &outcome.state {
        SourceState::Complete => {}
        SourceState::Failed { error } => ui.warn(&format!("{name}: {error}. The last good copy stays")),
        SourceState::Partial { count, problems } => {
            for problem in problems.iter().take(TOLD) {
                ui.warn(&format!("{name}: {problem}"));
            }
            let told = u64::try_from(problems.len().min(TOLD)).unwrap_or(*count);
            if *count > told {
                ui.warn(&format!("{name}: and {} more", count - told));
            }
        }
    }
}

/// Set when whoever waited has gone.
#[derive(Default)]
struct CalledOff(Arc<AtomicBool>);

impl Drop for CalledOff {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
