//! Which files `Include` means.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use super::{At, ConfigError};
use crate::pattern;

/// The text of a file, if there is one.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, ConfigError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ConfigError::Read { path: path.to_owned(), source }),
    }
}

/// Refuses a file that somebody else could have written, as OpenSSH does with `~/.ssh/config`.
pub(super) fn only_ours(path: &Path) -> Result<(), ConfigError> {
    let metadata: Metadata =
        std::fs::metadata(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let owner_is_trusted = [0, rustix::process::getuid().as_raw()].contains(&metadata.uid());
    if owner_is_trusted && metadata.permissions().mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(ConfigError::OpenToOthers(path.to_owned()))
}

/// The files that match `pattern`, sorted; relative ones within `base`. None is no mistake.
pub(super) fn files(pattern: &Path, base: &Path, at: At<'_>) -> Result<Vec<PathBuf>, ConfigError> {
    let mut found = vec![PathBuf::new()];
    for component in base.join(pattern).components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let name = name.to_string_lossy();
        if name.contains('[') {
            return Err(at.wrong("Include knows the wildcards * and ?, and no [...]"));
        }
        if !name.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(&*name));
            continue;
        }
        let mut deeper = Vec::new();
        for folder in found {
            deeper.extend(entries(&folder, &name)?);
        }
        found = deeper;
    }
    found.retain(|path| path.is_file());
    Ok(found)
}

fn entries(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, ConfigError> {
    let failed = |source| ConfigError::Read { path: folder.to_owned(), source };
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(failed(source)),
    };
    let mut found = Vec::new();
    for entry in listing {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        // As glob(3): a hidden file needs its dot.
        if pattern::matches(&name, pattern) && (!name.starts_with('.') || pattern.starts_with('.')) {
            found.push(folder.join(&*name));
        }
    }
    found.sort();
    Ok(found)
}
