//! A tree in memory whose entries fail, lie or never end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::rc::Rc;

use bytes::Bytes;

use super::*;
use crate::room::Held;
use crate::tree::{Followed, Pace, Tree, TreeError, TreeFile};

/// What goes wrong with an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It may not be opened.
    Denied,
    /// The connection breaks when it is opened.
    Lost,
    /// It breaks off after its first byte.
    BreaksOff,
    /// The first time, the connection breaks when it is opened.
    LostOnce,
    /// It changes this many times while it is read.
    Changes(u32),
    /// It is gone when it is opened.
    Vanished,
    /// Its host breaks the rules when it is opened.
    Misbehaves,
    /// It is said to have four bytes, and after every reading one more.
    Grows,
    /// It is said to be larger than any disk.
    Giant,
}

#[derive(Clone)]
pub(super) struct Entry {
    kind: Kind,
    content: Vec<u8>,
    fault: Option<Fault>,
}

/// A tree in memory; every directory is named by its path with a slash at its end.
#[derive(Default)]
pub(super) struct FaultyTree {
    entries: BTreeMap<String, Entry>,
    changes: Rc<RefCell<u32>>,
    /// Every name is listed twice.
    twice: bool,
    /// How often it was read from its root.
    pub(super) attempts: RefCell<u32>,
    /// How many files were opened.
    pub(super) opened: RefCell<u32>,
}

impl FaultyTree {
    pub(super) fn with(mut self, path: &str, kind: Kind, content: &str, fault: Option<Fault>) -> Self {
        self.entries.insert(path.to_owned(), Entry { kind, content: content.into(), fault });
        self
    }

    pub(super) fn file(self, path: &str, content: &str) -> Self {
        self.with(path, Kind::File, content, None)
    }

    pub(super) fn bad_file(self, path: &str, content: &str, fault: Fault) -> Self {
        self.with(path, Kind::File, content, Some(fault))
    }

    pub(super) fn dir(self, path: &str) -> Self {
        self.with(path, Kind::Directory, "", None)
    }

    pub(super) fn listed_twice(self) -> Self {
        Self { twice: true, ..self }
    }

    fn find(&self, path: &str) -> Result<&Entry, TreeError> {
        self.entries.get(path).ok_or(TreeError::Entry(io::ErrorKind::NotFound.into()))
    }

    fn open(&self, path: &str) -> Result<&Entry, TreeError> {
        let entry = self.find(path)?;
        match entry.fault {
            Some(Fault::Denied) => Err(TreeError::Entry(io::ErrorKind::PermissionDenied.into())),
            Some(Fault::Lost) => Err(TreeError::Lost(io::ErrorKind::ConnectionReset.into())),
            Some(Fault::Vanished) => Err(TreeError::Entry(io::ErrorKind::NotFound.into())),
            Some(Fault::Misbehaves) => Err(TreeError::Misbehaves(io::ErrorKind::InvalidData.into())),
            _ => Ok(entry),
        }
    }
}

fn meta(entry: &Entry, seconds: i64) -> Meta {
    // Somebody's own, so that only root has to change owners.
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let size = match entry.fault {
        Some(Fault::Grows) => 4,
        Some(Fault::Giant) => 1 << 60,
        _ => u64::try_from(entry.content.len()).unwrap(),
    };
    Meta { kind: entry.kind, size, allocated: None, mode: 0o755, uid, gid, mtime: Mtime { seconds, nanoseconds: 0 } }
}

fn join(dir: &str, name: &OsStr) -> String {
    format!("{dir}{}", name.to_str().unwrap())
}

impl Tree for FaultyTree {
    type Dir = String;
    type File = FaultyFile;

    fn pace(&self) -> Pace {
        Pace { files: 3, folders: 2 }
    }

    async fn root(&self) -> Result<(String, Meta), TreeError> {
        *self.attempts.borrow_mut() += 1;
        Ok(("/".to_owned(), meta(&Entry { kind: Kind::Directory, content: Vec::new(), fault: None }, 1)))
    }

    async fn stat(&self, dir: &String, name: &OsStr) -> Result<Meta, TreeError> {
        self.find(&join(dir, name)).map(|entry| meta(entry, 1))
    }

    async fn open_dir(&self, dir: &String, name: &OsStr) -> Result<String, TreeError> {
        self.open(&join(dir, name)).map(|_| join(dir, name) + "/")
    }

    async fn list(&self, dir: &String, _: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let named = |(path, entry): (&String, &Entry)| {
            let name = path.strip_prefix(dir.as_str())?;
            // One level, but for names that only a liar has.
            (!name.contains('/') || name.starts_with("../")).then(|| (OsString::from(name), meta(entry, 1)))
        };
        let once: Vec<_> = self.entries.iter().filter_map(named).collect();
        Ok(if self.twice { [once.clone(), once].concat() } else { once })
    }

    async fn read_link(&self, dir: &String, name: &OsStr) -> Result<OsString, TreeError> {
        self.open(&join(dir, name)).map(|entry| OsString::from(String::from_utf8(entry.content.clone()).unwrap()))
    }

    async fn open_file(&self, dir: &String, name: &OsStr) -> Result<FaultyFile, TreeError> {
        let entry = self.open(&join(dir, name))?.clone();
        if entry.fault == Some(Fault::LostOnce) && *self.changes.borrow() == 0 {
            *self.changes.borrow_mut() = 1;
            return Err(TreeError::Lost(io::ErrorKind::ConnectionReset.into()));
        }
        *self.opened.borrow_mut() += 1;
        Ok(FaultyFile { entry, at: 0, to: 0, changes: Rc::clone(&self.changes) })
    }

    async fn follow(&self, _: &String, _: &OsStr) -> Result<Followed, TreeError> {
        Ok(Followed::Special)
    }
}

pub(super) struct FaultyFile {
    entry: Entry,
    at: usize,
    to: usize,
    changes: Rc<RefCell<u32>>,
}

impl TreeFile for FaultyFile {
    fn read(&mut self, from: u64, to: u64) {
        (self.at, self.to) = (usize::try_from(from).unwrap(), usize::try_from(to).unwrap());
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        let mut changes = self.changes.borrow_mut();
        match self.entry.fault {
            Some(Fault::BreaksOff) if self.at > 0 => return Err(TreeError::Entry(io::ErrorKind::UnexpectedEof.into())),
            Some(Fault::BreaksOff) => {
                self.at = 1;
                return Ok(Some(Bytes::from_static(b"?")));
            }
            Some(Fault::Changes(times)) if *changes < times && self.at < self.to => *changes += 1,
            _ => {}
        }
        let end = self.to.min(self.entry.content.len());
        let chunk = self.entry.content.get(self.at..end).unwrap_or_default().to_vec();
        self.at = end;
        Ok(if chunk.is_empty() { None } else { Some(Bytes::from(chunk)) })
    }

    async fn after(&mut self) -> Result<Meta, TreeError> {
        let meta = meta(&self.entry, 1 + i64::from(*self.changes.borrow()));
        Ok(Meta { size: meta.size + u64::from(self.entry.fault == Some(Fault::Grows)), ..meta })
    }
}
