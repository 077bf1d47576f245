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
    Evidence {
        repository: "2026-11-0123456789abcdef".parse().unwrap(),
        seen,
        owed: BTreeSet::new(),
        spare: BTreeSet::new(),
    }
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

fn of_kind(kind: ObjectKind, content: &str) -> ObjectName {
    ObjectName::hashed(kind, sha256(content.as_bytes())).unwrap()
}

fn naming(names: &[ObjectName]) -> Manifest {
    let objects = names.iter().map(|name| ManifestObject::hashed(*name, 7, true));
    Manifest::new("0123456789abcdef".parse().unwrap(), objects.collect()).unwrap()
}

#[test]
fn what_was_seen_is_owed_when_the_manifest_names_it_no_more_and_isn_t_when_it_names_it_again() {
    let mut evidence = seen(YESTERDAY, FAR);
    let (kept, dropped) = (name(0), name(1));
    evidence.owe(&naming(&[kept]));
    assert!(evidence.owed.contains(&dropped) && !evidence.owed.contains(&kept));
    let rules = Rules { run: &RUN.parse().unwrap(), now: NOW.parse().unwrap(), promised_until: None };
    let other = BTreeMap::from([(dropped, Listed { version: "v2".to_owned(), size: 7 })]);
    assert_eq!(evidence.due(&naming(&[kept]), &other, rules).len(), 1, "what is owed is looked at as well");
    evidence.owe(&manifest());
    assert!(evidence.owed.is_empty());
}

#[test]
fn an_index_of_a_run_that_was_cut_off_means_that_its_packs_are_owed_and_a_pack_alone_is_spare() {
    let (pack, other) = (of_kind(ObjectKind::Data, "a"), of_kind(ObjectKind::Data, "b"));
    let (index, snapshot) = (of_kind(ObjectKind::Index, "i"), of_kind(ObjectKind::Snapshot, "s"));
    let (earlier, now) = (naming(&[pack, other, index, snapshot]), naming(&[name(0)]));
    for (arrived, owed) in
        [(pack, vec![]), (index, vec![pack, other, index]), (snapshot, vec![pack, other, index, snapshot])]
    {
        let mut evidence = Evidence::none("2026-11-0123456789abcdef".parse().unwrap());
        let mut unknown = BTreeSet::from([arrived, name(7)]);
        evidence.explain(&mut unknown, &earlier, &now);
        assert_eq!(unknown, BTreeSet::from([name(7)]), "what this run didn't declare stays unknown");
        assert_eq!(evidence.owed, owed.into_iter().collect(), "{arrived}");
        assert!(evidence.knows(&now, arrived), "{arrived} isn't asked about again");
    }
}
