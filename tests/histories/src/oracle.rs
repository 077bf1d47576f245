//! Stock restic's word on what the vault holds.

use std::collections::BTreeSet;
use std::path::Path;

use drawbridge_local::compare::{compare, compare_mirror};
use drawbridge_tests::{Execution, Rig, digest, restic};

/// What the vault has to give back.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The run's own snapshot, which holds what was gathered.
    pub(crate) snapshot: String,
    /// Every snapshot that has to be in the repository.
    pub(crate) snapshots: BTreeSet<String>,
}

/// Whether a copy of the vault's repository, alone, is whole for stock restic and gives back what was gathered; and if not, why.
pub(crate) async fn ask(rig: &Rig, execution: &Execution, expected: Expected) -> Result<(), String> {
    let room = tempfile::tempdir_in(rig.folder()).unwrap();
    let copy = room.path().join("copy");
    std::fs::create_dir_all(&copy).unwrap();
    let prefix = format!("repo/{}/", execution.repository());
    drawbridge_local::restore::fetch(&rig.clients().s3, &rig.stack().vault, &prefix, &copy).await.unwrap();
    let (password, source, mirror) = (rig.files().password_file(), rig.source(), rig.mirror());
    let judged = tokio::task::spawn_blocking(move || {
        let there = names(&copy.join("snapshots"));
        if let Some(lacking) = expected.snapshots.difference(&there).next() {
            return Err(format!("the snapshot {lacking} is not there"));
        }
        named_by_their_contents(&copy.join("keys"))?;
        restic(&password, &copy, &["check", "--read-data"])?;
        let restored = room.path().join("restored");
        restic(&password, &copy, &["restore", &expected.snapshot, "--target", restored.to_str().unwrap()])?;
        let same = |comparison: drawbridge_local::Result<drawbridge_local::compare::Comparison>| {
            comparison.and_then(|comparison| comparison.verdict()).map_err(|problem| problem.to_string())
        };
        same(compare_mirror(&mirror, &restored))?;
        same(compare(&source, &restored.join("files").join(source.strip_prefix("/").unwrap())))
    });
    judged.await.unwrap()
}

/// restic holds every file against its name but key files: a bit that flipped in one's user name does it no harm, and is no object as it was
/// declared.
fn named_by_their_contents(keys: &Path) -> Result<(), String> {
    let spoiled =
        names(keys).into_iter().find(|name| digest(&std::fs::read(keys.join(name)).unwrap()).to_string() != *name);
    spoiled.map_or(Ok(()), |name| Err(format!("the key {name} is not what was written")))
}

/// The files of a folder; none if there is no such folder.
pub(crate) fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
