//! Where things lie in the vault. The state machine, the gate, `verify` and the README agree on these keys.

use crate::{InstanceId, ObjectName, RunId, Sha256Digest, VaultRepository};

/// The manifest's name below `runs/<run>/`.
const RUN_MANIFEST: &str = "manifest.json";
/// The gate's receipt's name below `runs/<run>/`.
const GATE_RECEIPT: &str = "receipt.json";
/// The verdict's name below `runs/<run>/`.
const RUN_VERDICT: &str = "verdict.json";
/// Its name for what that means below `runs/<run>/`.
const RUN_DEFECTS: &str = "defects.json";

/// The manifest that a run declared, put there by the gate.
#[must_use]
pub fn manifest_key(run: &RunId) -> String {
    format!("runs/{run}/{RUN_MANIFEST}")
}

/// The gate's list of what it stored.
#[must_use]
pub fn receipt_key(run: &RunId) -> String {
    format!("runs/{run}/{GATE_RECEIPT}")
}

/// What `verify` found.
#[must_use]
pub fn verdict_key(run: &RunId) -> String {
    format!("runs/{run}/{RUN_VERDICT}")
}

/// What a bad verdict means for the agent: a [`crate::Defects`].
#[must_use]
pub fn defects_key(run: &RunId) -> String {
    format!("runs/{run}/{RUN_DEFECTS}")
}

/// What `verify` has seen of a repository's objects, so that not all of them have to be looked at in every run. Nobody else may write
/// there, the jump box least of all.
#[must_use]
pub fn evidence_key(repository: &VaultRepository) -> String {
    format!("evidence/{repository}.json")
}

/// The run whose manifest lies under this key; `None` for any other key.
#[must_use]
pub fn parse_manifest_key(key: &str) -> Option<RunId> {
    key.strip_prefix("runs/")?.strip_suffix(RUN_MANIFEST)?.strip_suffix('/')?.parse().ok()
}

/// The gate's word that it listens. Its arrival is the event that wakes `ready`.
#[must_use]
pub fn ready_key(run: &RunId, instance: &InstanceId) -> String {
    format!("runs/{run}/ready/{instance}.json")
}

/// Takes a [`ready_key`] apart; `None` for any other key.
#[must_use]
pub fn parse_ready_key(key: &str) -> Option<(RunId, InstanceId)> {
    let (run, file) = key.strip_prefix("runs/")?.split_once("/ready/")?;
    Some((run.parse().ok()?, file.strip_suffix(".json")?.parse().ok()?))
}

/// An object of a repository. Below `repo/<repository>/` lies a plain restic repository.
#[must_use]
pub fn object_key(repository: &VaultRepository, object: &ObjectName) -> String {
    format!("repo/{repository}/{}", object.path())
}

/// A program that a box fetches at boot, under its own hash.
#[must_use]
pub fn artifact_key(sha256: &Sha256Digest) -> String {
    format!("artifacts/{sha256}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_manifests_key_names_its_run_and_no_other_key_does() {
        let run: RunId = "home-20261123T203000Z".parse().unwrap();
        assert_eq!(parse_manifest_key(&manifest_key(&run)), Some(run.clone()));
        for other in [verdict_key(&run), "runs/manifest.json".into(), format!("runs/{run}/x/manifest.json")] {
            assert_eq!(parse_manifest_key(&other), None, "{other}");
        }
    }

    #[test]
    fn a_ready_key_comes_apart_into_what_it_was_made_of() {
        let (run, instance) =
            ("home-20261123T203000Z".parse().unwrap(), "i-0123456789abcdef0".parse::<InstanceId>().unwrap());
        assert_eq!(parse_ready_key(&ready_key(&run, &instance)), Some((run, instance)));
        for other in ["", "runs/x/ready/i-0123456789abcdef0.json", "runs/home-20261123T203000Z/manifest.json"] {
            assert_eq!(parse_ready_key(other), None, "{other}");
        }
    }
}
