//! `drawbridge gather`: brings the mirror up to date, without backing it up; or says what would come.

use std::fmt;

use drawbridge_gather::{Source, one_line};
use drawbridge_wire::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::config::Config;
use crate::exit::Exit;
use crate::gather::{
    Coming, GatherError, GatherSummary, Gathered, SourceOutcome, SourceRecords, Troubles, Why, gather_some,
};
use crate::lock::{Lock, LockError, Locking};
use crate::state_file::{self, StateDirError};
use crate::ui::{Ui, human_bytes};

/// Why nothing could be gathered.
#[derive(Debug, Error)]
pub enum GatherCommandError {
    /// The mirror can't be used.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The lock can't be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No such source.
    #[error("there is no source named {name:?}; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
}

/// What to gather, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct GatherArgs {
    /// Only these sources; all without any
    #[arg(value_name = "SOURCE")]
    pub sources: Vec<String>,
    /// Say what would come, with sizes; fetch nothing and run no command
    #[arg(long)]
    pub dry_run: bool,
    /// Accept that files have vanished from these sources
    #[arg(long, conflicts_with = "dry_run", requires = "sources")]
    pub accept_vanished: bool,
}

/// Gathers, or says what that would bring.
///
/// # Errors
/// When nothing could be gathered. What is wrong with a source is said, and ends with [`Exit::Incomplete`].
pub async fn gather(config: &Config, ui: &Ui, args: &GatherArgs) -> Result<Exit, GatherCommandError> {
    let sources = select(config, &args.sources)?;
    state_file::prepare(&config.state_dir)?;
    let gathered = if args.dry_run {
        preview(config, ui, &sources).await?
    } else {
        let _lock = match Lock::take(&config.state_dir)? {
            Locking::Taken(lock) => lock,
            Locking::HeldBy(pid) => {
                ui.warn(&format!("another drawbridge is at work (process {pid}); this one ends"));
                return Ok(Exit::Later);
            }
        };
        ui.stage("Gathering");
        gather_some(config, ui, &sources, args.accept_vanished).await?
    };
    let exit = if gathered.summary.is_complete() { Exit::Done } else { Exit::Incomplete };
    let said = Said { gathered: &gathered, dry_run: args.dry_run };
    ui.result("gathered", &gathered.summary, &said);
    Ok(exit)
}

/// The sources with these names; all of them without any.
///
/// # Errors
/// When there is no such source.
pub fn select<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a Source>, GatherCommandError> {
    if names.is_empty() {
        return Ok(config.sources.iter().collect());
    }
    let find = |name: &String| {
        config.sources.iter().find(|source| source.name == *name).ok_or_else(|| {
            let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
            GatherCommandError::Unknown { name: name.clone(), known: known.join(", ") }
        })
    };
    names.iter().map(find).collect()
}

async fn preview(config: &Config, ui: &Ui, sources: &[&Source]) -> Result<Gathered, GatherCommandError> {
    let records = SourceRecords::load(&config.state_dir).map_err(GatherError::from)?;
    let mut outcomes = Vec::new();
    for source in sources {
        ui.stage(&format!("Looking at {}", source.name));
        let (voice, name) = (ui.clone(), source.name.clone());
        let tell = move |coming: Coming| {
            let line = Line::new(&name, &coming);
            voice.result("would_come", &line, &line);
        };
        let outcome = drawbridge_gather::preview(&config.site(), source, tell).await.map_err(GatherError::from)?;
        outcomes.push(outcome);
    }
    Ok(Gathered { summary: GatherSummary { sources: outcomes }, records })
}

/// One entry that would come, or go.
#[derive(Serialize)]
struct Line<'a> {
    source: &'a str,
    path: String,
    why: &'static str,
    bytes: u64,
}

impl<'a> Line<'a> {
    fn new(source: &'a str, coming: &Coming) -> Self {
        let why = match coming.why {
            Why::New => "new",
            Why::Changed => "changed",
            Why::Grown => "grown",
            Why::Gone => "gone",
            Why::Command => "command",
        };
        Self { source, path: coming.path.display().to_string(), why, bytes: coming.bytes }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = if matches!(self.why, "gone" | "command") { String::new() } else { human_bytes(self.bytes) };
        write!(f, "{:<8} {size:>12}  {}: {}", self.why, self.source, one_line(&self.path))
    }
}

struct Said<'a> {
    gathered: &'a Gathered,
    dry_run: bool,
}

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gathered { summary: GatherSummary { sources }, records } = self.gathered;
        let total = |count: fn(&SourceOutcome) -> u64| sources.iter().map(count).sum::<u64>();
        let (files, bytes) = (total(|source| source.counts.copied_files), total(|source| source.counts.copied_bytes));
        let verb = if self.dry_run { "would come" } else { "came" };
        write!(f, "{files} files, {} {verb}.", human_bytes(bytes))?;
        write!(f, "{}", Troubles { sources, records, now: Timestamp::now() })
    }
}
