//! `verify`: a manifest against what the vault holds.

use std::collections::BTreeMap;

use drawbridge_wire::{
    Defect, DefectKind, Manifest, ManifestObject, ObjectName, RunId, Sha256Digest, Timestamp, VaultRepository, Verdict,
    VerdictFile, VerdictSummary,
};
use jiff::SignedDuration;

/// An object as S3 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the whole object, which S3 checked when it took it; `None` when S3 keeps none.
    pub sha256: Option<Sha256Digest>,
    /// Until when S3 refuses to delete it; `None` when it doesn't refuse.
    pub locked_until: Option<Timestamp>,
}

/// What a verdict is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Whose.
    pub run: RunId,
    /// The repository that is looked at.
    pub repository: VaultRepository,
    /// The manifest that it is held against.
    pub manifest_sha256: Sha256Digest,
}

/// The moment until which every object must be locked when a stack promises `days` from `now` on; `None` when it
/// promises none.
///
/// # Errors
/// When there is no such time.
pub fn promised_until(now: Timestamp, days: u32) -> Result<Option<Timestamp>, jiff::Error> {
    let promise = SignedDuration::from_hours(24 * i64::from(days));
    if days == 0 { Ok(None) } else { now.checked_add(promise).map(Some) }
}

/// Holds every object of the manifest against what was found. An object that isn't in `found` is missing, so a look-up
/// that failed must never get here.
#[must_use]
pub fn judge(
    subject: Subject,
    manifest: &Manifest,
    found: &BTreeMap<ObjectName, Stored>,
    promised_until: Option<Timestamp>,
) -> VerdictFile {
    let flaws = manifest.objects().iter().filter_map(|object| {
        let (kind, detail) = flaw(object, found.get(&object.name()), promised_until)?;
        Some(Defect { object: object.name().path(), kind, detail })
    });
    let defects: Vec<Defect> = flaws.collect();
    let count = |kind| defects.iter().filter(|defect| defect.kind == kind).count() as u64;
    let summary = VerdictSummary {
        verdict: if defects.is_empty() { Verdict::Good } else { Verdict::Bad },
        objects: manifest.objects().len() as u64,
        bytes: manifest.objects().iter().map(ManifestObject::size).sum(),
        missing: count(DefectKind::Missing),
        wrong: count(DefectKind::Wrong),
        unlocked: count(DefectKind::Unlocked),
        undeclared: count(DefectKind::Undeclared),
    };
    let Subject { run, repository, manifest_sha256 } = subject;
    VerdictFile { run, repository, manifest_sha256, summary, defects }
}

/// The worst that is the matter with an object.
fn flaw(
    object: &ManifestObject,
    stored: Option<&Stored>,
    promised_until: Option<Timestamp>,
) -> Option<(DefectKind, String)> {
    let Some(stored) = stored else {
        return Some((DefectKind::Missing, "not in the vault".to_owned()));
    };
    if stored.size != object.size() {
        let detail = format!("{} bytes expected, {} found", object.size(), stored.size);
        return Some((DefectKind::Wrong, detail));
    }
    match stored.sha256 {
        Some(found) if found == object.digest() => {}
        Some(found) => {
            return Some((DefectKind::Wrong, format!("SHA-256 {} expected, {found} found", object.digest())));
        }
        None => return Some((DefectKind::Wrong, "S3 keeps no SHA-256 of it".to_owned())),
    }
    match (promised_until, stored.locked_until) {
        (None, _) => None,
        (Some(promised), Some(locked)) if locked >= promised => None,
        (Some(promised), Some(locked)) => {
            Some((DefectKind::Unlocked, format!("locked until {locked}, {promised} promised")))
        }
        (Some(promised), None) => Some((DefectKind::Unlocked, format!("not locked, until {promised} promised"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use drawbridge_wire::ObjectKind;

    use super::*;
    use crate::hash::sha256;

    const PROMISED: &str = "2026-12-23T20:30:00Z";

    fn pack(content: &str) -> ManifestObject {
        let name = ObjectName::hashed(ObjectKind::Data, sha256(content.as_bytes())).unwrap();
        ManifestObject::hashed(name, content.len() as u64, true)
    }

    fn manifest() -> Manifest {
        let config = ManifestObject::config(sha256(b"config"), 6, false);
        Manifest::new("0123456789abcdef".parse().unwrap(), vec![config, pack("one"), pack("two")]).unwrap()
    }

    fn vault() -> BTreeMap<ObjectName, Stored> {
        let stored = |object: &ManifestObject| Stored {
            size: object.size(),
            sha256: Some(object.digest()),
            locked_until: Some(PROMISED.parse().unwrap()),
        };
        manifest().objects().iter().map(|object| (object.name(), stored(object))).collect()
    }

    fn judged(found: &BTreeMap<ObjectName, Stored>, promised: Option<&str>) -> VerdictFile {
        let subject = Subject {
            run: "home-20261123T203000Z".parse().unwrap(),
            repository: "2026-11-0123456789abcdef".parse().unwrap(),
            manifest_sha256: sha256(b"manifest"),
        };
        judge(subject, &manifest(), found, promised.map(|at| at.parse().unwrap()))
    }

    /// The only defect of a vault in which the pack "one" was changed.
    fn defect_after(change: impl FnOnce(&mut Stored)) -> (DefectKind, VerdictSummary) {
        let mut found = vault();
        change(found.get_mut(&pack("one").name()).unwrap());
        let file = judged(&found, Some(PROMISED));
        assert_eq!((file.defects.len(), file.summary.verdict), (1, Verdict::Bad));
        assert_eq!(file.defects[0].object, pack("one").name().path());
        (file.defects[0].kind, file.summary)
    }

    #[test]
    fn a_vault_that_holds_everything_right_and_locked_is_good() {
        let file = judged(&vault(), Some(PROMISED));
        assert_eq!((file.summary.verdict, file.summary.objects, file.summary.bytes), (Verdict::Good, 3, 12));
        assert!(file.defects.is_empty());
    }

    #[test]
    fn objects_that_did_not_cross_today_count_as_well() {
        let mut found = vault();
        found.remove(&ObjectName::CONFIG);
        assert_eq!(judged(&found, None).summary.missing, 1);
        assert_eq!(judged(&BTreeMap::new(), None).summary.missing, 3);
    }

    #[test]
    fn another_size_or_hash_or_none_is_wrong() {
        for change in [
            |stored: &mut Stored| stored.size += 1,
            |stored: &mut Stored| stored.sha256 = Some(sha256(b"flipped")),
            |stored: &mut Stored| stored.sha256 = None,
        ] {
            let (kind, summary) = defect_after(change);
            assert_eq!((kind, summary.wrong, summary.missing), (DefectKind::Wrong, 1, 0));
        }
    }

    #[test]
    fn a_lock_that_ends_a_second_too_early_is_no_lock() {
        for change in [
            |stored: &mut Stored| stored.locked_until = Some("2026-12-23T20:29:59Z".parse().unwrap()),
            |stored: &mut Stored| stored.locked_until = None,
        ] {
            let (kind, summary) = defect_after(change);
            assert_eq!((kind, summary.unlocked), (DefectKind::Unlocked, 1));
        }
        let mut unlocked = vault();
        unlocked.values_mut().for_each(|stored| stored.locked_until = None);
        assert_eq!(judged(&unlocked, None).summary.verdict, Verdict::Good);
    }

    #[test]
    fn promised_days_count_from_now() {
        let now = "2026-11-23T20:30:00Z".parse().unwrap();
        assert_eq!(promised_until(now, 30).unwrap(), Some(PROMISED.parse().unwrap()));
        assert_eq!(promised_until(now, 0).unwrap(), None);
    }
}
