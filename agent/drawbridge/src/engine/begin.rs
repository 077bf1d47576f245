//! The beginning of a repository, alone or as the heir of another one.
//!
//! **Keys.** restic's key files each hold the repository's master key, encrypted under a password. A repository that begins because a
//! generation has ended, or because the last one was damaged, takes the master key and all key files of its predecessor with it: so
//! every password that opened the one opens the other, also those that this machine doesn't know, such as a recovery password.
//! Nothing else could carry an unknown password over. The price is that whoever once knew a password and a key file has the master
//! key of all later repositories as well; `drawbridge key rotate` ends that, with a repository that has a new master key.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use bytesize::ByteSize;
use drawbridge_wire::{ObjectKind, RepositoryId};
use rustic_core::repofile::MasterKey;
use rustic_core::{ConfigOptions, Credentials, KeyOptions, OpenStatus, Repository};

use super::meter::Meter;
use super::{EngineError, LocalRepository, PACK_BYTES, PACK_LIMIT_BYTES, failed, raw};

/// How the names of repositories begin that aren't complete yet.
const UNFINISHED: &str = ".new-";

/// What a repository leaves to the next one: its master key, and the files that hold it for each password.
pub struct Heritage {
    master: MasterKey,
    files: Vec<(String, Vec<u8>)>,
}

// Not derived: the engine's own Debug shows the master key.
impl std::fmt::Debug for Heritage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heritage").field("keys", &self.files.len()).finish_non_exhaustive()
    }
}

impl Heritage {
    /// How many passwords it carries over.
    #[must_use]
    pub fn passwords(&self) -> usize {
        self.files.len()
    }

    /// The key files, by name.
    pub(super) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()))
    }
}

impl LocalRepository {
    /// Makes a new repository in `folder`, named by its id: with a master key of its own, for `password` alone.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn create(folder: &Path, password: &str) -> Result<Self, EngineError> {
        Self::begin(folder, password, None)
    }

    /// Makes a new repository in `folder` that opens with every password of its predecessor, of which `password` must be one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn succeed(folder: &Path, password: &str, heritage: &Heritage) -> Result<Self, EngineError> {
        Self::begin(folder, password, Some(heritage))
    }

    /// What the next repository takes over.
    ///
    /// # Errors
    /// When a key can't be read.
    pub fn heritage(&self) -> Result<Heritage, EngineError> {
        let folder = self.path.join(ObjectKind::Key.folder());
        let read = || -> io::Result<Vec<(String, Vec<u8>)>> {
            let mut files = Vec::new();
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.parse::<drawbridge_wire::Sha256Digest>().is_ok() {
                    files.push((name, fs::read(entry.path())?));
                }
            }
            Ok(files)
        };
        let files =
            read().map_err(|source| EngineError::Folder { action: "read the keys in", path: folder, source })?;
        Ok(Heritage { master: self.repository.key(), files })
    }

    fn begin(folder: &Path, password: &str, heritage: Option<&Heritage>) -> Result<Self, EngineError> {
        make_private(folder)?;
        remove_unfinished(folder)?;
        let draft = folder.join(format!("{UNFINISHED}{}", std::process::id()));
        let id = match draw_up(&draft, password, heritage) {
            Ok(id) => id,
            Err(error) => {
                // On a full disk what is left of it would be in the way; the next beginning clears it away as well.
                let _left = fs::remove_dir_all(&draft);
                return Err(error);
            }
        };
        let folder_error = |action| move |source| EngineError::Folder { action, path: folder.to_path_buf(), source };
        fs::rename(&draft, folder.join(id.as_str())).map_err(folder_error("rename a new repository in"))?;
        crate::state_file::sync_folder(folder).map_err(folder_error("sync"))?;
        Self::open(folder, &id, password)
    }
}

fn draw_up(draft: &Path, password: &str, heritage: Option<&Heritage>) -> Result<RepositoryId, EngineError> {
    let credentials = heritage
        .map_or_else(|| Credentials::password(password), |heritage| Credentials::Masterkey(heritage.master.clone()));
    let opened = raw(draft, Meter::default())?.init(&credentials, &key_options(DAILY), &layout());
    let opened = opened.map_err(failed("create", draft))?;
    let keys = draft.join(ObjectKind::Key.folder());
    for (name, content) in heritage.iter().flat_map(|heritage| &heritage.files) {
        write_new(&keys.join(name), content).map_err(|source| EngineError::Folder {
            action: "write a key into",
            path: keys.clone(),
            source,
        })?;
    }
    let synced = crate::state_file::sync_folder(&keys).and_then(|()| crate::state_file::sync_folder(draft));
    synced.map_err(|source| EngineError::Folder { action: "sync", path: draft.to_path_buf(), source })?;
    short_id(&opened)
}

/// The name in a key file of the password that runs use.
pub(super) const DAILY: &str = "drawbridge";

/// What a new key file says of itself: by whom it was made, where and when.
pub(super) fn key_options(label: &str) -> KeyOptions {
    // Source: proc(5). A key file without it is as good.
    let host = fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|host| host.trim().to_owned());
    KeyOptions::default().hostname(host).username(label.to_owned()).with_created(true)
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn layout() -> ConfigOptions {
    let limit = ByteSize(PACK_LIMIT_BYTES);
    ConfigOptions::default()
        .set_version(2)
        .set_datapack_size(ByteSize(PACK_BYTES))
        .set_datapack_size_limit(limit)
        .set_treepack_size_limit(limit)
}

pub(super) fn short_id(repository: &Repository<OpenStatus>) -> Result<RepositoryId, EngineError> {
    let id = repository.config().id.to_hex();
    Ok(id.as_str().get(..16).unwrap_or_default().parse()?)
}

fn make_private(folder: &Path) -> Result<(), EngineError> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|source| EngineError::Folder {
        action: "make the folder",
        path: folder.to_path_buf(),
        source,
    })
}

/// What a creation that was cut off has left. Nothing was ever backed up into it.
fn remove_unfinished(folder: &Path) -> Result<(), EngineError> {
    let clean = || -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED.as_bytes()) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    };
    clean().map_err(|source| EngineError::Folder { action: "clean up", path: folder.to_path_buf(), source })
}
