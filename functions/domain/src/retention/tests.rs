//! Years of a site, played against a vault that locks, hides and deletes as S3 does. Who names the generation, grants the run and
//! judges the vault are the functions' own decisions; only S3 is a model.
//!
//! Sources: S3 user guide, "Lifecycle configuration elements" (days are counted from creation and rounded up to the next midnight
//! UTC; a current version gets a delete marker, a noncurrent one is deleted its days after it became so) and "Object Lock" (the
//! default retention counts from creation; a delete marker is no deletion, and lifecycle leaves a locked version alone).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_wire::{
    Generation, Manifest, ManifestObject, ObjectKind, ObjectName, RepositoryId, StartAnswer, StartRequest, Timestamp,
    VaultRepository, Verdict,
};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::admission::{Limits, Plan, Start, decide};
use crate::hash::sha256;
use crate::slot::Slot;
use crate::verification::{Evidence, Listed, Seen, Subject, judge, promised_until};
use crate::window::{WindowRule, deadline};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";

/// How long an execution may last: `TimeoutSeconds` of the state machine.
const RUN_SECONDS: i64 = 28_800;

const LONGEST_SLOT: u32 = 86_400;

/// When the next run begins.
#[derive(Debug, Clone, Copy)]
enum Wait {
    /// So many seconds after the last one. Months may be missed.
    Seconds(i64),
    /// So many seconds after the next generation has begun.
    UntilTheGenerationTurns(i64),
    /// In the last second of this generation's last slot.
    UntilTheLastMoment,
}

/// One run.
#[derive(Debug, Clone)]
struct Night {
    wait: Wait,
    /// What the agent's clock shows beyond the true time, in seconds.
    agent_is_off: i64,
    /// The contents that the snapshot refers to, of eight.
    contents: u8,
    /// How many objects cross before the agent is killed; `None` when it isn't.
    killed_after: Option<usize>,
    /// How much of its longest time the run takes until its verdict, in thousandths.
    takes: i64,
}

/// A site's years.
#[derive(Debug, Clone)]
struct History {
    length: GenerationLength,
    promised_days: u32,
    slot_seconds: u32,
    begins: Timestamp,
    nights: Vec<Night>,
}

fn days(days: u32) -> SignedDuration {
    SignedDuration::from_hours(24 * i64::from(days))
}

/// The midnight, UTC, that doesn't come before a moment.
fn midnight(at: Timestamp) -> Timestamp {
    let start = first_moment(TimeZone::UTC.to_datetime(at).date());
    if start == at { at } else { start + days(1) }
}

fn first_moment(date: Date) -> Timestamp {
    TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).unwrap()
}

/// The first moment of the generation after the one that holds `now`.
fn turns(length: GenerationLength, now: Timestamp) -> Timestamp {
    let mut month = TimeZone::UTC.to_datetime(now).date().first_of_month();
    while first_moment(month) <= now || length.holding(first_moment(month)).unwrap() == length.holding(now).unwrap() {
        month = month.checked_add(1.month()).unwrap();
    }
    first_moment(month)
}

/// What S3 does with one version of an object.
#[derive(Debug, Clone, Copy)]
struct Version {
    created: Timestamp,
    retention: Retention,
}

impl Version {
    fn locked_until(self) -> Timestamp {
        self.created + days(self.retention.lock_days)
    }

    /// When it gets a delete marker, at the earliest.
    fn hidden_at(self) -> Timestamp {
        midnight(self.created + days(self.retention.expire_days))
    }

    /// When it is deleted, and its marker with it.
    fn gone_at(self) -> Timestamp {
        midnight(self.hidden_at() + days(1)).max(midnight(self.locked_until()))
    }
}

/// What was promised of a repository at a verdict.
struct Promise {
    repository: VaultRepository,
    objects: Vec<ObjectName>,
    until: Timestamp,
}

/// The site and its vault.
struct Site<'a> {
    history: &'a History,
    retention: Retention,
    now: Timestamp,
    vault: BTreeMap<(VaultRepository, ObjectName), Version>,
    promises: Vec<Promise>,
}

/// Plays a history; the error says which promise was broken.
fn play(history: &History, retention: Retention) -> Result<(), String> {
    let mut site = Site { history, retention, now: history.begins, vault: BTreeMap::new(), promises: Vec::new() };
    for (number, night) in history.nights.iter().enumerate() {
        site.play(number, night)?;
    }
    site.every_promise_was_kept()?;
    site.everything_goes()
}

impl Site<'_> {
    fn play(&mut self, number: usize, night: &Night) -> Result<(), String> {
        let began = self.wait(night.wait);
        let agents = self.history.length.holding(began + SignedDuration::from_secs(night.agent_is_off)).unwrap();
        let start = self.start(agents, began);
        let (repository, verdict_at) =
            (&start.input.repository, began + SignedDuration::from_secs(RUN_SECONDS * night.takes / 1000));
        assert!(deadline(began, 900, &start.input).unwrap() <= began + SignedDuration::from_secs(RUN_SECONDS));

        let contents = (0..8_u8).filter(|bit| night.contents >> bit & 1 == 1).map(|bit| vec![bit]);
        let packs = contents.map(|content| ObjectName::hashed(ObjectKind::Data, sha256(&content)).unwrap());
        let snapshot = ObjectName::hashed(ObjectKind::Snapshot, sha256(&number.to_be_bytes())).unwrap();
        let objects: Vec<ObjectName> = packs.chain([snapshot]).collect();
        let absent = objects.iter().filter(|name| !self.holds(repository, name, began)).copied();
        for name in absent.take(night.killed_after.unwrap_or(usize::MAX)).collect::<Vec<_>>() {
            self.vault.insert((repository.clone(), name), Version { created: began, retention: self.retention });
        }
        self.now = verdict_at;
        if night.killed_after.is_none() { self.judge(&start, objects) } else { Ok(()) }
    }

    fn wait(&self, wait: Wait) -> Timestamp {
        let turns = turns(self.history.length, self.now);
        let at = match wait {
            Wait::Seconds(seconds) => self.now + SignedDuration::from_secs(seconds),
            Wait::UntilTheGenerationTurns(seconds) => turns + SignedDuration::from_secs(seconds),
            Wait::UntilTheLastMoment => {
                let last = Slot::holding(turns - SignedDuration::from_secs(1), self.history.slot_seconds).unwrap();
                last.next_begins().unwrap() - SignedDuration::from_secs(1)
            }
        };
        at.max(self.now)
    }

    /// The run that `start` grants an agent who believes that it is in `generation`. Only the cloud's word can make it cross there.
    fn start(&self, generation: Generation, now: Timestamp) -> Start {
        let limits = Limits {
            site: "home".parse().unwrap(),
            slot_seconds: self.history.slot_seconds,
            max_runs_per_day: 1000,
            max_objects: 100,
            max_bytes: 1000,
            allowed: "0.0.0.0/0".parse().unwrap(),
            generation: self.history.length,
            boot_seconds: 900,
            window: WindowRule { base_seconds: 3600, bytes_per_second: 1, max_seconds: 14_400 },
            heartbeat_seconds: 120,
        };
        let ask = |generation| StartRequest {
            public_key: KEY.to_owned(),
            source_cidr: None,
            repository: repository_id(),
            generation: Some(generation),
            objects: 9,
            bytes: 9,
            manifest_sha256: sha256(b"manifest"),
        };
        match decide(&ask(generation), &limits, &[], &[], now).unwrap() {
            Plan::Start(start) => start,
            Plan::Answer(StartAnswer::GenerationTurned { generation }) => {
                match decide(&ask(generation), &limits, &[], &[], now).unwrap() {
                    Plan::Start(start) => start,
                    other @ Plan::Answer(_) => panic!("{other:?}"),
                }
            }
            other @ Plan::Answer(_) => panic!("{other:?}"),
        }
    }

    fn holds(&self, repository: &VaultRepository, name: &ObjectName, at: Timestamp) -> bool {
        self.vault.get(&(repository.clone(), *name)).is_some_and(|version| at < version.hidden_at())
    }

    /// `verify`, at `self.now`.
    fn judge(&mut self, start: &Start, objects: Vec<ObjectName>) -> Result<(), String> {
        let repository = start.input.repository.clone();
        let declared = objects.iter().map(|name| ManifestObject::hashed(*name, 1, true)).collect();
        let manifest = Manifest::new(repository_id(), declared).unwrap();
        let there = objects.iter().filter(|name| self.holds(&repository, name, self.now));
        let mut evidence = Evidence::none(repository.clone());
        evidence.seen = there
            .map(|name| {
                let (version, locked_until) =
                    ("v1".to_owned(), self.vault[&(repository.clone(), *name)].locked_until());
                let seen =
                    Seen { version, size: 1, sha256: name.digest(), locked_until: Some(locked_until), at: self.now };
                (*name, seen)
            })
            .collect();
        let version = |seen: &Seen| Listed { version: seen.version.clone(), size: seen.size };
        let listed = evidence.seen.iter().map(|(name, seen)| (*name, version(seen))).collect();
        let until = promised_until(self.now, self.history.promised_days).unwrap();
        let subject = Subject {
            run: start.run.clone(),
            repository: repository.clone(),
            manifest_sha256: start.input.manifest_sha256,
        };
        let verdict = judge(subject, &manifest, &listed, &evidence, &[], until);
        if verdict.summary.verdict != Verdict::Good {
            return Err(format!("{} at {}: {:?}", start.run, self.now, verdict.defects));
        }
        self.promises.push(Promise { repository, objects, until: until.unwrap() });
        Ok(())
    }

    fn every_promise_was_kept(&self) -> Result<(), String> {
        for Promise { repository, objects, until } in &self.promises {
            for name in objects {
                let version = self.vault[&(repository.clone(), *name)];
                if version.hidden_at() < *until {
                    return Err(format!("{repository} loses {name} at {}, {until} promised", version.hidden_at()));
                }
            }
        }
        Ok(())
    }

    /// A few days after its lock nothing is left of an object, however long the site goes on.
    fn everything_goes(&self) -> Result<(), String> {
        let bound = |version: &Version| version.created + days(self.retention.expire_days + 3);
        match self.vault.iter().find(|(_, version)| version.gone_at() > bound(version)) {
            None => Ok(()),
            Some((key, version)) => Err(format!("{key:?} stays until {}", version.gone_at())),
        }
    }
}

fn repository_id() -> RepositoryId {
    "0123456789abcdef".parse().unwrap()
}

fn nights() -> impl Strategy<Value = Vec<Night>> {
    let wait = prop_oneof![
        4 => (1800_i64..3 * 86_400).prop_map(Wait::Seconds),
        1 => (86_400_i64..120 * 86_400).prop_map(Wait::Seconds),
        2 => prop_oneof![Just(0_i64), 0_i64..7200].prop_map(Wait::UntilTheGenerationTurns),
        2 => Just(Wait::UntilTheLastMoment),
    ];
    let clock = prop_oneof![2 => Just(0_i64), 1 => -86_400_i64..86_400, 1 => -400 * 86_400_i64..400 * 86_400];
    let killed = prop_oneof![4 => Just(None), 1 => (0_usize..6).prop_map(Some)];
    let takes = prop_oneof![1 => Just(1000_i64), 1 => 0_i64..=1000];
    let night = (wait, clock, any::<u8>(), killed, takes);
    let night = night.prop_map(|(wait, agent_is_off, contents, killed_after, takes)| Night {
        wait,
        agent_is_off,
        contents,
        killed_after,
        takes,
    });
    proptest::collection::vec(night, 1..60)
}

fn histories() -> impl Strategy<Value = History> {
    let first = "2023-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    let begins = (0_i64..10 * 366 * 86_400).prop_map(move |seconds| first + SignedDuration::from_secs(seconds));
    let slot = prop_oneof![1 => Just(3600_u32), 1 => Just(LONGEST_SLOT), 3 => 1..=LONGEST_SLOT];
    (select(GenerationLength::ALL.as_slice()), select(PROMISES.as_slice()), slot, begins, nights()).prop_map(
        |(length, promised_days, slot_seconds, begins, nights)| History {
            length,
            promised_days,
            slot_seconds,
            begins,
            nights,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn no_snapshot_of_any_history_loses_an_object_before_its_promise_ends_and_everything_is_gone_some_day(
        history in histories()
    ) {
        let retention = Retention::of(history.length, history.promised_days);
        prop_assert_eq!(play(&history, retention), Ok(()));
    }
}

/// The history that needs the most: an object of the longest generation's first slot, and a run in the last moment of a slot that
/// lasts far into the next generation, with a verdict as late as it may come.
fn worst(length: GenerationLength, promised_days: u32) -> History {
    let midnight: Timestamp = match length {
        GenerationLength::Month => "2027-01-01T00:00:00Z",
        GenerationLength::Quarter => "2027-07-01T00:00:00Z",
        GenerationLength::Year => "2028-01-01T00:00:00Z",
    }
    .parse()
    .unwrap();
    let next_slot = |after: Timestamp, seconds: u32| {
        Slot::holding(after - SignedDuration::from_secs(1), seconds).unwrap().next_begins().unwrap()
    };
    let end = turns(length, midnight);
    let lasts = |seconds: &u32| next_slot(end, *seconds) - next_slot(midnight, *seconds);
    let slot_seconds = (1..=LONGEST_SLOT).max_by_key(|seconds| lasts(seconds).as_secs()).unwrap();
    let night = |wait| Night { wait, agent_is_off: 0, contents: 1, killed_after: None, takes: 1000 };
    let nights = vec![night(Wait::Seconds(0)), night(Wait::UntilTheLastMoment)];
    History { length, promised_days, slot_seconds, begins: next_slot(midnight, slot_seconds), nights }
}

#[test]
fn the_worst_history_keeps_its_promise_and_with_a_day_less_it_would_not() {
    for length in GenerationLength::ALL {
        for promised_days in PROMISES {
            let history = worst(length, promised_days);
            let kept = Retention::of(length, promised_days);
            assert_eq!(play(&history, kept), Ok(()), "{history:?}");
            let unlocked = Retention { lock_days: kept.lock_days - 1, ..kept };
            assert!(play(&history, unlocked).unwrap_err().contains("locked until"), "{history:?}");
            // What is locked in time would still be hidden; the rounding to midnight gives back a day at most.
            let hidden = Retention { expire_days: kept.lock_days - 2, ..kept };
            assert!(play(&history, hidden).unwrap_err().contains("loses"), "{history:?}");
        }
    }
}

#[test]
fn an_object_is_hidden_after_its_lock_has_ended_and_gone_a_day_later() {
    let gone: BTreeSet<i64> = ["2026-11-23T00:00:00Z", "2026-11-23T00:00:01Z", "2026-11-23T23:59:59Z"]
        .into_iter()
        .map(|created| {
            let version =
                Version { created: created.parse().unwrap(), retention: Retention::of(GenerationLength::Month, 90) };
            assert!(version.locked_until() < version.hidden_at(), "{version:?}");
            (version.gone_at() - version.hidden_at()).as_secs()
        })
        .collect();
    assert_eq!(gone, [86_400].into());
}

#[test]
fn what_needs_no_renewal_is_there_for_a_day_more_and_only_in_its_last_two_days_is_it_renewed() {
    let retention = Retention::of(GenerationLength::Month, 90);
    let version = Version { created: "2026-11-23T20:30:00Z".parse().unwrap(), retention };
    let is_renewed = |now| version.created < renew_before(now, retention.expire_days).unwrap();
    for hour in 0..i64::from(24 * (retention.expire_days + 2)) {
        let now = version.created + SignedDuration::from_hours(hour);
        assert!(is_renewed(now) || now + days(1) <= version.hidden_at(), "{now}");
        assert!(!is_renewed(now) || now + days(2) > version.hidden_at(), "{now}");
    }
}
