//! What `verify` last found of each of the vault's repositories: a part of `state_dir/current.json`.
//!
//! Invariants that this module owns:
//! - a good verdict is written down with the snapshots that the vault held whole then; any other verdict takes it back in the same
//!   write that says what is to be done. So nothing here is ever removed for a copy that the vault was found to have lost;
//! - a repository that is beyond healing stays so, whichever repository becomes current again, for example because the machine was
//!   set back to an earlier state.
//!
//! They stand in the same file as the current repository so that one can't be older than the other. A record that is lost or
//! older than the vault then costs time and room: a repository is found to be beyond healing once more, or local copies stay that
//! could go.

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_wire::{Manifest, ObjectKind, RepositoryId, RunId, Sha256Digest, Timestamp, VaultRepository};
use serde::{Deserialize, Serialize};

/// How many of the vault's repositories are remembered: two years of monthly ones. Of earlier ones there is no local copy.
const MOST: usize = 24;

/// What was last found of each repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Verdicts(BTreeMap<VaultRepository, Found>);

/// What a verdict found of one repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// By which run.
    pub run: RunId,
    /// When the agent heard of it.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub standing: Standing,
}

/// How a repository of the vault stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Standing {
    /// Whole. These snapshots were in it.
    Good {
        /// Their ids.
        snapshots: BTreeSet<Sha256Digest>,
    },
    /// Something was missing, which crosses again.
    Bad,
    /// Nothing that crosses can mend it.
    BeyondHealing,
}

impl Verdicts {
    /// Whether there was none yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes what `run` found of `repository`.
    pub fn note(&mut self, repository: &VaultRepository, run: &RunId, at: Timestamp, standing: Standing) {
        self.0.insert(repository.clone(), Found { run: run.clone(), at, standing });
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, found)| found.at).map(|(repository, _)| repository.clone());
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
    }

    /// What was last found of `repository`.
    #[must_use]
    pub fn of(&self, repository: &VaultRepository) -> Option<&Found> {
        self.0.get(repository)
    }

    /// What was last found of everything that the vault has of a local repository, with the names there.
    pub fn of_local<'a>(&'a self, id: &'a RepositoryId) -> impl Iterator<Item = (&'a VaultRepository, &'a Found)> {
        self.0.iter().filter(move |(repository, _)| repository.id() == *id)
    }

    /// Which of these snapshots of the local repository `id` no good verdict covers.
    #[must_use]
    pub fn uncovered(&self, id: &RepositoryId, snapshots: &BTreeSet<Sha256Digest>) -> BTreeSet<Sha256Digest> {
        let covered = |snapshot: &Sha256Digest| {
            self.of_local(id).any(|(_, found)| match &found.standing {
                Standing::Good { snapshots } => snapshots.contains(snapshot),
                Standing::Bad | Standing::BeyondHealing => false,
            })
        };
        snapshots.iter().filter(|snapshot| !covered(snapshot)).copied().collect()
    }
}

impl Standing {
    /// The standing of a repository that holds everything that `manifest` declares.
    #[must_use]
    pub fn good(manifest: &Manifest) -> Self {
        let names = manifest.objects().iter().map(drawbridge_wire::ManifestObject::name);
        let snapshots = names.filter(|name| name.kind() == ObjectKind::Snapshot).filter_map(|name| name.digest());
        Self::Good { snapshots: snapshots.collect() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const OURS: &str = "2026-11-0123456789abcdef";

    fn snapshots(digits: &[u8]) -> BTreeSet<Sha256Digest> {
        digits.iter().map(|digit| Sha256Digest::from_bytes([*digit; 32])).collect()
    }

    fn noted(verdicts: &mut Verdicts, repository: &str, day: i8, standing: Standing) {
        let at = jiff::civil::date(2026, 11, day).in_tz("UTC").unwrap().timestamp();
        verdicts.note(&repository.parse().unwrap(), &"home-20261123T203000Z".parse().unwrap(), at, standing);
    }

    #[test]
    fn a_good_verdict_covers_its_snapshots_until_another_one_takes_it_back() {
        let mut verdicts = Verdicts::default();
        let id = "0123456789abcdef".parse().unwrap();
        noted(&mut verdicts, OURS, 1, Standing::Good { snapshots: snapshots(&[1, 2]) });
        let json = serde_json::to_string(&verdicts).unwrap();
        assert_eq!(serde_json::from_str::<Verdicts>(&json).unwrap(), verdicts);
        assert_eq!(verdicts.uncovered(&id, &snapshots(&[1, 2, 3])), snapshots(&[3]));
        assert_eq!(verdicts.uncovered(&"ffffffffffffffff".parse().unwrap(), &snapshots(&[1])), snapshots(&[1]));
        for standing in [Standing::Bad, Standing::BeyondHealing] {
            noted(&mut verdicts, OURS, 2, standing.clone());
            assert_eq!(verdicts.of(&OURS.parse().unwrap()).unwrap().standing, standing);
            assert_eq!(verdicts.uncovered(&id, &snapshots(&[1])), snapshots(&[1]));
        }
    }

    #[test]
    fn the_latest_24_repositories_are_remembered() {
        let mut verdicts = Verdicts::default();
        for day in 1..=25 {
            let repository = format!("2026-11-{:016x}", 99 - day);
            noted(&mut verdicts, &repository, day, Standing::Bad);
        }
        assert_eq!(verdicts.0.len(), MOST);
        assert!(verdicts.of(&format!("2026-11-{:016x}", 98).parse().unwrap()).is_none());
    }
}
