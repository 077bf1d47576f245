//! How long the bridge may be down, computed from what was declared.

use drawbridge_wire::{RunInput, Timestamp};
use jiff::{Error, SignedDuration};

/// How the upload's window grows with the declared bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRule {
    /// Seconds that even an empty crossing gets.
    pub base_seconds: u32,
    /// The slowest link that the stack waits for. Zero counts as one.
    pub bytes_per_second: u64,
    /// Seconds that no crossing exceeds.
    pub max_seconds: u32,
}

impl WindowRule {
    /// The window of the smallest crossing, in seconds. No heartbeat may be as long, or nobody would miss a silent agent.
    #[must_use]
    pub fn shortest(&self) -> u32 {
        self.seconds_for(0)
    }

    /// The window of a crossing of `bytes`, in seconds.
    #[must_use]
    pub fn seconds_for(&self, bytes: u64) -> u32 {
        let transfer = bytes.div_ceil(self.bytes_per_second.max(1));
        let seconds = u64::from(self.base_seconds).saturating_add(transfer).min(u64::from(self.max_seconds));
        u32::try_from(seconds).unwrap_or(self.max_seconds)
    }
}

/// The moment that no box of a run outlives: the execution's start, the time to boot, and the run's window. A whole second,
/// because Step Functions tells the start with different precision in different answers.
///
/// # Errors
/// When there is no such time.
pub fn deadline(started_at: Timestamp, boot_seconds: u32, input: &RunInput) -> Result<Timestamp, Error> {
    let seconds = i64::from(boot_seconds) + i64::from(input.window_seconds);
    Timestamp::from_second(started_at.as_second())?.checked_add(SignedDuration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const RULE: WindowRule = WindowRule { base_seconds: 60, bytes_per_second: 1000, max_seconds: 100 };

    #[test]
    fn the_window_grows_with_the_bytes_up_to_its_ceiling() {
        for (bytes, seconds) in
            [(0, 60), (1, 61), (1000, 61), (1001, 62), (40_000, 100), (40_001, 100), (u64::MAX, 100)]
        {
            assert_eq!(RULE.seconds_for(bytes), seconds, "{bytes} bytes");
        }
        assert_eq!(RULE.shortest(), 60);
        assert_eq!(WindowRule { max_seconds: 30, ..RULE }.shortest(), 30, "the ceiling may be lower");
    }

    #[test]
    fn a_deadline_is_a_whole_second_however_precisely_the_start_is_told() {
        let input = RunInput {
            repository: "2026-11-0123456789abcdef".parse().unwrap(),
            public_key: String::new(),
            source_cidr: "203.0.113.7/32".parse().unwrap(),
            objects: 1,
            bytes: 1,
            manifest_sha256: crate::hash::sha256(b""),
            window_seconds: 600,
            unusual: None,
        };
        for started_at in ["2026-11-23T20:30:00.979159116Z", "2026-11-23T20:30:00.979Z", "2026-11-23T20:30:00Z"] {
            let deadline = deadline(started_at.parse().unwrap(), 300, &input).unwrap();
            assert_eq!(deadline.to_string(), "2026-11-23T20:45:00Z");
        }
    }

    #[test]
    fn no_rule_divides_by_zero() {
        assert_eq!(WindowRule { bytes_per_second: 0, ..RULE }.seconds_for(7), 67);
    }
}
