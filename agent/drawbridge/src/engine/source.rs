//! The mirror as a source for `rustic_core`.
//!
//! rustic's own local source drops what it cannot read with a log line, and hides what a global `.gitignore` names inside a mirrored
//! work tree. This one hides nothing but what gather keeps for itself, and writes down every file that it fails to deliver. It
//! leaves out what says nothing about the source: inode, device, link count, the times at which the mirror was touched. Owners, modes
//! and times are those that the source host stated, from the catalogue: an agent that isn't root can't give them to the mirror's
//! files.
//! The change time is kept for files, because it tells a rewritten file of the same size and time; for folders it
//! would make a new tree of every folder that gather has visited.

use std::fs::{self, File, Metadata as FileMetadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use drawbridge_gather::{Kind, Meta};
use rustic_core::jiff::Timestamp;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{ErrorKind, ReadSource, ReadSourceEntry, ReadSourceOpen, RusticError, RusticResult};
use walkdir::WalkDir;

use crate::gather::{Origins, in_one_line};

/// Something in the mirror that did not get into the snapshot, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// The file, as an absolute path in the mirror.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// How much a mirror holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MirrorSize {
    /// Files and symlinks.
    pub files: u64,
    /// Bytes in regular files.
    pub bytes: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Problems(Arc<Mutex<Vec<Dropped>>>);

impl Problems {
    fn add(&self, path: &Path, reason: impl ToString) {
        let dropped = Dropped { path: path.to_path_buf(), reason: reason.to_string() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(dropped);
    }

    pub(super) fn take(&self) -> Vec<Dropped> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A mirror to back up.
pub(super) struct MirrorSource {
    root: PathBuf,
    origins: Arc<Mutex<Origins>>,
    pub(super) problems: Problems,
}

impl MirrorSource {
    pub(super) fn new(root: &Path, origins: Origins) -> Self {
        let origins = Arc::new(Mutex::new(origins));
        Self { root: root.to_path_buf(), origins, problems: Problems::default() }
    }
}

/// Counts what a backup of the mirror at `root` has to deliver.
///
/// # Errors
/// When a folder or file can't be looked at; nothing is left out silently.
pub fn measure(root: &Path) -> io::Result<MirrorSize> {
    let mut size = MirrorSize::default();
    for entry in walk(root) {
        let meta = entry?.metadata()?;
        if !meta.is_dir() {
            size.files += 1;
        }
        if meta.is_file() {
            size.bytes += meta.len();
        }
    }
    Ok(size)
}

/// Every entry below `root`, sorted by name as restic sorts a tree, without gather's own working folders: sources never begin with a dot.
pub(crate) fn walk(root: &Path) -> impl Iterator<Item = walkdir::Result<walkdir::DirEntry>> + Send + use<> {
    WalkDir::new(root)
        .min_depth(1)
        .follow_links(false)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() != 1 || !entry.file_name().as_encoded_bytes().starts_with(b"."))
}

impl ReadSource for MirrorSource {
    type Open = MirrorFile;
    type Iter = Box<dyn Iterator<Item = RusticResult<ReadSourceEntry<MirrorFile>>> + Send>;

    fn size(&self) -> RusticResult<Option<u64>> {
        // Measured beforehand, by whoever shows the progress.
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let problems = self.problems.clone();
        let (root, origins) = (self.root.clone(), Arc::clone(&self.origins));
        Box::new(walk(&self.root).filter_map(move |entry| match entry {
            Ok(entry) => match describe(entry.path(), &root, &origins, &problems) {
                Ok(entry) => Some(Ok(entry)),
                Err(error) => {
                    problems.add(entry.path(), error);
                    None
                }
            },
            Err(error) => {
                problems.add(error.path().unwrap_or(&root), &error);
                None
            }
        }))
    }
}

fn describe(
    path: &Path,
    root: &Path,
    origins: &Mutex<Origins>,
    problems: &Problems,
) -> io::Result<ReadSourceEntry<MirrorFile>> {
    let meta = fs::symlink_metadata(path)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let (node_type, open) = if meta.is_dir() {
        (NodeType::Dir, None)
    } else if meta.is_symlink() {
        (NodeType::from_link(&fs::read_link(path)?), None)
    } else if meta.is_file() {
        let file = MirrorFile { path: path.to_path_buf(), size: meta.len(), problems: problems.clone() };
        (NodeType::File, Some(file))
    } else {
        return Err(io::Error::other("it is neither a file, a folder nor a symlink"));
    };
    let mut origins = origins.lock().unwrap_or_else(PoisonError::into_inner);
    let stated = origins.of(path.strip_prefix(root).unwrap_or(path));
    let stated = stated.map_err(|error| io::Error::other(in_one_line(&error)))?;
    // What the catalogue calls by another kind isn't what lies here: a command or a person has changed the mirror.
    let stated = stated.filter(|stated| match stated.kind {
        Kind::Directory => meta.is_dir(),
        Kind::Symlink => meta.is_symlink(),
        Kind::File => meta.is_file(),
        Kind::Special => false,
    });
    let node = Node::new_node(name, node_type, metadata(&meta, stated.as_ref()));
    Ok(ReadSourceEntry { path: path.to_path_buf(), node, open })
}

fn metadata(meta: &FileMetadata, stated: Option<&Meta>) -> Metadata {
    let time = |seconds, nanoseconds| Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default()).ok();
    let mtime = match stated {
        Some(stated) => time(stated.mtime.seconds, stated.mtime.nanoseconds),
        None => time(meta.mtime(), meta.mtime_nsec()),
    };
    let bits = stated.map_or_else(|| meta.permissions().mode(), |stated| stated.mode);
    Metadata {
        mode: Some(go_mode(meta, bits)),
        mtime,
        // restic restores the access time; the mirror's own would say when gather read it.
        atime: mtime,
        ctime: meta.is_file().then(|| time(meta.ctime(), meta.ctime_nsec())).flatten(),
        uid: Some(stated.map_or_else(|| meta.uid(), |stated| stated.uid)),
        gid: Some(stated.map_or_else(|| meta.gid(), |stated| stated.gid)),
        size: if meta.is_file() { meta.len() } else { 0 },
        ..Metadata::default()
    }
}

/// restic keeps modes as Go's `io/fs.FileMode`: nine permission bits as in Unix, the rest elsewhere.
/// Source: <https://pkg.go.dev/io/fs#FileMode>.
fn go_mode(meta: &FileMetadata, mode: u32) -> u32 {
    let (dir, symlink, setuid, setgid, sticky) = (1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20);
    let flag = |set: bool, bit: u32| if set { bit } else { 0 };
    (mode & 0o777)
        | flag(meta.is_dir(), dir)
        | flag(meta.is_symlink(), symlink)
        | flag(mode & 0o4000 != 0, setuid)
        | flag(mode & 0o2000 != 0, setgid)
        | flag(mode & 0o1000 != 0, sticky)
}

/// A regular file of the mirror, not yet open.
#[derive(Debug)]
pub(super) struct MirrorFile {
    path: PathBuf,
    size: u64,
    problems: Problems,
}

impl ReadSourceOpen for MirrorFile {
    type Reader = MirrorReader;

    fn open(self) -> RusticResult<Self::Reader> {
        match File::open(&self.path) {
            Ok(file) => Ok(MirrorReader { file, path: self.path, remaining: self.size, problems: self.problems }),
            Err(error) => {
                self.problems.add(&self.path, &error);
                Err(RusticError::with_source(ErrorKind::InputOutput, "Failed to open a file of the mirror.", error))
            }
        }
    }
}

/// Delivers exactly the bytes that the file had when it was listed, or says that it couldn't.
#[derive(Debug)]
pub(super) struct MirrorReader {
    file: File,
    path: PathBuf,
    remaining: u64,
    problems: Problems,
}

impl Read for MirrorReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let most = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(buffer.len());
        let read = buffer.get_mut(..most).map_or(Ok(0), |buffer| self.file.read(buffer));
        match read {
            Ok(0) => {
                let error = io::Error::other("it became shorter while it was backed up");
                self.problems.add(&self.path, &error);
                Err(error)
            }
            Ok(count) => {
                self.remaining = self.remaining.saturating_sub(count as u64);
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                self.problems.add(&self.path, &error);
                Err(error)
            }
        }
    }
}
