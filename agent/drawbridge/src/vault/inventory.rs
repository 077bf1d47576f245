//! What S3 holds of a repository, with every version that the lock keeps.

use std::collections::BTreeMap;

use drawbridge_wire::{ObjectKind, ObjectName, Sha256Digest, VaultRepository};

use super::{Vault, VaultError, Warn};

/// The objects of a repository.
#[derive(Debug, Default)]
pub struct Inventory(BTreeMap<ObjectName, Held>);

/// An object.
#[derive(Debug, Default, Clone)]
pub(super) struct Held {
    /// The newest first.
    pub(super) versions: Vec<Version>,
    /// A delete marker covers them.
    pub(super) hidden: bool,
}

/// One version of an object.
#[derive(Debug, Clone)]
pub(super) struct Version {
    /// S3's own name for it; `None` where only the current one is known.
    pub(super) id: Option<String>,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    put: i64,
    is_latest: bool,
}

impl Version {
    /// How S3 has to be asked for it: by name alone as long as that leads to it, which takes fewer rights.
    pub(super) fn asked_for(&self) -> Option<&str> {
        if self.is_latest { None } else { self.id.as_deref() }
    }
}

impl Inventory {
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Held> {
        self.0.get(name)
    }

    pub(super) fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = (&ObjectName, &Held)> {
        self.0.iter().filter(move |(name, _)| name.kind() == kind)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, name: ObjectName, version: Version) {
        self.0.entry(name).or_default().versions.push(version);
    }

    fn sort(mut self) -> Self {
        // What only a delete marker is left of is gone.
        self.0.retain(|_, held| !held.versions.is_empty());
        for held in self.0.values_mut() {
            held.versions.sort_by_key(|version| std::cmp::Reverse((version.is_latest, version.put)));
        }
        self
    }
}

impl Vault {
    /// Everything below a repository's folder that belongs to a repository.
    pub(super) async fn inventory(&self, repository: &VaultRepository, warn: &Warn) -> Result<Inventory, VaultError> {
        let prefix = format!("repo/{repository}/");
        match self.all_versions(&prefix).await {
            Err(error) if error.is_denied() => {
                warn(
                    "these credentials may not list the vault's versions (s3:ListBucketVersions): what was hidden or covered can't be read",
                );
                self.current_versions(&prefix).await
            }
            found => found,
        }
    }

    async fn all_versions(&self, prefix: &str) -> Result<Inventory, VaultError> {
        let mut inventory = Inventory::default();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let list = self.client.list_object_versions().bucket(&self.bucket).prefix(prefix);
            let list = list.set_key_marker(key_marker.take()).set_version_id_marker(version_marker.take());
            let page = list.send().await.map_err(|error| self.failed("list the versions of objects", error))?;
            for version in page.versions() {
                let Some(name) = version.key().and_then(|key| name_of(prefix, key)) else { continue };
                let version = Version {
                    id: version.version_id().map(str::to_owned),
                    size: version.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                    put: version.last_modified().map_or(0, |at| at.secs()),
                    is_latest: version.is_latest().unwrap_or_default(),
                };
                inventory.add(name, version);
            }
            for marker in page.delete_markers() {
                let name = marker.key().and_then(|key| name_of(prefix, key));
                if let Some(name) = name.filter(|_| marker.is_latest().unwrap_or_default()) {
                    inventory.0.entry(name).or_default().hidden = true;
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(inventory.sort());
            }
            key_marker = page.next_key_marker().map(str::to_owned);
            version_marker = page.next_version_id_marker().map(str::to_owned);
        }
    }

    async fn current_versions(&self, prefix: &str) -> Result<Inventory, VaultError> {
        let mut inventory = Inventory::default();
        let mut pages = self.client.list_objects_v2().bucket(&self.bucket).prefix(prefix).into_paginator().send();
        while let Some(page) = pages.next().await {
            for object in page.map_err(|error| self.failed("list the objects", error))?.contents() {
                let Some(name) = object.key().and_then(|key| name_of(prefix, key)) else { continue };
                let size = object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default();
                inventory.add(name, Version { id: None, size, put: 0, is_latest: true });
            }
        }
        Ok(inventory)
    }
}

/// The object of a repository that lies at `key`, if it is one.
fn name_of(prefix: &str, key: &str) -> Option<ObjectName> {
    let path = key.strip_prefix(prefix)?;
    let name = match path.split_once('/') {
        Some(("data", rest)) => {
            let digest: Sha256Digest = rest.rsplit('/').next()?.parse().ok()?;
            ObjectName::hashed(ObjectKind::Data, digest)?
        }
        _ => path.parse().ok()?,
    };
    (name.path() == path).then_some(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_what_lies_where_it_belongs_is_an_object() {
        let hex = "ab".repeat(32);
        for path in ["config".to_owned(), format!("keys/{hex}"), format!("data/ab/{hex}"), format!("snapshots/{hex}")] {
            assert_eq!(name_of("repo/x/", &format!("repo/x/{path}")).unwrap().path(), path);
        }
        for path in [format!("data/{hex}"), format!("data/aa/{hex}"), "locks/x".to_owned(), format!("keys/{hex}/x")] {
            assert_eq!(name_of("repo/x/", &format!("repo/x/{path}")), None, "{path}");
        }
    }
}
