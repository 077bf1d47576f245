//! The state folder and the small files in it.
//!
//! Invariants:
//! - nobody but the agent's user can look into the state folder: it holds copies of other hosts' private files;
//! - a file in it is either the old one or the new one, never a part, whatever is killed when;
//! - what is read was written so: every file ends with a checksum over all that stands before it. A file without, or
//!   with another, is damaged: it says nothing, and whoever needed it sets it aside and does without.
//!
//! Layout: a JSON object, indented, whose last field is `"#sha256"`, the SHA-256 of the text before that field, the comma left out.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use thiserror::Error;

/// Between what a file says and its checksum. No name of ours begins with such a character.
const CHECKSUM: &str = "\n  \"#sha256\": \"";

/// After the checksum.
const END: &str = "\"\n}\n";

/// The largest file that is read, in bytes: the verdicts of two years with a run each hour have about 2 MB.
const MAX_BYTES: u64 = 64 << 20;

/// Where things go that are damaged, for somebody to look at.
pub const DAMAGED: &str = "damaged";

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

/// Why a file of the state folder can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The disk, or its rights.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It isn't what was written.
    #[error(transparent)]
    Damaged(#[from] Damage),
}

/// In what way a file isn't what was written.
#[derive(Debug, Error)]
pub enum Damage {
    /// No text, or none that ends as these files do.
    #[error("it is cut off, or was not written by this program")]
    Cut,
    /// Something in it has changed.
    #[error("its checksum is not that of its content")]
    Checksum,
    /// Right, but from another release.
    #[error("it does not say what is expected of it")]
    Json(#[source] serde_json::Error),
}

/// Replaces `dir/name` by `value` as JSON, through a temporary file that is on the disk before it takes the name.
///
/// # Errors
/// When any step fails, or `value` is no JSON object; the old file stays then.
pub fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    let head = text.strip_suffix('}').ok_or_else(|| io::Error::other("what is to be kept is no JSON object"))?;
    let head = head.trim_end();
    let comma = if head == "{" { "" } else { "," };
    let bytes = format!("{head}{comma}{CHECKSUM}{}{END}", checksum(head));
    replace(dir, name, bytes.as_bytes())
}

/// Replaces `dir/name` by `bytes`, through a temporary file that is on the disk before it takes the name. For the owner only.
///
/// # Errors
/// When any step fails; the old file stays then.
pub fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    replace_owned(dir, name, bytes, None)
}

/// As [`replace`], with the user and group that the file is to belong to.
///
/// # Errors
/// As [`replace`].
pub fn replace_owned(dir: &Path, name: &str, bytes: &[u8], owner: Option<(u32, u32)>) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.new"));
    let owned = || owner.map_or(Ok(()), |(user, group)| chown(&temporary, Some(user), Some(group)));
    let written =
        write_anew(&temporary, bytes).and_then(|()| owned()).and_then(|()| fs::rename(&temporary, dir.join(name)));
    if let Err(error) = written {
        // What is left of it would take room that a full disk needs; the next attempt replaces it anyway.
        let _left = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(dir)
}

fn write_anew(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Brings what was created in, removed from or renamed in `dir` onto the disk.
///
/// # Errors
/// When the disk refuses.
pub fn sync_folder(dir: &Path) -> io::Result<()> {
    fs::File::open(dir)?.sync_all()
}

/// Reads `dir/name` back; `None` when there is none.
///
/// # Errors
/// When it can't be read, or isn't what was written.
pub fn read_json<V: DeserializeOwned>(dir: &Path, name: &str) -> Result<Option<V>, ReadError> {
    let file = match fs::File::open(dir.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8(bytes).map_err(|_| Damage::Cut)?;
    let (head, sum) = text.rsplit_once(CHECKSUM).ok_or(Damage::Cut)?;
    let (head, sum) = (head.strip_suffix(',').unwrap_or(head), sum.strip_suffix(END).ok_or(Damage::Cut)?);
    if checksum(head) != sum {
        return Err(Damage::Checksum.into());
    }
    Ok(Some(serde_json::from_str(&format!("{head}}}")).map_err(Damage::Json)?))
}

fn checksum(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Takes `what`, a file or folder below `state_dir`, out of the way into `state_dir/damaged`, and says where it is now. It is
/// kept there: nothing removes it but a person.
///
/// # Errors
/// When it can't be renamed.
pub fn set_aside(state_dir: &Path, what: &Path) -> io::Result<PathBuf> {
    let folder = state_dir.join(DAMAGED);
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let name = what.file_name().ok_or_else(|| io::Error::other("it has no name"))?.to_string_lossy().into_owned();
    let mut aside = folder.join(&name);
    let mut number = 1;
    while aside.symlink_metadata().is_ok() {
        number += 1;
        aside = folder.join(format!("{name}-{number}"));
    }
    fs::rename(what, &aside)?;
    sync_folder(&folder)?;
    sync_folder(what.parent().unwrap_or(state_dir))?;
    Ok(aside)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::collections::BTreeMap;

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

    type Values = BTreeMap<String, u64>;

    fn values(numbers: &[u64]) -> Values {
        numbers.iter().map(|number| (format!("n{number}"), *number)).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_json::<Values>(dir.path(), "x.json").unwrap().is_none());
        for numbers in [&[1, 2, 3][..], &[4], &[]] {
            write_json(dir.path(), "x.json", &values(numbers)).unwrap();
            assert_eq!(read_json::<Values>(dir.path(), "x.json").unwrap(), Some(values(numbers)));
            // Others may read it, too.
            let read: serde_json::Value =
                serde_json::from_slice(&fs::read(dir.path().join("x.json")).unwrap()).unwrap();
            assert_eq!(read.as_object().unwrap().len(), numbers.len() + 1);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_and_every_lost_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        write_json(dir.path(), "x.json", &values(&[1, 22])).unwrap();
        let path = dir.path().join("x.json");
        let whole = fs::read(&path).unwrap();
        let is_damaged = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            matches!(read_json::<Values>(dir.path(), "x.json"), Err(ReadError::Damaged(_)))
        };
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                assert!(is_damaged(&flipped), "byte {at}, bit {bit}");
            }
            assert!(is_damaged(&whole[..at]), "{at} bytes");
        }
        assert!(is_damaged(b"{\n  \"n1\": 1\n}\n"), "a file without a checksum");
    }

    #[test]
    fn what_is_set_aside_twice_is_kept_twice() {
        let dir = tempfile::tempdir().unwrap();
        for content in ["first", "second"] {
            fs::write(dir.path().join("x.json"), content).unwrap();
            let aside = set_aside(dir.path(), &dir.path().join("x.json")).unwrap();
            assert_eq!(fs::read_to_string(aside).unwrap(), content);
        }
        assert_eq!(fs::read_dir(dir.path().join(DAMAGED)).unwrap().count(), 2);
        assert!(!dir.path().join("x.json").exists());
    }
}
