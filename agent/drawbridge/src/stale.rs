//! Which sources' last complete copies are older than they may be.

use std::time::Duration;

use drawbridge_wire::Timestamp;
use serde::Serialize;

/// A source whose last complete copy is too old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stale {
    /// The source.
    pub name: String,
    /// When it was last complete; `None`: never.
    pub complete: Option<Timestamp>,
    /// How old its copy may be.
    #[serde(serialize_with = "seconds")]
    pub max_age: Duration,
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(duration.as_secs())
}

/// Of `sources`, each with its `max_age`, those that are too old at `now`. `age` tells when one was last complete. A source that
/// never was is too old, whatever it may be.
pub fn stale<'a>(
    sources: impl IntoIterator<Item = (&'a str, Option<Duration>)>,
    age: impl Fn(&str) -> Option<Timestamp>,
    now: Timestamp,
) -> Vec<Stale> {
    let judge = |(name, max_age): (&'a str, Option<Duration>)| {
        let max_age = max_age?;
        let complete = age(name);
        // A copy from the future, after a clock was set back, is a young one.
        let old =
            complete.is_none_or(|then| Duration::try_from(now.duration_since(then)).is_ok_and(|age| age > max_age));
        old.then(|| Stale { name: name.to_owned(), complete, max_age })
    };
    sources.into_iter().filter_map(judge).collect()
}

/// How long ago `then` was at `now`.
#[must_use]
pub fn age(then: Timestamp, now: Timestamp) -> String {
    // A clock that was set back is no reason for nonsense.
    human_duration(u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0))
}

/// How long `seconds` are, in the two largest units: `42 s`, `2 h 3 min`, `4 d`.
#[must_use]
pub fn human_duration(seconds: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let (count, left) = (rest / length, rest % length);
        rest = left;
        if count > 0 {
            parts.push(format!("{count} {unit}"));
        }
        // Minutes say enough of hours, and hours of days.
        if parts.len() == 2 || (!parts.is_empty() && count == 0) || (count > 0 && unit == "min") {
            break;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn names(sources: &[(&str, Option<Duration>)], then: Option<&str>) -> Vec<String> {
        let now = at("2026-11-25T12:00:00Z");
        stale(sources.iter().copied(), |_| then.map(at), now).into_iter().map(|stale| stale.name).collect()
    }

    #[test]
    fn a_copy_may_be_as_old_as_its_limit_and_no_older() {
        let sources = [("fw", Some(DAY)), ("log", Some(DAY * 3)), ("desk", None)];
        assert!(names(&sources, Some("2026-11-24T12:00:00Z")).is_empty());
        assert_eq!(names(&sources, Some("2026-11-24T11:59:59Z")), ["fw"]);
        assert_eq!(names(&sources, Some("2026-11-01T00:00:00Z")), ["fw", "log"]);
    }

    #[test]
    fn a_source_that_never_was_complete_is_too_old_if_it_has_a_limit() {
        assert_eq!(names(&[("fw", Some(DAY)), ("desk", None)], None), ["fw"]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_nothing_old() {
        assert!(names(&[("fw", Some(DAY))], Some("2026-12-25T12:00:00Z")).is_empty());
    }

    #[test]
    fn durations_are_told_in_their_two_largest_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (42, "42 s"),
            (125, "2 min"),
            (7380, "2 h 3 min"),
            (7200, "2 h"),
            (259_200, "3 d"),
            (353_000, "4 d 2 h"),
            (86_460, "1 d"),
        ] {
            assert_eq!(human_duration(seconds), text, "{seconds}");
        }
    }
}
