//! Where snapshots are read from: the repositories on this machine, or those in the vault; and which snapshot is meant.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use drawbridge_gather::in_one_line;
use drawbridge_wire::VaultRepository;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::{Config, PasswordError, read_password_file};
use crate::engine::{Archive, EngineError, Snapshot, SnapshotInfo, repositories};
use crate::secret::Secret;
use crate::ui::Ui;
use crate::vault::{Vault, VaultError};

/// The fewest digits by which a snapshot can be named; what restic takes.
const MIN_DIGITS: usize = 4;

/// How many snapshots an error names.
const NAMED_SNAPSHOTS: usize = 10;

/// From where.
#[derive(Debug, Clone, Default, Args)]
pub struct From {
    /// Read the vault, with your own AWS credentials and nothing of this machine's
    #[arg(long)]
    pub from_vault: bool,
    /// The vault's bucket [default: `bucket` of the configuration's [vault]]
    #[arg(long, requires = "from_vault", value_name = "NAME")]
    pub bucket: Option<String>,
    /// The bucket's AWS region [default: the configuration's, or your AWS profile's]
    #[arg(long, requires = "from_vault")]
    pub region: Option<String>,
    /// The AWS profile whose credentials are used [default: as for the AWS tools]
    #[arg(long, requires = "from_vault", value_name = "NAME")]
    pub profile: Option<String>,
    /// This repository of the vault only, such as 2026-q4-0123456789abcdef
    #[arg(long, requires = "from_vault", value_name = "GENERATION-ID")]
    pub repository: Option<VaultRepository>,
    /// The file with the repository's password [default: the configuration's, or you are asked]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// Where something was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The repositories on this machine.
    Local,
    /// The vault.
    Vault,
}

/// Why there is nothing to restore from.
#[derive(Debug, Error)]
pub enum ArchivesError {
    /// Nobody says where the local repositories are.
    #[error(
        "without a configuration only the vault can be read: add --from-vault and --bucket, or name a configuration with --config"
    )]
    NoConfig,
    /// Nobody says which bucket is the vault.
    #[error(
        "which bucket is the vault? Add --bucket, or `bucket` to the configuration's [vault]; `aws s3 ls` lists your buckets"
    )]
    NoBucket,
    /// Without the password nothing can be read.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There is no terminal to ask at.
    #[error(
        "the repository's password is needed, and there is no terminal to ask at: name a file that holds it with --password-file"
    )]
    NoTerminal,
    /// Asking failed.
    #[error("the password could not be asked for")]
    Ask(#[source] std::io::Error),
    /// The vault can't be read.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// A repository can't be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There are none.
    #[error("there is no repository in {0}")]
    NoRepository(String),
    /// There are none as yet.
    #[error("there is no snapshot in {0}")]
    NoSnapshot(String),
    /// Not what a snapshot is named by.
    #[error(
        "{0:?} names no snapshot: give `latest`, or at least {MIN_DIGITS} of its id's hex digits, as `drawbridge snapshots` shows them"
    )]
    NoName(String),
    /// No snapshot has it.
    #[error("no snapshot's id begins with {0}: `drawbridge snapshots` lists them all")]
    Unknown(String),
    /// Several snapshots have it.
    #[error("{} snapshots' ids begin with {prefix}: {}; give more digits", those.len(), name(those))]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// Their ids.
        those: Vec<String>,
    },
    /// A thread of ours ended by itself.
    #[error("reading broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

fn name(ids: &[String]) -> String {
    let shown: Vec<&str> = ids.iter().take(NAMED_SNAPSHOTS).map(|id| id.get(..16).unwrap_or(id)).collect();
    shown.join(", ")
}

/// Repositories, open, and their snapshots.
#[derive(Debug)]
pub struct Archives {
    /// Where all this was read from.
    pub source: Source,
    shelves: Vec<Shelf>,
    place: String,
}

#[derive(Debug)]
struct Shelf {
    archive: Archive,
    snapshots: Vec<SnapshotInfo>,
}

impl From {
    /// Opens what is meant. What can't be read of it is warned of, as long as there is something else.
    ///
    /// # Errors
    /// When nothing can be opened.
    pub async fn open(&self, config: Option<&Config>, ui: &Ui) -> Result<Archives, ArchivesError> {
        if self.from_vault {
            return self.open_vault(config, ui).await;
        }
        let config = config.ok_or(ArchivesError::NoConfig)?;
        let password = self.password(Some(config))?;
        let (folder, ui) = (config.repository_dir(), ui.clone());
        tokio::task::spawn_blocking(move || open_local(&folder, &password, &ui)).await?
    }

    async fn open_vault(&self, config: Option<&Config>, ui: &Ui) -> Result<Archives, ArchivesError> {
        let bucket = self.bucket.as_deref().or_else(|| config?.vault_bucket.as_deref());
        let bucket = bucket.ok_or(ArchivesError::NoBucket)?;
        let region = self.region.as_deref().or_else(|| Some(config?.stack.region.as_str()));
        let vault = Vault::connect(bucket, region, self.profile.as_deref()).await?;
        let names = match &self.repository {
            Some(name) => vec![name.clone()],
            None => vault.repositories().await?,
        };
        let place = format!("s3://{bucket}/repo/");
        if names.is_empty() {
            return Err(ArchivesError::NoRepository(place));
        }
        let password = self.password(config)?;
        let mut opened = Vec::new();
        for name in names {
            let warner = ui.clone();
            let backend = vault.backend(&name, Arc::new(move |text: &str| warner.warn(text))).await?;
            let (place, password) = (vault.place(&name), password.clone());
            opened.push(tokio::task::spawn_blocking(move || Archive::open(&place, backend, password.reveal())).await?);
        }
        let ui = ui.clone();
        tokio::task::spawn_blocking(move || Archives::of(Source::Vault, opened, place, &ui)).await?
    }

    fn password(&self, config: Option<&Config>) -> Result<Secret, ArchivesError> {
        if let Some(path) = &self.password_file {
            return Ok(read_password_file(path)?);
        }
        match config.map(Config::read_password) {
            Some(Err(PasswordError::Missing(path))) if self.from_vault => {
                // What the configuration names is gone with the machine that it was written for.
                ask().map_err(|error| match error {
                    ArchivesError::NoTerminal => PasswordError::Missing(path).into(),
                    other => other,
                })
            }
            Some(read) => Ok(read?),
            None => ask(),
        }
    }
}

/// Asks for the password at the terminal, which doesn't show it.
fn ask() -> Result<Secret, ArchivesError> {
    let terminal = console::Term::stderr();
    if !terminal.is_term() || !std::io::IsTerminal::is_terminal(&std::io::stdin()) {
        return Err(ArchivesError::NoTerminal);
    }
    terminal.write_str("the repository's password: ").map_err(ArchivesError::Ask)?;
    Ok(Secret::from(terminal.read_secure_line().map_err(ArchivesError::Ask)?))
}

fn open_local(folder: &Path, password: &Secret, ui: &Ui) -> Result<Archives, ArchivesError> {
    let place = folder.display().to_string();
    let ids = repositories(folder)?;
    if ids.is_empty() {
        return Err(ArchivesError::NoRepository(place));
    }
    let opened = ids.iter().map(|id| Archive::local(&folder.join(id.as_str()), password.reveal())).collect();
    Archives::of(Source::Local, opened, place, ui)
}

impl Archives {
    fn of(
        source: Source,
        opened: Vec<Result<Archive, EngineError>>,
        place: String,
        ui: &Ui,
    ) -> Result<Self, ArchivesError> {
        let mut shelves = Vec::new();
        let mut first = None;
        let read = |archive: Archive| {
            let listing = archive.snapshots()?;
            listing.unreadable.iter().for_each(|error| ui.warn(&in_one_line(error)));
            Ok(Shelf { archive, snapshots: listing.snapshots })
        };
        for archive in opened {
            match archive.and_then(read) {
                Ok(shelf) => shelves.push(shelf),
                Err(error) => {
                    ui.warn(&in_one_line(&error));
                    first.get_or_insert(error);
                }
            }
        }
        match first {
            Some(error) if shelves.is_empty() => Err(error.into()),
            _ => Ok(Self { source, shelves, place }),
        }
    }

    /// Every snapshot, oldest first.
    #[must_use]
    pub fn snapshots(&self) -> Vec<SnapshotInfo> {
        let mut all: Vec<_> = self.shelves.iter().flat_map(|shelf| shelf.snapshots.iter().cloned()).collect();
        all.sort_by_key(|snapshot| snapshot.time);
        all
    }

    /// The snapshot that `wanted` names: `latest`, or the beginning of its id. Blocks.
    ///
    /// # Errors
    /// When there is none, more than one, or it can't be read.
    pub fn snapshot(&self, wanted: &str) -> Result<Snapshot, ArchivesError> {
        let chosen = self.choose(wanted)?;
        let shelf = self.shelves.iter().find(|shelf| shelf.snapshots.iter().any(|info| info.id == chosen.id));
        let shelf = shelf.ok_or_else(|| ArchivesError::Unknown(chosen.id.clone()))?;
        Ok(shelf.archive.index()?.snapshot(&chosen)?)
    }

    /// Tells `each` of every snapshot, newest first within its repository, until it is content. Blocks.
    ///
    /// # Errors
    /// When a repository can't be read. A snapshot that can't be is an argument of `each`.
    pub fn each(
        &self,
        each: &mut dyn FnMut(&SnapshotInfo, Result<Snapshot, EngineError>),
    ) -> Result<(), ArchivesError> {
        for shelf in &self.shelves {
            let indexed = shelf.archive.index()?;
            for info in shelf.snapshots.iter().rev() {
                each(info, indexed.snapshot(info));
            }
        }
        Ok(())
    }

    fn choose(&self, wanted: &str) -> Result<SnapshotInfo, ArchivesError> {
        choose(self.snapshots(), wanted, &self.place)
    }
}

/// Of `snapshots`, oldest first, the one that `wanted` names.
fn choose(snapshots: Vec<SnapshotInfo>, wanted: &str, place: &str) -> Result<SnapshotInfo, ArchivesError> {
    if wanted == "latest" {
        return snapshots.into_iter().next_back().ok_or_else(|| ArchivesError::NoSnapshot(place.to_owned()));
    }
    let wanted = wanted.to_ascii_lowercase();
    if wanted.len() < MIN_DIGITS || !wanted.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ArchivesError::NoName(wanted));
    }
    let mut found: Vec<_> = snapshots.into_iter().filter(|snapshot| snapshot.id.starts_with(&wanted)).collect();
    match (found.pop(), found.is_empty()) {
        (None, _) => Err(ArchivesError::Unknown(wanted)),
        (Some(only), true) => Ok(only),
        (Some(last), false) => {
            let those = found.into_iter().chain([last]).map(|snapshot| snapshot.id).collect();
            Err(ArchivesError::Ambiguous { prefix: wanted, those })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn snapshot(id: &str, time: &str) -> SnapshotInfo {
        SnapshotInfo {
            id: id.repeat(16),
            repository: "0123456789abcdef".parse().unwrap(),
            time: time.parse().unwrap(),
            files: 1,
            bytes: 1,
            added_bytes: 1,
        }
    }

    fn chosen(wanted: &str) -> Result<String, String> {
        let both = vec![snapshot("abc1", "2026-11-23T20:30:00Z"), snapshot("abc2", "2026-11-24T20:30:00Z")];
        choose(both, wanted, "here").map(|info| info.id).map_err(|error| error.to_string())
    }

    #[test]
    fn a_snapshot_is_named_by_the_beginning_of_its_id_or_as_the_latest() {
        assert_eq!(chosen("latest").unwrap(), "abc2".repeat(16));
        assert_eq!(chosen("abc1").unwrap(), "abc1".repeat(16));
        assert_eq!(chosen("ABC1abc1").unwrap(), "abc1".repeat(16));
        for (wanted, because) in [("abc", "at least 4"), ("abcd", "begins with abcd"), ("../..", "names no snapshot")] {
            let error = chosen(wanted).unwrap_err();
            assert!(error.contains(because), "{error}");
        }
        assert!(choose(Vec::new(), "latest", "here").unwrap_err().to_string().contains("no snapshot in here"));
    }

    #[test]
    fn an_ambiguous_beginning_is_refused_and_names_the_snapshots() {
        let both = ["a", "b"].map(|end| {
            let mut info = snapshot("abc1", "2026-11-23T20:30:00Z");
            info.id.replace_range(63.., end);
            info
        });
        let error = choose(both.to_vec(), "abc1", "here").unwrap_err().to_string();
        assert!(error.starts_with("2 snapshots' ids begin with abc1") && error.contains("give more digits"), "{error}");
    }
}
