//! Everything before the bridge: the mirror into the local repository, and the manifest of what crosses. Blocks.

use bytes::Bytes;
use drawbridge_wire::{Generation, Manifest, Sha256Digest};

use super::after;
use super::error::RunError;
use super::open::{Turned, open};
use super::report::made_later;
use crate::config::Config;
use crate::digest;
use crate::engine::{BackupSummary, EngineError, LocalRepository, measure};
use crate::gather::{Origins, in_one_line};
use crate::hashes;
use crate::journal::Journal;
use crate::secret::Secret;
use crate::state::Current;
use crate::stock::{Stock, StockError};
use crate::ui::Ui;

/// What is ready to cross.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) current: Current,
    pub(super) backup: BackupSummary,
    pub(super) stock: Stock,
    pub(super) manifest: Manifest,
    pub(super) bytes: Bytes,
    pub(super) sha256: Sha256Digest,
    /// The generation that the manifest counts on, because it leaves something out.
    pub(super) counts_on: Option<Generation>,
}

/// Backs the mirror up, into the current repository or a new one. A repository that proves to be damaged on the way gives way to a new
/// one, once: should that be damaged as well, the disk is.
pub(super) fn prepare(
    config: &Config,
    password: &Secret,
    ui: &Ui,
    turned: Option<&Turned>,
) -> Result<Prepared, RunError> {
    let (current, repository) = open(config, password, ui, turned)?;
    match back_up(config, ui, &current, &repository) {
        Err(error) => {
            let Some(damage) = error.damage() else { return Err(error) };
            after::damaged(config, &current, &damage)?;
            let (current, repository) = open(config, password, ui, None)?;
            back_up(config, ui, &current, &repository)
        }
        prepared => prepared,
    }
}

fn back_up(config: &Config, ui: &Ui, current: &Current, repository: &LocalRepository) -> Result<Prepared, RunError> {
    let mirror = config.mirror_dir();
    let size = measure(&mirror).map_err(|source| EngineError::Folder {
        action: "read the mirror",
        path: mirror.clone(),
        source,
    })?;
    let transfer = ui.transfer("backing up", Some(size.bytes));
    let counter = transfer.clone();
    let advance = std::sync::Arc::new(move |bytes| counter.advance(bytes));
    let backup = match repository.back_up(&mirror, Origins::new(&config.site()), advance) {
        Ok(backup) => backup,
        Err(error) => return Err(repository.diagnose(error)?.into()),
    };
    transfer.finish();
    // Whether an earlier snapshot is damaged is found, and mended, where what crosses is looked at.
    let latest = repository.snapshots().ok().and_then(|mut snapshots| snapshots.pop());
    if let Some(later) = latest.filter(|latest| latest.id != backup.snapshot) {
        ui.warn(&made_later(&later, &backup.snapshot));
    }
    // What a drill compares with; a backup is as good without.
    if let Err(error) = hashes::record(&config.state_dir, &mirror, &backup.snapshot) {
        ui.warn(&in_one_line(&error));
    }
    config.site().settle().map_err(|source| EngineError::Folder { action: "sync the mirror", path: mirror, source })?;

    let stock = Stock::take(repository)?;
    if stock.orphans() > 0 {
        ui.note(&format!("{} packs of an interrupted backup belong to no snapshot and stay here", stock.orphans()));
    }
    let journal = current.vault.as_ref().map(|vault| Journal::open(&config.state_dir, vault)).transpose()?;
    if journal.as_ref().is_some_and(Journal::began_anew) {
        ui.warn("the journal of what the vault has was unreadable, so everything crosses again");
    }
    let journal = journal.filter(|journal| !journal.is_empty());
    let manifest = stock.manifest(journal.as_ref()).map_err(StockError::from)?;
    let bytes = Bytes::from(serde_json::to_vec(&manifest).map_err(RunError::Manifest)?);
    let sha256 = digest::sha256(&bytes);
    let counts_on = journal.and_then(|_| current.vault.as_ref().map(drawbridge_wire::VaultRepository::generation));
    Ok(Prepared { current: current.clone(), backup, stock, manifest, bytes, sha256, counts_on })
}
