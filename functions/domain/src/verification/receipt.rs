//! The gate's receipt against the manifest.

use drawbridge_wire::{Manifest, ManifestObject, ObjectName, Receipt, Sha256Digest};
use thiserror::Error;

use super::Subject;

/// Where a receipt and its run disagree.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Disagreement {
    /// It is another run's.
    #[error("it is the receipt of {0}")]
    Run(String),
    /// It is about another repository.
    #[error("it is about the repository {0}")]
    Repository(String),
    /// Another manifest admitted its objects.
    #[error("its objects were admitted by the manifest {0}")]
    Manifest(Sha256Digest),
    /// It lacks an object that was declared to cross.
    #[error("it doesn't name {0}, which was to cross")]
    Lacks(ObjectName),
    /// It names an object that wasn't to cross.
    #[error("it names {0}, which was not to cross")]
    Extra(ObjectName),
    /// It tells another size.
    #[error("it says that {name} has {found} bytes, {declared} are declared")]
    Size {
        /// Which object.
        name: ObjectName,
        /// Bytes, as the manifest says.
        declared: u64,
        /// Bytes, as the receipt says.
        found: u64,
    },
}

/// Whether the gate says that it stored what the manifest declared, all of it and nothing else.
///
/// # Errors
/// The first disagreement.
pub fn agrees(receipt: &Receipt, subject: &Subject, manifest: &Manifest) -> Result<(), Disagreement> {
    if receipt.run != subject.run {
        return Err(Disagreement::Run(receipt.run.to_string()));
    }
    if receipt.repository != subject.repository {
        return Err(Disagreement::Repository(receipt.repository.to_string()));
    }
    if receipt.manifest_sha256 != subject.manifest_sha256 {
        return Err(Disagreement::Manifest(receipt.manifest_sha256));
    }
    let mut entries = receipt.objects.iter();
    for object in manifest.crossing() {
        let (name, declared) = (object.name(), object.size());
        match entries.next() {
            Some(entry) if entry.name == name && entry.size == declared => {}
            Some(entry) if entry.name == name => return Err(Disagreement::Size { name, declared, found: entry.size }),
            Some(entry) if !crosses(manifest, entry.name) => return Err(Disagreement::Extra(entry.name)),
            _ => return Err(Disagreement::Lacks(name)),
        }
    }
    entries.next().map_or(Ok(()), |entry| Err(Disagreement::Extra(entry.name)))
}

fn crosses(manifest: &Manifest, name: ObjectName) -> bool {
    let objects = manifest.objects();
    let found = objects.binary_search_by_key(&name, ManifestObject::name).ok().and_then(|index| objects.get(index));
    found.is_some_and(ManifestObject::crosses)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use drawbridge_wire::{ObjectKind, ReceiptEntry, StoreOutcome};

    use super::*;
    use crate::hash::sha256;

    fn object(content: &str, crosses: bool) -> ManifestObject {
        let name = ObjectName::hashed(ObjectKind::Data, sha256(content.as_bytes())).unwrap();
        ManifestObject::hashed(name, content.len() as u64, crosses)
    }

    fn subject() -> Subject {
        Subject {
            run: "home-20261123T203000Z".parse().unwrap(),
            repository: "2026-11-0123456789abcdef".parse().unwrap(),
            manifest_sha256: sha256(b"manifest"),
        }
    }

    fn manifest() -> Manifest {
        let objects = vec![object("here", false), object("one", true), object("three", true)];
        Manifest::new("0123456789abcdef".parse().unwrap(), objects).unwrap()
    }

    fn receipt() -> Receipt {
        let Subject { run, repository, manifest_sha256 } = subject();
        let entry = |object: &ManifestObject| ReceiptEntry {
            name: object.name(),
            size: object.size(),
            outcome: StoreOutcome::Stored,
        };
        let at = "2026-11-23T20:31:00Z".parse().unwrap();
        Receipt {
            run,
            repository,
            manifest_sha256,
            version: "1".to_owned(),
            opened_at: at,
            completed_at: at,
            unusual: None,
            checks: Vec::new(),
            objects: manifest().crossing().map(entry).collect(),
        }
    }

    fn after(change: impl FnOnce(&mut Receipt)) -> Result<(), Disagreement> {
        let mut receipt = receipt();
        change(&mut receipt);
        agrees(&receipt, &subject(), &manifest())
    }

    #[test]
    fn a_receipt_of_what_was_declared_agrees() {
        assert_eq!(after(|_| {}), Ok(()));
    }

    #[test]
    fn the_receipt_of_another_run_repository_or_manifest_disagrees() {
        assert!(matches!(after(|it| it.run = "home-20261124T203000Z".parse().unwrap()), Err(Disagreement::Run(_))));
        let other = |it: &mut Receipt| it.repository = "2026-12-0123456789abcdef".parse().unwrap();
        assert!(matches!(after(other), Err(Disagreement::Repository(_))));
        assert!(matches!(after(|it| it.manifest_sha256 = sha256(b"x")), Err(Disagreement::Manifest(_))));
    }

    #[test]
    fn one_object_fewer_or_more_or_of_another_size_is_named() {
        let crossing: Vec<ObjectName> = manifest().crossing().map(ManifestObject::name).collect();
        for (index, name) in crossing.iter().enumerate() {
            let lacking = after(|it| {
                it.objects.remove(index);
            });
            assert_eq!(lacking, Err(Disagreement::Lacks(*name)));
            let resized = after(|it| it.objects[index].size += 1);
            assert!(matches!(resized, Err(Disagreement::Size { name: found, .. }) if found == *name));
        }
        for extra in [object("here", false), object("never declared", false)] {
            let entry = ReceiptEntry { name: extra.name(), size: extra.size(), outcome: StoreOutcome::Stored };
            let more = after(|it| {
                it.objects.push(entry);
                it.objects.sort_by_key(|entry| entry.name);
            });
            assert_eq!(more, Err(Disagreement::Extra(extra.name())));
        }
    }
}
