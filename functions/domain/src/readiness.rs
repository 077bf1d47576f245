//! `ready`: whether the box that says it is ready is the run's.

use std::net::Ipv4Addr;

use drawbridge_wire::{InstanceId, RunId, Site};

use crate::launch::Instance;
use crate::tags::is_of_run;

/// What `ready` makes of a box's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The run's own box, up, at this address.
    Open(Ipv4Addr),
    /// It may be the run's, and EC2 doesn't show all of it yet.
    NotYet(&'static str),
    /// It is the run's no more; whatever it says comes too late.
    Late,
}

/// Decides about the box `id`, with `found` being the boxes that carry the run's tags. A box is the run's because EC2
/// says so, not because its word lies in the run's folder.
#[must_use]
pub fn decide(run: &RunId, site: &Site, id: &InstanceId, found: &[Instance]) -> Readiness {
    let ours = found.iter().find(|instance| instance.id == *id && is_of_run(&instance.tags, site, run));
    match ours {
        None => Readiness::NotYet("no instance of this id carries the run's tags"),
        Some(instance) if !instance.state.is_live() => Readiness::Late,
        Some(instance) => {
            instance.address.map_or(Readiness::NotYet("the instance has no public address"), Readiness::Open)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::launch::InstanceState;
    use crate::tags;

    #[test]
    fn only_a_live_box_with_the_runs_tags_and_an_address_opens_the_bridge() {
        let (run, site): (RunId, Site) = ("home-20261123T203000Z".parse().unwrap(), "home".parse().unwrap());
        let address = Ipv4Addr::new(198, 51, 100, 7);
        let ours = Instance {
            id: "i-0123456789abcdef0".parse().unwrap(),
            state: InstanceState::Running,
            launched_at: "2026-11-23T20:31:00Z".parse().unwrap(),
            address: Some(address),
            tags: tags::of_run(&site, &run, "2026-11-23T21:00:00Z".parse().unwrap()),
        };
        let decide = |instance: Instance| decide(&run, &site, &"i-0123456789abcdef0".parse().unwrap(), &[instance]);
        assert_eq!(decide(ours.clone()), Readiness::Open(address));
        assert_eq!(decide(Instance { state: InstanceState::ShuttingDown, ..ours.clone() }), Readiness::Late);
        let elsewhere = "i-0123456789abcdef1".parse().unwrap();
        for not_yet in [
            Instance { address: None, ..ours.clone() },
            Instance { id: elsewhere, ..ours.clone() },
            Instance { tags: tags::Tags::new(), ..ours },
        ] {
            assert!(matches!(decide(not_yet), Readiness::NotYet(_)));
        }
    }
}
