use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{CatalogueError, Folder, Header, MAGIC, MAX_BLOCK_BYTES, Totals, checksum};

/// A catalogue that is being written, under a name of its own until it is complete.
pub(crate) struct CatalogueWriter {
    path: PathBuf,
    draft: PathBuf,
    file: BufWriter<File>,
    totals: Totals,
}

impl CatalogueWriter {
    /// Begins the catalogue `path`; an unfinished one gives way.
    pub(crate) fn begin(path: &Path, header: &Header) -> Result<Self, CatalogueError> {
        let draft = path.with_extension("new");
        let mut options = OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let file = BufWriter::new(opened.map_err(failed(&draft))?);
        let mut writer = Self { path: path.to_owned(), draft, file, totals: Totals::default() };
        writer.file.write_all(MAGIC).map_err(failed(&writer.draft))?;
        writer.block(header)?;
        Ok(writer)
    }

    pub(crate) fn add(&mut self, folder: &Folder) -> Result<(), CatalogueError> {
        self.totals.add(folder);
        self.block(folder)
    }

    /// Completes it, still under its own name. Only what [`Draft::take_name`] names is ever read as a catalogue.
    pub(crate) fn finish(mut self) -> Result<Draft, CatalogueError> {
        let end = self.file.write_all(&0_u32.to_le_bytes());
        end.map_err(failed(&self.draft))?;
        let totals = self.totals;
        self.block(&totals)?;
        let Self { path, draft, mut file, .. } = self;
        file.flush().map_err(failed(&draft))?;
        Ok(Draft { path, draft })
    }

    fn block(&mut self, value: &impl Serialize) -> Result<(), CatalogueError> {
        let bytes = postcard::to_stdvec(value)
            .map_err(|error| CatalogueError::Io { path: self.draft.clone(), source: io::Error::other(error) })?;
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_BLOCK_BYTES);
        let length = length.ok_or_else(|| CatalogueError::Io {
            path: self.draft.clone(),
            source: io::Error::other("a folder is too large for it"),
        })?;
        let mut write = || {
            self.file.write_all(&length.to_le_bytes())?;
            self.file.write_all(&checksum(&bytes))?;
            self.file.write_all(&bytes)
        };
        write().map_err(failed(&self.draft))
    }
}

/// A complete catalogue that hasn't taken its name yet.
pub(crate) struct Draft {
    path: PathBuf,
    draft: PathBuf,
}

impl Draft {
    /// Where it is until then.
    pub(crate) fn still_at(&self) -> &Path {
        &self.draft
    }

    /// Replaces the last catalogue.
    pub(crate) fn take_name(self) -> Result<(), CatalogueError> {
        std::fs::rename(&self.draft, &self.path).map_err(failed(&self.path))
    }
}

fn failed(path: &Path) -> impl Fn(io::Error) -> CatalogueError + use<> {
    let path = path.to_owned();
    move |source| CatalogueError::Io { path: path.clone(), source }
}
