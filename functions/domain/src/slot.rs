//! Time slots: a site has at most one run in each.

use drawbridge_wire::Timestamp;
use jiff::{Error, SignedDuration};

/// The slot that holds a moment. Slots of a length follow each other from the Unix epoch on, so that everybody counts
/// the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    begins: Timestamp,
    seconds: u32,
}

impl Slot {
    /// The slot of `seconds` that holds `now`. A length of zero counts as one second.
    ///
    /// # Errors
    /// When the slot begins before time itself as `jiff` counts it.
    pub fn holding(now: Timestamp, seconds: u32) -> Result<Self, Error> {
        let seconds = seconds.max(1);
        let begins = Timestamp::from_second(now.as_second() - now.as_second().rem_euclid(i64::from(seconds)))?;
        Ok(Self { begins, seconds })
    }

    /// The slot's first moment.
    #[must_use]
    pub const fn begins(self) -> Timestamp {
        self.begins
    }

    /// The first moment of the next slot.
    ///
    /// # Errors
    /// When there is no later time.
    pub fn next_begins(self) -> Result<Timestamp, Error> {
        self.begins.checked_add(SignedDuration::from_secs(i64::from(self.seconds)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn moments_of_one_slot_share_its_beginning_and_the_next_one_begins_where_it_ends() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        for now in ["2026-11-23T20:30:00Z", "2026-11-23T20:44:59.999Z"] {
            let slot = Slot::holding(at(now), 900).unwrap();
            assert_eq!(slot.begins(), at("2026-11-23T20:30:00Z"));
            assert_eq!(slot.next_begins().unwrap(), at("2026-11-23T20:45:00Z"));
        }
        assert_eq!(Slot::holding(at("2026-11-23T20:45:00Z"), 900).unwrap().begins(), at("2026-11-23T20:45:00Z"));
    }
}
