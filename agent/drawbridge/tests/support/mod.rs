//! A vault in memory behind a real gate, a stack that is one HTTP server, and trees of files.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod agent;
pub mod crafted;
pub mod restic;
pub mod stack;
pub mod vault;

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Bytes that don't compress and are the same every time.
pub fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

/// A mirror with a bit of everything that a mirror can hold.
pub fn fill(root: &Path) {
    let host = root.join("host");
    fs::create_dir_all(host.join("etc/empty")).unwrap();
    fs::create_dir_all(host.join("var/log")).unwrap();
    fs::write(host.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(host.join("etc/nothing"), "").unwrap();
    fs::write(host.join("etc/shadow"), "root:*:\n").unwrap();
    fs::write(host.join("etc/su"), "#!\n").unwrap();
    fs::write(host.join(std::ffi::OsStr::from_bytes(b"etc/caf\xe9")), "latin-1").unwrap();
    for (index, size) in [(1, 300_000), (2, 2_000_000), (3, 17)] {
        fs::write(host.join(format!("var/log/noise-{index}")), noise(index, size)).unwrap();
    }
    symlink("../etc/hosts", host.join("var/link")).unwrap();
    symlink("/nowhere", host.join("var/dangling")).unwrap();
    // What git ignores must not be left out: /etc is a work tree on many machines.
    fs::create_dir_all(host.join("etc/.git/info")).unwrap();
    fs::write(host.join("etc/.git/HEAD"), "ref: refs/heads/main\n").unwrap();
    fs::write(host.join("etc/.git/info/exclude"), "*\n").unwrap();
    fs::write(host.join("etc/.gitignore"), "*\n").unwrap();
    fs::write(host.join("etc/.ignore"), "*\n").unwrap();
    let mode = |path: &str, mode| fs::set_permissions(host.join(path), Permissions::from_mode(mode)).unwrap();
    mode("etc/shadow", 0o600);
    mode("etc/su", 0o4755);
    mode("var", 0o1777);
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_500_000_000, 123_456_789);
    fs::File::open(host.join("etc/hosts")).unwrap().set_modified(time).unwrap();
    fs::File::open(host.join("var/log")).unwrap().set_modified(time).unwrap();
    // Gather's own folder is no source.
    fs::create_dir_all(root.join(".tmp")).unwrap();
    fs::write(root.join(".tmp/half"), "half").unwrap();
}

/// Everything that a restore has to bring back, one line an entry.
pub fn describe(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if path == Path::new(".tmp") {
                continue;
            }
            let meta = fs::symlink_metadata(root.join(&path)).unwrap();
            let content = if meta.is_symlink() {
                format!("-> {}", fs::read_link(root.join(&path)).unwrap().display())
            } else if meta.is_dir() {
                folders.push(path.clone());
                String::new()
            } else {
                use sha2::Digest;
                hex::encode(sha2::Sha256::digest(fs::read(root.join(&path)).unwrap()))
            };
            let time = (meta.mtime(), meta.mtime_nsec());
            lines.push(format!("{path:?} {:o} {time:?} {} {} {content}", meta.mode(), meta.uid(), meta.gid()));
        }
    }
    lines.sort();
    lines
}

/// Every file below `root`, as paths relative to it.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(root)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| entry.file_type().is_file())
        .map(|entry| entry.path().strip_prefix(root).unwrap().to_path_buf())
        .collect();
    files.sort();
    files
}

/// Of a mirror that nothing was gathered into.
pub fn no_origins() -> drawbridge_gather::Origins {
    drawbridge_gather::Origins::new(&drawbridge_gather::Site::new(Path::new("/nonexistent")))
}
