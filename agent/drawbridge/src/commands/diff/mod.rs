//! `drawbridge diff`: what changed in the mirror since the last snapshot.
//!
//! Invariants that this module owns:
//! - no content of a file is shown before [`crate::mask`] has seen the whole of it, both sides with the same tags;
//! - memory is bounded by the largest folder and by [`text::MAX_TEXT_BYTES`], whatever a file's size;
//! - contents are read only where size or times differ.

mod compare;
mod entry;
mod show;
mod text;

use std::cell::RefCell;
use std::ffi::OsString;
use std::path::Path;

use drawbridge_gather::Meta;
use drawbridge_gather::catalogue::CatalogueError;
use thiserror::Error;

use crate::config::{Config, PasswordError};
use crate::engine::{EngineError, LocalRepository, Snapshot};
use crate::exit::Exit;
use crate::gather::Origins;
use crate::secret::Secret;
use crate::state::{Current, StateError};
use crate::ui::Ui;
use compare::Comparison;

pub use compare::DiffIoError;

/// What the source said of the entry at a path of the mirror (`<source>/<path>`): its owner, mode and time, which the mirror's file
/// system can't hold.
type Stated<'a> = &'a dyn Fn(&Path) -> Result<Option<Meta>, CatalogueError>;

/// Why nothing can be compared.
#[derive(Debug, Error)]
pub enum DiffError {
    /// No such source.
    #[error("no source is named {name:?}: the configuration has {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Without the password nothing can be read.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Which repository is the current one can't be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The local repository can't be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The mirror can't be read.
    #[error(transparent)]
    Mirror(#[from] DiffIoError),
    /// What the sources said of their files can't be read.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A thread of ours ended by itself.
    #[error("comparing broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Compares the mirror with the last snapshot, the sources `names` or all.
///
/// # Errors
/// When a source is unknown, or when mirror or repository can't be read.
pub async fn diff(config: &Config, ui: &Ui, names: &[String]) -> Result<Exit, DiffError> {
    let known: Vec<String> = config.sources.iter().map(|source| source.name.clone()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(name)) {
        return Err(DiffError::Unknown { name: name.clone(), known });
    }
    let password = config.read_password()?;
    let (config, ui, names) = (config.clone(), ui.clone(), names.to_vec());
    tokio::task::spawn_blocking(move || on_this_thread(&config, &ui, &names, &password)).await?
}

fn on_this_thread(config: &Config, ui: &Ui, names: &[String], password: &Secret) -> Result<Exit, DiffError> {
    let folder = config.repository_dir();
    let current = Current::load(&config.state_dir)?.filter(|current| folder.join(current.repository.as_str()).exists());
    let snapshot = match current {
        Some(current) => LocalRepository::open(&folder, &current.repository, password.reveal())?.latest()?,
        None => None,
    };
    let Some(snapshot) = snapshot else {
        let none = show::NoSnapshot;
        ui.result("no_snapshot", &none, &none);
        return Ok(Exit::Done);
    };
    let wanted: Option<Vec<OsString>> = (!names.is_empty()).then(|| names.iter().map(OsString::from).collect());
    let origins = RefCell::new(Origins::new(&config.site()));
    let stated = |path: &Path| origins.borrow_mut().of(path);
    tell(ui, &snapshot, &config.mirror_dir(), wanted.as_deref(), &stated)?;
    Ok(Exit::Done)
}

/// Says every change of the sources `wanted`, one after the other, and how many there were.
fn tell(
    ui: &Ui,
    snapshot: &Snapshot,
    mirror: &Path,
    wanted: Option<&[OsString]>,
    stated: Stated<'_>,
) -> Result<(), DiffError> {
    let mut totals = show::Totals::of(snapshot.info());
    Comparison { snapshot, mirror, stated }.run(wanted, &mut |change| {
        totals.count(&change);
        show::change(ui, &change);
    })?;
    ui.result("diff", &totals, &totals);
    Ok(())
}

#[cfg(test)]
mod tests;
