//! Generations: the periods whose backups share a repository, named by the cloud's clock in UTC.

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

impl FromStr for GenerationLength {
    type Err = UnknownLength;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "month" => Ok(Self::Month),
            "quarter" => Ok(Self::Quarter),
            "year" => Ok(Self::Year),
            _ => Err(UnknownLength(text.to_owned())),
        }
    }
}

impl GenerationLength {
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
    fn other_lengths_are_refused() {
        for wrong in ["", "Month", "week", "months"] {
            assert!(wrong.parse::<GenerationLength>().is_err(), "{wrong}");
        }
    }
}
