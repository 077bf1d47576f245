//! What the gate has acknowledged: `state_dir/journal/<vault repository>`, one line an object.
//!
//! Invariants that this module owns:
//! - a line is written only after the gate has acknowledged the object, so a crash can only lose lines, and what is lost crosses
//!   once more, which is harmless;
//! - a journal speaks for exactly one vault repository, which its first line names and every checksum covers. Under another name, or
//!   with a line that isn't as it was written, it is worth nothing: it begins anew and everything crosses again;
//! - only the last line can be torn, by a crash or a full disk, and it is cut off before the next one is written;
//! - it begins, and loses lines, as a whole: through a file beside it that is on the disk before it takes the name.
//!
//! A journal that is older than the repository makes objects cross twice; one that is newer names objects that the repository
//! doesn't have, which nobody asks it about. Neither can make up an object that the vault lacks: `verify` looks at all of them.
//!
//! Layout: a header, then lines of an object's name, its SHA-256, and the first 16 hex digits of the SHA-256 of the vault
//! repository, the name and the digest, with spaces between them.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use drawbridge_wire::{ManifestObject, ObjectName, Sha256Digest, VaultRepository};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::state_file;

const FOLDER: &str = "journal";
const HEADER: &str = "drawbridge journal 2";

/// How many acknowledgements a power failure may cost: at 16 MiB each about 1 GiB that crosses again.
const SYNC_EVERY: u32 = 64;

/// How much of a line's checksum is kept, in bytes. It guards against disks, not against people.
const CHECK_BYTES: usize = 8;

/// The journal can't be read or written.
#[derive(Debug, Error)]
#[error("cannot {action} the journal of acknowledged objects, {}", path.display())]
pub struct JournalError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// What one line says.
type Entry = (ObjectName, Sha256Digest);

/// The objects that a vault repository holds as far as the gate has said so.
#[derive(Debug)]
pub struct Journal {
    repository: VaultRepository,
    folder: PathBuf,
    acknowledged: HashSet<Entry>,
    file: File,
    /// The length of its whole lines, in bytes.
    whole: u64,
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
        let (acknowledged, whole) = match understood {
            Some(understood) => understood,
            None => (HashSet::new(), begin(&folder, repository, &HashSet::new()).map_err(failed("begin"))?),
        };
        let file = append_to(&path, whole).map_err(failed("open"))?;
        Ok(Self { repository: repository.clone(), folder, acknowledged, file, whole, unsynced: 0, began_anew })
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
        if self.acknowledged.contains(&entry) {
            return Ok(());
        }
        // One write call a line, so that lines don't mix and at most the last is torn.
        let line = line(&self.repository, &entry);
        if let Err(source) = self.file.write_all(line.as_bytes()) {
            // The next line must not continue half a line. Should this fail as well, opening it again cuts it off.
            let _torn = self.file.set_len(self.whole);
            return Err(self.failed("write", source));
        }
        self.whole += line.len() as u64;
        self.acknowledged.insert(entry);
        self.unsynced += 1;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
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

    /// Takes back what was noted of `missing`, so that it crosses again: the vault has lost it. How many it was noted of.
    ///
    /// # Errors
    /// When the journal can't be written; it is the old one then.
    pub fn take_back(&mut self, missing: &[ObjectName]) -> Result<usize, JournalError> {
        let missing: HashSet<&ObjectName> = missing.iter().collect();
        self.keep(|name| !missing.contains(name))
    }

    /// Forgets everything, so that everything crosses again: the vault is not as it was acknowledged. How much it was.
    ///
    /// # Errors
    /// When the journal can't be written; it is the old one then.
    pub fn forget(&mut self) -> Result<usize, JournalError> {
        self.keep(|_| false)
    }

    fn keep(&mut self, wanted: impl Fn(&ObjectName) -> bool) -> Result<usize, JournalError> {
        let kept: HashSet<Entry> = self.acknowledged.iter().filter(|(name, _)| wanted(name)).copied().collect();
        let gone = self.acknowledged.len() - kept.len();
        let rewritten = begin(&self.folder, &self.repository, &kept)
            .and_then(|whole| Ok((whole, append_to(&self.path(), whole)?)))
            .map_err(|source| self.failed("take lines out of", source))?;
        ((self.whole, self.file), self.acknowledged, self.unsynced) = (rewritten, kept, 0);
        Ok(gone)
    }

    fn path(&self) -> PathBuf {
        self.folder.join(self.repository.as_str())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> JournalError {
        JournalError { action, path: self.path(), source }
    }
}

/// Removes the journal of `repository`, if there is one: nothing will cross into it any more.
///
/// # Errors
/// When it can't be removed.
pub fn remove(state_dir: &Path, repository: &VaultRepository) -> Result<(), JournalError> {
    let path = state_dir.join(FOLDER).join(repository.as_str());
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(JournalError { action: "remove", path, source: error })
        }
        _ => Ok(()),
    }
}

/// Replaces the journal of `repository` by one with these entries; its length in bytes.
fn begin(folder: &Path, repository: &VaultRepository, entries: &HashSet<Entry>) -> io::Result<u64> {
    let mut text = format!("{}\n", header(repository));
    text.extend(entries.iter().map(|entry| line(repository, entry)));
    state_file::replace(folder, repository.as_str(), text.as_bytes())?;
    Ok(text.len() as u64)
}

/// Opens a journal to write on after `whole` bytes.
fn append_to(path: &Path, whole: u64) -> io::Result<File> {
    let file = OpenOptions::new().append(true).mode(0o600).open(path)?;
    if file.metadata()?.len() != whole {
        file.set_len(whole)?;
    }
    Ok(file)
}

fn header(repository: &VaultRepository) -> String {
    format!("{HEADER} {repository}")
}

fn line(repository: &VaultRepository, (name, digest): &Entry) -> String {
    let sum = Sha256::digest(format!("{repository} {name} {digest}"));
    format!("{name} {digest} {}\n", hex::encode(sum.get(..CHECK_BYTES).unwrap_or_default()))
}

type Understood = (HashSet<Entry>, u64);

/// The entries of a journal and the length of its whole lines; `None` when it isn't the journal of `repository`.
fn understand(content: &[u8], repository: &VaultRepository) -> Option<Understood> {
    let end = content.iter().rposition(|byte| *byte == b'\n')? + 1;
    let text = std::str::from_utf8(content.get(..end)?).ok()?;
    let mut lines = text.split_inclusive('\n');
    if lines.next()?.strip_suffix('\n')? != header(repository) {
        return None;
    }
    let entries = lines.map(|said| {
        let mut words = said.split(' ');
        let entry = (words.next()?.parse::<ObjectName>().ok()?, words.next()?.parse::<Sha256Digest>().ok()?);
        (line(repository, &entry) == said).then_some(entry)
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
        journal.path()
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
        let last = whole.len() - line(&vault(OURS), &(object(2).name(), object(2).digest())).len();
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
        let zeros = line(&vault("2026-12-0123456789abcdef"), &(object(1).name(), object(1).digest()));
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
    fn every_flipped_bit_but_in_a_torn_end_makes_the_journal_begin_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            for bit in [0, 4, 7] {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                fs::write(&path, &flipped).unwrap();
                let journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
                // Without its newline the last line is a torn one, and only that is lost.
                let torn = at == whole.len() - 1 && !journal.began_anew();
                assert!(journal.is_empty() || torn && !holds(&journal, &object(2)), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_taken_back_crosses_again_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let mut journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
        assert_eq!(journal.take_back(&[object(1).name(), object(3).name()]).unwrap(), 1);
        journal.acknowledge(&object(4)).unwrap();
        for journal in [journal, Journal::open(dir.path(), &vault(OURS)).unwrap()] {
            assert!(!holds(&journal, &object(1)) && holds(&journal, &object(2)) && holds(&journal, &object(4)));
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_forgotten_journal_holds_nothing_and_works() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path());
        let mut journal = Journal::open(dir.path(), &vault(OURS)).unwrap();
        assert_eq!(journal.forget().unwrap(), 2);
        assert!(journal.is_empty() && Journal::open(dir.path(), &vault(OURS)).unwrap().is_empty());
        journal.acknowledge(&object(1)).unwrap();
        assert!(holds(&Journal::open(dir.path(), &vault(OURS)).unwrap(), &object(1)));
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
