//! What follows from a verdict: what is remembered, what crosses again, and what may go.

use std::fmt;

use drawbridge_wire::{Defects, Manifest, RunId, Timestamp, VaultRepository};

use super::error::RunError;
use crate::config::Config;
use crate::gather::in_one_line;
use crate::journal::Journal;
use crate::retire::retire;
use crate::state::Current;
use crate::ui::Ui;
use crate::verdicts::Standing;

/// What the next run does about a bad verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Healing {
    /// So many missing objects cross again, from the local repository.
    Again(usize),
    /// Nobody can say what is missing, or there is too much of it.
    Everything,
    /// The vault's copy is beyond healing: a new repository begins.
    Anew,
    /// Nothing is missing or wrong, so nothing that crosses would help.
    Nothing,
    /// It couldn't be written down.
    Unknown,
}

impl fmt::Display for Healing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again(1) => f.write_str("the missing object crosses again in the next run"),
            Self::Again(count) => write!(f, "the {count} missing objects cross again in the next run"),
            Self::Everything => f.write_str("everything crosses again in the next run"),
            Self::Anew => f.write_str(
                "nothing that crosses can mend the vault's copy, so THE NEXT RUN BEGINS A NEW REPOSITORY and carries everything",
            ),
            Self::Nothing => f.write_str("nothing is missing, so nothing crosses again; the verdict file names what is the matter"),
            Self::Unknown => f.write_str("what follows from it could not be written down, so the next run finds it once more"),
        }
    }
}

impl Healing {
    fn of(defects: Option<&Defects>) -> Self {
        match defects {
            Some(defects) if defects.beyond_healing => Self::Anew,
            Some(defects) if !defects.all_named => Self::Everything,
            Some(defects) if defects.missing.is_empty() => Self::Nothing,
            Some(defects) => Self::Again(defects.missing.len()),
            None => Self::Everything,
        }
    }
}

/// Writes down a bad verdict on `vault`, so that the next run heals it. The standing comes first: with it, a crash right afterwards
/// loses nothing but the journal's part, which another verdict finds again.
pub(super) fn bad(
    config: &Config,
    ui: &Ui,
    (current, journal): (&mut Current, &mut Journal),
    vault: &VaultRepository,
    run: &RunId,
    defects: Option<&Defects>,
) -> Healing {
    let healing = Healing::of(defects);
    let standing = if healing == Healing::Anew { Standing::BeyondHealing } else { Standing::Bad };
    let mut written = remember(config, current, vault, run, standing);
    if written.is_ok() {
        written = match (healing, defects) {
            (Healing::Again(_), Some(defects)) => journal.take_back(&defects.missing).map(drop).map_err(RunError::from),
            (Healing::Everything, _) => journal.forget().map(drop).map_err(RunError::from),
            _ => Ok(()),
        };
    }
    match written {
        Ok(()) => healing,
        Err(error) => {
            ui.warn(&in_one_line(&error));
            Healing::Unknown
        }
    }
}

/// Writes down a good verdict, and lets local repositories go that are over and whole in the vault.
pub(super) fn good(
    config: &Config,
    ui: &Ui,
    current: &mut Current,
    manifest: &Manifest,
    vault: &VaultRepository,
    run: &RunId,
) -> Result<(), RunError> {
    remember(config, current, vault, run, Standing::good(manifest))?;
    match retire(&config.state_dir, &config.repository_dir(), &current.in_use(), &current.verdicts) {
        Ok(gone) => gone.iter().for_each(|gone| {
            ui.note(&format!(
                "removed the local repository {gone}: the vault holds every snapshot of it, verified at rest"
            ));
        }),
        // The backup is what it should be; only room is missing.
        Err(error) => ui.warn(&format!("{}; the next run tries again", in_one_line(&error))),
    }
    Ok(())
}

/// The local repository was found damaged: it is written down first, so that whatever happens next, a new one begins.
pub(super) fn damaged(config: &Config, current: &Current, damage: &str) -> Result<(), RunError> {
    let damage = Some(damage.to_owned());
    Ok(Current { damage, ..current.clone() }.save(&config.state_dir)?)
}

fn remember(
    config: &Config,
    current: &mut Current,
    vault: &VaultRepository,
    run: &RunId,
    standing: Standing,
) -> Result<(), RunError> {
    current.verdicts.note(vault, run, Timestamp::now(), standing);
    Ok(current.save(&config.state_dir)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_heals_depends_on_what_is_known_of_the_defects() {
        let missing = vec!["config".parse().unwrap()];
        let named = Defects { missing, all_named: true, beyond_healing: false };
        assert_eq!(Healing::of(Some(&named)), Healing::Again(1));
        assert_eq!(Healing::of(Some(&Defects { all_named: false, ..named.clone() })), Healing::Everything);
        assert_eq!(Healing::of(None), Healing::Everything);
        assert_eq!(Healing::of(Some(&Defects { beyond_healing: true, ..named.clone() })), Healing::Anew);
        assert_eq!(Healing::of(Some(&Defects { missing: Vec::new(), ..named })), Healing::Nothing);
    }
}
