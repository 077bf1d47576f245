//! `verify`: a manifest, and what S3 says, to a verdict.

mod evidence;
mod receipt;

use std::collections::BTreeMap;

use drawbridge_wire::{
    Defect, DefectKind, Defects, Manifest, ManifestObject, ObjectName, RunId, Sha256Digest, Timestamp, VaultRepository,
    Verdict, VerdictFile, VerdictSummary,
};
use jiff::SignedDuration;

pub use evidence::{Evidence, Listed, MAX_AGE_DAYS, Rules, SHARE, Seen};
pub use receipt::{Disagreement, agrees};

/// The most missing objects that the agent is told by name, about 1.5 MB of JSON; Lambda answers with 6 MB at most.
pub const MAX_NAMED: usize = 20_000;

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

/// Holds every object of the manifest against what is there now (`listed`) and what was seen of it. `undeclared` are the paths
/// below the repository's folder that no run ever declared.
///
/// An object that isn't in `listed`, or that nothing was seen of, is missing: a look-up that failed must never get here.
#[must_use]
pub fn judge(
    subject: Subject,
    manifest: &Manifest,
    listed: &BTreeMap<ObjectName, Listed>,
    evidence: &Evidence,
    undeclared: &[String],
    promised_until: Option<Timestamp>,
) -> VerdictFile {
    let flaws = manifest.objects().iter().filter_map(|object| {
        let seen = listed.get(&object.name()).and_then(|listed| evidence.of(object.name(), listed));
        let (kind, detail) = flaw(object, seen, promised_until)?;
        Some(Defect { object: object.name().path(), kind, detail })
    });
    let owed = evidence.owed.iter().filter_map(|name| {
        let seen = listed.get(name).and_then(|listed| evidence.of(*name, listed));
        let (kind, detail) = flaw_of_owed(*name, seen)?;
        Some(Defect { object: name.path(), kind, detail: format!("{detail}; an earlier run had brought it") })
    });
    let strangers = undeclared.iter().map(|path| Defect {
        object: path.clone(),
        kind: DefectKind::Undeclared,
        detail: "no run ever declared it".to_owned(),
    });
    let flaws = flaws.chain(owed).chain(strangers);
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

/// What a verdict means for the agent. It has what its manifest names, and may not have what is owed beyond that.
#[must_use]
pub fn defects(file: &VerdictFile, evidence: &Evidence) -> Defects {
    let summary = &file.summary;
    let missing = file.defects.iter().filter(|defect| defect.kind == DefectKind::Missing);
    let mut named: Vec<ObjectName> = missing.filter_map(|defect| ObjectName::at_path(&defect.object)).collect();
    let lost = named.iter().any(|name| evidence.owed.contains(name));
    named.truncate(MAX_NAMED);
    Defects {
        all_named: named.len() as u64 == summary.missing,
        missing: named,
        beyond_healing: lost || summary.wrong > 0 || summary.undeclared > 0,
    }
}

/// What is the matter with an object of which only the name is known, which is its hash. How long it has to be locked was held
/// against the runs that named it.
fn flaw_of_owed(name: ObjectName, seen: Option<&Seen>) -> Option<(DefectKind, String)> {
    match seen {
        None => Some((DefectKind::Missing, "not in the vault".to_owned())),
        Some(seen) if name.digest().is_none() || seen.sha256 == name.digest() => None,
        Some(_) => Some((DefectKind::Wrong, "its SHA-256 is not its name".to_owned())),
    }
}

/// The worst that is the matter with an object.
fn flaw(
    object: &ManifestObject,
    stored: Option<&Seen>,
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
mod tests;
