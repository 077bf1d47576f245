//! Gathering, as the program's commands do it: the sources of a configuration, with how they stand written down and people told.

mod records;
mod tell;

use std::sync::Arc;

use drawbridge_gather::{Listener, Settings, Site, Source};
use drawbridge_wire::Timestamp;
use thiserror::Error;

pub use drawbridge_gather::{
    Coming, Counts, GatherSummary, MAX_PROBLEMS_NAMED, Origins, SourceOutcome, SourceState, Why, in_one_line,
};
pub(crate) use records::Troubles;
pub use records::{RecordsError, SourceRecord, SourceRecords, Trouble};

use crate::config::Config;
use crate::disk;
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
    /// The record of how sources stand can't be used.
    #[error(transparent)]
    Records(#[from] RecordsError),
}

/// What a gathering came to.
#[derive(Debug)]
pub struct Gathered {
    /// What became of the sources that were gathered.
    pub summary: GatherSummary,
    /// How all sources stand now.
    pub records: SourceRecords,
}

/// Brings the mirror up to date with every source, and takes what is no source's any more out of it.
///
/// Dropping the future calls it off.
///
/// # Errors
/// When the mirror itself can't be used. What is wrong with a source is part of the summary.
pub async fn gather(config: &Config, ui: &Ui) -> Result<Gathered, GatherError> {
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
) -> Result<Gathered, GatherError> {
    state_file::prepare(&config.state_dir)?;
    let mut records = match SourceRecords::load(&config.state_dir) {
        Err(RecordsError::Damaged { path, source }) => {
            let aside = state_file::set_aside(&config.state_dir, &path);
            let aside = aside.map_err(|source| RecordsError::Io { path, source })?;
            ui.warn(&format!(
                "the record of gathered sources was damaged ({source}); it is kept as {}, and every source counts as never \
                 complete until it is read again",
                aside.display()
            ));
            SourceRecords::default()
        }
        records => records?,
    };
    let site = config.site();
    let names: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
    for name in site.forget_all_but(&names)? {
        ui.note(&format!("{name} is no source any more and leaves the mirror"));
    }
    let settings = Settings { parallel: config.gather.parallel, bandwidth: config.gather.bandwidth, accept_vanished };
    let telling: Arc<dyn Listener> = Arc::new(Telling::new(ui, &records));
    let sources: Vec<Source> = sources.iter().copied().cloned().collect();
    let summary = drawbridge_gather::gather(&site, &sources, &settings, &telling).await?;
    if summary
        .sources
        .iter()
        .any(|source| matches!(&source.state, SourceState::Failed { error } if disk::says_full(error)))
    {
        ui.warn(&disk::advice(&config.state_dir));
    }
    let now = Timestamp::now();
    summary.sources.iter().for_each(|source| records.note(source, now));
    records.retain(|name| names.contains(&name));
    records.save(&config.state_dir)?;
    Ok(Gathered { summary, records })
}

impl Config {
    /// Where gathering keeps things.
    #[must_use]
    pub fn site(&self) -> Site {
        Site::new(&self.state_dir)
    }
}
