//! The names of the parameters that hold a run's task tokens: `/drawbridge/<site>/<run>/...`.

use drawbridge_wire::{RunId, Site};

/// The folder of everything of a site.
#[must_use]
pub fn site_folder(site: &Site) -> String {
    format!("/drawbridge/{site}/")
}

/// The folder of everything of a run.
#[must_use]
pub fn run_folder(site: &Site, run: &RunId) -> String {
    format!("/drawbridge/{site}/{run}/")
}

/// Where `provision` keeps the token that `ready` returns.
#[must_use]
pub fn provision(site: &Site, run: &RunId) -> String {
    format!("/drawbridge/{site}/{run}/provision")
}

/// Where AwaitUpload publishes the session.
#[must_use]
pub fn session(site: &Site, run: &RunId) -> String {
    format!("/drawbridge/{site}/{run}/session")
}

/// The run that a parameter of this site belongs to; `None` for any other name.
#[must_use]
pub fn run_of(site: &Site, name: &str) -> Option<RunId> {
    let (run, leaf) = name.strip_prefix(&site_folder(site))?.split_once('/')?;
    if leaf.is_empty() || leaf.contains('/') { None } else { run.parse().ok() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_parameter_names_its_run() {
        let (site, run): (Site, RunId) = ("home".parse().unwrap(), "home-20261123T203000Z".parse().unwrap());
        for name in [provision(&site, &run), session(&site, &run)] {
            assert_eq!(run_of(&site, &name).as_ref(), Some(&run));
            assert!(name.starts_with(&run_folder(&site, &run)));
        }
        for other in [
            "/drawbridge/home/settings".to_owned(),
            "/drawbridge/home/notes/provision".to_owned(),
            format!("/drawbridge/home/{run}/"),
            format!("/drawbridge/home/{run}/a/b"),
            format!("/drawbridge/office/{run}/session"),
            format!("/other/home/{run}/session"),
        ] {
            assert_eq!(run_of(&site, &other), None, "{other}");
        }
    }
}
