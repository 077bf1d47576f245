//! The tags by which everything that a run makes is found again. Whatever lacks this stack's app and site isn't ours.

use std::collections::BTreeMap;

use drawbridge_wire::{RunId, Site, Timestamp};

/// The tag that says who made a thing.
pub const APP: &str = "drawbridge:app";
/// The value of [`APP`].
pub const APP_VALUE: &str = "drawbridge";
/// The tag that says for which site.
pub const SITE: &str = "drawbridge:site";
/// The tag that says for which run.
pub const RUN: &str = "drawbridge:run";
/// The tag that says until when, in RFC 3339.
pub const DEADLINE: &str = "drawbridge:deadline";
/// The tag that consoles show.
pub const NAME: &str = "Name";

/// A thing's tags.
pub type Tags = BTreeMap<String, String>;

/// The tags of everything that a run makes.
#[must_use]
pub fn of_run(site: &Site, run: &RunId, deadline: Timestamp) -> Tags {
    [
        (APP, APP_VALUE.to_owned()),
        (SITE, site.to_string()),
        (RUN, run.to_string()),
        (DEADLINE, deadline.to_string()),
        (NAME, format!("{APP_VALUE}-{run}")),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Whether a thing belongs to this stack.
#[must_use]
pub fn is_ours(tags: &Tags, site: &Site) -> bool {
    tags.get(APP).is_some_and(|app| app == APP_VALUE) && tags.get(SITE).is_some_and(|of| of == site.as_str())
}

/// Whether a thing belongs to this run of this stack.
#[must_use]
pub fn is_of_run(tags: &Tags, site: &Site, run: &RunId) -> bool {
    is_ours(tags, site) && run_of(tags).as_ref() == Some(run)
}

/// The run that a thing says it belongs to.
#[must_use]
pub fn run_of(tags: &Tags) -> Option<RunId> {
    tags.get(RUN)?.parse().ok()
}

/// The moment that a thing says it ends at.
#[must_use]
pub fn deadline_of(tags: &Tags) -> Option<Timestamp> {
    tags.get(DEADLINE)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_tagged_is_recognised_and_nothing_else() {
        let (site, run): (Site, RunId) = ("home".parse().unwrap(), "home-20261123T203000Z".parse().unwrap());
        let tags = of_run(&site, &run, "2026-11-23T21:00:00Z".parse().unwrap());
        assert!(is_of_run(&tags, &site, &run));
        assert_eq!(deadline_of(&tags).unwrap().to_string(), "2026-11-23T21:00:00Z");
        assert!(!is_of_run(&tags, &site, &"home-20261123T204500Z".parse().unwrap()));
        assert!(!is_ours(&tags, &"office".parse().unwrap()));
        for missing in [APP, SITE] {
            let mut tags = tags.clone();
            tags.remove(missing);
            assert!(!is_ours(&tags, &site), "without {missing}");
        }
        assert!(!is_ours(&Tags::new(), &site));
    }
}
