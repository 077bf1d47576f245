//! `provision`: whether a run's box is launched, and where; and which of two has to go.

use std::fmt;

use drawbridge_wire::{InstanceId, RunId, Site, Timestamp};
use thiserror::Error;

use crate::execution::{Execution, Status};
use crate::hash::sha256;
use crate::tags::{Tags, is_of_run, is_ours, run_of};

/// A box as EC2 describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Where in its life it is.
    pub state: InstanceState,
    /// When it was launched.
    pub launched_at: Timestamp,
    /// Its public address, once it has one.
    pub address: Option<std::net::Ipv4Addr>,
    /// Its tags.
    pub tags: Tags,
}

/// Where in its life a box is. Source: "Amazon EC2 instance state changes" in the EC2 user guide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Getting ready.
    Pending,
    /// Up.
    Running,
    /// On its way to `Stopped`.
    Stopping,
    /// Down, and could be started again.
    Stopped,
    /// On its way to `Terminated`.
    ShuttingDown,
    /// Gone; EC2 shows it for about an hour more.
    Terminated,
}

impl InstanceState {
    /// Whether it is up or coming up.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Pending | Self::Running)
    }
}

/// A subnet and the availability zone that it is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id.
    pub id: String,
    /// Its availability zone.
    pub zone: String,
}

/// One try at a launch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The EC2 instance type.
    pub instance_type: String,
    /// Where.
    pub subnet: Subnet,
    /// Makes a repeated launch give the same box. EC2 keeps tokens by zone, therefore zone and type are in it.
    pub client_token: String,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.instance_type, self.subnet.zone)
    }
}

/// What `provision` does about the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Launch one: try these in order, the next one only after a definite refusal for want of capacity.
    Launch(Vec<Candidate>),
    /// This one is the run's already.
    Adopt(InstanceId),
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Over {
    /// Its execution isn't running.
    #[error("its execution has ended ({0:?})")]
    Ended(Status),
    /// Its deadline has passed.
    #[error("its deadline, {0}, has passed")]
    Deadline(Timestamp),
}

/// What a stack launches with.
#[derive(Debug, Clone)]
pub struct Choices {
    /// EC2 instance types, best first.
    pub instance_types: Vec<String>,
    /// Subnets, best first.
    pub subnets: Vec<Subnet>,
}

/// Whether a run is still on: looked at before the launch, and again after it.
///
/// # Errors
/// When it is over.
pub fn check_open(execution: &Execution, deadline: Timestamp, now: Timestamp) -> Result<(), Over> {
    match execution.status {
        Status::Running if now < deadline => Ok(()),
        Status::Running => Err(Over::Deadline(deadline)),
        ended => Err(Over::Ended(ended)),
    }
}

/// Decides about the box of `run`, with `found` being the boxes that carry its tags.
#[must_use]
pub fn decide(run: &RunId, site: &Site, found: &[Instance], choices: &Choices) -> Plan {
    let of_run = || found.iter().filter(|instance| is_of_run(&instance.tags, site, run));
    if let Some(live) = oldest_live(of_run()) {
        return Plan::Adopt(live.id.clone());
    }
    // A token whose box has died would only give that dead box again.
    let attempt = of_run().count();
    let try_at = |instance_type: &String, subnet: &Subnet| Candidate {
        instance_type: instance_type.clone(),
        subnet: subnet.clone(),
        client_token: client_token(run, &subnet.zone, instance_type, attempt),
    };
    let types = choices.instance_types.iter();
    Plan::Launch(types.flat_map(|of| choices.subnets.iter().map(move |subnet| try_at(of, subnet))).collect())
}

/// The live boxes of a run but for its oldest: what two launches, each blind to the other, leave too much.
#[must_use]
pub fn surplus(run: &RunId, site: &Site, found: &[Instance]) -> Vec<InstanceId> {
    let of_run = || found.iter().filter(|instance| is_of_run(&instance.tags, site, run));
    let kept = oldest_live(of_run());
    let others = of_run().filter(|instance| instance.state.is_live() && Some(*instance) != kept);
    others.map(|instance| instance.id.clone()).collect()
}

/// The run whose box is the site's, if there is a live one of a run that can be read.
#[must_use]
pub fn occupant(site: &Site, found: &[Instance]) -> Option<RunId> {
    live_runs(site, found).min()
}

/// The oldest run that began before `run` and has a live box. A run's id begins with its site and ends with its slot, so
/// that their order is that of time.
#[must_use]
pub fn elder(run: &RunId, site: &Site, found: &[Instance]) -> Option<RunId> {
    occupant(site, found).filter(|oldest| oldest < run)
}

fn live_runs(site: &Site, found: &[Instance]) -> impl Iterator<Item = RunId> {
    let live = found.iter().filter(|instance| instance.state.is_live() && is_ours(&instance.tags, site));
    live.filter_map(|instance| run_of(&instance.tags))
}

fn oldest_live<'a>(instances: impl Iterator<Item = &'a Instance>) -> Option<&'a Instance> {
    instances.filter(|instance| instance.state.is_live()).min_by_key(|instance| (instance.launched_at, &instance.id))
}

/// At most 64 ASCII characters, as RunInstances demands.
fn client_token(run: &RunId, zone: &str, instance_type: &str, attempt: usize) -> String {
    sha256(format!("{run}\n{zone}\n{instance_type}\n{attempt}").as_bytes()).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::BTreeSet;

    use super::*;
    use crate::tags;

    fn run() -> RunId {
        "home-20261123T203000Z".parse().unwrap()
    }

    fn site() -> Site {
        "home".parse().unwrap()
    }

    fn choices() -> Choices {
        let subnet = |id: &str, zone: &str| Subnet { id: id.into(), zone: zone.into() };
        Choices {
            instance_types: vec!["t4g.nano".into(), "t4g.micro".into()],
            subnets: vec![subnet("subnet-a", "a"), subnet("subnet-b", "b")],
        }
    }

    fn instance(digit: char, state: InstanceState, of: &RunId) -> Instance {
        Instance {
            id: format!("i-{}", digit.to_string().repeat(17)).parse().unwrap(),
            state,
            launched_at: "2026-11-23T20:31:00Z".parse().unwrap(),
            address: None,
            tags: tags::of_run(&site(), of, "2026-11-23T21:00:00Z".parse().unwrap()),
        }
    }

    fn candidates(found: &[Instance]) -> Vec<Candidate> {
        match decide(&run(), &site(), found, &choices()) {
            Plan::Launch(candidates) => candidates,
            Plan::Adopt(id) => panic!("adopted {id}"),
        }
    }

    #[test]
    fn every_type_is_tried_in_every_zone_in_order_each_with_its_own_token() {
        let tried = candidates(&[]);
        let names: Vec<_> = tried.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["t4g.nano in a", "t4g.nano in b", "t4g.micro in a", "t4g.micro in b"]);
        let tokens: BTreeSet<_> = tried.iter().map(|candidate| &candidate.client_token).collect();
        assert_eq!(tokens.len(), 4);
        assert!(tokens.iter().all(|token| token.len() <= 64 && token.is_ascii()));
        assert_eq!(candidates(&[]), tried, "the same launch again must have the same tokens");
    }

    #[test]
    fn a_live_box_of_the_run_is_adopted_and_another_runs_is_not() {
        let other = "home-20261123T204500Z".parse().unwrap();
        let ours = instance('2', InstanceState::Pending, &run());
        let found = [instance('1', InstanceState::Running, &other), ours.clone()];
        assert_eq!(decide(&run(), &site(), &found, &choices()), Plan::Adopt(ours.id));
        assert_eq!(candidates(&found[..1]), candidates(&[]));
    }

    #[test]
    fn a_dead_box_is_replaced_with_a_new_token() {
        for state in [InstanceState::ShuttingDown, InstanceState::Terminated, InstanceState::Stopped] {
            let tried = candidates(&[instance('1', state, &run())]);
            assert_ne!(tried.first().unwrap().client_token, candidates(&[]).first().unwrap().client_token);
        }
    }

    #[test]
    fn of_two_live_boxes_the_older_one_stays() {
        let older = instance('9', InstanceState::Running, &run());
        let mut newer = instance('1', InstanceState::Pending, &run());
        newer.launched_at = "2026-11-23T20:31:05Z".parse().unwrap();
        let dead = instance('0', InstanceState::Terminated, &run());
        assert_eq!(surplus(&run(), &site(), &[dead, newer.clone(), older.clone()]), [newer.id]);
        assert!(surplus(&run(), &site(), &[older]).is_empty());
    }

    #[test]
    fn of_two_runs_with_live_boxes_the_younger_one_gives_way_and_no_other_site_counts() {
        let younger: RunId = "home-20261123T204500Z".parse().unwrap();
        let ours = instance('1', InstanceState::Pending, &run());
        let theirs = instance('2', InstanceState::Running, &younger);
        let mut foreign = instance('3', InstanceState::Running, &"home-20261123T190000Z".parse().unwrap());
        foreign.tags.insert(tags::SITE.to_owned(), "office".to_owned());
        let dead = instance('4', InstanceState::ShuttingDown, &"home-20261123T190000Z".parse().unwrap());
        let found = [dead, foreign, theirs, ours];
        assert_eq!(elder(&younger, &site(), &found), Some(run()));
        assert_eq!(elder(&run(), &site(), &found), None);
        assert_eq!(occupant(&site(), &found), Some(run()));
        assert_eq!(occupant(&site(), &found[..2]), None);
    }

    #[test]
    fn a_run_is_over_when_its_execution_has_ended_or_its_deadline_has_come() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let deadline = at("2026-11-23T21:00:00Z");
        let execution = |status| Execution {
            status,
            started_at: at("2026-11-23T20:30:00Z"),
            input: None,
            output: None,
            error: None,
            cause: None,
        };
        assert_eq!(check_open(&execution(Status::Running), deadline, at("2026-11-23T20:59:59Z")), Ok(()));
        assert_eq!(check_open(&execution(Status::Running), deadline, deadline), Err(Over::Deadline(deadline)));
        for ended in [Status::Succeeded, Status::Failed, Status::TimedOut, Status::Aborted] {
            assert_eq!(check_open(&execution(ended), deadline, at("2026-11-23T20:31:00Z")), Err(Over::Ended(ended)));
        }
    }
}
