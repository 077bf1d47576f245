//! Two trees, compared entry by entry: kind, contents, mode, owner, modification time, link target.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::error::Context;
use crate::{Problem, Result};

/// How many bytes are read at a time.
const BLOCK: usize = 256 * 1024;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Regular files in the first tree.
    pub files: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// Folders in the first tree.
    pub folders: u64,
    /// Symbolic links in the first tree.
    pub links: u64,
    /// A sentence for every entry that isn't the same, or is only in one of the two.
    pub differences: Vec<String>,
}

/// Compares everything below two folders, and not the folders themselves.
///
/// # Errors
/// When one of them can't be read.
pub fn compare(expected: &Path, found: &Path) -> Result<Comparison> {
    compare_aside_from(0, expected, found)
}

/// Compares a mirror with what was restored. A mirror has no set-id bits, whatever its source and the snapshot have, so the
/// modes are the same but for these.
///
/// # Errors
/// When one of them can't be read.
pub fn compare_mirror(mirror: &Path, restored: &Path) -> Result<Comparison> {
    compare_aside_from(SET_ID_BITS, mirror, restored)
}

/// Compares, but for these bits of the modes.
fn compare_aside_from(bits: u32, expected: &Path, found: &Path) -> Result<Comparison> {
    let (left, right) = (entries(expected)?, entries(found)?);
    let mut comparison = Comparison::default();
    for (name, metadata) in &left {
        count(&mut comparison, metadata);
        let Some(other) = right.get(name) else {
            comparison.differences.push(format!("{} is missing", name.display()));
            continue;
        };
        let mut different = metadata_differences(metadata, other, bits);
        if different.is_empty() && metadata.is_file() && !same_contents(&expected.join(name), &found.join(name))? {
            different.push("contents".to_owned());
        }
        if metadata.is_symlink() && other.is_symlink() && link(&expected.join(name))? != link(&found.join(name))? {
            different.push("link target".to_owned());
        }
        if !different.is_empty() {
            comparison.differences.push(format!("{} differs in {}", name.display(), different.join(", ")));
        }
    }
    for name in right.keys().filter(|name| !left.contains_key(*name)) {
        comparison.differences.push(format!("{} should not be there", name.display()));
    }
    Ok(comparison)
}

fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let mut entries = BTreeMap::new();
    for entry in WalkDir::new(root).min_depth(1).follow_links(false) {
        let entry = entry.context(|| format!("cannot read {}", root.display()))?;
        let metadata = entry.metadata().context(|| format!("cannot look at {}", entry.path().display()))?;
        let name = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_path_buf();
        entries.insert(name, metadata);
    }
    Ok(entries)
}

fn count(comparison: &mut Comparison, metadata: &Metadata) {
    if metadata.is_dir() {
        comparison.folders += 1;
    } else if metadata.is_symlink() {
        comparison.links += 1;
    } else {
        comparison.files += 1;
        comparison.bytes += metadata.len();
    }
}

/// The mode bits that let a program run as its owner or its group, and that a folder gives its group on with.
pub(crate) const SET_ID_BITS: u32 = 0o6000;

fn metadata_differences(left: &Metadata, right: &Metadata, aside_from: u32) -> Vec<String> {
    let mut different = Vec::new();
    let mut check = |what: &str, left: String, right: String| {
        if left != right {
            different.push(format!("{what} ({left}, {right})"));
        }
    };
    let mode = |of: &Metadata| format!("{:o}", of.mode() & !aside_from);
    check("kind and mode", mode(left), mode(right));
    check("owner", format!("{}:{}", left.uid(), left.gid()), format!("{}:{}", right.uid(), right.gid()));
    let time = |of: &Metadata| format!("{}.{:09}", of.mtime(), of.mtime_nsec());
    check("modification time", time(left), time(right));
    if left.is_file() {
        check("size", left.len().to_string(), right.len().to_string());
    }
    different
}

fn link(path: &Path) -> Result<PathBuf> {
    fs::read_link(path).context(|| format!("cannot read the link {}", path.display()))
}

/// Whether two regular files hold the same bytes.
///
/// # Errors
/// When one of them can't be read.
pub fn same_contents(left: &Path, right: &Path) -> Result<bool> {
    let open = |path: &Path| File::open(path).context(|| format!("cannot open {}", path.display()));
    let (mut a, mut b) = (open(left)?, open(right)?);
    let (mut a_block, mut b_block) = (vec![0; BLOCK], vec![0; BLOCK]);
    loop {
        let a_read = fill(&mut a, &mut a_block).context(|| format!("cannot read {}", left.display()))?;
        let b_read = fill(&mut b, &mut b_block).context(|| format!("cannot read {}", right.display()))?;
        if a_read != b_read || a_block.get(..a_read) != b_block.get(..b_read) {
            return Ok(false);
        }
        if a_read == 0 {
            return Ok(true);
        }
    }
}

fn fill(file: &mut File, block: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

impl Comparison {
    /// Fails unless the trees are the same and hold something.
    ///
    /// # Errors
    /// Names the first differences, or says that there was nothing to compare.
    pub fn verdict(&self) -> Result<()> {
        if self.files == 0 {
            return Err(Problem::new("there was no file to compare"));
        }
        if self.differences.is_empty() {
            return Ok(());
        }
        let first: Vec<&str> = self.differences.iter().take(10).map(String::as_str).collect();
        Err(Problem::because(format!("{} entries are not the same", self.differences.len()), first.join("\n")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    /// Makes a pair of equal trees and lets `change` spoil the second.
    fn after(change: impl FnOnce(&Path)) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        for side in ["a", "b"] {
            let root = folder.path().join(side);
            fs::create_dir_all(root.join("etc")).unwrap();
            fs::write(root.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
            File::open(root.join("etc/hosts")).unwrap().set_times(times).unwrap();
            symlink("hosts", root.join("etc/link")).unwrap();
        }
        change(&folder.path().join("b"));
        for side in ["a", "b"] {
            // Links have times too, which std can't set: they differ by when they were made, so leave them out.
            File::open(folder.path().join(side).join("etc")).unwrap().set_times(times).unwrap();
        }
        let comparison = compare(&folder.path().join("a"), &folder.path().join("b")).unwrap();
        comparison
            .differences
            .into_iter()
            .filter(|line| !line.starts_with("etc/link differs in modification time"))
            .collect()
    }

    #[test]
    fn equal_trees_have_no_difference() {
        assert_eq!(after(|_| ()), Vec::<String>::new());
    }

    #[test]
    fn set_id_bits_are_compared_unless_one_side_is_a_mirror() {
        let (mirror, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (root, mode) in [(mirror.path(), 0o750), (restored.path(), 0o2750)] {
            fs::create_dir(root.join("journal")).unwrap();
            fs::set_permissions(root.join("journal"), fs::Permissions::from_mode(mode)).unwrap();
            let times = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
            File::open(root.join("journal")).unwrap().set_times(times).unwrap();
        }
        assert_eq!(compare_mirror(mirror.path(), restored.path()).unwrap().differences, Vec::<String>::new());
        let exact = compare(mirror.path(), restored.path()).unwrap().differences;
        assert_eq!(exact, ["journal differs in kind and mode (40750, 42750)"]);
        fs::set_permissions(restored.path().join("journal"), fs::Permissions::from_mode(0o2755)).unwrap();
        assert_eq!(compare_mirror(mirror.path(), restored.path()).unwrap().differences.len(), 1);
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        let keep_time = |path: &Path| {
            File::open(path).unwrap().set_times(fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH)).unwrap()
        };
        let flipped = after(|b| {
            fs::write(b.join("etc/hosts"), "127.0.0.1 localhosT\n").unwrap();
            keep_time(&b.join("etc/hosts"));
        });
        assert_eq!(flipped, ["etc/hosts differs in contents"]);
        let mode = after(|b| fs::set_permissions(b.join("etc/hosts"), fs::Permissions::from_mode(0o600)).unwrap());
        assert!(mode.iter().any(|line| line.contains("mode (100644, 100600)")), "{mode:?}");
        let gone = after(|b| fs::remove_file(b.join("etc/hosts")).unwrap());
        assert_eq!(gone, ["etc/hosts is missing"]);
        let more = after(|b| fs::write(b.join("etc/more"), "").unwrap());
        assert_eq!(more, ["etc/more should not be there"]);
        let link = after(|b| {
            fs::remove_file(b.join("etc/link")).unwrap();
            symlink("elsewhere", b.join("etc/link")).unwrap();
        });
        assert!(link.iter().any(|line| line.contains("link target")), "{link:?}");
    }
}
