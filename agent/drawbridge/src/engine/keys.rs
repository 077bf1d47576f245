//! The keys of a repository: files that each hold its master key, encrypted under a password.

use std::fs;
use std::path::Path;

use drawbridge_wire::{ObjectKind, Sha256Digest};
use rustic_core::Id;
use serde::{Deserialize, Serialize};

use super::begin::key_options;
use super::{EngineError, LocalRepository};
use crate::state_file::sync_folder;

/// What a key says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyInfo {
    /// Its file's name, 64 hex digits.
    pub id: Sha256Digest,
    /// What it is for, as whoever added it said.
    pub label: Option<String>,
    /// On which host it was added.
    pub host: Option<String>,
    /// When, in its own words.
    pub created: Option<String>,
    /// The password of the password file opens it.
    pub in_use: bool,
}

/// A key file, as far as it is for people. Source: restic's design document, "Keys, Encryption and MAC".
#[derive(Deserialize)]
struct KeyFile {
    username: Option<String>,
    hostname: Option<String>,
    created: Option<String>,
}

impl LocalRepository {
    /// Every key, by id.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn keys(&self) -> Result<Vec<KeyInfo>, EngineError> {
        let in_use = self.repository.key_id().as_ref().map(|id| id.to_hex().as_str().to_owned());
        let mut keys = Vec::new();
        for (name, content) in self.heritage()?.files() {
            let id: Sha256Digest = name.parse()?;
            let damaged = |error: serde_json::Error| EngineError::Damaged {
                path: self.path.clone(),
                damage: format!("{} is no key: {error}", self.path.join(ObjectKind::Key.folder()).join(name).display()),
            };
            let file: KeyFile = serde_json::from_slice(content).map_err(damaged)?;
            let (label, host, created) = (file.username, file.hostname, file.created);
            keys.push(KeyInfo { id, label, host, created, in_use: in_use.as_deref() == Some(name) });
        }
        keys.sort_by_key(|key| key.id);
        Ok(keys)
    }

    /// Adds a key for `password`; `label` says what it is for.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn add_key(&self, label: &str, password: &str) -> Result<Sha256Digest, EngineError> {
        let id = self.repository.add_key(password, &key_options(label)).map_err(self.failed("add a key to"))?;
        self.sync_keys()?;
        Ok(id.to_hex().as_str().parse()?)
    }

    /// Removes a key that isn't the one in use.
    ///
    /// # Errors
    /// When it is, or can't be removed.
    pub fn remove_key(&self, id: &Sha256Digest) -> Result<(), EngineError> {
        let failed = self.failed("remove a key from");
        let id = id.to_string().parse::<Id>().map_err(&failed)?;
        self.repository.delete_key(&id.into()).map_err(&failed)?;
        self.sync_keys()
    }

    fn sync_keys(&self) -> Result<(), EngineError> {
        let folder = self.path.join(ObjectKind::Key.folder());
        sync_folder(&folder).map_err(|source| EngineError::Folder { action: "sync", path: folder, source })
    }
}

/// The ids of the keys that lie in the repository at `path`, whatever opens them.
///
/// # Errors
/// When the folder can't be read.
pub fn key_ids(path: &Path) -> Result<Vec<Sha256Digest>, EngineError> {
    let folder = path.join(ObjectKind::Key.folder());
    let error = |source| EngineError::Folder { action: "list", path: folder.clone(), source };
    let listed = fs::read_dir(&folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(error)?;
    Ok(listed.iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}
