//! Where gathering keeps things: folders of the agent's own, below its state folder.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use crate::GatherError;
use crate::catalogue::{Catalogue, CatalogueError};
use crate::mirror::MirrorDir;

/// Which boot of this machine this is. Source: proc(5).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The state folder, as gathering sees it.
#[derive(Debug, Clone)]
pub struct Site {
    state_dir: PathBuf,
}

impl Site {
    /// `state_dir` must be there, for the agent's user alone.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    pub(crate) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What was gathered, one folder a source.
    #[must_use]
    pub fn mirror(&self) -> PathBuf {
        self.state_dir.join("mirror")
    }

    /// What the source said of what its folder in the mirror holds; none before it was first gathered.
    ///
    /// # Errors
    /// When it can't be read, or is damaged.
    pub fn catalogue(&self, source: &str) -> Result<Option<Catalogue>, CatalogueError> {
        Catalogue::open(&self.catalogue_path(source))
    }

    pub(crate) fn catalogue_path(&self, source: &str) -> PathBuf {
        self.catalogues().join(source)
    }

    fn catalogues(&self) -> PathBuf {
        self.state_dir.join("catalogue")
    }

    /// Where the files of `source` grow: beside the mirror, so that the mirror never holds a part of a file, and on the same
    /// file system, so that they can be renamed into it.
    pub(crate) fn staging(&self, source: &str) -> PathBuf {
        self.state_dir.join("mirror.tmp").join(source)
    }

    /// Where copies of `source` are that didn't pass its checks.
    #[must_use]
    pub fn aside(&self, source: &str) -> PathBuf {
        self.state_dir.join("rejected").join(source)
    }

    /// Makes the folders that are missing.
    pub(crate) fn prepare(&self) -> Result<(), GatherError> {
        for path in [self.mirror(), self.catalogues(), self.state_dir.join("mirror.tmp")] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|source| GatherError::Mirror { path, source })?;
        }
        Ok(())
    }

    /// Takes what is no source's out of the mirror, and says which that was. Earlier snapshots still have it.
    ///
    /// # Errors
    /// When the mirror can't be changed.
    pub fn forget_all_but(&self, sources: &[&str]) -> Result<Vec<String>, GatherError> {
        self.prepare()?;
        let mut forgotten = Vec::new();
        for path in [self.mirror(), self.catalogues(), self.state_dir.join("mirror.tmp")] {
            let failed = |source| GatherError::Mirror { path: path.clone(), source };
            let folder = MirrorDir::open_or_make(&path).map_err(failed)?;
            for name in folder.names().map_err(failed)? {
                if !sources.iter().any(|source| name == *source) && name != SETTLED {
                    folder.remove(&name).map_err(failed)?;
                    forgotten.push(name.to_string_lossy().into_owned());
                }
            }
        }
        forgotten.sort();
        forgotten.dedup();
        Ok(forgotten)
    }

    /// Waits until everything that was gathered is on the disk. Until this was done, what was fetched last is fetched again
    /// after this machine has gone down: its files might have lost their content.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn settle(&self) -> io::Result<()> {
        let mirror = std::fs::File::open(self.mirror())?;
        rustix::fs::syncfs(&mirror)?;
        let marker = std::fs::File::create(self.catalogues().join(SETTLED))?;
        marker.sync_all()
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.catalogues().join(SETTLED).exists()
    }

    /// Something is about to be fetched that isn't on the disk yet.
    pub(crate) fn unsettle(&self) -> io::Result<()> {
        match std::fs::remove_file(self.catalogues().join(SETTLED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => std::fs::File::open(self.catalogues())?.sync_all(),
        }
    }
}

/// Beside the catalogues when everything they speak of is on the disk. No source has a name with a dot.
const SETTLED: &str = ".settled";

/// Empty, which is no boot's id, where it can't be told.
pub(crate) fn boot_id() -> String {
    std::fs::read_to_string(BOOT_ID).map(|id| id.trim().to_owned()).unwrap_or_default()
}
