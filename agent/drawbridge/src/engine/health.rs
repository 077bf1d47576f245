//! Whether a repository on the disk is damaged: its files aren't what their names say, or aren't there.
//!
//! Only what is certain counts as damage: a content that has another hash than its name, a file that an index names and that isn't
//! there, a `config` that its own key doesn't open. A disk that can't be read, or a right that is missing, is an error; a password that
//! opens nothing is the password's fault as long as the keys are whole.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{ObjectKind, ObjectName, Sha256Digest};
use rustic_core::RusticError;

use super::{EngineError, LocalRepository, failed};
use crate::digest::sha256_of;

/// The smallest `config` that can be one, in bytes: a nonce, a MAC, and a JSON object between them.
const MIN_CONFIG_BYTES: u64 = 16 + 16 + 2;

/// What is wrong with a repository, as a clause: "<file> <what>".
pub type Damage = String;

/// Why the engine can't open `repository`: its password, damage, or what the engine says.
///
/// # Errors
/// When something that is there can't be read, which explains it as well.
pub(super) fn why_not_opened(repository: &Path, error: Box<RusticError>) -> Result<EngineError, EngineError> {
    let damaged = |damage| EngineError::Damaged { path: repository.to_path_buf(), damage };
    if error.is_incorrect_password() {
        // Of a wrong password no more may come than this; what else is damaged will show when the right one is there.
        let damage = examine_keys(repository)?;
        return Ok(damage.map_or_else(|| EngineError::WrongPassword { path: repository.to_path_buf() }, damaged));
    }
    if let Some(damage) = examine(repository)? {
        return Ok(damaged(damage));
    }
    if is_garbled(&error) {
        let config = repository.join(ObjectKind::Config.folder());
        return Ok(damaged(format!("{} is not as its key has written it", config.display())));
    }
    Ok(failed("open", repository)(error))
}

impl LocalRepository {
    /// Whether an error of the engine's comes from damage. Looks at everything, packs as well, unless the error has a reason of
    /// its own, such as a full disk.
    ///
    /// # Errors
    /// When something that is there can't be read.
    pub fn diagnose(&self, error: EngineError) -> Result<EngineError, EngineError> {
        let EngineError::Repository { source, .. } = &error else { return Ok(error) };
        // What is missing or shorter than it should be may be damage; anything else that the system says is its own reason.
        let may_be_damage =
            |io: &io::Error| matches!(io.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof);
        if source.io().is_some_and(|io| !may_be_damage(io)) {
            return Ok(error);
        }
        let damage = match examine(&self.path)? {
            None => self.examine_packs()?,
            damage => damage,
        };
        Ok(damage.map_or(error, |damage| EngineError::Damaged { path: self.path.clone(), damage }))
    }

    /// Looks at all but the packs: the engine leaves out of a listing what it can't read, and says nothing.
    ///
    /// # Errors
    /// When something is damaged, or can't be read.
    pub fn inspect(&self) -> Result<(), EngineError> {
        let damage = match examine(&self.path)? {
            None => self.examine_roots()?,
            damage => damage,
        };
        damage.map_or(Ok(()), |damage| Err(EngineError::Damaged { path: self.path.clone(), damage }))
    }

    /// An index that is gone as a whole shows by this: nobody knows the root of a snapshot that it told of.
    fn examine_roots(&self) -> Result<Option<Damage>, EngineError> {
        let indexed = self.reopened()?.to_indexed().map_err(self.failed("read the index of"))?;
        let snapshots = indexed.get_all_snapshots().map_err(self.failed("list the snapshots of"))?;
        let rootless = snapshots.iter().find(|snapshot| indexed.get_index_entry(&snapshot.tree).is_err());
        Ok(rootless
            .map(|snapshot| format!("no index knows the root of the snapshot {}", snapshot.id.to_hex().as_str())))
    }

    fn examine_packs(&self) -> Result<Option<Damage>, EngineError> {
        for pack in self.referenced_packs()?.into_keys() {
            let Some(name) = ObjectName::hashed(ObjectKind::Data, pack) else { continue };
            let path = self.path.join(name.path());
            if let Some(damage) = compare(pack, &path).map_err(unreadable(&path))? {
                return Ok(Some(damage));
            }
        }
        Ok(None)
    }
}

/// Looks at a repository's keys, indexes and snapshots, and at whether there is a `config`. Packs are left out: there may be many
/// gigabytes of them.
fn examine(repository: &Path) -> Result<Option<Damage>, EngineError> {
    let config = repository.join(ObjectKind::Config.folder());
    match fs::metadata(&config) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(format!("{} is missing", config.display())));
        }
        Err(error) => return Err(unreadable(&config)(error)),
        Ok(meta) if meta.len() < MIN_CONFIG_BYTES => {
            return Ok(Some(format!("{} is cut off at {} bytes", config.display(), meta.len())));
        }
        Ok(_) => {}
    }
    if let Some(damage) = examine_keys(repository)? {
        return Ok(Some(damage));
    }
    for kind in [ObjectKind::Index, ObjectKind::Snapshot] {
        if let Some(damage) = compare_all(&objects(&repository.join(kind.folder()))?)? {
            return Ok(Some(damage));
        }
    }
    Ok(None)
}

fn examine_keys(repository: &Path) -> Result<Option<Damage>, EngineError> {
    let folder = repository.join(ObjectKind::Key.folder());
    let keys = objects(&folder)?;
    if keys.is_empty() {
        return Ok(Some(format!("{} holds no key", folder.display())));
    }
    compare_all(&keys)
}

fn compare_all(files: &[(Sha256Digest, PathBuf)]) -> Result<Option<Damage>, EngineError> {
    for (named, path) in files {
        if let Some(damage) = compare(*named, path).map_err(unreadable(path))? {
            return Ok(Some(damage));
        }
    }
    Ok(None)
}

/// Whether the file at `path` is there and has the content that was named `named`.
///
/// # Errors
/// When it is there and can't be read.
pub fn compare(named: Sha256Digest, path: &Path) -> io::Result<Option<Damage>> {
    match File::open(path).and_then(sha256_of) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(format!("{} is missing", path.display()))),
        Err(error) => Err(error),
        Ok(digest) if digest == named => Ok(None),
        Ok(_) => Ok(Some(format!("what {} holds is not what was written", path.display()))),
    }
}

/// Whether the engine found a content that its key doesn't open.
fn is_garbled(error: &RusticError) -> bool {
    /// The engine's code for a MAC that doesn't match.
    const MAC: &str = "C001";
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let engine = error.downcast_ref::<RusticError>();
        let engine = engine.or_else(|| error.downcast_ref::<Box<RusticError>>().map(AsRef::as_ref));
        if engine.is_some_and(|error| error.is_code(MAC)) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The files of a folder that have a digest for a name. An absent folder is an empty one.
fn objects(folder: &Path) -> Result<Vec<(Sha256Digest, PathBuf)>, EngineError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(unreadable(folder))?,
    };
    let named = |entry: &fs::DirEntry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()));
    Ok(entries.iter().filter_map(named).collect())
}

fn unreadable(path: &Path) -> impl Fn(io::Error) -> EngineError + use<> {
    let path = path.to_path_buf();
    move |source| EngineError::Folder { action: "read", path: path.clone(), source }
}
