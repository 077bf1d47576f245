use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that isn't the name it was given as.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{text:?} is not {what}: expected {expected}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    expected: &'static str,
}

/// How much of a wrong name an error message repeats, in characters. What is longer came from somewhere it shouldn't.
const QUOTED_CHARACTERS: usize = 80;

impl InvalidName {
    pub(crate) fn new(what: &'static str, text: &str, expected: &'static str) -> Self {
        Self { what, text: text.chars().take(QUOTED_CHARACTERS).collect(), expected }
    }
}

/// A name in text form: private field, parsed by `$valid`, read back by `as_str`.
macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $expected:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName::new($what, text, $expected)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// One local network; one stack serves one site. Short, because it is part of every name that AWS bounds.
    Site,
    "a site",
    "1 to 20 of a-z, 0-9 and inner hyphens, beginning with a letter",
    is_site
);

name!(
    /// The name of one execution of the state machine: `<site>-<time slot>`, for example `home-20261123T203000Z`.
    RunId,
    "a run id",
    "a site, a hyphen and a time such as 20261123T203000Z",
    |text| text.rsplit_once('-').is_some_and(|(site, slot)| is_site(site) && is_slot(slot))
);

name!(
    /// What the agent calls its repository: 16 hex digits, the beginning of restic's own repository id.
    RepositoryId,
    "a repository id",
    "16 lower-case hex digits",
    is_repository
);

name!(
    /// A period whose backups share a repository: `2026-11`, `2026-q4` or `2026`. Named by the cloud's clock.
    Generation,
    "a generation",
    "a year, a quarter or a month such as 2026, 2026-q4 or 2026-11",
    is_generation
);

name!(
    /// The folder of a repository in the vault, below `repo/`: `<generation>-<repository id>`.
    VaultRepository,
    "a vault repository",
    "a generation, a hyphen and 16 hex digits",
    |text| text.rsplit_once('-').is_some_and(|(generation, id)| is_generation(generation) && is_repository(id))
);

name!(
    /// An EC2 instance id.
    InstanceId,
    "an EC2 instance id",
    "i- and 8 or 17 hex digits",
    |text| text.strip_prefix("i-").is_some_and(|id| matches!(id.len(), 8 | 17) && id.bytes().all(is_lower_hex))
);

/// How a slot's beginning is written.
const SLOT: &str = "%Y%m%dT%H%M%SZ";

impl RunId {
    /// The run of a site in the time slot that begins at `slot`.
    #[must_use]
    pub fn new(site: &Site, slot: Timestamp) -> Self {
        Self(format!("{site}-{}", slot.strftime(SLOT)))
    }

    /// When its slot begins; `None` when its digits are no time.
    #[must_use]
    pub fn slot(&self) -> Option<Timestamp> {
        let (_, slot) = self.0.rsplit_once('-')?;
        TimeZone::UTC.to_timestamp(DateTime::strptime(SLOT, slot).ok()?).ok()
    }
}

impl VaultRepository {
    /// The vault's name for the repository `id` in `generation`.
    #[must_use]
    pub fn new(generation: &Generation, id: &RepositoryId) -> Self {
        Self(format!("{generation}-{id}"))
    }

    /// The agent's own name for this repository: the last 16 digits.
    #[must_use]
    pub fn id(&self) -> RepositoryId {
        RepositoryId(self.split().1.to_owned())
    }

    /// The generation in which the cloud filed it.
    #[must_use]
    pub fn generation(&self) -> Generation {
        Generation(self.split().0.to_owned())
    }

    fn split(&self) -> (&str, &str) {
        // Parsing made sure of the hyphen; an empty half can't be reached.
        self.0.rsplit_once('-').unwrap_or_default()
    }
}

fn is_lower_hex(b: u8) -> bool {
    b.is_ascii_digit() || (b'a'..=b'f').contains(&b)
}

fn is_site(text: &str) -> bool {
    text.len() <= 20
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_slot(text: &str) -> bool {
    text.len() == 16
        && text.bytes().enumerate().all(|(i, b)| match i {
            8 => b == b'T',
            15 => b == b'Z',
            _ => b.is_ascii_digit(),
        })
}

fn is_repository(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(is_lower_hex)
}

fn is_generation(text: &str) -> bool {
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    match text.split_once('-') {
        None => digits(text, 4),
        Some((year, part)) => {
            digits(year, 4)
                && (matches!(part, "q1" | "q2" | "q3" | "q4") || (digits(part, 2) && ("01"..="12").contains(&part)))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_run_id_is_a_site_and_a_slot() {
        let run = RunId::new(&"home-2".parse().unwrap(), "2026-11-23T20:30:00Z".parse().unwrap());
        assert_eq!(run.as_str(), "home-2-20261123T203000Z");
        assert_eq!(run.as_str().parse::<RunId>().unwrap(), run);
        assert_eq!(run.slot().unwrap().to_string(), "2026-11-23T20:30:00Z");
        assert_eq!("home-20269923T203000Z".parse::<RunId>().unwrap().slot(), None);
        for wrong in ["", "home", "home-20261123", "-20261123T203000Z", "Home-20261123T203000Z", "../-20261123T203000Z"]
        {
            assert!(wrong.parse::<RunId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_vault_repository_gives_back_its_halves() {
        for generation in ["2026", "2026-q4", "2026-11"] {
            let id: RepositoryId = "0123456789abcdef".parse().unwrap();
            let vault = VaultRepository::new(&generation.parse().unwrap(), &id);
            let parsed: VaultRepository = vault.as_str().parse().unwrap();
            assert_eq!(parsed.id(), id);
            assert_eq!(parsed.generation().as_str(), generation);
        }
        for wrong in ["2026-13-0123456789abcdef", "2026-11-0123456789ABCDEF", "2026-11-0123", "x-0123456789abcdef"] {
            assert!(wrong.parse::<VaultRepository>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn errors_say_what_was_expected_and_quote_little() {
        let error = "x".repeat(10_000).parse::<RepositoryId>().unwrap_err().to_string();
        assert!(error.contains("16 lower-case hex digits") && error.len() < 200, "{error}");
    }
}
