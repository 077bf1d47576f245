//! `drawbridge ls`: what a snapshot holds.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use drawbridge_gather::one_line;
use drawbridge_wire::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::archives::{Archives, ArchivesError, From};
use crate::config::Config;
use crate::engine::{EngineError, EntryFacts, EntryKind, Snapshot, SnapshotEntry};
use crate::exit::Exit;
use crate::ui::Ui;

/// What to list, and from where.
#[derive(Debug, Clone, Args)]
pub struct LsArgs {
    /// The snapshot: the beginning of its id, at least 4 digits, or `latest`; may be left out before a PATH that begins with /
    #[arg(value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,
    /// A folder or file of it, as /<source>/<path> [default: the sources]
    #[arg(value_name = "PATH")]
    pub path: Option<PathBuf>,
    /// List what folders hold, too
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Where the snapshot is.
    #[command(flatten)]
    pub from: From,
}

/// Why nothing can be listed.
#[derive(Debug, Error)]
pub enum LsError {
    /// There is nothing to read.
    #[error(transparent)]
    Archives(#[from] ArchivesError),
    /// The snapshot can't be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no such entry.
    #[error("the snapshot has no {}: `drawbridge find` tells which snapshots hold something of that name", one_line(.0))]
    Missing(PathBuf),
    /// A thread of ours ended by itself.
    #[error("listing broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Lists a folder of a snapshot, or a file.
///
/// # Errors
/// When it isn't there or can't be read.
pub async fn ls(config: Option<&Config>, ui: &Ui, args: &LsArgs) -> Result<Exit, LsError> {
    let archives = args.from.open(config, ui).await?;
    let (ui, args) = (ui.clone(), args.clone());
    tokio::task::spawn_blocking(move || on_this_thread(&archives, &args, &ui)).await??;
    Ok(Exit::Done)
}

fn on_this_thread(archives: &Archives, args: &LsArgs, ui: &Ui) -> Result<(), LsError> {
    let (wanted, path) = match &args.path {
        None if args.snapshot.starts_with('/') => ("latest", Some(Path::new(&args.snapshot))),
        path => (args.snapshot.as_str(), path.as_deref()),
    };
    let snapshot = archives.snapshot(wanted)?;
    let path: PathBuf =
        path.map(|path| path.strip_prefix("/").unwrap_or(path)).unwrap_or(Path::new("")).components().collect();
    let mut folders = Vec::new();
    if path.as_os_str().is_empty() {
        tell(ui, &path, snapshot.root()?, &mut folders);
    } else {
        let entry = snapshot.at(&path)?.ok_or_else(|| LsError::Missing(path.clone()))?;
        if entry.facts.kind == EntryKind::Folder {
            folders.push((path, entry));
        } else {
            tell(ui, path.parent().unwrap_or(Path::new("")), vec![entry], &mut folders);
            return Ok(());
        }
    }
    list(ui, &snapshot, folders, args.recursive, args.path.is_some() || args.snapshot.starts_with('/'))
}

/// Lists `folders`: all they hold if `recursive`, otherwise the first one if it was asked for.
fn list(
    ui: &Ui,
    snapshot: &Snapshot,
    mut folders: Vec<(PathBuf, SnapshotEntry)>,
    recursive: bool,
    asked_for: bool,
) -> Result<(), LsError> {
    let mut first = asked_for;
    folders.reverse();
    while let Some((path, folder)) = folders.pop() {
        if !recursive && !std::mem::take(&mut first) {
            break;
        }
        let mut inner = Vec::new();
        tell(ui, &path, snapshot.folder(&folder)?, &mut inner);
        folders.extend(inner.into_iter().rev());
    }
    Ok(())
}

fn tell(ui: &Ui, folder: &Path, entries: Vec<SnapshotEntry>, folders: &mut Vec<(PathBuf, SnapshotEntry)>) {
    for entry in entries {
        // Only shown: a crafted name may have slashes in it.
        let line = Line::of(folder, &entry);
        ui.result("entry", &line, &line);
        if entry.facts.kind == EntryKind::Folder {
            folders.push((folder.join(&entry.name), entry));
        }
    }
}

#[derive(Serialize)]
struct Line {
    path: String,
    kind: &'static str,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    modified: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Line {
    fn of(folder: &Path, entry: &SnapshotEntry) -> Self {
        let EntryFacts { kind, size, mode, uid, gid, modified, .. } = &entry.facts;
        let target = match kind {
            EntryKind::Link(target) => Some(one_line(target)),
            _ => None,
        };
        let path = one_line(folder.join(&entry.name));
        let mode = format!("{mode:04o}");
        Self { path, kind: kind.word(), size: *size, mode, uid: *uid, gid: *gid, modified: *modified, target }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, kind, size, mode, uid, gid, modified, target } = self;
        let sign = match *kind {
            "folder" => 'd',
            "link" => 'l',
            "file" => '-',
            _ => '?',
        };
        let time = modified.map_or_else(String::new, |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        write!(f, "{sign}{mode}  {:>11}  {size:>12}  {time:<20}  {path}", format!("{uid}:{gid}"))?;
        match target {
            Some(target) => write!(f, " -> {target}"),
            None => Ok(()),
        }
    }
}
