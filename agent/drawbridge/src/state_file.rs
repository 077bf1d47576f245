//! The state folder and the small files in it.
//!
//! Invariants:
//! - nobody but the agent's user can look into the state folder: it holds copies of other hosts' private files;
//! - a file in it is either the old one or the new one, never a part, whatever is killed when.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

/// Why the state folder can't be used.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// It can't be made or looked at.
    #[error("the state folder {} can't be used: it must be writable for the user that runs drawbridge", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others may look into it.
    #[error(
        "the state folder {} is open to other users (mode {mode:04o}) and holds copies of private files: run `chmod 700 {}`",
        path.display(), path.display()
    )]
    Open {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// Makes sure that the folder exists and is for its owner alone. One that is open is refused rather than closed: it
/// might be somebody else's.
///
/// # Errors
/// When it can't be made, or is open to others.
pub fn prepare(state_dir: &Path) -> Result<(), StateDirError> {
    let unusable = |source| StateDirError::Io { path: state_dir.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(unusable)?;
    let mode = fs::metadata(state_dir).map_err(unusable)?.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(StateDirError::Open { path: state_dir.to_owned(), mode }) }
}

/// Replaces `dir/name` by `value` as JSON, through a temporary file that is on the disk before it takes the name.
///
/// # Errors
/// When any step fails; the old file stays then.
pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)?;
    bytes.push(b'\n');
    write(dir, name, &bytes)
}

/// Replaces `dir/name` by `bytes`, as [`write_json`] does.
///
/// # Errors
/// When any step fails; the old file stays then.
pub fn write(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, dir.join(name))?;
    fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_state_folder_is_closed_and_an_open_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("var/lib/drawbridge");
        prepare(&state).unwrap();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
        fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).unwrap();
        let error = prepare(&state).unwrap_err().to_string();
        assert!(error.contains("chmod 700"), "{error}");
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        write_json(dir.path(), "x.json", &[1, 2, 3]).unwrap();
        write_json(dir.path(), "x.json", &[4]).unwrap();
        let read: Vec<u8> = serde_json::from_slice(&fs::read(dir.path().join("x.json")).unwrap()).unwrap();
        assert_eq!(read, [4]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
