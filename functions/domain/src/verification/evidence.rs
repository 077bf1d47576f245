//! What S3 has said of a repository's objects: kept from run to run, so that a night looks at what is new, and at a share of the rest.
//!
//! An object's version never changes once it is written, so what was seen of a version stays true of its size and content. How long
//! it is locked may change: governance can be lifted by an operator, a lock can be extended.

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_wire::{
    Manifest, ManifestObject, ObjectKind, ObjectName, RunId, Sha256Digest, Timestamp, VaultRepository,
};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::hash::sha256;

/// One object in so many is looked at anew in every run, whatever was seen before.
pub const SHARE: u8 = 16;

/// What was seen longer ago than this is looked at anew, in days.
pub const MAX_AGE_DAYS: i64 = 30;

/// The current version of an object, as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// S3's name of the version.
    pub version: String,
    /// Bytes.
    pub size: u64,
}

/// What S3 said of one version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// S3's name of the version.
    pub version: String,
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the whole object, which S3 checked when it took it; `None` when S3 keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256Digest>,
    /// Until when S3 refuses to delete it; `None` when it doesn't refuse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locked_until: Option<Timestamp>,
    /// When S3 said so.
    pub at: Timestamp,
}

/// `evidence/<repository>.json`: all that was seen of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// Whose.
    pub repository: VaultRepository,
    /// The last look at each object.
    pub seen: BTreeMap<ObjectName, Seen>,
    /// What isn't in the newest manifest and has to be there all the same: an earlier run declared it, and snapshots in the vault
    /// count on it.
    pub owed: BTreeSet<ObjectName>,
    /// What isn't in the newest manifest and needn't be there, since nothing in the vault counts on it: packs of a run that was cut
    /// off before their index had crossed.
    pub spare: BTreeSet<ObjectName>,
}

/// The run that looks, and what it has to hold objects against.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// The run.
    pub run: &'a RunId,
    /// Now.
    pub now: Timestamp,
    /// Until when every object must be locked, if the stack promises anything.
    pub promised_until: Option<Timestamp>,
}

impl Evidence {
    /// Before anything was seen.
    #[must_use]
    pub fn none(repository: VaultRepository) -> Self {
        Self { repository, seen: BTreeMap::new(), owed: BTreeSet::new(), spare: BTreeSet::new() }
    }

    /// What was seen of the version that is there now.
    #[must_use]
    pub fn of(&self, name: ObjectName, listed: &Listed) -> Option<&Seen> {
        self.seen.get(&name).filter(|seen| seen.version == listed.version)
    }

    /// What has to be looked at in this run, of that which is `listed`: objects of the manifest, and what is owed.
    #[must_use]
    pub fn due<'l>(
        &self,
        manifest: &Manifest,
        listed: &'l BTreeMap<ObjectName, Listed>,
        rules: Rules<'_>,
    ) -> Vec<(ObjectName, &'l Listed)> {
        let names = manifest.objects().iter().map(ManifestObject::name).chain(self.owed.iter().copied());
        let listed = names.filter_map(|name| Some((name, listed.get(&name)?)));
        let due = |name, listed| self.of(name, listed).is_none_or(|seen| rules.call_for(name, seen));
        listed.filter(|(name, listed)| due(*name, listed)).collect()
    }

    /// What earlier runs have brought and the newest manifest doesn't name is owed from now on. A local repository that was set back
    /// to an earlier state knows nothing of it; the snapshots in the vault do.
    pub fn owe(&mut self, manifest: &Manifest) {
        self.owed.extend(self.seen.keys().copied());
        self.owe_only_beyond(manifest);
    }

    /// Takes an earlier run's manifest for what it says of the `unknown`, and takes these from there. Objects cross in the order of their
    /// kinds: when an index or a snapshot has arrived, everything of an earlier kind has too, and is owed as well.
    pub fn explain(&mut self, unknown: &mut BTreeSet<ObjectName>, earlier: &Manifest, manifest: &Manifest) {
        let names = || earlier.objects().iter().map(ManifestObject::name);
        let explained: Vec<ObjectName> = names().filter(|name| unknown.remove(name)).collect();
        match explained.iter().map(ObjectName::kind).max() {
            Some(last) if last >= ObjectKind::Index => {
                self.owed.extend(names().filter(|name| name.kind() < last).chain(explained));
                self.owe_only_beyond(manifest);
            }
            _ => self.spare.extend(explained),
        }
    }

    fn owe_only_beyond(&mut self, manifest: &Manifest) {
        self.owed.retain(|name| !declares(manifest, *name));
    }

    /// Whether some run declared this object, as far as is known without asking.
    #[must_use]
    pub fn knows(&self, manifest: &Manifest, name: ObjectName) -> bool {
        declares(manifest, name) || self.owed.contains(&name) || self.spare.contains(&name)
    }
}

impl Rules<'_> {
    /// Whether what was seen of a version isn't enough for this run.
    fn call_for(self, name: ObjectName, seen: &Seen) -> bool {
        let began = self.run.slot().unwrap_or(self.now);
        // Looked at in this run already, by a call before this one.
        if seen.at >= began && seen.at <= self.now {
            return false;
        }
        let unlocked =
            self.promised_until.is_some_and(|promised| seen.locked_until.is_none_or(|until| until < promised));
        let age = self.now.duration_since(seen.at);
        let old = age.is_negative() || age > SignedDuration::from_hours(24 * MAX_AGE_DAYS);
        unlocked || old || self.share_holds(name)
    }

    /// Whether an object is in this run's share. Nobody who doesn't know the run's name knows which are.
    fn share_holds(self, name: ObjectName) -> bool {
        let lot = sha256(format!("{} {name}", self.run).as_bytes());
        lot.as_bytes().first().is_some_and(|byte| byte % SHARE == 0)
    }
}

/// Whether the manifest names this object.
fn declares(manifest: &Manifest, name: ObjectName) -> bool {
    manifest.objects().binary_search_by_key(&name, ManifestObject::name).is_ok()
}

#[cfg(test)]
mod tests;
