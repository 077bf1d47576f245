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

fn subject() -> Subject {
    Subject {
        run: "home-20261123T203000Z".parse().unwrap(),
        repository: "2026-11-0123456789abcdef".parse().unwrap(),
        manifest_sha256: sha256(b"manifest"),
    }
}

/// What is listed, and what was seen of it.
#[derive(Clone)]
struct Vault {
    listed: BTreeMap<ObjectName, Listed>,
    evidence: Evidence,
}

fn vault() -> Vault {
    let mut vault = Vault { listed: BTreeMap::new(), evidence: Evidence::none(subject().repository) };
    for object in manifest().objects() {
        let (version, size) = ("v1".to_owned(), object.size());
        vault.listed.insert(object.name(), Listed { version: version.clone(), size });
        let seen = Seen {
            version,
            size,
            sha256: Some(object.digest()),
            locked_until: Some(PROMISED.parse().unwrap()),
            at: "2026-11-23T20:35:00Z".parse().unwrap(),
        };
        vault.evidence.seen.insert(object.name(), seen);
    }
    vault
}

fn judged(vault: &Vault, undeclared: &[String], promised: Option<&str>) -> VerdictFile {
    let promised = promised.map(|at| at.parse().unwrap());
    judge(subject(), &manifest(), &vault.listed, &vault.evidence, undeclared, promised)
}

/// The only defect of a vault in which the pack "one" was changed.
fn defect_after(change: impl FnOnce(&mut Seen)) -> (DefectKind, VerdictSummary) {
    let mut vault = vault();
    change(vault.evidence.seen.get_mut(&pack("one").name()).unwrap());
    let file = judged(&vault, &[], Some(PROMISED));
    assert_eq!((file.defects.len(), file.summary.verdict), (1, Verdict::Bad));
    assert_eq!(file.defects[0].object, pack("one").name().path());
    (file.defects[0].kind, file.summary)
}

#[test]
fn a_vault_that_holds_everything_right_and_locked_is_good() {
    let file = judged(&vault(), &[], Some(PROMISED));
    assert_eq!((file.summary.verdict, file.summary.objects, file.summary.bytes), (Verdict::Good, 3, 12));
    assert!(file.defects.is_empty());
}

#[test]
fn objects_that_did_not_cross_today_count_as_well() {
    let mut vault = vault();
    vault.listed.remove(&ObjectName::CONFIG);
    assert_eq!(judged(&vault, &[], None).summary.missing, 1);
    vault.listed.clear();
    assert_eq!(judged(&vault, &[], None).summary.missing, 3);
}

#[test]
fn what_was_seen_of_another_version_says_nothing_of_this_one() {
    let mut vault = vault();
    vault.listed.get_mut(&pack("one").name()).unwrap().version = "v2".to_owned();
    assert_eq!(judged(&vault, &[], None).summary.missing, 1, "nothing was seen of v2, so it is not good");
}

#[test]
fn another_size_or_hash_or_none_is_wrong() {
    for change in [
        |seen: &mut Seen| seen.size += 1,
        |seen: &mut Seen| seen.sha256 = Some(sha256(b"flipped")),
        |seen: &mut Seen| seen.sha256 = None,
    ] {
        let (kind, summary) = defect_after(change);
        assert_eq!((kind, summary.wrong, summary.missing), (DefectKind::Wrong, 1, 0));
    }
}

#[test]
fn a_lock_that_ends_a_second_too_early_is_no_lock() {
    for change in [
        |seen: &mut Seen| seen.locked_until = Some("2026-12-23T20:29:59Z".parse().unwrap()),
        |seen: &mut Seen| seen.locked_until = None,
    ] {
        let (kind, summary) = defect_after(change);
        assert_eq!((kind, summary.unlocked), (DefectKind::Unlocked, 1));
    }
    let mut unlocked = vault();
    unlocked.evidence.seen.values_mut().for_each(|seen| seen.locked_until = None);
    assert_eq!(judged(&unlocked, &[], None).summary.verdict, Verdict::Good);
}

#[test]
fn what_no_run_declared_spoils_a_vault_that_is_otherwise_good() {
    let file = judged(&vault(), &["index/junk".to_owned()], Some(PROMISED));
    assert_eq!((file.summary.verdict, file.summary.undeclared), (Verdict::Bad, 1));
    assert_eq!((file.defects[0].kind, file.defects[0].object.as_str()), (DefectKind::Undeclared, "index/junk"));
}

#[test]
fn the_agent_hears_what_is_missing_by_name_and_whether_anything_is_beyond_healing() {
    let mut lacking = vault();
    lacking.listed.remove(&pack("two").name());
    let told = defects(&judged(&lacking, &[], None), &lacking.evidence);
    assert_eq!(told, Defects { missing: vec![pack("two").name()], all_named: true, beyond_healing: false });

    let mut wrong = vault();
    wrong.evidence.seen.get_mut(&pack("one").name()).unwrap().size += 1;
    assert!(defects(&judged(&wrong, &[], None), &wrong.evidence).beyond_healing);
    assert!(defects(&judged(&vault(), &["x".to_owned()], None), &vault().evidence).beyond_healing);

    let mut unlocked = vault();
    unlocked.evidence.seen.values_mut().for_each(|seen| seen.locked_until = None);
    let told = defects(&judged(&unlocked, &[], Some(PROMISED)), &unlocked.evidence);
    assert_eq!(
        told,
        Defects { missing: Vec::new(), all_named: true, beyond_healing: false },
        "a new copy would be no better locked"
    );
}

#[test]
fn what_an_earlier_run_brought_must_still_be_there_and_no_crossing_heals_it() {
    let mut vault = vault();
    let owed = pack("earlier").name();
    vault.evidence.owed.insert(owed);
    let file = judged(&vault, &[], None);
    assert_eq!((file.summary.verdict, file.summary.missing), (Verdict::Bad, 1));
    assert!(defects(&file, &vault.evidence).beyond_healing);

    let seen = Seen { sha256: owed.digest(), ..vault.evidence.seen[&pack("one").name()].clone() };
    vault.listed.insert(owed, Listed { version: seen.version.clone(), size: seen.size });
    vault.evidence.seen.insert(owed, seen.clone());
    assert_eq!(judged(&vault, &[], Some(PROMISED)).summary.verdict, Verdict::Good);
    vault.evidence.seen.insert(owed, Seen { sha256: Some(sha256(b"flipped")), ..seen });
    assert_eq!(judged(&vault, &[], None).summary.wrong, 1);
}

#[test]
fn too_many_missing_objects_are_not_all_named() {
    let one = Defect { object: pack("one").name().path(), kind: DefectKind::Missing, detail: String::new() };
    let mut file = judged(&vault(), &[], None);
    file.defects = vec![one; MAX_NAMED + 1];
    file.summary.missing = file.defects.len() as u64;
    let told = defects(&file, &vault().evidence);
    assert_eq!((told.missing.len(), told.all_named), (MAX_NAMED, false));
}

#[test]
fn promised_days_count_from_now() {
    let now = "2026-11-23T20:30:00Z".parse().unwrap();
    assert_eq!(promised_until(now, 30).unwrap(), Some(PROMISED.parse().unwrap()));
    assert_eq!(promised_until(now, 0).unwrap(), None);
}
