//! `drawbridge drill`: restores some files, and holds them against what the mirror's files were when the snapshot was made.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use drawbridge_gather::{in_one_line, one_line};
use drawbridge_wire::Timestamp;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use serde::Serialize;
use thiserror::Error;

use crate::archives::{Archives, ArchivesError, From, Source};
use crate::config::Config;
use crate::digest::sha256_of;
use crate::engine::Snapshot;
use crate::exit::Exit;
use crate::grades::{Drill, Grades, GradesError};
use crate::hashes::{self, HashesError, Recorded};
use crate::restore::{Target, TargetError, restore_one};
use crate::state_file::{self, StateDirError};
use crate::ui::{Ui, human_bytes};

/// Where a file is restored to before it is looked at, in the state folder; nothing stays there.
const FOLDER: &str = "drill";

/// How a drill is done.
#[derive(Debug, Clone, Args)]
pub struct DrillArgs {
    /// How many files to restore, drawn at random
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub files: u32,
    /// What draws them; the same seed draws the same files of the same snapshot
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Where to restore from.
    #[command(flatten)]
    pub from: From,
}

/// Why a drill failed, or could not be done.
#[derive(Debug, Error)]
pub enum DrillError {
    /// There is nothing to restore from.
    #[error(transparent)]
    Archives(#[from] ArchivesError),
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// What to compare with can't be read.
    #[error(transparent)]
    Hashes(#[from] HashesError),
    /// Nowhere to restore to.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The result can't be written down.
    #[error(transparent)]
    Grades(#[from] GradesError),
    /// Nothing to compare with.
    #[error(
        "of no snapshot there it is known here what the mirror's files were: each `drawbridge run` writes it down, so make one first"
    )]
    NoRecord,
    /// Something to compare with, and nothing in it.
    #[error("the snapshot {0} holds no file that a drill could restore")]
    NoFile(String),
    /// Something was wrong.
    #[error(
        "{wrong} of {files} files did not come back as they were gathered, each named above: this backup does not restore"
    )]
    Failed {
        /// How many were wrong.
        wrong: usize,
        /// How many were tried.
        files: usize,
    },
    /// What the drill restored can't be removed.
    #[error("cannot clean up {}", path.display())]
    CleanUp {
        /// Where it lies.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A thread of ours ended by itself.
    #[error("the drill broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Restores a sample and compares it.
///
/// # Errors
/// When a file isn't as it was gathered, or nothing could be tried.
pub async fn drill(config: &Config, ui: &Ui, args: &DrillArgs) -> Result<Exit, DrillError> {
    state_file::prepare(&config.state_dir)?;
    let began = Instant::now();
    let archives = args.from.open(Some(config), ui).await?;
    let (state_dir, ui, args) = (config.state_dir.clone(), ui.clone(), args.clone());
    tokio::task::spawn_blocking(move || on_this_thread(&state_dir, &archives, &ui, &args, began)).await?
}

fn on_this_thread(
    state_dir: &Path,
    archives: &Archives,
    ui: &Ui,
    args: &DrillArgs,
    began: Instant,
) -> Result<Exit, DrillError> {
    let ids: Vec<String> = archives.snapshots().into_iter().map(|snapshot| snapshot.id).collect();
    let snapshot = hashes::recorded(state_dir, &ids)?.into_iter().next().ok_or(DrillError::NoRecord)?;
    let recorded = hashes::load(state_dir, &snapshot)?;
    let seed = args.seed.unwrap_or_else(rand::random);
    let sample = draw(&recorded, args.files, seed);
    if sample.is_empty() {
        return Err(DrillError::NoFile(snapshot));
    }
    ui.stage(&format!("Restoring {} of {} files of snapshot {}", sample.len(), recorded.len(), short(&snapshot)));
    let room = Room::open(state_dir)?;
    let opened = archives.snapshot(&snapshot)?;
    let transfer = ui.transfer("restoring", Some(sample.iter().map(|file| file.size).sum()));
    let mut wrong = Vec::new();
    for file in &sample {
        if let Err(because) = try_one(&opened, file, &room) {
            let line = format!("{}: {}", one_line(&file.path), one_line(because));
            ui.warn(&line);
            wrong.push(line);
        }
        transfer.advance(file.size);
    }
    transfer.finish();
    room.close()?;
    let drill = Drill {
        at: Timestamp::now(),
        milliseconds: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        source: archives.source,
        snapshot,
        seed,
        sample: sample.iter().map(|file| one_line(&file.path)).collect(),
        bytes: sample.iter().map(|file| file.size).sum(),
        wrong,
    };
    Grades::note_drill(state_dir, &drill)?;
    let passed = drill.passed();
    ui.result("drill", &drill, &Told(&drill));
    if passed {
        Ok(Exit::Done)
    } else {
        Err(DrillError::Failed { wrong: drill.wrong.len(), files: drill.sample.len() })
    }
}

fn draw(recorded: &[Recorded], files: u32, seed: u64) -> Vec<&Recorded> {
    let files = usize::try_from(files).unwrap_or(usize::MAX).min(recorded.len());
    let mut drawn = recorded.iter().sample(&mut StdRng::seed_from_u64(seed), files);
    drawn.sort_by(|a, b| a.path.cmp(&b.path));
    drawn
}

/// Restores a file as any restore does, and reads it from the disk as anybody would.
fn try_one(snapshot: &Snapshot, file: &Recorded, room: &Room) -> Result<(), String> {
    const NAME: &str = "file";
    let entry = snapshot.at(&file.path).map_err(|error| in_one_line(&error))?;
    let entry = entry.ok_or("the snapshot does not have it")?;
    restore_one(snapshot, &entry, &room.target, NAME)?;
    let path = room.path.join(NAME);
    let found = std::fs::File::open(&path).and_then(sha256_of).map_err(|error| error.to_string())?;
    std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    if found == file.sha256 {
        return Ok(());
    }
    Err(format!("other bytes came back: their SHA-256 is {found}, and {} was backed up", file.sha256))
}

/// A folder of the drill's own.
struct Room {
    path: PathBuf,
    target: Target,
}

impl Room {
    fn open(state_dir: &Path) -> Result<Self, DrillError> {
        let path = state_dir.join(FOLDER);
        // What a drill that was killed has left.
        clean(&path)?;
        // Nobody but the agent shall have what is restored for a moment.
        Ok(Self { target: Target::open(&path, false, false)?, path })
    }

    fn close(self) -> Result<(), DrillError> {
        clean(&self.path)
    }
}

fn clean(path: &Path) -> Result<(), DrillError> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(DrillError::CleanUp { path: path.to_owned(), source: error })
        }
        _ => Ok(()),
    }
}

fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

#[derive(Serialize)]
struct Told<'a>(&'a Drill);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Drill { milliseconds, source, snapshot, seed, sample, bytes, wrong, .. } = self.0;
        let place = match source {
            Source::Local => "the local repository",
            Source::Vault => "the vault",
        };
        let verdict = if wrong.is_empty() { "Restore-tested" } else { "FAILED" };
        let right = sample.len().saturating_sub(wrong.len());
        write!(
            f,
            "{verdict}: {right} of {} files, {}, came back from {place} as they were gathered.\n  snapshot  {}\n  seed      {seed}\n  took      {}.{:03} s",
            sample.len(),
            human_bytes(*bytes),
            short(snapshot),
            milliseconds / 1000,
            milliseconds % 1000,
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_seed_draws_the_same_files_again_and_never_more_than_there_are() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("mirror/a")).unwrap();
        std::fs::create_dir_all(dir.path().join("repository/x/snapshots")).unwrap();
        for number in 0..30 {
            std::fs::write(dir.path().join(format!("mirror/a/{number}")), "").unwrap();
        }
        let id = "ab".repeat(32);
        std::fs::write(dir.path().join("repository/x/snapshots").join(&id), "").unwrap();
        hashes::record(dir.path(), &dir.path().join("mirror"), &id).unwrap();
        let recorded = hashes::load(dir.path(), &id).unwrap();
        assert_eq!(draw(&recorded, 5, 1), draw(&recorded, 5, 1));
        assert_ne!(draw(&recorded, 5, 1), draw(&recorded, 5, 2));
        assert_eq!(draw(&recorded, 100, 1).len(), 30);
    }
}
