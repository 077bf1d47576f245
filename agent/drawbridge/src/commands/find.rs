//! `drawbridge find`: which snapshots hold something, and since when it is as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use drawbridge_gather::pattern::PatternError;
use drawbridge_gather::{in_one_line, one_line};
use drawbridge_wire::Timestamp;
use serde::Serialize;
use thiserror::Error;

use crate::archives::{Archives, ArchivesError, From};
use crate::config::Config;
use crate::engine::{SnapshotEntry, SnapshotInfo};
use crate::exit::Exit;
use crate::restore::{CalledOff, Role, Selection, Visitor, walk};
use crate::ui::{Ui, human_bytes};

/// How many entries of all snapshots together are kept until they are told; each takes some 100 bytes.
const MAX_SIGHTINGS: usize = 500_000;

/// What to look for, and where.
#[derive(Debug, Clone, Args)]
pub struct FindArgs {
    /// A glob of a path in a source, such as /etc/hosts, /var/log/**/*.gz or just hosts*
    #[arg(value_name = "GLOB")]
    pub glob: String,
    /// In these sources only; may be given several times
    #[arg(long = "source", value_name = "NAME")]
    pub sources: Vec<String>,
    /// Where the snapshots are.
    #[command(flatten)]
    pub from: From,
}

/// Why nothing was found, or not everything.
#[derive(Debug, Error)]
pub enum FindError {
    /// There is nothing to read.
    #[error(transparent)]
    Archives(#[from] ArchivesError),
    /// The glob can't be read.
    #[error("what to look for can't be understood")]
    Glob(#[from] PatternError),
    /// Nothing is there.
    #[error("no snapshot holds {0}")]
    Nothing(String),
    /// Too much is there.
    #[error("more than {MAX_SIGHTINGS} entries match: ask for less")]
    TooMany,
    /// Not everything could be looked at.
    #[error("{0} snapshots or folders could not be read, each named above: they may hold more")]
    Incomplete(u64),
    /// A thread of ours ended by itself.
    #[error("the search broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Finds what the glob names in all snapshots.
///
/// # Errors
/// When nothing was found, or something could not be looked at.
pub async fn find(config: Option<&Config>, ui: &Ui, args: &FindArgs) -> Result<Exit, FindError> {
    let selection = Selection::new(&args.sources, std::slice::from_ref(&args.glob))?;
    let archives = args.from.open(config, ui).await?;
    let (ui, glob) = (ui.clone(), args.glob.clone());
    tokio::task::spawn_blocking(move || on_this_thread(&archives, &selection, glob, &ui)).await?
}

fn on_this_thread(archives: &Archives, selection: &Selection, glob: String, ui: &Ui) -> Result<Exit, FindError> {
    let mut search = Search { ui, found: BTreeMap::new(), sightings: 0, unread: 0, at: None };
    archives.each(&mut |info, snapshot| match snapshot {
        Ok(snapshot) => {
            search.at = Some(info.clone());
            // Called off when there is too much, which is told below.
            let _enough = walk(&snapshot, selection, &mut search);
        }
        Err(error) => {
            search.unread += 1;
            ui.warn(&in_one_line(&error));
        }
    })?;
    if search.sightings >= MAX_SIGHTINGS {
        return Err(FindError::TooMany);
    }
    for (path, sightings) in &mut search.found {
        let found = Found { path: one_line(path), versions: versions(sightings) };
        ui.result("found", &found, &found);
    }
    match (search.unread, search.found.is_empty()) {
        (0, true) => Err(FindError::Nothing(glob)),
        (0, false) => Ok(Exit::Done),
        (unread, _) => Err(FindError::Incomplete(unread)),
    }
}

struct Search<'a> {
    ui: &'a Ui,
    found: BTreeMap<PathBuf, Vec<Sighting>>,
    sightings: usize,
    unread: u64,
    at: Option<SnapshotInfo>,
}

#[derive(Debug, Clone)]
struct Sighting {
    snapshot: Mark,
    kind: &'static str,
    size: u64,
    modified: Option<Timestamp>,
}

/// A snapshot.
#[derive(Debug, Clone, Serialize)]
struct Mark {
    id: String,
    time: Timestamp,
}

impl Search<'_> {
    fn sees(&mut self, path: &Path, entry: &SnapshotEntry, role: Role) -> Result<(), CalledOff> {
        let Some(at) = self.at.as_ref().filter(|_| role == Role::Named) else { return Ok(()) };
        if self.sightings >= MAX_SIGHTINGS {
            return Err(CalledOff);
        }
        self.sightings += 1;
        let snapshot = Mark { id: at.id.clone(), time: at.time };
        let (kind, size, modified) = (entry.facts.kind.word(), entry.facts.size, entry.facts.modified);
        self.found.entry(path.to_owned()).or_default().push(Sighting { snapshot, kind, size, modified });
        Ok(())
    }
}

impl Visitor for Search<'_> {
    fn enter(&mut self, path: &Path, folder: &SnapshotEntry, role: Role) -> Result<(), CalledOff> {
        self.sees(path, folder, role)
    }

    fn entry(&mut self, path: &Path, entry: &SnapshotEntry, role: Role) -> Result<(), CalledOff> {
        self.sees(path, entry, role)
    }

    fn leave(&mut self, _: &Path) -> Result<(), CalledOff> {
        Ok(())
    }

    fn trouble(&mut self, path: &Path, because: String) -> Result<(), CalledOff> {
        self.unread += 1;
        let id = self.at.as_ref().and_then(|info| info.id.get(..8)).unwrap_or_default();
        self.ui.warn(&format!("snapshot {id}: {}: {}", one_line(path), one_line(because)));
        Ok(())
    }
}

/// What lay at a path, in snapshots that follow each other.
#[derive(Debug, Serialize)]
struct Version {
    kind: &'static str,
    size: u64,
    modified: Option<Timestamp>,
    newest: Mark,
    oldest: Mark,
    snapshots: u64,
}

#[derive(Debug, Serialize)]
struct Found {
    path: String,
    versions: Vec<Version>,
}

/// Newest first; what is the same in snapshots that follow each other is told once.
fn versions(sightings: &mut [Sighting]) -> Vec<Version> {
    sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.snapshot.time));
    let mut versions: Vec<Version> = Vec::new();
    for Sighting { snapshot, kind, size, modified } in sightings.iter().cloned() {
        match versions.last_mut() {
            Some(last) if (last.kind, last.size, last.modified) == (kind, size, modified) => {
                last.oldest = snapshot;
                last.snapshots += 1;
            }
            _ => versions.push(Version {
                kind,
                size,
                modified,
                newest: snapshot.clone(),
                oldest: snapshot,
                snapshots: 1,
            }),
        }
    }
    versions
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        for Version { kind, size, modified, newest, oldest, snapshots } in &self.versions {
            let size = if *kind == "file" { human_bytes(*size) } else { (*kind).to_owned() };
            let modified = modified.map_or_else(String::new, |at| format!("modified {}", short(at)));
            write!(f, "\n  {}  {}  {size:>12}  {modified}", id(newest), short(newest.time))?;
            if *snapshots > 1 {
                write!(f, "  and in {} before, back to {} of {}", snapshots - 1, id(oldest), short(oldest.time))?;
            }
        }
        Ok(())
    }
}

fn id(mark: &Mark) -> &str {
    mark.id.get(..8).unwrap_or(&mark.id)
}

fn short(moment: Timestamp) -> impl fmt::Display {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_stayed_the_same_is_told_once_newest_first() {
        let seen = |day: u32, size| Sighting {
            snapshot: Mark { id: format!("{day:08}"), time: format!("2026-11-{day:02}T20:30:00Z").parse().unwrap() },
            kind: "file",
            size,
            modified: Some("2026-11-01T00:00:00Z".parse().unwrap()),
        };
        let mut seen = [seen(3, 2), seen(1, 1), seen(2, 1), seen(4, 1)];
        let versions = versions(&mut seen);
        let told: Vec<_> = versions.iter().map(|v| (v.newest.id.as_str(), v.oldest.id.as_str(), v.snapshots)).collect();
        assert_eq!(told, [("00000004", "00000004", 1), ("00000003", "00000003", 1), ("00000002", "00000001", 2)]);
        let text = Found { path: "dns/etc/hosts".to_owned(), versions }.to_string();
        assert!(text.contains("and in 1 before, back to 00000001 of 2026-11-01T20:30:00Z"), "{text}");
    }
}
