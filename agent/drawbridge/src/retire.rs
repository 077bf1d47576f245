//! Local repositories that are over go when the vault's copy of them was found whole.
//!
//! Invariants that this module owns:
//! - what is removed has no snapshot that the last verdict on it in the vault didn't find whole there; a repository in use never
//!   goes, and nothing goes by its age;
//! - a repository loses its name before it loses its first file, so a removal that is cut off leaves nothing that looks like a
//!   repository. The next one finishes it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use drawbridge_wire::{ObjectKind, RepositoryId, Sha256Digest};
use thiserror::Error;

use crate::journal;
use crate::state_file::sync_folder;
use crate::verdicts::{Standing, Verdicts};

/// How the names of repositories begin that are being removed.
const LEAVING: &str = ".old-";

/// The local repositories can't be looked at or removed.
#[derive(Debug, Error)]
#[error("cannot {action} {}", path.display())]
pub struct RetireError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// A local repository that is over and stays.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Kept {
    /// Which.
    pub repository: RepositoryId,
    /// How many of its snapshots the vault isn't known to hold whole.
    pub uncovered: usize,
    /// How many it has in all.
    pub snapshots: usize,
    /// Nothing that crosses can mend the vault's copy of it.
    pub beyond_healing: bool,
}

/// Every repository in `folder` but those to `keep`: which of its snapshots aren't covered by a good verdict. By id.
///
/// # Errors
/// When a folder can't be read.
pub fn survey(folder: &Path, keep: &[&RepositoryId], verdicts: &Verdicts) -> Result<Vec<Kept>, RetireError> {
    let mut all = Vec::new();
    for name in names(folder)? {
        let Ok(repository) = name.parse::<RepositoryId>() else { continue };
        if keep.contains(&&repository) {
            continue;
        }
        let named = names(&folder.join(&name).join(ObjectKind::Snapshot.folder()))?;
        let snapshots: BTreeSet<Sha256Digest> = named.iter().filter_map(|name| name.parse().ok()).collect();
        let uncovered = verdicts.uncovered(&repository, &snapshots).len();
        let beyond_healing = verdicts.of_local(&repository).any(|(_, found)| found.standing == Standing::BeyondHealing);
        all.push(Kept { repository, uncovered, snapshots: snapshots.len(), beyond_healing });
    }
    all.sort_by(|a, b| a.repository.cmp(&b.repository));
    Ok(all)
}

/// Removes the repositories in `folder` whose every snapshot is covered, but those to `keep`, their journals too, and says
/// which. What an earlier removal has left goes first.
///
/// # Errors
/// When one can't be removed; those before it are gone.
pub fn retire(
    state_dir: &Path,
    folder: &Path,
    keep: &[&RepositoryId],
    verdicts: &Verdicts,
) -> Result<Vec<RepositoryId>, RetireError> {
    let failed = |action, path: &Path| {
        let path = path.to_path_buf();
        move |source| RetireError { action, path, source }
    };
    for name in names(folder)?.iter().filter(|name| name.starts_with(LEAVING)) {
        let path = folder.join(name);
        fs::remove_dir_all(&path).map_err(failed("remove", &path))?;
    }
    let mut gone = Vec::new();
    for Kept { repository, .. } in survey(folder, keep, verdicts)?.into_iter().filter(|kept| kept.uncovered == 0) {
        let (path, leaving) = (folder.join(repository.as_str()), folder.join(format!("{LEAVING}{repository}")));
        fs::rename(&path, &leaving).and_then(|()| sync_folder(folder)).map_err(failed("rename", &path))?;
        fs::remove_dir_all(&leaving).map_err(failed("remove", &leaving))?;
        for (vault, _) in verdicts.of_local(&repository) {
            journal::remove(state_dir, vault)
                .map_err(|error| failed("remove the journal of", &path)(io::Error::other(error)))?;
        }
        gone.push(repository);
    }
    Ok(gone)
}

fn names(folder: &Path) -> Result<Vec<String>, RetireError> {
    let listed = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.and_then(Iterator::collect::<io::Result<Vec<_>>>),
    };
    let listed = listed.map_err(|source| RetireError { action: "list", path: folder.to_path_buf(), source })?;
    Ok(listed.iter().filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use drawbridge_wire::Timestamp;

    use super::*;

    const CURRENT: &str = "00000000000000cc";

    /// A folder of repositories with these snapshots, and a good verdict on one of them of each.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn folder(&self) -> PathBuf {
            self.0.path().join("repository")
        }

        fn repository(&self, id: &str, snapshots: &[u8]) {
            let folder = self.folder().join(id).join("snapshots");
            fs::create_dir_all(&folder).unwrap();
            for digit in snapshots {
                fs::write(folder.join(Sha256Digest::from_bytes([*digit; 32]).to_string()), "x").unwrap();
            }
        }

        fn retire(&self, verdicts: &Verdicts) -> Vec<String> {
            let gone = retire(self.0.path(), &self.folder(), &[&CURRENT.parse().unwrap()], verdicts).unwrap();
            gone.iter().map(ToString::to_string).collect()
        }

        fn left(&self) -> Vec<String> {
            let mut left = names(&self.folder()).unwrap();
            left.sort();
            left
        }
    }

    fn verdicts(on: &[(&str, Standing)]) -> Verdicts {
        let mut verdicts = Verdicts::default();
        for (id, standing) in on {
            let (vault, run) = (format!("2026-11-{id}"), "home-20261123T203000Z".parse().unwrap());
            let at = "2026-11-23T20:33:00Z".parse().unwrap();
            verdicts.note(&vault.parse().unwrap(), &run, at, standing.clone());
        }
        verdicts
    }

    fn good(digits: &[u8]) -> Standing {
        Standing::Good { snapshots: digits.iter().map(|digit| Sha256Digest::from_bytes([*digit; 32])).collect() }
    }

    const COVERED: &str = "00000000000000a1";
    const PARTLY: &str = "00000000000000a2";
    const UNKNOWN: &str = "00000000000000a3";

    #[test]
    fn only_a_repository_whose_every_snapshot_is_covered_goes_and_never_the_current_one() {
        let place = Place::new();
        for (id, snapshots) in [(COVERED, &[1, 2][..]), (PARTLY, &[1, 2]), (UNKNOWN, &[1]), (CURRENT, &[1])] {
            place.repository(id, snapshots);
        }
        let verdicts = verdicts(&[(COVERED, good(&[1, 2, 3])), (PARTLY, good(&[1])), (CURRENT, good(&[1]))]);
        assert_eq!(place.retire(&verdicts), [COVERED]);
        assert_eq!(place.left(), [PARTLY, UNKNOWN, CURRENT]);
        let kept = survey(&place.folder(), &[&CURRENT.parse().unwrap()], &verdicts).unwrap();
        let counts: Vec<_> = kept.iter().map(|kept| (kept.uncovered, kept.snapshots, kept.beyond_healing)).collect();
        assert_eq!(counts, [(1, 2, false), (1, 1, false)]);
    }

    #[test]
    fn a_bad_verdict_on_the_vault_s_copy_keeps_the_local_one() {
        let place = Place::new();
        place.repository(COVERED, &[1]);
        place.repository(PARTLY, &[1]);
        let mut verdicts = verdicts(&[(COVERED, good(&[1])), (PARTLY, good(&[1]))]);
        for (id, standing) in [(COVERED, Standing::Bad), (PARTLY, Standing::BeyondHealing)] {
            let vault = format!("2026-11-{id}").parse().unwrap();
            verdicts.note(&vault, &"home-20261124T203000Z".parse().unwrap(), Timestamp::now(), standing);
        }
        assert!(place.retire(&verdicts).is_empty());
        let kept = survey(&place.folder(), &[], &verdicts).unwrap();
        assert_eq!(kept.iter().map(|kept| kept.beyond_healing).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_removal_that_was_cut_off_is_finished_and_an_empty_repository_goes_too() {
        let place = Place::new();
        place.repository(&format!("{LEAVING}{COVERED}"), &[1]);
        place.repository(UNKNOWN, &[]);
        place.repository(CURRENT, &[]);
        assert_eq!(place.retire(&Verdicts::default()), [UNKNOWN]);
        assert_eq!(place.left(), [CURRENT]);
    }
}
