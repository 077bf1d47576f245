//! What the proxy knows: the calls that were made, the faults that are armed, and which of them struck.
//!
//! Invariants: calls are counted from the moment at which faults are armed; nothing strikes once they are disarmed; a
//! fault counts as struck only when its effect took place.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use crate::fault::{Call, Effect, Fault};

/// What is known of a call that was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// How often it was made.
    pub times: u32,
    /// Whether any of its answers had a body.
    pub answered_with_body: bool,
    /// Whether any of its requests had a body.
    pub sent_body: bool,
}

/// An effect that took place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strike {
    /// The fault's place in the list that was armed.
    pub fault: usize,
    /// When.
    pub at: Timestamp,
}

#[derive(Debug, Default)]
struct Inner {
    faults: Vec<Fault>,
    seen: BTreeMap<Call, Seen>,
    strikes: Vec<Strike>,
    under_way: usize,
}

/// Shared by the proxy and whoever arms it.
#[derive(Debug, Default)]
pub struct Board(Mutex<Inner>);

impl Board {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everything and arms these faults.
    pub fn arm(&self, faults: &[Fault]) {
        let mut inner = self.lock();
        inner.faults = faults.to_vec();
        inner.seen.clear();
        inner.strikes.clear();
    }

    /// Lets every call pass from now on.
    pub fn disarm(&self) {
        self.lock().faults.clear();
    }

    /// Counts a call; answers the effect that is to strike it, with its fault's place in the list.
    pub fn count(&self, call: &Call, sent_body: bool) -> Option<(usize, Effect)> {
        let mut inner = self.lock();
        let seen = inner.seen.entry(call.clone()).or_default();
        seen.times += 1;
        seen.sent_body |= sent_body;
        let now = seen.times;
        inner.faults.iter().enumerate().find_map(|(index, fault)| match fault {
            Fault::Call { call: at, nth, times, effect } if at == call && now >= *nth && now - nth < *times => {
                Some((index, effect.clone()))
            }
            _ => None,
        })
    }

    /// Notes that an answer to a call had a body.
    pub fn answered(&self, call: &Call) {
        if let Some(seen) = self.lock().seen.get_mut(call) {
            seen.answered_with_body = true;
        }
    }

    /// Notes that a fault struck.
    pub fn struck(&self, fault: usize) {
        self.lock().strikes.push(Strike { fault, at: Timestamp::now() });
    }

    /// What has struck since the faults were armed.
    pub fn strikes(&self) -> Vec<Strike> {
        self.lock().strikes.clone()
    }

    /// The calls since then.
    pub fn seen(&self) -> BTreeMap<Call, Seen> {
        self.lock().seen.clone()
    }

    /// Held while a call is under way.
    pub fn enter(&self) -> UnderWay<'_> {
        self.lock().under_way += 1;
        UnderWay(self)
    }

    /// How many calls are under way, those included whose callers have given up.
    pub fn under_way(&self) -> usize {
        self.lock().under_way
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct UnderWay<'a>(&'a Board);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Caller;

    #[test]
    fn a_fault_strikes_the_calls_that_it_names_and_no_others() {
        let call = |action: &str| Call { caller: Caller::Destroy, action: action.to_owned() };
        let board = Board::default();
        let second = Fault::Call { call: call("a"), nth: 2, times: 2, effect: Effect::Fail };
        board.arm(&[Fault::DropEvent, second]);
        let strikes: Vec<bool> = (0..5).map(|_| board.count(&call("a"), false).is_some()).collect();
        assert_eq!(strikes, [false, true, true, false, false]);
        assert_eq!(board.count(&call("b"), false), None);
        board.arm(&[Fault::first(call("a"), Effect::Twice)]);
        assert_eq!(board.count(&call("a"), false), Some((0, Effect::Twice)), "counted anew");
        board.disarm();
        board.arm(&[]);
        assert_eq!(board.count(&call("a"), false), None);
    }
}
