//! `drawbridge restore`: a snapshot, or a part of it, into a folder.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Args;
use drawbridge_gather::pattern::PatternError;
use serde::Serialize;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::archives::{Archives, ArchivesError, From};
use crate::config::Config;
use crate::engine::SnapshotInfo;
use crate::exit::Exit;
use crate::interruption::interruption;
use crate::restore::{self, Lack, Listener, RestoreError, Restored, Selection, Target};
use crate::ui::{Transfer, Ui, human_bytes};

/// What to restore, from where, to where.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    /// The snapshot: the beginning of its id, at least 4 digits, or `latest`
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub snapshot: String,
    /// These sources only; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    pub sources: Vec<String>,
    /// What this glob of a path in the source names, such as /etc/** or *.conf; may be given several times
    #[arg(long = "path", value_name = "GLOB")]
    pub paths: Vec<String>,
    /// The folder to restore into, as TARGET/<source>/<path>; made if there is none
    #[arg(long, value_name = "DIR")]
    pub target: PathBuf,
    /// Restore although the target isn't empty: files of the same names are replaced, nothing is removed
    #[arg(long)]
    pub into_nonempty: bool,
    /// Leave owners and groups away; so it is anyway unless root restores
    #[arg(long)]
    pub no_owner: bool,
    /// Where the snapshot is.
    #[command(flatten)]
    pub from: From,
}

/// Why a restore failed.
#[derive(Debug, Error)]
pub enum RestoreCommandError {
    /// There is nothing to restore from.
    #[error(transparent)]
    Archives(#[from] ArchivesError),
    /// A glob can't be read.
    #[error("--path can't be understood")]
    Path(#[from] PatternError),
    /// Nothing was restored, or it was called off.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Something is lacking; what isn't was restored.
    #[error("{lacking} of what was asked for could not be restored, each named above; the rest was")]
    Partial {
        /// How many entries.
        lacking: u64,
    },
    /// The operator or the system ended it.
    #[error("stopped by {0}; what has its name in the target is whole")]
    Interrupted(&'static str),
    /// Signals can't be received.
    #[error("cannot listen for signals")]
    Signals(#[source] std::io::Error),
    /// A thread of ours ended by itself.
    #[error("the restore broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Restores.
///
/// # Errors
/// See [`RestoreCommandError`]. A restore that lacks anything is one.
pub async fn restore(config: Option<&Config>, ui: &Ui, args: &RestoreArgs) -> Result<Exit, RestoreCommandError> {
    let selection = Selection::new(&args.sources, &args.paths)?;
    let owners = Target::can_give_owners() && !args.no_owner;
    let target = Target::open(&args.target, args.into_nonempty, owners).map_err(RestoreError::from)?;
    let archives = args.from.open(config, ui).await?;
    let called_off = Arc::new(AtomicBool::new(false));
    let work = {
        let (ui, args, called_off) = (ui.clone(), args.clone(), Arc::clone(&called_off));
        spawn_blocking(move || on_this_thread(&archives, &selection, &target, &args, &ui, &called_off))
    };
    tokio::pin!(work);
    let outcome = tokio::select! {
        done = &mut work => done?,
        signal = interruption() => {
            called_off.store(true, Ordering::Relaxed);
            // Whoever asks again doesn't want to wait; what is unfinished bears a name that says so.
            tokio::select! { _ = &mut work => {}, _ = interruption() => {} }
            return Err(signal.map_or_else(RestoreCommandError::Signals, RestoreCommandError::Interrupted));
        }
    };
    let summary = outcome?;
    ui.result("restore", &summary, &summary);
    match summary.restored.lacking {
        0 => Ok(Exit::Done),
        lacking => Err(RestoreCommandError::Partial { lacking }),
    }
}

fn on_this_thread(
    archives: &Archives,
    selection: &Selection,
    target: &Target,
    args: &RestoreArgs,
    ui: &Ui,
    called_off: &AtomicBool,
) -> Result<Summary, RestoreCommandError> {
    let snapshot = archives.snapshot(&args.snapshot)?;
    ui.stage(&format!("Restoring snapshot {}", shown(snapshot.info())));
    let mut told = Told { ui, transfer: None };
    let restored = restore::restore(&snapshot, selection, target, &mut told, called_off)?;
    told.finish();
    Ok(Summary { snapshot: snapshot.info().clone(), target: args.target.display().to_string(), restored })
}

/// A snapshot in a few words.
fn shown(info: &SnapshotInfo) -> String {
    let id = info.id.get(..8).unwrap_or(&info.id);
    format!("{id} of {} ({} files, {})", info.time.strftime("%Y-%m-%dT%H:%M:%SZ"), info.files, human_bytes(info.bytes))
}

struct Told<'a> {
    ui: &'a Ui,
    transfer: Option<Transfer>,
}

impl Told<'_> {
    fn finish(&self) {
        self.transfer.iter().for_each(Transfer::finish);
    }
}

impl Listener for Told<'_> {
    fn begins(&mut self, bytes: u64) {
        self.transfer = Some(self.ui.transfer("restoring", Some(bytes)));
    }

    fn bytes(&mut self, bytes: u64) {
        self.transfer.iter().for_each(|transfer| transfer.advance(bytes));
    }

    fn lacks(&mut self, lack: &Lack) {
        if self.ui.is_json() {
            return self.ui.result("lacking", lack, &"");
        }
        self.ui.warn(&format!("not restored: {}: {}", lack.path, lack.because));
    }

    fn notes(&mut self, lack: &Lack) {
        if self.ui.is_json() {
            return self.ui.result("incomplete", lack, &"");
        }
        self.ui.note(&format!("{}: {}", lack.path, lack.because));
    }
}

#[derive(Debug, Serialize)]
struct Summary {
    snapshot: SnapshotInfo,
    target: String,
    #[serde(flatten)]
    restored: Restored,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Restored { counts, lacking, without_attributes, owners } = &self.restored;
        let verb = if *lacking == 0 { "Restored" } else { "Restored in part" };
        writeln!(f, "{verb}: snapshot {} into {}", shown(&self.snapshot), self.target)?;
        write!(
            f,
            "  files     {}, {}; each read back and compared with its hashes",
            counts.files,
            human_bytes(counts.bytes)
        )?;
        write!(f, "\n  folders   {}, and {} links", counts.folders, counts.links)?;
        if !owners {
            write!(f, "\n  owners    not restored, nor set-id bits: only root can, and only without --no-owner")?;
        }
        if *without_attributes > 0 {
            write!(f, "\n  lacking   extended attributes of {without_attributes} entries")?;
        }
        if *lacking > 0 {
            write!(f, "\n  LACKING   {lacking}, each named above")?;
        }
        Ok(())
    }
}
