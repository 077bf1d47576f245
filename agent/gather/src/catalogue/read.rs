use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::{CHECKSUM_BYTES, CatalogueError, Entry, Folder, Header, MAGIC, MAX_BLOCK_BYTES, Totals, checksum};
use crate::key::PathKey;
use crate::tree::Meta;

/// A complete catalogue. Its folders are read when they are asked for.
pub struct Catalogue {
    path: PathBuf,
    file: File,
    pub(crate) header: Header,
    pub(crate) totals: Totals,
    /// Where each folder's block begins, sorted by the folder: paths themselves would take as much memory as a host likes.
    folders: Vec<(PathKey, u64)>,
    /// The folders in the order in which they were written.
    order: Vec<u64>,
    /// The folder that was asked for last: the next question is mostly about it.
    last: Option<Arc<Folder>>,
}

impl Catalogue {
    /// The catalogue at `path`; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and can't be read, or isn't what was written.
    pub fn open(path: &Path) -> Result<Option<Self>, CatalogueError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CatalogueError::Io { path: path.to_owned(), source }),
        };
        let mut scan = Scan { path, file: io::BufReader::with_capacity(1 << 20, &file), at: 0 };
        scan.magic()?;
        let header: Header = scan.value()?.ok_or_else(|| scan.damaged("it has no beginning"))?;
        let (mut folders, mut order, mut totals) = (Vec::new(), Vec::new(), Totals::default());
        loop {
            let begins = scan.at;
            let Some(folder) = scan.value::<Folder>()? else { break };
            totals.add(&folder);
            order.push(begins);
            folders.push((PathKey::of(folder.path()), begins));
        }
        folders.sort_unstable();
        if scan.value::<Totals>()? != Some(totals) || !scan.is_at_end()? {
            return Err(scan.damaged("it has another end than it should"));
        }
        Ok(Some(Self { path: path.to_owned(), file, header, totals, folders, order, last: None }))
    }

    /// What it says of the folder `path`, absolute in the source.
    pub(crate) fn folder(&mut self, path: &Path) -> Result<Option<Arc<Folder>>, CatalogueError> {
        if let Some(last) = self.last.as_ref().filter(|last| last.path() == path) {
            return Ok(Some(Arc::clone(last)));
        }
        let key = PathKey::of(path);
        let found = self.folders.binary_search_by_key(&key, |(folder, _)| *folder);
        let Some((_, at)) = found.ok().and_then(|index| self.folders.get(index)) else { return Ok(None) };
        let folder = Arc::new(self.at(*at)?);
        self.last = Some(Arc::clone(&folder));
        Ok(Some(folder))
    }

    /// What it says of the entry at `path`, absolute in the source, and not `/`.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn entry(&mut self, path: &Path) -> Result<Option<Entry>, CatalogueError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
        Ok(self.folder(parent)?.and_then(|folder| folder.get(OsStr::new(name)).cloned()))
    }

    /// What the source said of `/`.
    #[must_use]
    pub const fn root(&self) -> &Meta {
        &self.header.root
    }

    /// All folders, in the order in which they were written.
    pub(crate) fn folders(&self) -> impl Iterator<Item = Result<Folder, CatalogueError>> + '_ {
        self.order.iter().map(|at| self.at(*at))
    }

    fn at(&self, at: u64) -> Result<Folder, CatalogueError> {
        let failed = |source| CatalogueError::Io { path: self.path.clone(), source };
        let damaged = |why| CatalogueError::Damaged { path: self.path.clone(), why };
        let mut head = [0; 4 + CHECKSUM_BYTES];
        self.file.read_exact_at(&mut head, at).map_err(failed)?;
        let (length, sum) = split_head(&head);
        if length > MAX_BLOCK_BYTES {
            return Err(damaged("a block is too long"));
        }
        let mut bytes = vec![0; length as usize];
        self.file.read_exact_at(&mut bytes, at + head.len() as u64).map_err(failed)?;
        value(&bytes, sum).map_err(damaged)
    }
}

/// Reads a catalogue from its beginning to its end.
struct Scan<'a> {
    path: &'a Path,
    file: io::BufReader<&'a File>,
    at: u64,
}

impl Scan<'_> {
    fn magic(&mut self) -> Result<(), CatalogueError> {
        let mut magic = [0; MAGIC.len()];
        self.exactly(&mut magic)?;
        if &magic == MAGIC { Ok(()) } else { Err(self.damaged("it doesn't begin as catalogues do")) }
    }

    /// The next value; `None` for a block of length zero.
    fn value<V: DeserializeOwned>(&mut self) -> Result<Option<V>, CatalogueError> {
        let mut length = [0; 4];
        self.exactly(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            return Ok(None);
        }
        if length > MAX_BLOCK_BYTES || u64::from(length) > self.left()? {
            return Err(self.damaged("a block is too long"));
        }
        let mut sum = [0; CHECKSUM_BYTES];
        self.exactly(&mut sum)?;
        let mut bytes = vec![0; length as usize];
        self.exactly(&mut bytes)?;
        value(&bytes, sum).map(Some).map_err(|why| self.damaged(why))
    }

    fn exactly(&mut self, bytes: &mut [u8]) -> Result<(), CatalogueError> {
        self.at += bytes.len() as u64;
        self.file.read_exact(bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.damaged("it is cut off"),
            _ => CatalogueError::Io { path: self.path.to_owned(), source: error },
        })
    }

    /// Nothing is allocated for bytes that aren't there.
    fn left(&mut self) -> Result<u64, CatalogueError> {
        let failed = |source| CatalogueError::Io { path: self.path.to_owned(), source };
        Ok(self.file.get_ref().metadata().map_err(failed)?.len().saturating_sub(self.at))
    }

    fn is_at_end(&mut self) -> Result<bool, CatalogueError> {
        let at = self.file.stream_position();
        let at = at.map_err(|source| CatalogueError::Io { path: self.path.to_owned(), source })?;
        Ok(at == self.at && self.left()? == 0)
    }

    fn damaged(&self, why: &'static str) -> CatalogueError {
        CatalogueError::Damaged { path: self.path.to_owned(), why }
    }
}

fn split_head(head: &[u8; 4 + CHECKSUM_BYTES]) -> (u32, [u8; CHECKSUM_BYTES]) {
    let (mut length, mut sum) = ([0; 4], [0; CHECKSUM_BYTES]);
    let (first, rest) = head.split_at(4);
    length.copy_from_slice(first);
    sum.copy_from_slice(rest);
    (u32::from_le_bytes(length), sum)
}

fn value<V: DeserializeOwned>(bytes: &[u8], sum: [u8; CHECKSUM_BYTES]) -> Result<V, &'static str> {
    if checksum(bytes) != sum {
        return Err("a checksum is wrong");
    }
    decode(bytes)
}

fn decode<V: DeserializeOwned>(bytes: &[u8]) -> Result<V, &'static str> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        _ => Err("a block can't be understood"),
    }
}

/// For the fuzzer, which can't guess checksums: what stands in a block.
#[must_use]
pub fn fuzz_block(bytes: &[u8]) -> bool {
    decode::<Folder>(bytes).is_ok() | decode::<Header>(bytes).is_ok()
}
