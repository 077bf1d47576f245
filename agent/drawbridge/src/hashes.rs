//! What the mirror's files were when a snapshot was made: `state_dir/hashes/<snapshot>`, against which a drill holds what a restore gives.
//!
//! The hashes are of the mirror's own files, read once more after the backup by nothing of the engine's. A file that is unchanged since the
//! last record, by size and both times, keeps the hash that it had there: what rots in the mirror itself must not pass for what was gathered.
//!
//! Invariants:
//! - a record is believed only whole: its last line is the SHA-256 of all before it;
//! - it is bounded: up to [`MAX_FILES`] files of a snapshot, drawn at random from more, and the newest [`MAX_RECORDS`] snapshots.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use drawbridge_wire::Sha256Digest;
use rand::seq::IteratorRandom;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::repositories_below;
use crate::digest::sha256_of;
use crate::engine::walk;
use crate::state_file;

/// How many files of a snapshot are recorded; each takes about 250 bytes on the disk.
pub const MAX_FILES: usize = 20_000;

/// How many snapshots' records are kept.
pub const MAX_RECORDS: usize = 32;

/// The largest record, in bytes: every path as long as it may be, in hex.
const MAX_RECORD_BYTES: u64 = 256 * 1024 * 1024;

const FOLDER: &str = "hashes";
const HEAD: &str = "drawbridge hashes 1";

/// A record can't be written or read.
#[derive(Debug, Error)]
pub enum HashesError {
    /// Reading or writing failed.
    #[error("the record of the mirror's hashes, {}, can't be read or written", path.display())]
    Io {
        /// The record, or the file of the mirror.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It isn't what this program writes.
    #[error("the record of the mirror's hashes, {}, is damaged, so nothing can be held against it: it may be removed, each run writes its own", .0.display())]
    Damaged(PathBuf),
}

/// A file of the mirror as it was when its snapshot was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `<source>/<path>`.
    pub path: PathBuf,
    /// Its content's SHA-256.
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub size: u64,
    /// When its content changed, and when the file did where it lies, in nanoseconds since 1970.
    times: (i128, i128),
}

/// Records the files of `mirror`, of which `snapshot`, 64 hex digits, was just made. Blocks.
///
/// # Errors
/// When a file can't be read, or the record not written.
pub fn record(state_dir: &Path, mirror: &Path, snapshot: &str) -> Result<(), HashesError> {
    let folder = state_dir.join(FOLDER);
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| HashesError::Io { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
    let known: HashMap<PathBuf, Recorded> = match newest(&folder, |_| true).map_err(failed(&folder))?.first() {
        // A damaged record tells nothing, and everything is read again.
        Some(last) => {
            load(state_dir, last).unwrap_or_default().into_iter().map(|file| (file.path.clone(), file)).collect()
        }
        None => HashMap::new(),
    };
    // As the backup walks it: what gather keeps for itself is in no snapshot.
    let files = walk(mirror).filter_map(Result::ok).filter(|entry| entry.file_type().is_file());
    let mut chosen: Vec<PathBuf> = files.map(walkdir::DirEntry::into_path).sample(&mut rand::rng(), MAX_FILES);
    chosen.sort();
    let mut text = format!("{HEAD}\n");
    for path in chosen {
        let file = describe(&path, path.strip_prefix(mirror).unwrap_or(&path), &known).map_err(failed(&path))?;
        let (modified, changed) = file.times;
        // Writing to a String can't fail.
        let _infallible = writeln!(
            text,
            "{} {} {modified} {changed} {}",
            file.sha256,
            file.size,
            hex::encode(file.path.as_os_str().as_bytes())
        );
    }
    let _infallible = writeln!(text, "{}", hex::encode(Sha256::digest(text.as_bytes())));
    state_file::replace(&folder, snapshot, text.as_bytes()).map_err(failed(&folder.join(snapshot)))?;
    prune(state_dir, &folder).map_err(failed(&folder))
}

fn describe(path: &Path, name: &Path, known: &HashMap<PathBuf, Recorded>) -> io::Result<Recorded> {
    let meta = fs::symlink_metadata(path)?;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    let times = (time(meta.mtime(), meta.mtime_nsec()), time(meta.ctime(), meta.ctime_nsec()));
    match known.get(name).filter(|known| known.size == meta.len() && known.times == times) {
        Some(known) => Ok(known.clone()),
        None => Ok(Recorded { path: name.to_owned(), sha256: sha256_of(File::open(path)?)?, size: meta.len(), times }),
    }
}

/// Of `snapshots`, 64 hex digits each, those that have a record; the newest first.
///
/// # Errors
/// When the records can't be listed.
pub fn recorded(state_dir: &Path, snapshots: &[String]) -> Result<Vec<String>, HashesError> {
    let folder = state_dir.join(FOLDER);
    match newest(&folder, |name| snapshots.iter().any(|snapshot| snapshot == name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        found => found.map_err(|source| HashesError::Io { path: folder, source }),
    }
}

/// Reads a record.
///
/// # Errors
/// When it isn't there, or isn't whole.
pub fn load(state_dir: &Path, snapshot: &str) -> Result<Vec<Recorded>, HashesError> {
    let path = state_dir.join(FOLDER).join(snapshot);
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(MAX_RECORD_BYTES).read_to_string(&mut text));
    read.map_err(|source| HashesError::Io { path: path.clone(), source })?;
    parse(&text).ok_or(HashesError::Damaged(path))
}

fn parse(text: &str) -> Option<Vec<Recorded>> {
    let (all, sum) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let stated = hex::decode(sum).ok()?;
    if Sha256::digest(format!("{all}\n").as_bytes()).as_slice() != stated {
        return None;
    }
    let mut lines = all.lines();
    if lines.next()? != HEAD {
        return None;
    }
    lines.map(line).collect()
}

fn line(line: &str) -> Option<Recorded> {
    let mut parts = line.split(' ');
    let (sha256, size) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let times = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let path = PathBuf::from(OsString::from_vec(hex::decode(parts.next()?).ok()?));
    parts.next().is_none().then_some(Recorded { path, sha256, size, times })
}

/// The records that are `wanted`, by when they were written; the newest first.
fn newest(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.len() == 64 && wanted(&name) {
            found.push((entry.metadata()?.modified()?, name));
        }
    }
    found.sort();
    Ok(found.into_iter().rev().map(|(_, name)| name).collect())
}

/// Removes the records of snapshots that no repository here holds any more, and all but the newest.
fn prune(state_dir: &Path, folder: &Path) -> io::Result<()> {
    let mut repositories = Vec::new();
    for entry in fs::read_dir(repositories_below(state_dir))? {
        repositories.push(entry?.path().join("snapshots"));
    }
    let mut kept = 0;
    for name in newest(folder, |_| true)? {
        let is_there = repositories.iter().any(|snapshots| snapshots.join(&name).exists());
        if is_there && kept < MAX_RECORDS {
            kept += 1;
        } else {
            fs::remove_file(folder.join(name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::digest::sha256;

    /// A state folder with a mirror of two files, and a way to record them as a snapshot that a repository holds.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir_all(dir.path().join("mirror/dns/etc")).unwrap();
            fs::create_dir_all(dir.path().join("repository/0123456789abcdef/snapshots")).unwrap();
            fs::write(dir.path().join("mirror/dns/etc/hosts"), "one").unwrap();
            fs::write(dir.path().join("mirror/dns/etc/other"), "two").unwrap();
            // Gather's own.
            fs::create_dir(dir.path().join("mirror/.tmp")).unwrap();
            fs::write(dir.path().join("mirror/.tmp/half"), "half").unwrap();
            Self(dir)
        }

        fn record(&self, snapshot: &str) {
            fs::write(self.0.path().join("repository/0123456789abcdef/snapshots").join(snapshot), "").unwrap();
            record(self.0.path(), &self.0.path().join("mirror"), snapshot).unwrap();
        }

        fn hash_of(&self, snapshot: &str, name: &str) -> Sha256Digest {
            let files = load(self.0.path(), snapshot).unwrap();
            files.into_iter().find(|file| file.path.ends_with(name)).unwrap().sha256
        }
    }

    #[test]
    fn a_record_holds_every_file_with_its_hash_and_is_believed_only_whole() {
        let (place, id) = (Place::new(), "ab".repeat(32));
        place.record(&id);
        assert_eq!(load(place.0.path(), &id).unwrap().len(), 2);
        assert_eq!(place.hash_of(&id, "hosts"), sha256(b"one"));
        let path = place.0.path().join("hashes").join(&id);
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [whole.replacen('3', "4", 1), whole.lines().take(2).collect(), String::new()] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(load(place.0.path(), &id), Err(HashesError::Damaged(_))));
        }
    }

    #[test]
    fn what_rots_in_the_mirror_keeps_the_hash_that_it_had_and_what_changes_gets_another() {
        let (place, first, second) = (Place::new(), "ab".repeat(32), "cd".repeat(32));
        place.record(&first);
        // A change of which the file system knows nothing can't be made here; a record that says so can.
        let path = place.0.path().join("hashes").join(&first);
        let was = fs::read_to_string(&path).unwrap();
        let (one, rotten) = (sha256(b"one").to_string(), "00".repeat(32));
        let (all, _) = was.trim_end().rsplit_once('\n').unwrap();
        let all = format!("{}\n", all.replace(&one, &rotten));
        fs::write(&path, format!("{all}{}\n", hex::encode(Sha256::digest(all.as_bytes())))).unwrap();
        fs::write(place.0.path().join("mirror/dns/etc/other"), "changed").unwrap();
        place.record(&second);
        assert_eq!(place.hash_of(&second, "hosts").to_string(), rotten, "it was not read again");
        assert_eq!(place.hash_of(&second, "other"), sha256(b"changed"));
    }

    #[test]
    fn records_go_with_their_snapshots_and_beyond_the_newest() {
        let (place, gone) = (Place::new(), "ab".repeat(32));
        place.record(&gone);
        fs::remove_file(place.0.path().join("repository/0123456789abcdef/snapshots").join(&gone)).unwrap();
        let ids: Vec<String> = (0..MAX_RECORDS + 3).map(|number| format!("{number:064x}")).collect();
        ids.iter().for_each(|id| place.record(id));
        let left = recorded(place.0.path(), &[ids.clone(), vec![gone.clone()]].concat()).unwrap();
        assert_eq!(left.len(), MAX_RECORDS);
        assert!(!left.contains(&gone) && left.first() == ids.last());
    }
}
