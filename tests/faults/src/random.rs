//! Cases by chance that can be had again: everything comes from a seed.

use std::collections::BTreeMap;

use drawbridge_tests::Dice;

use crate::board::Seen;
use crate::fault::{Call, Case, Clock, Fault};
use crate::matrix::effects_at;

/// The most faults in one run.
const MOST_FAULTS: u64 = 4;

/// At which call of its kind a fault begins: most calls are made once or twice a run.
const BEGINNINGS: [u32; 6] = [1, 1, 1, 2, 2, 3];

/// One fault in so many is one that lasts the whole run.
const WHOLE_RUN: u64 = 12;

/// `count` runs with one to four faults each. The first few of many are the same as all of few.
#[must_use]
pub fn random(seen: &BTreeMap<Call, Seen>, count: u64, seed: u64) -> Vec<Case> {
    let calls: Vec<(&Call, &Seen)> = seen.iter().collect();
    let clock = |whose, minutes| Fault::Clock { whose, minutes };
    let (agents, boxs) = (Clock::Agent, Clock::Box);
    let whole_runs = [Fault::DropEvent, clock(agents, -10), clock(agents, 10), clock(boxs, -10), clock(boxs, 10)];
    (0..count)
        .map(|number| {
            let mut dice = Dice::new(seed.wrapping_mul(0x1_0000_0000).wrapping_add(number));
            let faults = (0..1 + dice.throw(MOST_FAULTS)).map(|_| {
                if dice.throw(WHOLE_RUN) == 0 {
                    return dice.choose(&whole_runs).clone();
                }
                let (call, how) = *dice.choose(&calls);
                let (effect, times) = dice.choose(&effects_at(call, how)).clone();
                Fault::Call { call: call.clone(), nth: *dice.choose(&BEGINNINGS), times, effect }
            });
            Case {
                name: format!("random {seed}/{number}"),
                all_strike: false,
                ..Case::together(faults.collect::<Vec<_>>())
            }
        })
        .collect()
}

/// `count` runs with the faults of two singles each.
#[must_use]
pub fn pairs(singles: &[Case], count: u64, seed: u64) -> Vec<Case> {
    let mut dice = Dice::new(seed);
    (0..count)
        .map(|_| {
            let (one, other) = (dice.choose(singles).clone(), dice.choose(singles).clone());
            let faults: Vec<Fault> = one.faults.into_iter().chain(other.faults).collect();
            Case { all_strike: false, ..Case::together(faults) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Caller;

    #[test]
    fn a_seed_makes_the_same_runs_again_and_another_seed_others() {
        let call = |action: &str| Call { caller: Caller::Destroy, action: action.to_owned() };
        let seen = BTreeMap::from(["a", "b", "c"].map(|action| (call(action), Seen::default())));
        let cases = random(&seen, 200, 7);
        assert_eq!(cases[..50], random(&seen, 50, 7));
        assert_ne!(cases[..50], random(&seen, 50, 8)[..]);
        let counts: std::collections::BTreeSet<usize> = cases.iter().map(|case| case.faults.len()).collect();
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
