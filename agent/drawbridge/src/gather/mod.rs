//! Gathering, as the program's commands do it: the sources of a configuration, with their ages written down and people told.

mod ages;
mod tell;

use std::sync::Arc;

use drawbridge_gather::{Listener, Settings, Site, Source};
use drawbridge_wire::Timestamp;
use thiserror::Error;

pub use ages::{AgesError, SourceAges};
pub use drawbridge_gather::{
    Coming, Counts, GatherSummary, MAX_PROBLEMS_NAMED, Origins, SourceOutcome, SourceState, Why, in_one_line,
};

use crate::config::Config;
use crate::state_file::{self, StateDirError};
use crate::ui::Ui;
use tell::Telling;

/// Why nothing could be gathered, whatever the sources.
#[derive(Debug, Error)]
pub enum GatherError {
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The mirror can't be used.
    #[error(transparent)]
    Mirror(#[from] drawbridge_gather::GatherError),
    /// The record of when sources were last complete can't be used.
    #[error(transparent)]
    Ages(#[from] AgesError),
}

/// Brings the mirror up to date with every source, and takes what is no source's any more out of it.
///
/// Dropping the future calls it off.
///
/// # Errors
/// When the mirror itself can't be used. What is wrong with a source is part of the summary.
pub async fn gather(config: &Config, ui: &Ui) -> Result<GatherSummary, GatherError> {
    let sources: Vec<&Source> = config.sources.iter().collect();
    gather_some(config, ui, &sources, false).await
}

/// As [`gather`], with some sources only. With `accept_vanished` nothing is refused for having vanished.
///
/// # Errors
/// As [`gather`].
pub async fn gather_some(
    config: &Config,
    ui: &Ui,
    sources: &[&Source],
    accept_vanished: bool,
) -> Result<GatherSummary, GatherError> {
    state_file::prepare(&config.state_dir)?;
    let mut ages = SourceAges::load(&config.state_dir)?;
    let site = config.site();
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    for name in site.forget_all_but(&names)? {
        ui.note(&format!("{name} is no source any more and leaves the mirror"));
    }
    let settings = Settings { parallel: config.gather.parallel, bandwidth: config.gather.bandwidth, accept_vanished };
    let telling: Arc<dyn Listener> = Arc::new(Telling::new(ui, &ages));
    let sources: Vec<Source> = sources.iter().copied().cloned().collect();
    let summary = drawbridge_gather::gather(&site, &sources, &settings, &telling).await?;
    let now = Timestamp::now();
    for source in summary.sources.iter().filter(|source| source.state == SourceState::Complete) {
        ages.complete(&source.name, now);
    }
    ages.retain(|name| names.contains(&name));
    ages.save(&config.state_dir)?;
    Ok(summary)
}

impl Config {
    /// Where gathering keeps things.
    #[must_use]
    pub fn site(&self) -> Site {
        Site::new(&self.state_dir)
    }
}
