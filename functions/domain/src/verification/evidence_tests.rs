#![allow(clippy::unwrap_used)]

use drawbridge_wire::ObjectKind;
use jiff::ToSpan;

use super::*;

/// Enough that a share of one in [`SHARE`] is neither empty nor all.
const OBJECTS: usize = 1600;

fn name(number: usize) -> ObjectName {
    ObjectName::hashed(ObjectKind::Data, sha256(number.to_string().as_bytes())).unwrap()
}

fn manifest() -> Manifest {
    let objects = (0..OBJECTS).map(|number| ManifestObject::hashed(name(number), 7, false));
    Manifest::new("0123456789abcdef".parse().unwrap(), objects.collect()).unwrap()
}

fn listed() -> BTreeMap<ObjectName, Listed> {
    (0..OBJECTS).map(|number| (name(number), Listed { version: "v1".to_owned(), size: 7 })).collect()
}

/// Everything was seen at `at`, locked until `locked`.
fn seen(at: &str, locked: &str) -> Evidence {
    let seen = Seen {
        version: "v1".to_owned(),
        size: 7,
        sha256: None,
        locked_until: Some(locked.parse().unwrap()),
        at: at.parse().unwrap(),
    };
    let seen = (0..OBJECTS).map(|number| (name(number), seen.clone())).collect();
    Evidence { repository: "2026-11-0123456789abcdef".parse().unwrap(), seen, declared_before: BTreeSet::new() }
}

const YESTERDAY: &str = "2026-11-22T20:35:00Z";
const FAR: &str = "2027-11-22T20:35:00Z";

fn due(evidence: &Evidence, run: &str, now: &str, promised: Option<&str>) -> BTreeSet<ObjectName> {
    let (run, manifest, listed) = (run.parse().unwrap(), manifest(), listed());
    let promised_until = promised.map(|at| at.parse().unwrap());
    let rules = Rules { run: &run, now: now.parse().unwrap(), promised_until };
    evidence.due(&manifest, &listed, rules).into_iter().map(|(name, _)| name).collect()
}

const RUN: &str = "home-20261123T203000Z";
const NOW: &str = "2026-11-23T20:40:00Z";

#[test]
fn what_was_never_seen_is_due_and_so_is_another_version() {
    let none = Evidence::none("2026-11-0123456789abcdef".parse().unwrap());
    assert_eq!(due(&none, RUN, NOW, None).len(), OBJECTS);
    let mut other = seen(YESTERDAY, FAR);
    other.seen.values_mut().for_each(|seen| seen.version = "v0".to_owned());
    assert_eq!(due(&other, RUN, NOW, None).len(), OBJECTS);
}

#[test]
fn a_share_of_what_was_seen_is_due_and_another_one_in_each_run() {
    let evidence = seen(YESTERDAY, FAR);
    let today = due(&evidence, RUN, NOW, None);
    let expected = OBJECTS / usize::from(SHARE);
    assert!((expected / 2..expected * 2).contains(&today.len()), "{} of {OBJECTS}", today.len());
    assert_eq!(today, due(&evidence, RUN, "2026-11-23T20:45:00Z", None), "the same in each call of a run");
    assert_ne!(today, due(&evidence, "home-20261124T203000Z", "2026-11-24T20:40:00Z", None));
}

#[test]
fn what_was_looked_at_in_this_run_is_not_due_again() {
    assert!(due(&seen("2026-11-23T20:31:00Z", FAR), RUN, NOW, None).is_empty());
    // Not even when its lock is too short: that is a finding, and another look would find the same.
    assert!(due(&seen("2026-11-23T20:31:00Z", NOW), RUN, NOW, Some(FAR)).is_empty());
}

#[test]
fn everything_is_due_whose_lock_was_too_short_or_that_was_seen_too_long_ago_or_in_the_future() {
    assert_eq!(due(&seen(YESTERDAY, "2026-12-22T00:00:00Z"), RUN, NOW, Some("2026-12-23T00:00:00Z")).len(), OBJECTS);
    let now: Timestamp = NOW.parse().unwrap();
    let long_ago = now.checked_sub((24 * MAX_AGE_DAYS + 1).hours()).unwrap();
    for at in [long_ago.to_string().as_str(), "2026-11-23T20:41:00Z"] {
        assert_eq!(due(&seen(at, FAR), RUN, NOW, None).len(), OBJECTS, "{at}");
    }
}

#[test]
fn every_object_is_looked_at_within_the_longest_age_whatever_the_draw() {
    let mut evidence = seen(YESTERDAY, FAR);
    let start: Timestamp = NOW.parse().unwrap();
    let mut looked: BTreeSet<ObjectName> = BTreeSet::new();
    for day in 0..=MAX_AGE_DAYS {
        let now = start.checked_add((24 * day).hours()).unwrap();
        let run = RunId::new(&"home".parse().unwrap(), now);
        let today = due(&evidence, run.as_str(), &now.to_string(), None);
        for name in &today {
            evidence.seen.get_mut(name).unwrap().at = now;
        }
        looked.extend(today);
    }
    assert_eq!(looked.len(), OBJECTS);
}

#[test]
fn evidence_outlives_neither_its_object_nor_its_reason() {
    let mut evidence = seen(YESTERDAY, FAR);
    let gone = ObjectName::hashed(ObjectKind::Index, sha256(b"gone")).unwrap();
    let there = ObjectName::hashed(ObjectKind::Index, sha256(b"there")).unwrap();
    let example = evidence.seen.values().next().cloned().unwrap();
    evidence.seen.insert(gone, example);
    evidence.declared_before.extend([gone, there]);
    evidence.keep_only(&manifest(), &BTreeSet::from([there]));
    assert_eq!(evidence.seen.len(), OBJECTS);
    assert_eq!(evidence.declared_before, BTreeSet::from([there]));
}
