//! Cases by chance that can be had again: everything comes from a seed.

use std::collections::BTreeMap;

use crate::board::Seen;
use crate::fault::{Call, Case, Fault};
use crate::matrix::effects_at;

/// The most faults in one run.
const MOST_FAULTS: u64 = 4;

/// The latest call of its kind that a fault begins at.
const LATEST: u64 = 3;

/// SplitMix64: small, and the same in every release of every library.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Thrown as `seed` says.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `sides` - 1.
    pub const fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % if sides == 0 { 1 } else { sides }
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.throw(from.len() as u64)).unwrap()]
    }
}

/// `count` runs with one to four faults each. The first few of many are the same as all of few.
#[must_use]
pub fn random(seen: &BTreeMap<Call, Seen>, count: u64, seed: u64) -> Vec<Case> {
    let calls: Vec<(&Call, &Seen)> = seen.iter().collect();
    (0..count)
        .map(|number| {
            let mut dice = Dice::new(seed.wrapping_mul(0x1_0000_0000).wrapping_add(number));
            let faults = (0..=dice.throw(MOST_FAULTS)).map(|_| {
                let (call, how) = *dice.choose(&calls);
                let (effect, times) = dice.choose(&effects_at(call, how)).clone();
                let nth = u32::try_from(1 + dice.throw(LATEST)).unwrap();
                Fault::Call { call: call.clone(), nth, times, effect }
            });
            Case {
                name: format!("random {seed}/{number}"),
                faults: faults.collect(),
                fails_in: None,
                all_strike: false,
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
            let name = format!("{} + {}", one.name, other.name);
            let faults = one.faults.into_iter().chain(other.faults).collect();
            Case { name, faults, fails_in: None, all_strike: false }
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
