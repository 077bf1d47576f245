//! The works that are measured: repositories that `rustic_core` wrote.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytesize::ByteSize;
use drawbridge::engine::LocalRepository;
use drawbridge::stock::Stock;
use drawbridge_peers::objects::ciphertext;
use drawbridge_wire::{Manifest, RepositoryId};
use rustic_backend::LocalBackend;
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, PathList, Repository, RepositoryBackends, RepositoryOptions,
    SnapshotOptions,
};

use crate::setting;

const PASSWORD: &str = "secret";
const MIB: usize = 1 << 20;

/// A repository, all of which crosses.
pub(crate) struct Work {
    /// `packs` or `small`.
    pub(crate) name: &'static str,
    /// Its folder.
    pub(crate) source: PathBuf,
    pub(crate) stock: Stock,
    pub(crate) manifest: Manifest,
    /// The bytes of all objects.
    pub(crate) bytes: u64,
}

impl Work {
    /// Makes the one of this name below `scratch`.
    pub(crate) fn make(name: &str, scratch: &Path) -> Self {
        let (name, pack) = match name {
            "packs" => ("packs", ByteSize::mib(16)),
            // Every blob becomes a pack of its own.
            "small" => ("small", ByteSize(1)),
            _ => panic!("{name} is no work: there are packs and small"),
        };
        let folder = scratch.join(name);
        let files = folder.join("files");
        fs::create_dir_all(&files).unwrap();
        let (count, length) =
            if name == "packs" { (setting("MIB", 1024), MIB) } else { (setting("OBJECTS", 20_000), 4096) };
        for number in 0..count {
            fs::write(files.join(number.to_string()), ciphertext(number as u64, length)).unwrap();
        }
        let id = back_up(&files, &folder, pack);
        fs::remove_dir_all(&files).unwrap();
        let repository = LocalRepository::open(&folder, &id, PASSWORD).unwrap();
        let stock = Stock::take(&repository).unwrap();
        let manifest = stock.manifest(None).unwrap();
        let (objects, bytes) = manifest.declared();
        eprintln!("work {name}: {objects} objects, {bytes} bytes");
        Self { name, source: repository.path().to_path_buf(), stock, manifest, bytes }
    }

    /// Whether round trips count for each of many files.
    pub(crate) fn has_many_files(&self) -> bool {
        self.name == "small"
    }

    /// One of its folders, and how many times as many files there are in all.
    pub(crate) fn sample(&self) -> (PathBuf, f64) {
        let folder = self.source.join("data/00");
        let files = fs::read_dir(&folder).unwrap().count();
        (folder, self.manifest.objects().len() as f64 / files as f64)
    }
}

/// Backs `files` up into a new repository in `folder`, named by its id as the agent does it.
fn back_up(files: &Path, folder: &Path, pack: ByteSize) -> RepositoryId {
    let draft = folder.join("draft");
    let backend = Arc::new(LocalBackend::new(draft.to_str().unwrap(), []).unwrap());
    let config = ConfigOptions::default().set_version(2).set_datapack_size(pack).set_datapack_size_limit(pack);
    let options = RepositoryOptions::default().no_cache(true);
    let repository = Repository::new(&options, &RepositoryBackends::new(backend, None)).unwrap();
    let repository = repository.init(&Credentials::password(PASSWORD), &KeyOptions::default(), &config).unwrap();
    let id = repository.config().id.to_hex().as_str()[..16].parse().unwrap();
    let repository = repository.to_indexed_ids().unwrap();
    let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
    repository.backup(&BackupOptions::default(), &PathList::from_iter([files.to_path_buf()]), snapshot).unwrap();
    fs::rename(draft, folder.join(format!("{id}"))).unwrap();
    id
}
