//! Generations: the periods whose backups share a repository, named by the cloud's clock in UTC.

use std::fmt;
use std::str::FromStr;

use drawbridge_wire::{Generation, InvalidName, Timestamp};
use jiff::tz::TimeZone;
use thiserror::Error;

/// How long a generation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationLength {
    /// Named like `2026-11`.
    Month,
    /// Named like `2026-q4`.
    Quarter,
    /// Named like `2026`.
    Year,
}

/// A text that names no length of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is no length of a generation: expected month, quarter or year")]
pub struct UnknownLength(String);

impl fmt::Display for GenerationLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        })
    }
}

impl FromStr for GenerationLength {
    type Err = UnknownLength;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|length| length.to_string() == text);
        named.ok_or_else(|| UnknownLength(text.to_owned()))
    }
}

impl GenerationLength {
    /// Every length.
    pub const ALL: [Self; 3] = [Self::Month, Self::Quarter, Self::Year];

    /// The days of the longest generation of this length: a month of 31, the third or fourth quarter, a leap year.
    #[must_use]
    pub const fn longest_days(self) -> u32 {
        match self {
            Self::Month => 31,
            Self::Quarter => 92,
            Self::Year => 366,
        }
    }

    /// The generation of a moment.
    ///
    /// # Errors
    /// When the year has no four digits.
    pub fn holding(self, at: Timestamp) -> Result<Generation, InvalidName> {
        let date = TimeZone::UTC.to_datetime(at);
        let (year, month) = (date.year(), date.month());
        match self {
            Self::Month => format!("{year:04}-{month:02}"),
            Self::Quarter => format!("{year:04}-q{}", (month + 2) / 3),
            Self::Year => format!("{year:04}"),
        }
        .parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: jiff::SignedDuration = jiff::SignedDuration::from_hours(24);

    fn named(length: GenerationLength, at: &str) -> String {
        length.holding(at.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn generations_turn_at_midnight_utc() {
        use GenerationLength::{Month, Quarter, Year};
        let (last, first) = ("2026-12-31T23:59:59.999Z", "2027-01-01T00:00:00Z");
        assert_eq!((named(Month, last), named(Month, first)), ("2026-12".into(), "2027-01".into()));
        assert_eq!((named(Quarter, last), named(Quarter, first)), ("2026-q4".into(), "2027-q1".into()));
        assert_eq!((named(Year, last), named(Year, first)), ("2026".into(), "2027".into()));
    }

    #[test]
    fn every_month_is_in_its_quarter() {
        for (month, quarter) in [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3), (9, 3), (10, 4), (12, 4)] {
            let at = format!("2026-{month:02}-15T12:00:00Z");
            assert_eq!(named(GenerationLength::Quarter, &at), format!("2026-q{quarter}"));
        }
    }

    #[test]
    fn a_length_is_read_as_it_is_written() {
        for length in GenerationLength::ALL {
            assert_eq!(length.to_string().parse(), Ok(length));
        }
    }

    #[test]
    fn no_generation_of_eight_years_is_longer_than_the_longest_and_one_is_as_long() {
        for length in GenerationLength::ALL {
            let midnights = (0..8 * 366).map(|day| "2024-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + day * DAY);
            let mut days = std::collections::BTreeMap::<String, u32>::new();
            midnights.for_each(|at| *days.entry(length.holding(at).unwrap().to_string()).or_default() += 1);
            assert_eq!(days.into_values().max(), Some(length.longest_days()), "{length}");
        }
    }

    #[test]
    fn other_lengths_are_refused() {
        for wrong in ["", "Month", "week", "months"] {
            assert!(wrong.parse::<GenerationLength>().is_err(), "{wrong}");
        }
    }
}
