//! Whether a copy is its source.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Fails unless both hold the same files with the same bytes, modes and, if asked for, times.
pub(crate) fn same(source: &Path, copy: &Path, times: bool) {
    let (of_source, of_copy) = (entries(source, times), entries(copy, times));
    for (path, entry) in &of_source {
        assert_eq!(Some(entry), of_copy.get(path), "{} in {}", path.display(), copy.display());
    }
    assert_eq!(of_source.len(), of_copy.len(), "more than the source has is in {}", copy.display());
    let files = of_source.keys().filter(|path| source.join(path).is_file());
    files
        .for_each(|path| assert!(equal(&source.join(path), &copy.join(path)), "{} differs", copy.join(path).display()));
}

/// Every entry with its mode, size and time in seconds, as far as they count.
fn entries(root: &Path, times: bool) -> BTreeMap<PathBuf, (u32, u64, i64)> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    entries
        .map(|entry| {
            let meta = entry.metadata().unwrap();
            let folder = meta.is_dir();
            let size = if folder { 0 } else { meta.len() };
            // Each tool has its own mind about the times of folders that it fills, and scp about modes.
            let (mode, time) = if times && !folder { (meta.mode(), meta.mtime()) } else { (0, 0) };
            (entry.path().strip_prefix(root).unwrap().to_owned(), (mode, size, time))
        })
        .collect()
}

fn equal(one: &Path, other: &Path) -> bool {
    let (mut one, mut other) = (File::open(one).unwrap(), File::open(other).unwrap());
    let (mut first, mut second) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    loop {
        let read = one.read(&mut first).unwrap();
        if read == 0 {
            return other.read(&mut second).unwrap() == 0;
        }
        if other.read_exact(&mut second[..read]).is_err() || first[..read] != second[..read] {
            return false;
        }
    }
}
