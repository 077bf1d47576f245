//! The catalogue: what a source's mirror holds, and what the source said of it. One file a source.
//!
//! Invariants:
//! - the file has its name only when it is complete; a part of one is never read as a whole;
//! - every block carries a checksum. A damaged catalogue is none: everything is fetched again, nothing is taken for unchanged;
//! - nothing here waits for the disk: what a machine that went down has left of it, [`crate::Site::settle`] makes harmless;
//! - it says which place it is of; under another host or user it says nothing;
//! - memory is bounded by the largest folder: blocks are read one at a time.
//!
//! Layout: `MAGIC`, then blocks, each a length (u32, little-endian), the first eight bytes of its SHA-256, and a `postcard`
//! value: a [`Header`], then one [`Folder`] for each folder, then, of length zero, nothing; last a [`Totals`].

mod below;
mod origins;
mod read;
mod write;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use below::Below;
pub use origins::Origins;
pub use read::Catalogue;
pub(crate) use write::{CatalogueWriter, Draft};

#[doc(hidden)]
pub use read::fuzz_block;

use crate::tree::{Kind, Meta};

/// How every catalogue begins; the digit is the layout's version.
const MAGIC: &[u8; 8] = b"DBRIDGE1";

/// The largest block, in bytes: a folder of a million entries with long names takes some 100 MB.
const MAX_BLOCK_BYTES: u32 = 256 * 1024 * 1024;

const CHECKSUM_BYTES: usize = 8;

/// What a catalogue is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The place, in words: the host and the user.
    pub(crate) place: String,
    /// What the source said of `/`.
    pub(crate) root: Meta,
    /// Which boot of this machine wrote it.
    pub(crate) boot: String,
}

/// A folder and what it holds, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folder {
    #[serde(with = "os_string")]
    path: OsString,
    pub(crate) entries: Vec<Entry>,
}

/// What is known of one entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name.
    #[serde(with = "os_string")]
    pub name: OsString,
    /// What the source says of it.
    pub meta: Meta,
    /// For a symbolic link, what it says.
    #[serde(with = "os_string")]
    pub link: OsString,
    /// It changed so shortly before it was read that another change might bear the same time: it is read again.
    pub(crate) fresh: bool,
    /// It was fetched by the gathering that wrote this catalogue.
    pub(crate) fetched: bool,
}

/// What a catalogue holds in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Why a catalogue can't be used.
#[derive(Debug, Error)]
pub enum CatalogueError {
    /// Reading or writing failed.
    #[error("the catalogue {} can't be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It isn't what was written.
    #[error("the catalogue {} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        why: &'static str,
    },
}

impl Folder {
    /// Sorts `entries`.
    pub(crate) fn new(path: &Path, mut entries: Vec<Entry>) -> Self {
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self { path: path.as_os_str().to_owned(), entries }
    }

    /// Its path in the source, absolute.
    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    pub(crate) fn get(&self, name: &OsStr) -> Option<&Entry> {
        let index = self.entries.binary_search_by(|entry| entry.name.as_os_str().cmp(name)).ok()?;
        self.entries.get(index)
    }
}

impl Totals {
    fn add(&mut self, folder: &Folder) {
        for entry in folder.entries.iter().filter(|entry| entry.meta.kind == Kind::File) {
            self.files += 1;
            self.bytes = self.bytes.saturating_add(entry.meta.size);
        }
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    for (to, from) in sum.iter_mut().zip(Sha256::digest(bytes)) {
        *to = from;
    }
    sum
}

/// Names are bytes, whatever they mean.
mod os_string {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::{OsStr, OsStrExt, OsString, OsStringExt};

    pub(super) fn serialize<S: Serializer>(text: &OsStr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(text.as_bytes())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<OsString, D::Error> {
        <&[u8]>::deserialize(deserializer).map(|bytes| OsString::from_vec(bytes.to_vec()))
    }
}

#[cfg(test)]
mod tests;
