//! Which local repository a run backs up into: the current one, or a new one where that can't go on. Blocks.
//!
//! Invariants that this module owns:
//! - a new repository begins by itself, and says so, when there is no usable record of a current one, when its folder is gone or damaged,
//!   and when the vault's copy of it is beyond healing. It never begins because of a wrong password, a disk that can't be read or is
//!   full: these are errors;
//! - a damaged repository is kept, in `state_dir/damaged`. The record that names the new one also names what is still to be set
//!   aside, so that a crash between the two is made up for;
//! - the new one takes over the keys of the last one, as far as they can be read.

use std::path::{Path, PathBuf};

use drawbridge_wire::RepositoryId;

use super::error::RunError;
use crate::config::Config;
use crate::engine::{EngineError, Heritage, LocalRepository, repositories};
use crate::secret::Secret;
use crate::state::{Current, StateError};
use crate::state_file::set_aside;
use crate::ui::Ui;
use crate::verdicts::{Standing, Verdicts};

/// The generation that a repository belongs to is over.
#[derive(Debug, Clone)]
pub(super) struct Turned {
    /// The snapshot that was made in it before that was known: no run will carry it, and the next repository begins with the same.
    pub(super) snapshot: String,
}

/// The repository to back up into; a new one in any case where the last one's generation is over.
pub(super) fn open(
    config: &Config,
    password: &Secret,
    ui: &Ui,
    turned: Option<&Turned>,
) -> Result<(Current, LocalRepository), RunError> {
    let opening = Opening { config, password, ui };
    let folder = config.repository_dir();
    let Some(current) = opening.record()? else {
        return opening.begin(opening.heritage_of_any()?.as_ref(), Verdicts::default(), None);
    };
    let current = match opening.rotated(current)? {
        (current, Some(repository)) => return Ok((current, repository)),
        (current, None) => current,
    };
    let (id, verdicts) = (current.repository.clone(), current.verdicts.clone());
    if !there(&folder.join(id.as_str()))? {
        ui.warn(&format!("the local repository {id} is gone, so a new one begins"));
        return opening.begin(opening.heritage_of_any()?.as_ref(), verdicts, None);
    }
    let opened = match LocalRepository::open(&folder, &id, password.reveal()) {
        Err(EngineError::Damaged { damage, .. }) => {
            opening.tell_damage(&id, &damage);
            return opening.begin(opening.heritage_of_any()?.as_ref(), verdicts, Some(id));
        }
        opened => opened?,
    };
    if let Some(damage) = &current.damage {
        opening.tell_damage(&id, damage);
        return opening.begin(Some(&opened.heritage()?), verdicts, Some(id));
    }
    let found = current.vault.as_ref().and_then(|vault| Some((vault, verdicts.of(vault)?)));
    if let Some((vault, found)) = found.filter(|(_, found)| found.standing == Standing::BeyondHealing) {
        ui.warn(&format!(
            "the run {} found that nothing can mend the vault's copy {vault}: a new repository begins, and everything crosses. The old \
             ones stay, in the vault and on this machine; look at runs/{}/verdict.json in the vault",
            found.run, found.run
        ));
        return opening.begin(Some(&opened.heritage()?), verdicts, None);
    }
    if let Some(Turned { snapshot }) = turned {
        let begun = opening.begin(Some(&opened.heritage()?), verdicts, None)?;
        opened.take_back(snapshot)?;
        return Ok(begun);
    }
    Ok((current, opened))
}

struct Opening<'a> {
    config: &'a Config,
    password: &'a Secret,
    ui: &'a Ui,
}

impl Opening<'_> {
    /// The record of the current repository; finishes what was to be set aside.
    fn record(&self) -> Result<Option<Current>, RunError> {
        let mut current = match Current::load(&self.config.state_dir) {
            Err(StateError::Damaged { path, source }) => {
                let aside = self.aside(&path)?;
                self.ui.warn(&format!(
                    "the record of the current repository was damaged ({source}); it is kept as {}, and a new repository begins, for \
                     nothing says any more what the vault has of the last one",
                    aside.display()
                ));
                None
            }
            current => current?,
        };
        if let Some(current) = current.as_mut().filter(|current| current.leaving.is_some()) {
            self.let_go(current)?;
        }
        Ok(current)
    }

    /// Sets aside what the record says is to go, if that hasn't been done.
    fn let_go(&self, current: &mut Current) -> Result<(), RunError> {
        let Some(leaving) = current.leaving.take() else { return Ok(()) };
        let path = self.config.repository_dir().join(leaving.as_str());
        if there(&path)? {
            let aside = self.aside(&path)?;
            let aside = aside.display();
            self.ui.warn(&format!(
                "the damaged repository is kept as {aside}: `restic -r {aside} check --read-data` tells what of it is whole; remove \
                 it when nobody needs it any more"
            ));
        }
        Ok(current.save(&self.config.state_dir)?)
    }

    /// Goes on with the repository that a rotation of the keys has made, if the password that opens it is in force; without one where
    /// there was no rotation, or it didn't come to its end.
    fn rotated(&self, mut current: Current) -> Result<(Current, Option<LocalRepository>), RunError> {
        let Some(next) = current.next.take() else { return Ok((current, None)) };
        let folder = self.config.repository_dir();
        let opened = if there(&folder.join(next.as_str()))? {
            LocalRepository::open(&folder, &next, self.password.reveal())
        } else {
            Err(EngineError::Damaged { path: folder.join(next.as_str()), damage: "it is gone".to_owned() })
        };
        match opened {
            Ok(repository) => {
                let current = Current { verdicts: current.verdicts, ..Current::of(next) };
                current.save(&self.config.state_dir)?;
                self.ui.note(&format!(
                    "the keys were rotated, so the repository {} begins; everything crosses",
                    current.repository
                ));
                Ok((current, Some(repository)))
            }
            Err(EngineError::WrongPassword { .. }) => {
                current.save(&self.config.state_dir)?;
                self.ui.warn("a rotation of the keys was cut off before it replaced the password: nothing has changed, rotate again");
                Ok((current, None))
            }
            // Nothing was in it yet, and the old master key is not to be used any more.
            Err(EngineError::Damaged { damage, .. }) => {
                self.ui.warn(&format!(
                    "the repository that the rotation of the keys has made can't be used ({damage}): another begins"
                ));
                let (current, repository) = self.begin(None, current.verdicts, None)?;
                Ok((current, Some(repository)))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn tell_damage(&self, repository: &RepositoryId, damage: &str) {
        self.ui.warn(&format!(
            "the local repository {repository} is damaged: {damage}. A new repository begins, and everything crosses; what has \
             crossed before stays in the vault"
        ));
    }

    fn begin(
        &self,
        heritage: Option<&Heritage>,
        verdicts: Verdicts,
        leaving: Option<RepositoryId>,
    ) -> Result<(Current, LocalRepository), RunError> {
        let (folder, password) = (self.config.repository_dir(), self.password.reveal());
        let repository = match heritage {
            Some(heritage) => LocalRepository::succeed(&folder, password, heritage)?,
            None => LocalRepository::create(&folder, password)?,
        };
        let mut current = Current { leaving, verdicts, ..Current::of(repository.id().clone()) };
        current.save(&self.config.state_dir)?;
        self.ui.note(&format!("began the local repository {}", repository.id()));
        match heritage.map(Heritage::passwords) {
            Some(more) if more > 1 => self.ui.note(&format!("it opens with all {more} passwords of the last one")),
            Some(_) => {}
            None if current.leaving.is_some() => self.ui.warn(
                "its keys could not be taken over from the last one: it opens with the password in the password file and no \
                 other; `drawbridge key add` adds a recovery password",
            ),
            None => {}
        }
        self.let_go(&mut current)?;
        Ok((current, repository))
    }

    /// What the latest repository leaves that is here and opens. Without a record that is the best guess at the last one.
    fn heritage_of_any(&self) -> Result<Option<Heritage>, RunError> {
        let folder = self.config.repository_dir();
        let begun = |id: &RepositoryId| {
            folder.join(id.as_str()).join("config").metadata().and_then(|meta| meta.modified()).ok()
        };
        let mut ids: Vec<_> = repositories(&folder)?.into_iter().map(|id| (begun(&id), id)).collect();
        ids.sort_unstable();
        for (_, id) in ids.into_iter().rev() {
            match LocalRepository::open(&folder, &id, self.password.reveal()) {
                Ok(repository) => return Ok(Some(repository.heritage()?)),
                Err(EngineError::Damaged { .. } | EngineError::WrongPassword { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn aside(&self, what: &Path) -> Result<PathBuf, RunError> {
        set_aside(&self.config.state_dir, what)
            .map_err(|source| EngineError::Folder { action: "set aside", path: what.to_path_buf(), source }.into())
    }
}

/// A folder that can't be looked at isn't one that is gone.
fn there(path: &Path) -> Result<bool, RunError> {
    path.try_exists()
        .map_err(|source| EngineError::Folder { action: "look at", path: path.to_path_buf(), source }.into())
}
