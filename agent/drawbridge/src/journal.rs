//! What the gate has acknowledged: `state_dir/journal/<vault repository>`, one line an object.
//!
//! Invariants that this module owns:
//! - a line is written only after the gate has acknowledged the object, so a crash can only lose lines, and what is lost crosses
//!   once more, which is harmless;
//! - a journal speaks for exactly one vault repository, which its first line names. Under another name, or with a
//!   line that it can't have written, it is worth nothing: it begins anew and everything crosses again;
//! - only the last line can be torn, by a crash, and it is cut off before the next one is written.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use drawbridge_wire::{ManifestObject, ObjectName, Sha256Digest, VaultRepository};
use thiserror::Error;

const FOLDER: &str = "journal";
const HEADER: &str = "drawbridge journal 1";

/// How many acknowledgements a power failure may cost: at 16 MiB each about 1 GiB that crosses again.
const SYNC_EVERY: u32 = 64;

/// The journal can't be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} the journal of acknowledged objects, {}", path.display())]
pub struct JournalError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The objects that a vault repository holds as far as the gate has said so.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    acknowledged: HashSet<(ObjectName, Sha256Digest)>,
    file: File,
    unsynced: u32,
    began_anew: bool,
}

impl Journal {
    /// Opens the journal of `repository` below `state_dir`, or begins one.
    ///
    /// # Errors
    /// When the file can't be read or written. What it says doesn't matter: a journal that makes no sense begins anew.
    pub fn open(state_dir: &Path, repository: &VaultRepository) -> Result<Self, JournalError> {
        let folder = state_dir.join(FOLDER);
        let path = folder.join(repository.as_str());
        let failed = |action| {
            let path = path.clone();
            move |source| JournalError { action, path, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed("make the folder of"))?;
        let content = match fs::read(&path) {
            Ok(content) => Some(content),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed("read")(error)),
        };
        let understood = content.as_deref().and_then(|content| understand(content, repository));
        let began_anew = content.is_some() && understood.is_none();
        let (acknowledged, whole) = understood.unwrap_or_default();
        let mut file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path).map_err(failed("open"))?;
        file.set_len(whole).map_err(failed("repair"))?;
        if whole == 0 {
            writeln!(file, "{}", header(repository)).map_err(failed("begin"))?;
            file.sync_all().and_then(|()| File::open(&folder)?.sync_all()).map_err(failed("begin"))?;
        }
        Ok(Self { path, acknowledged, file, unsynced: 0, began_anew })
    }

    /// Whether there was a journal that made no sense.
    #[must_use]
    pub const fn began_anew(&self) -> bool {
        self.began_anew
    }

    /// Whether nothing has been acknowledged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.acknowledged.is_empty()
    }

    /// Whether the gate has acknowledged an object of this name and content.
    #[must_use]
    pub fn holds(&self, name: ObjectName, digest: Sha256Digest) -> bool {
        self.acknowledged.contains(&(name, digest))
    }

    /// Notes that the gate has acknowledged `object`. It survives the program at once, a power failure from the next
    /// [`Journal::sync`] on, or after 64 more.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn acknowledge(&mut self, object: &ManifestObject) -> Result<(), JournalError> {
        let entry = (object.name(), object.digest());
        if self.acknowledged.insert(entry) {
            // One write call a line, so that lines don't mix and at most the last is torn.
            let line = format!("{} {}\n", entry.0, entry.1);
            self.file.write_all(line.as_bytes()).map_err(|source| self.failed("write", source))?;
            self.unsynced += 1;
            if self.unsynced >= SYNC_EVERY {
                self.sync()?;
            }
        }
        Ok(())
    }

    /// Brings everything onto the disk.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync(&mut self) -> Result<(), JournalError> {
        self.unsynced = 0;
        self.file.sync_data().map_err(|source| self.failed("write", source))
    }

    /// Forgets everything, so that everything crosses again: the vault is not as it was acknowledged.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn forget(self) -> Result<(), JournalError> {
        fs::remove_file(&self.path).map_err(|source| self.failed("remove", source))
    }

    fn failed(&self, action: &'static str, source: io::Error) -> JournalError {
        JournalError { action, path: self.path.clone(), source }
    }
}

fn header(repository: &VaultRepository) -> String {
    format!("{HEADER} {repository}")
}

type Understood = (HashSet<(ObjectName, Sha256Digest)>, u64);

/// The entries of a journal and the length of its whole lines; `None` when it isn't the journal of `repository`.
fn understand(content: &[u8], repository: &VaultRepository) -> Option<Understood> {
    let end = content.iter().rposition(|byte| *byte == b'\n')? + 1;
    let text = std::str::from_utf8(content.get(..end)?).ok()?;
    let mut lines = text.lines();
    if lines.next()? != header(repository) {
        return None;
    }
    let entries = lines.map(|line| {
        let (name, digest) = line.split_once(' ')?;
        let (name, digest) = (name.parse::<ObjectName>().ok()?, digest.parse::<Sha256Digest>().ok()?);
        name.digest().is_none_or(|named| named == digest).then_some((name, digest))
    });
    Some((entries.collect::<Option<_>>()?, u64::try_from(end).ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use drawbridge_wire::ObjectKind;

    use super::*;

    fn vault(text: &str) -> VaultRepository {
        text.parse().unwrap()
    }

    fn object(digit: u8) -> ManifestObject {
        let digest = Sha256Digest::from_bytes([digit; 32]);
        ManifestObject::hashed(ObjectName::hashed(ObjectKind::Data, digest).unwrap(), 7, true)
    }

    const OURS: &str = "2026-11-0123456789abcdef";

    fn holds(journal: &Journal, object: &ManifestObject) -> bool {
        journal.holds(object.name(), object.digest())
    }

    /// A journal with two objects, and its path.
    fn written(dir: &Path) -> PathBuf {
        let mut journal = Journal::open(dir, &vault(OURS)).unwrap();
        journal.acknowledge(&object(1)).unwrap();
        journal.acknowledge(&object(2)).unwrap();
        journal.acknowledge(&object(2)).unwrap();
        journal.sync().unwrap();
        journal.path
    }

    #[test]
    fn what_was_acknowledged_is_known_after_opening_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
        assert!(holds(&journal, &object(1)) && holds(&journal, &object(2)) && !holds(&journal, &object(3)));
        assert!(!journal.began_anew());
        assert_eq!(fs::read_to_string(path).unwrap().lines().count(), 3, "an object is written once");
    }

    #[test]
    fn a_torn_last_line_is_cut_off_wherever_it_was_torn_and_the_next_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let whole = fs::read(&path).unwrap();
        let last = whole.len() - format!("{} {}\n", object(2).name(), object(2).digest()).len();
        for length in last..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let mut journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
            assert!(holds(&journal, &object(1)) && !holds(&journal, &object(2)) && !journal.began_anew(), "{length}");
            journal.acknowledge(&object(3)).unwrap();
            let journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
            assert!(holds(&journal, &object(1)) && holds(&journal, &object(3)), "{length}");
        }
    }

    #[test]
    fn the_journal_of_another_vault_repository_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let other = vault("2026-12-0123456789abcdef");
        assert!(Journal::open(dir.path(), &other).unwrap().is_empty());
        // Even under the other's name.
        fs::copy(&path, dir.path().join(FOLDER).join(other.as_str())).unwrap();
        let journal = Journal::open(dir.path(), &other).unwrap();
        assert!(journal.is_empty() && journal.began_anew());
    }

    #[test]
    fn a_journal_with_a_line_that_makes_no_sense_begins_anew_and_works() {
        let zeros = format!("{} {}\n", object(1).name(), Sha256Digest::from_bytes([0; 32]));
        for garbage in ["\n", "data/00 00\n", "nonsense\n", "\0\0\0\0\n", zeros.as_str()] {
            let dir = tempfile::tempdir().unwrap();
            let path = written(dir.path());
            let mut content = fs::read(&path).unwrap();
            content.extend_from_slice(garbage.as_bytes());
            fs::write(&path, content).unwrap();
            let mut journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
            assert!(journal.is_empty() && journal.began_anew(), "{garbage:?}");
            journal.acknowledge(&object(1)).unwrap();
            assert!(holds(&Journal::open(dir.path(), &vault(OURS)).unwrap(), &object(1)), "{garbage:?}");
        }
    }

    #[test]
    fn a_forgotten_journal_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        Journal::open(dir.path(), &vault(OURS)).unwrap().forget().unwrap();
        assert!(Journal::open(dir.path(), &vault(OURS)).unwrap().is_empty());
    }

    #[test]
    fn a_config_with_other_content_was_not_acknowledged() {
        let dir = tempfile::tempdir().unwrap();
        let (first, second) = (Sha256Digest::from_bytes([1; 32]), Sha256Digest::from_bytes([2; 32]));
        let mut journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
        journal.acknowledge(&ManifestObject::config(first, 7, true)).unwrap();
        let journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
        assert!(journal.holds(ObjectName::CONFIG, first) && !journal.holds(ObjectName::CONFIG, second));
    }
}
