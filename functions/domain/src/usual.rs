//! `start`: whether a run declares far more than the site's runs usually carry. Such a run is let through, because a new disk or a
//! long holiday is a good reason for one, and flagged, because so is a VM in other hands; what no run may exceed is the ceiling's
//! business (`admission`).
//!
//! The first run of a repository carries the whole of it, at least once in a generation. It is no yardstick for the others, and
//! theirs is none for it: it is held against the whole repositories that were verified last. A name that the VM made up for a
//! repository therefore hides nothing.

use drawbridge_wire::{RunInput, Unusual, VaultRepository, VerdictSummary};

use crate::execution::Execution;

/// How many of the last verified runs are looked at, each with a look-up of its own.
pub const LOOKED_AT: u32 = 8;

/// How many times the usual is flagged, from there on.
const TIMES: u64 = 10;

/// Of fewer runs than these nobody knows what is usual.
const FEWEST: usize = 3;

/// What a usual run counts as at least, in bytes: a night in which nothing changed carries two kilobytes, and ten times that
/// is nothing to look at.
const FLOOR_BYTES: u64 = 1024 * 1024;

/// A verified run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Where it lies.
    pub repository: VaultRepository,
    /// The bytes that crossed.
    pub bytes: u64,
    /// The bytes of the whole repository, as verified; `None` when its outcome doesn't say.
    pub whole: Option<u64>,
}

impl Past {
    /// What an execution tells of its run; `None` when its input is none that `start` makes now.
    #[must_use]
    pub fn of(execution: &Execution) -> Option<Self> {
        let input: RunInput = serde_json::from_str(execution.input.as_deref()?).ok()?;
        let output = execution.output.as_deref().and_then(|output| serde_json::from_str::<VerdictSummary>(output).ok());
        Some(Self { repository: input.repository, bytes: input.bytes, whole: output.map(|verdict| verdict.bytes) })
    }
}

/// Weighs a run against the site's last verified ones, the newest first.
#[must_use]
pub fn weigh(input: &RunInput, past: &[Past]) -> Option<Unusual> {
    let is_first = past.iter().all(|run| run.repository != input.repository);
    let compared: Vec<u64> = if is_first {
        past.iter().filter_map(|run| run.whole).collect()
    } else {
        // A repository's oldest run here is its first, or can't be told from it.
        let later =
            |(at, run): &(usize, &Past)| past.iter().skip(at + 1).any(|older| older.repository == run.repository);
        past.iter().enumerate().filter(later).map(|(_, run)| run.bytes).collect()
    };
    let usual_bytes = median(compared)?;
    (input.bytes >= usual_bytes.max(FLOOR_BYTES).saturating_mul(TIMES)).then_some(Unusual { usual_bytes })
}

/// The one in the middle, so that a single night doesn't count; of two, the larger.
fn median(mut of: Vec<u64>) -> Option<u64> {
    of.sort_unstable();
    of.get(of.len() / 2).copied().filter(|_| of.len() >= FEWEST)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MIB: u64 = 1024 * 1024;
    const HERE: &str = "2026-11-0123456789abcdef";

    fn run(repository: &str, bytes: u64, whole: u64) -> Past {
        Past { repository: repository.parse().unwrap(), bytes, whole: Some(whole) }
    }

    /// What is usual according to `past` when a run of `bytes` is flagged.
    fn flagged(repository: &str, bytes: u64, past: &[Past]) -> Option<u64> {
        let input = RunInput {
            repository: repository.parse().unwrap(),
            public_key: String::new(),
            source_cidr: "203.0.113.7/32".parse().unwrap(),
            objects: 1,
            bytes,
            manifest_sha256: crate::hash::sha256(b""),
            window_seconds: 600,
            unusual: None,
        };
        weigh(&input, past).map(|unusual| unusual.usual_bytes)
    }

    /// Nights of 4 to 6 MiB after a first one of a gigabyte, the newest first.
    fn nights() -> Vec<Past> {
        let first = run(HERE, 1024 * MIB, 1024 * MIB);
        [5, 4, 6, 5].map(|mib| run(HERE, mib * MIB, 1040 * MIB)).into_iter().chain([first]).collect()
    }

    #[test]
    fn ten_times_the_usual_is_flagged_and_less_is_not() {
        assert_eq!(flagged(HERE, 50 * MIB, &nights()), Some(5 * MIB));
        assert_eq!(flagged(HERE, 50 * MIB - 1, &nights()), None);
        assert_eq!(flagged(HERE, u64::MAX, &nights()), Some(5 * MIB));
    }

    #[test]
    fn the_first_run_of_a_repository_is_no_yardstick_and_one_large_night_is_none_either() {
        let mut past = nights();
        past.insert(0, run(HERE, 900 * MIB, 1900 * MIB));
        assert_eq!(flagged(HERE, 60 * MIB, &past), Some(5 * MIB));
        let young = [run(HERE, 5 * MIB, 0), run(HERE, 5 * MIB, 0), run(HERE, 1024 * MIB, 0)];
        assert_eq!(flagged(HERE, 900 * MIB, &young), None, "two nights say little");
    }

    #[test]
    fn a_new_generation_carries_everything_and_is_held_against_whole_repositories() {
        for new in ["2026-12-0123456789abcdef", "2026-11-ffffffffffffffff"] {
            assert_eq!(flagged(new, 1100 * MIB, &nights()), None, "{new}");
            assert_eq!(flagged(new, 10_400 * MIB, &nights()), Some(1040 * MIB), "{new}");
        }
    }

    #[test]
    fn the_nights_of_the_past_generation_are_a_yardstick_for_the_second_night_of_a_new_one() {
        let past: Vec<Past> =
            [run("2026-12-0123456789abcdef", 1024 * MIB, 1024 * MIB)].into_iter().chain(nights()).collect();
        assert_eq!(flagged("2026-12-0123456789abcdef", 50 * MIB, &past), Some(5 * MIB));
        assert_eq!(flagged("2026-12-0123456789abcdef", 6 * MIB, &past), None);
    }

    #[test]
    fn of_next_to_nothing_ten_times_is_no_alarm() {
        let quiet: Vec<Past> = std::iter::repeat_n(run(HERE, 2000, 2000), 5).collect();
        assert_eq!(flagged(HERE, 10 * MIB - 1, &quiet), None);
        assert_eq!(flagged(HERE, 10 * MIB, &quiet), Some(2000));
    }

    #[test]
    fn a_site_without_a_past_has_no_usual() {
        assert_eq!(flagged(HERE, u64::MAX, &[]), None);
    }
}
