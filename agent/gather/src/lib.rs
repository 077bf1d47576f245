//! Gathering: every source into its folder in the mirror.
//!
//! A source is listed, what changed is fetched into staging ([`collect`]), judged by the source's checks ([`check`]), and then
//! moved into the mirror ([`commit`]). A source that fails on the way never stops another, and leaves its last good copy. What
//! the source said of owners, modes and times goes into a [`catalogue`], from which snapshots take it.
//!
//! Each source has a thread of its own, on which its futures run: what blocks there, such as this machine's disk, holds up
//! nobody else, while the connection's work is done by the runtime's other threads.

mod aside;
pub mod catalogue;
pub mod check;
mod collect;
mod commands;
mod commit;
pub mod folder;
mod grown;
mod key;
mod local;
mod mirror;
mod one;
mod outcome;
pub mod pattern;
mod preview;
mod remote;
mod room;
mod site;
mod source;
mod staging;
#[cfg(test)]
mod tests;
mod throttle;
mod tree;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::StreamExt;
use thiserror::Error;

pub use catalogue::Origins;
pub use outcome::{
    Counts, GatherSummary, MAX_PROBLEMS_NAMED, SourceOutcome, SourceState, in_one_line, is_harmless, one_line,
};
pub use preview::{Coming, Why};
pub use site::Site;
pub use source::*;
pub use tree::{Kind, Meta, Mtime, check_name};

use throttle::Throttle;

/// How long a source's thread may take to end after its time is up: a disk that doesn't answer can't be interrupted.
const GRACE: Duration = Duration::from_secs(60);

/// How all sources are gathered together.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How many sources at once.
    pub parallel: usize,
    /// Bytes a second, for all together.
    pub bandwidth: Option<u64>,
    /// The operator has looked at what vanished, and it is right.
    pub accept_vanished: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { parallel: DEFAULT_PARALLEL, bandwidth: None, accept_vanished: false }
    }
}

/// Hears how one source comes along.
pub trait Progress: Send + Sync {
    /// So many bytes more have come.
    fn bytes(&self, bytes: u64);
    /// One more file is done.
    fn file(&self);
    /// Something worth knowing that needs nobody.
    fn note(&self, text: &str);
}

/// Hears of all sources.
pub trait Listener: Send + Sync {
    /// A source's turn has come.
    fn begins(&self, source: &str) -> Arc<dyn Progress>;
    /// It is through.
    fn ended(&self, outcome: &SourceOutcome);
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct Deaf;

impl Progress for Deaf {
    fn bytes(&self, _: u64) {}
    fn file(&self) {}
    fn note(&self, _: &str) {}
}

impl Listener for Deaf {
    fn begins(&self, _: &str) -> Arc<dyn Progress> {
        Arc::new(Self)
    }
    fn ended(&self, _: &SourceOutcome) {}
}

/// Why nothing could be gathered, whatever the sources.
#[derive(Debug, Error)]
pub enum GatherError {
    /// The mirror can't be used.
    #[error("the mirror {} can't be used", path.display())]
    Mirror {
        /// The mirror, or a folder in or beside it.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Brings the mirror up to date with `sources`.
///
/// Dropping the future calls the walks off; they end at their next step.
///
/// # Errors
/// When the mirror itself can't be used. What is wrong with a source is part of the summary.
pub async fn gather(
    site: &Site,
    sources: &[Source],
    settings: &Settings,
    listener: &Arc<dyn Listener>,
) -> Result<GatherSummary, GatherError> {
    site.prepare()?;
    let was_settled = site.is_settled();
    site.unsettle().map_err(|source| GatherError::Mirror { path: site.state_dir().to_owned(), source })?;
    let shared = Arc::new(one::Shared {
        site: site.clone(),
        settings: settings.clone(),
        throttle: Throttle::new(settings.bandwidth),
        called_off: AtomicBool::new(false),
        was_settled,
        boot: site::boot_id(),
    });
    let called_off = CalledOff(Arc::clone(&shared));
    let mut outcomes: Vec<(usize, SourceOutcome)> = futures::stream::iter(sources.iter().enumerate())
        .map(|(turn, source)| {
            let (shared, source, listener) = (Arc::clone(&shared), source.clone(), Arc::clone(listener));
            async move {
                let progress = listener.begins(&source.name);
                let (name, time) = (source.name.clone(), source.limits.time.saturating_add(GRACE));
                let work = move || run_alone(one::gather(&shared, &source, &*progress));
                let outcome = on_its_own_thread(&name, time, work).await;
                listener.ended(&outcome);
                (turn, outcome)
            }
        })
        // Not in order: one that is through would keep its place until those before it are.
        .buffer_unordered(settings.parallel.max(1))
        .collect()
        .await;
    drop(called_off);
    outcomes.sort_unstable_by_key(|(turn, _)| *turn);
    Ok(GatherSummary { sources: outcomes.into_iter().map(|(_, outcome)| outcome).collect() })
}

/// Does `work` for the source `name`, and waits so long for it.
async fn on_its_own_thread(
    name: &str,
    time: Duration,
    work: impl FnOnce() -> io::Result<SourceOutcome> + Send + 'static,
) -> SourceOutcome {
    match tokio::time::timeout(time, tokio::task::spawn_blocking(work)).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => SourceOutcome::failed(name, format!("it can't be begun: {error}")),
        Ok(Err(_)) => SourceOutcome::failed(name, "it broke off: this is a fault of drawbridge".to_owned()),
        Err(_) => SourceOutcome::failed(
            name,
            format!("nothing came within {} s, not even an end: is a mounted folder's server gone?", time.as_secs()),
        ),
    }
}

/// Runs one source's work, with its connection and all that this spawns, on this thread alone. Handing each answer of a host
/// from thread to thread would cost more than what is done with it.
fn run_alone<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work);
    // Nobody waits for a name server that doesn't answer.
    runtime.shutdown_background();
    Ok(done)
}

/// What a gathering of `source` would bring, told entry by entry. Nothing is fetched, no command run, and the mirror stays as
/// it is; but the source is asked for everything else, and files that the configuration names are opened.
///
/// # Errors
/// When the mirror can't be used. What is wrong with the source is part of the outcome, whose counts say what would come.
pub async fn preview(
    site: &Site,
    source: &Source,
    tell: impl Fn(Coming) + Send + 'static,
) -> Result<SourceOutcome, GatherError> {
    preview_within(GRACE, site, source, tell).await
}

async fn preview_within(
    grace: Duration,
    site: &Site,
    source: &Source,
    tell: impl Fn(Coming) + Send + 'static,
) -> Result<SourceOutcome, GatherError> {
    site.prepare()?;
    let shared = one::Shared {
        site: site.clone(),
        settings: Settings::default(),
        throttle: Throttle::new(None),
        called_off: AtomicBool::new(false),
        was_settled: site.is_settled(),
        boot: site::boot_id(),
    };
    let shared = Arc::new(shared);
    let called_off = CalledOff(Arc::clone(&shared));
    let (owned, time) = (source.clone(), source.limits.time.saturating_add(grace));
    let work = move || run_alone(one::preview(&shared, &owned, &move |coming| tell(coming)));
    let outcome = on_its_own_thread(&source.name, time, work).await;
    drop(called_off);
    Ok(outcome)
}

/// Set when whoever waited has gone.
struct CalledOff(Arc<one::Shared>);

impl Drop for CalledOff {
    fn drop(&mut self) {
        self.0.called_off.store(true, Ordering::Relaxed);
    }
}
