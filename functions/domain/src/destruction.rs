//! `destroy`: what has to go. Found by tag and by name, never by what an earlier step said; and nothing without this
//! stack's tags is ever condemned.

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_wire::{InstanceId, Remains, RunId, Site, Timestamp};

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

/// What became of an execution; `None` when there is none of that name.
pub type Fates = BTreeMap<RunId, Option<Status>>;

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

/// Everything of this stack whose run isn't running or whose deadline has passed. `fates` must hold every run of
/// [`runs_of`]; one that it lacks is taken for running, so that a forgotten look-up destroys nothing.
#[must_use]
pub fn sweep(site: &Site, found: &Found, fates: &Fates, now: Timestamp) -> Condemned {
    let over = |run: &RunId| fates.get(run).is_some_and(|fate| *fate != Some(Status::Running));
    let late = |tags: &Tags| deadline_of(tags).is_none_or(|deadline| deadline <= now);
    collect(
        found,
        // Without a run or a deadline that can be read, nobody is waiting for it.
        |tags| is_ours(tags, site) && (late(tags) || run_of(tags).is_none_or(|run| over(&run))),
        |name| parameters::run_of(site, name).is_some_and(|run| over(&run)),
    )
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

    fn swept(found: &Found, now: &str) -> Condemned {
        sweep(&site(), found, &fates(Some(Status::Failed)), now.parse().unwrap())
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
        for fate in [None, Some(Status::Succeeded), Some(Status::Failed), Some(Status::TimedOut), Some(Status::Aborted)]
        {
            let now = "2026-11-23T20:40:00Z".parse().unwrap();
            assert_eq!(sweep(&site(), &found(), &fates(fate), now), of_dead, "{fate:?}");
        }
    }

    #[test]
    fn at_its_deadline_even_an_open_runs_box_and_rule_go() {
        let condemned = swept(&found(), "2026-11-23T21:00:00Z");
        assert_eq!(condemned.remains.instances, [id('1'), id('2')]);
        assert_eq!(condemned.remains.rules, ["open", "dead"]);
        assert_eq!(condemned.remains.parameters.len(), 1);
    }

    #[test]
    fn what_is_ours_and_names_no_run_or_deadline_goes() {
        for missing in [tags::RUN, tags::DEADLINE] {
            let mut tags = tagged("home", OPEN, "2026-11-23T21:00:00Z");
            tags.insert(missing.to_owned(), "?".to_owned());
            let found = Found { instances: vec![instance('1', InstanceState::Stopped, tags)], ..Found::default() };
            assert_eq!(swept(&found, "2026-11-23T20:40:00Z").remains.instances, [id('1')], "{missing}");
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
        let now = "2026-11-23T20:40:00Z".parse().unwrap();
        assert_eq!(sweep(&site(), &found(), &Fates::new(), now), Condemned::default());
        let runs = runs_of(&site(), &found());
        assert_eq!(runs.into_iter().map(String::from).collect::<Vec<_>>(), [DEAD, OPEN]);
    }
}
