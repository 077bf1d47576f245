//! Every decision of the admission, without I/O.
#![allow(clippy::unwrap_used, clippy::panic)]

use drawbridge_wire::{MAX_PACK_BYTES, RepositoryId};

use super::*;

const REPOSITORY: &str = "2026-11-0123456789abcdef";

fn repository() -> RepositoryId {
    REPOSITORY.parse::<VaultRepository>().unwrap().id()
}

fn digest(n: u8) -> Sha256Digest {
    Sha256Digest::from_bytes([n; 32])
}

fn name(kind: ObjectKind, n: u8) -> ObjectName {
    ObjectName::hashed(kind, digest(n)).unwrap()
}

/// One key, two packs, two indexes, a snapshot, and a pack that was declared by an earlier run.
fn manifest() -> Manifest {
    let objects = vec![
        ManifestObject::config(digest(9), 155, true),
        ManifestObject::hashed(name(ObjectKind::Key, 1), 450, true),
        ManifestObject::hashed(name(ObjectKind::Data, 1), 200, true),
        ManifestObject::hashed(name(ObjectKind::Data, 2), 300, true),
        ManifestObject::hashed(name(ObjectKind::Data, 3), 400, false),
        ManifestObject::hashed(name(ObjectKind::Index, 1), 50, true),
        ManifestObject::hashed(name(ObjectKind::Index, 2), 50, true),
        ManifestObject::hashed(name(ObjectKind::Snapshot, 1), 260, true),
    ];
    Manifest::new(repository(), objects).unwrap()
}

fn terms_for(text: &[u8], (objects, bytes): (u64, u64)) -> Terms {
    let manifest_sha256 = Sha256Digest::from_bytes(Sha256::digest(text).into());
    Terms { repository: REPOSITORY.parse().unwrap(), objects, bytes, manifest_sha256 }
}

fn opened() -> Admission {
    let manifest = manifest();
    let text = serde_json::to_vec(&manifest).unwrap();
    let checked = terms_for(&text, manifest.declared()).check(&text).unwrap();
    let mut admission = Admission::default();
    admission.open(checked, Timestamp::UNIX_EPOCH);
    admission
}

fn take(admission: &mut Admission, name: ObjectName, size: u64) {
    match admission.admit(name, Some(size)).unwrap() {
        Admit::Upload(admitted) => admission.acknowledge(&admitted, StoreOutcome::Stored, Timestamp::UNIX_EPOCH),
        Admit::Again(_) => panic!("{name} was taken before"),
    }
}

fn take_up_to_data(admission: &mut Admission) {
    take(admission, ObjectName::CONFIG, 155);
    take(admission, name(ObjectKind::Key, 1), 450);
    take(admission, name(ObjectKind::Data, 1), 200);
    take(admission, name(ObjectKind::Data, 2), 300);
}

#[test]
fn nothing_is_admitted_before_the_manifest() {
    let mut admission = Admission::default();
    assert!(matches!(admission.admit(ObjectName::CONFIG, Some(155)), Err(Refusal::ManifestFirst)));
    assert!(matches!(admission.receipt(), Err(Refusal::ManifestFirst)));
    assert!(!admission.has_manifest().unwrap());
}

#[test]
fn a_manifest_with_another_hash_is_refused_before_it_is_parsed() {
    let text = serde_json::to_vec(&manifest()).unwrap();
    let terms = terms_for(b"another", manifest().declared());
    assert!(matches!(terms.check(&text), Err(Refusal::ManifestHash { .. })));
    assert!(matches!(terms.check(b"not JSON"), Err(Refusal::ManifestHash { .. })));
}

#[test]
fn the_declared_bytes_must_be_a_manifest() {
    for text in [&b"not JSON"[..], b"{}", br#"{"version":2,"repository":"0123456789abcdef","objects":[]}"#] {
        assert!(matches!(terms_for(text, (0, 0)).check(text), Err(Refusal::ManifestMalformed(_))));
    }
}

#[test]
fn a_manifest_of_another_repository_is_refused() {
    let other = Manifest::new("fedcba9876543210".parse().unwrap(), manifest().objects().to_vec()).unwrap();
    let text = serde_json::to_vec(&other).unwrap();
    assert!(matches!(terms_for(&text, other.declared()).check(&text), Err(Refusal::ManifestRepository)));
}

#[test]
fn a_manifest_must_declare_exactly_what_the_run_declared() {
    let text = serde_json::to_vec(&manifest()).unwrap();
    let (objects, bytes) = manifest().declared();
    for other in [(objects + 1, bytes), (objects - 1, bytes), (objects, bytes + 1), (objects, bytes - 1)] {
        assert!(matches!(terms_for(&text, other).check(&text), Err(Refusal::ManifestTotals { .. })), "{other:?}");
    }
}

#[test]
fn a_manifest_of_unknown_or_excessive_length_is_not_read() {
    let terms = terms_for(b"", (0, 0));
    assert!(matches!(terms.admit_manifest(None), Err(Refusal::LengthRequired)));
    assert_eq!(terms.admit_manifest(Some(MAX_MANIFEST_BYTES as u64)).unwrap(), MAX_MANIFEST_BYTES);
    for length in [MAX_MANIFEST_BYTES as u64 + 1, u64::MAX] {
        assert!(matches!(terms.admit_manifest(Some(length)), Err(Refusal::ManifestTooLarge(_))));
    }
}

#[test]
fn only_objects_that_the_manifest_lets_cross_are_admitted() {
    let mut admission = opened();
    for undeclared in [name(ObjectKind::Data, 3), name(ObjectKind::Data, 7), name(ObjectKind::Snapshot, 2)] {
        assert!(matches!(admission.admit(undeclared, Some(400)), Err(Refusal::Undeclared)), "{undeclared}");
    }
}

#[test]
fn an_object_has_exactly_its_declared_size() {
    let mut admission = opened();
    let pack = name(ObjectKind::Data, 1);
    assert!(matches!(admission.admit(pack, None), Err(Refusal::LengthRequired)));
    assert!(matches!(admission.admit(pack, Some(199)), Err(Refusal::TooSmall { declared: 200, stated: 199 })));
    assert!(matches!(admission.admit(pack, Some(201)), Err(Refusal::TooLarge { declared: 200, stated: 201 })));
    assert!(matches!(admission.admit(pack, Some(MAX_PACK_BYTES + 1)), Err(Refusal::TooLarge { .. })));
    take(&mut admission, pack, 200);
}

#[test]
fn an_index_waits_for_everything_that_it_may_refer_to() {
    let mut admission = opened();
    let index = name(ObjectKind::Index, 1);
    take(&mut admission, name(ObjectKind::Data, 1), 200);
    match admission.admit(index, Some(50)) {
        Err(Refusal::OutOfOrder { kind: ObjectKind::Index, missing: 3 }) => {}
        other => panic!("{other:?}"),
    }
    take(&mut admission, ObjectName::CONFIG, 155);
    take(&mut admission, name(ObjectKind::Key, 1), 450);
    let Ok(Admit::Upload(pack)) = admission.admit(name(ObjectKind::Data, 2), Some(300)) else { panic!() };
    assert!(
        matches!(admission.admit(index, Some(50)), Err(Refusal::OutOfOrder { missing: 1, .. })),
        "crossing is not acknowledged"
    );
    admission.acknowledge(&pack, StoreOutcome::AlreadyThere, Timestamp::UNIX_EPOCH);
    take(&mut admission, index, 50);
}

#[test]
fn a_snapshot_waits_for_every_index() {
    let mut admission = opened();
    take_up_to_data(&mut admission);
    take(&mut admission, name(ObjectKind::Index, 2), 50);
    let snapshot = name(ObjectKind::Snapshot, 1);
    assert!(matches!(admission.admit(snapshot, Some(260)), Err(Refusal::OutOfOrder { missing: 1, .. })));
    take(&mut admission, name(ObjectKind::Index, 1), 50);
    take(&mut admission, snapshot, 260);
}

#[test]
fn an_object_crosses_once_at_a_time_and_again_after_a_failure() {
    let mut admission = opened();
    let pack = name(ObjectKind::Data, 1);
    let Ok(Admit::Upload(first)) = admission.admit(pack, Some(200)) else { panic!() };
    assert!(matches!(admission.admit(pack, Some(200)), Err(Refusal::Crossing)));
    admission.give_up(&first);
    take(&mut admission, pack, 200);
    assert!(matches!(admission.admit(pack, Some(200)), Ok(Admit::Again(_))));
}

#[test]
fn the_receipt_waits_for_every_declared_object_and_names_each() {
    let mut admission = opened();
    take_up_to_data(&mut admission);
    assert!(matches!(admission.receipt(), Err(Refusal::Incomplete(3))));
    take(&mut admission, name(ObjectKind::Index, 1), 50);
    take(&mut admission, name(ObjectKind::Index, 2), 50);
    let Ok(Admit::Upload(snapshot)) = admission.admit(name(ObjectKind::Snapshot, 1), Some(260)) else { panic!() };
    let late = "2026-11-23T20:30:00Z".parse().unwrap();
    admission.acknowledge(&snapshot, StoreOutcome::AlreadyThere, late);
    let Ok(Due::Write { entries, completed_at }) = admission.receipt() else { panic!() };
    assert_eq!(completed_at, late);
    assert_eq!(entries.len(), 7);
    assert!(entries.is_sorted_by_key(|entry| entry.name));
    assert_eq!(entries.last().unwrap().outcome, StoreOutcome::AlreadyThere);
}

#[test]
fn after_the_receipt_nothing_is_taken() {
    let mut admission = opened();
    admission.complete();
    assert!(matches!(admission.admit(ObjectName::CONFIG, Some(155)), Err(Refusal::Complete)));
    assert!(matches!(admission.has_manifest(), Err(Refusal::Complete)));
    assert!(matches!(admission.receipt(), Ok(Due::Written)));
}

#[test]
fn an_object_has_a_size_that_one_of_its_kind_can_have() {
    let sized = |name: ObjectName, size| match name {
        ObjectName::CONFIG => ManifestObject::config(digest(1), size, true),
        name => ManifestObject::hashed(name, size, true),
    };
    let admit = |name: ObjectName, size| {
        let manifest = Manifest::new(repository(), vec![sized(name, size)]).unwrap();
        let text = serde_json::to_vec(&manifest).unwrap();
        let checked = terms_for(&text, manifest.declared()).check(&text).unwrap();
        let mut admission = Admission::default();
        admission.open(checked, Timestamp::UNIX_EPOCH);
        admission.admit(name, Some(size))
    };
    for (name, least, most) in [
        (ObjectName::CONFIG, 117, 4096),
        (name(ObjectKind::Key, 1), 128, 4096),
        (name(ObjectKind::Data, 1), 106, MAX_PACK_BYTES),
        (name(ObjectKind::Index, 1), 44, MAX_PACK_BYTES),
        (name(ObjectKind::Snapshot, 1), 64, MAX_PACK_BYTES),
    ] {
        for size in [least, most] {
            assert!(matches!(admit(name, size), Ok(Admit::Upload(_))), "{name} {size}");
        }
        for size in [0, least - 1, most + 1].into_iter().filter(|size| *size <= MAX_PACK_BYTES) {
            assert!(matches!(admit(name, size), Err(Refusal::Misshapen { .. })), "{name} {size}");
        }
    }
}
