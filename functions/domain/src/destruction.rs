//! `destroy`: what has to go. Found by tag and by name, never by what an earlier step said; and nothing without this
//! stack's tags is ever condemned.

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_wire::{InstanceId, Remains, RunId, Site, Timestamp};
use jiff::SignedDuration;

use crate::execution::Status;
use crate::launch::{Instance, InstanceState};
use crate::parameters;
use crate::tags::{Tags, deadline_of, is_of_run, is_ours, run_of};

/// A rule of the stack's security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id.
    pub id: String,
    /// Whom it lets in, as EC2 writes it.
    pub cidr: Option<String>,
    /// Its first TCP port.
    pub port: Option<u16>,
    /// Its tags.
    pub tags: Tags,
}

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Boxes.
    pub instances: Vec<Instance>,
    /// Ingress rules.
    pub rules: Vec<Rule>,
    /// Names of parameters.
    pub parameters: Vec<String>,
}

/// What has to go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condemned {
    /// Boxes to terminate, rules to revoke, parameters to delete.
    pub remains: Remains,
    /// Boxes that are going already.
    pub going: Vec<InstanceId>,
}

/// What became of an execution; `None` when Step Functions shows none of that name.
pub type Fates = BTreeMap<RunId, Option<Status>>;

/// How long after its slot's beginning a run that Step Functions doesn't show may still be one that it doesn't show yet. A slot
/// has a day at most and a run may begin at its end; an hour is far more than Step Functions ever needs.
const UNSEEN: SignedDuration = SignedDuration::from_hours(25);

/// Everything of one run.
#[must_use]
pub fn of_run(run: &RunId, site: &Site, found: &Found) -> Condemned {
    collect(found, |tags| is_of_run(tags, site, run), |name| parameters::run_of(site, name).as_ref() == Some(run))
}

/// The runs whose fate the sweeper has to look up.
#[must_use]
pub fn runs_of(site: &Site, found: &Found) -> BTreeSet<RunId> {
    let tags = found.instances.iter().map(|instance| &instance.tags).chain(found.rules.iter().map(|rule| &rule.tags));
    let by_tag = tags.filter(|tags| is_ours(tags, site)).filter_map(run_of);
    by_tag.chain(found.parameters.iter().filter_map(|name| parameters::run_of(site, name))).collect()
}

/// Everything of this stack that has to go whatever became of its run: its deadline has passed. Without a run or a deadline
/// that can be read, nobody is waiting for it.
#[must_use]
pub fn overdue(site: &Site, found: &Found, now: Timestamp) -> Condemned {
    let late = |tags: &Tags| deadline_of(tags).is_none_or(|deadline| deadline <= now);
    collect(found, |tags| is_ours(tags, site) && (late(tags) || run_of(tags).is_none()), |_| false)
}

/// Everything of this stack whose run isn't running. `fates` must hold every run of [`runs_of`]; one that it lacks is taken for
/// running, so that a forgotten look-up destroys nothing.
#[must_use]
pub fn dead(site: &Site, found: &Found, fates: &Fates, now: Timestamp) -> Condemned {
    let begun_long_ago = |run: &RunId| run.slot().is_none_or(|slot| now.duration_since(slot) >= UNSEEN);
    let over = |run: &RunId| match fates.get(run) {
        None | Some(Some(Status::Running)) => false,
        Some(None) => begun_long_ago(run),
        Some(Some(_)) => true,
    };
    collect(
        found,
        |tags| is_ours(tags, site) && run_of(tags).is_some_and(|run| over(&run)),
        |name| parameters::run_of(site, name).is_some_and(|run| over(&run)),
    )
}

impl Found {
    /// The rest, when these have been taken care of.
    #[must_use]
    pub fn without(&self, remains: &Remains) -> Self {
        let (mut instances, mut rules, mut parameters) =
            (self.instances.clone(), self.rules.clone(), self.parameters.clone());
        instances.retain(|instance| !remains.instances.contains(&instance.id));
        rules.retain(|rule| !remains.rules.contains(&rule.id));
        parameters.retain(|name| !remains.parameters.contains(name));
        Self { instances, rules, parameters }
    }
}

fn collect(found: &Found, tagged: impl Fn(&Tags) -> bool, named: impl Fn(&str) -> bool) -> Condemned {
    let (mut going, mut instances) = (Vec::new(), Vec::new());
    for instance in found.instances.iter().filter(|instance| tagged(&instance.tags)) {
        match instance.state {
            InstanceState::Terminated => {}
            InstanceState::ShuttingDown => going.push(instance.id.clone()),
            _ => instances.push(instance.id.clone()),
        }
    }
    let rules = found.rules.iter().filter(|rule| tagged(&rule.tags)).map(|rule| rule.id.clone()).collect();
    let parameters = found.parameters.iter().filter(|name| named(name)).cloned().collect();
    Condemned { remains: Remains { instances, rules, parameters }, going }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tags;

    const OPEN: &str = "home-20261123T203000Z";
    const DEAD: &str = "home-20261123T190000Z";

    fn site() -> Site {
        "home".parse().unwrap()
    }

    fn tagged(site: &str, run: &str, deadline: &str) -> Tags {
        tags::of_run(&site.parse().unwrap(), &run.parse().unwrap(), deadline.parse().unwrap())
    }

    fn instance(digit: char, state: InstanceState, tags: Tags) -> Instance {
        Instance { id: id(digit), state, launched_at: "2026-11-23T20:31:00Z".parse().unwrap(), address: None, tags }
    }

    fn id(digit: char) -> InstanceId {
        format!("i-{}", digit.to_string().repeat(17)).parse().unwrap()
    }

    fn rule(id: &str, tags: Tags) -> Rule {
        Rule { id: id.into(), cidr: None, port: None, tags }
    }

    /// One of everything of an open run, of a dead one, of another site's, and of nobody's.
    fn found() -> Found {
        let later = "2026-11-23T21:00:00Z";
        let (open, dead, foreign) =
            (tagged("home", OPEN, later), tagged("home", DEAD, later), tagged("office", DEAD, later));
        let mut nobodys = dead.clone();
        nobodys.remove(tags::APP);
        let running = |digit, tags: &Tags| instance(digit, InstanceState::Running, tags.clone());
        Found {
            instances: vec![running('1', &open), running('2', &dead), running('3', &foreign), running('4', &nobodys)],
            rules: vec![rule("open", open), rule("dead", dead), rule("foreign", foreign), rule("nobodys", nobodys)],
            parameters: vec![
                format!("/drawbridge/home/{OPEN}/session"),
                format!("/drawbridge/home/{DEAD}/provision"),
                format!("/drawbridge/office/{DEAD}/provision"),
                "/drawbridge/home/settings".into(),
            ],
        }
    }

    fn fates(dead: Option<Status>) -> Fates {
        [(OPEN.parse().unwrap(), Some(Status::Running)), (DEAD.parse().unwrap(), dead)].into()
    }

    fn all_dead(found: &Found, fates: &Fates, now: &str) -> Condemned {
        dead(&site(), found, fates, now.parse().unwrap())
    }

    fn all_overdue(found: &Found, now: &str) -> Condemned {
        overdue(&site(), found, now.parse().unwrap())
    }

    #[test]
    fn a_run_takes_everything_of_its_own_along_and_nothing_else() {
        let condemned = of_run(&DEAD.parse().unwrap(), &site(), &found());
        assert_eq!(condemned.remains.instances, [id('2')]);
        assert_eq!(condemned.remains.rules, ["dead"]);
        assert_eq!(condemned.remains.parameters, [format!("/drawbridge/home/{DEAD}/provision")]);
    }

    #[test]
    fn the_sweeper_takes_dead_runs_and_spares_the_open_one_and_all_that_is_not_ours() {
        let of_dead = of_run(&DEAD.parse().unwrap(), &site(), &found());
        for fate in [Status::Succeeded, Status::Failed, Status::TimedOut, Status::Aborted] {
            let condemned = all_dead(&found(), &fates(Some(fate)), "2026-11-23T20:40:00Z");
            assert_eq!(condemned, of_dead, "{fate:?}");
        }
    }

    #[test]
    fn a_run_that_step_functions_does_not_show_is_spared_until_it_should() {
        // DEAD is the slot that began on the 23rd at 19:00.
        let early = all_dead(&found(), &fates(None), "2026-11-24T19:59:59Z");
        assert_eq!(early, Condemned::default());
        let of_dead = of_run(&DEAD.parse().unwrap(), &site(), &found());
        assert_eq!(all_dead(&found(), &fates(None), "2026-11-24T20:00:00Z"), of_dead);
    }

    #[test]
    fn at_its_deadline_even_an_open_runs_box_and_rule_go() {
        assert_eq!(all_overdue(&found(), "2026-11-23T20:59:59Z"), Condemned::default());
        let condemned = all_overdue(&found(), "2026-11-23T21:00:00Z");
        assert_eq!(condemned.remains.instances, [id('1'), id('2')]);
        assert_eq!(condemned.remains.rules, ["open", "dead"]);
        assert!(condemned.remains.parameters.is_empty(), "they cost nothing, and only a run's end tells their time");
        let rest = found().without(&condemned.remains);
        assert_eq!(rest.instances.into_iter().map(|instance| instance.id).collect::<Vec<_>>(), [id('3'), id('4')]);
        assert_eq!((rest.rules.len(), rest.parameters.len()), (2, 4));
    }

    #[test]
    fn what_is_ours_and_names_no_run_or_deadline_goes() {
        for missing in [tags::RUN, tags::DEADLINE] {
            let mut tags = tagged("home", OPEN, "2026-11-23T21:00:00Z");
            tags.insert(missing.to_owned(), "?".to_owned());
            let found = Found { instances: vec![instance('1', InstanceState::Stopped, tags)], ..Found::default() };
            assert_eq!(all_overdue(&found, "2026-11-23T20:40:00Z").remains.instances, [id('1')], "{missing}");
        }
    }

    #[test]
    fn every_state_short_of_gone_is_terminated_and_what_is_going_is_only_named() {
        use InstanceState::{Pending, Running, ShuttingDown, Stopped, Stopping, Terminated};
        for (state, counts) in [
            (Pending, (1, 0)),
            (Running, (1, 0)),
            (Stopping, (1, 0)),
            (Stopped, (1, 0)),
            (ShuttingDown, (0, 1)),
            (Terminated, (0, 0)),
        ] {
            let tags = tagged("home", DEAD, "2026-11-23T21:00:00Z");
            let found = Found { instances: vec![instance('1', state, tags)], ..Found::default() };
            let condemned = of_run(&DEAD.parse().unwrap(), &site(), &found);
            assert_eq!((condemned.remains.instances.len(), condemned.going.len()), counts, "{state:?}");
        }
    }

    #[test]
    fn a_run_whose_fate_was_not_looked_up_is_spared() {
        assert_eq!(all_dead(&found(), &Fates::new(), "2026-11-23T20:40:00Z"), Condemned::default());
        let runs = runs_of(&site(), &found());
        assert_eq!(runs.into_iter().map(String::from).collect::<Vec<_>>(), [DEAD, OPEN]);
    }
}
