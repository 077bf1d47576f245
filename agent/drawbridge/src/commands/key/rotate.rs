//! A new password for daily use, and a new master key.
//!
//! Whoever knows an old password and has a key file, which the vault keeps, has the master key. So a new password alone would
//! protect nothing; a rotation makes a new repository with a master key of its own.
//!
//! In this order, so that whatever is cut off leaves a state from which the next run goes on:
//! 1. the new password is added to the local repositories, so that what they hold can be restored with it;
//! 2. the new repository is made, for the new password and those that are carried over;
//! 3. the record names it as the next one. A run whose password doesn't open it forgets it;
//! 4. the old password is kept in a file beside the password file;
//! 5. the password file is replaced. From here on the next run begins with the new repository.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;
use drawbridge_wire::{RepositoryId, Timestamp};
use serde::Serialize;

use super::password::write_new;
use super::{KeyError, Opened};
use crate::commands::init::new_password;
use crate::config::Config;
use crate::engine::{EngineError, LocalRepository, repositories};
use crate::secret::Secret;
use crate::state::Current;
use crate::state_file;
use crate::ui::Ui;

/// `drawbridge key rotate`
#[derive(Debug, Clone, Args)]
pub struct RotateArgs {
    /// Read the new password from this file, which only its owner may read; without it, one is made
    #[arg(long, value_name = "FILE")]
    new_password_file: Option<PathBuf>,
    /// A file with another password that opens the new repository, too, for example the recovery password; repeatable
    #[arg(long, value_name = "FILE")]
    carry: Vec<PathBuf>,
    /// Leave behind the passwords that aren't given with --carry
    #[arg(long)]
    drop_others: bool,
}

/// The label of the key that the password file opens.
const DAILY: &str = "drawbridge";

#[derive(Serialize)]
struct Rotated<'a> {
    repository: &'a RepositoryId,
    password_file: &'a Path,
    old_password_file: &'a Path,
}

pub(super) fn rotate(config: &Config, ui: &Ui, opened: Opened, args: &RotateArgs) -> Result<(), KeyError> {
    let Opened { current, password: old, repository } = &opened;
    let carried: Vec<Secret> =
        args.carry.iter().map(|file| Config::read_password_file(file)).collect::<Result<_, _>>()?;
    for (file, password) in args.carry.iter().zip(&carried) {
        if !opened.opens_with(config, password)? {
            return Err(KeyError::OpensNothing(file.clone()));
        }
    }
    // What a rotation that was cut off has added isn't anybody's password.
    let others = repository.keys()?.iter().filter(|key| !key.in_use && key.label.as_deref() != Some(DAILY)).count();
    if others > carried.len() && !args.drop_others {
        return Err(KeyError::WouldBeLost(others));
    }
    let new = match &args.new_password_file {
        Some(file) => Config::read_password_file(file)?,
        None => Secret::from(new_password().map_err(super::NewPasswordError::from)?),
    };
    if opened.opens_with(config, &new)? {
        return Err(KeyError::OpensAlready);
    }

    let folder = config.repository_dir();
    for id in repositories(&folder)? {
        match LocalRepository::open(&folder, &id, old.reveal()) {
            Ok(repository) => drop(repository.add_key(DAILY, new.reveal())?),
            // It opens with a password of its own, and goes on doing so.
            Err(EngineError::WrongPassword { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let next = LocalRepository::create(&folder, new.reveal())?;
    for password in &carried {
        next.add_key("carried over", password.reveal())?;
    }
    Current { next: Some(next.id().clone()), ..current.clone() }.save(&config.state_dir)?;
    let kept = replace_password(&config.password_file, old, &new)?;

    let rotated = Rotated { repository: next.id(), password_file: &config.password_file, old_password_file: &kept };
    ui.result("rotated", &rotated, &told(&rotated));
    Ok(())
}

fn told(Rotated { repository, password_file, old_password_file }: &Rotated<'_>) -> String {
    format!(
        "Wrote a new password to {}. KEEP IT SOMEWHERE ELSE, TOO.\nThe next run begins the repository {repository}, with a new master key, \
         and carries everything.\nKept the old password as {}: what the vault already has opens with it, and with nothing newer, until \
         that expires. Keep it elsewhere, too, and remove it from this machine.",
        password_file.display(),
        old_password_file.display()
    )
}

/// Puts `new` into the password file and keeps `old` beside it; where, is returned.
fn replace_password(file: &Path, old: &Secret, new: &Secret) -> Result<PathBuf, KeyError> {
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| KeyError::Write { path, source }
    };
    // What a link leads to is replaced, not the link.
    let file = fs::canonicalize(file).map_err(written(file))?;
    let (Some(folder), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) else {
        return Err(written(&file)(std::io::Error::other("it has no name")));
    };
    let kept = folder.join(format!("{name}.until-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ")));
    write_new(&kept, old)?;
    let owner = fs::metadata(&file).map_err(written(&file))?;
    chown(&kept, Some(owner.uid()), Some(owner.gid())).map_err(written(&kept))?;
    state_file::replace_owned(folder, name, format!("{}\n", new.reveal()).as_bytes(), Some((owner.uid(), owner.gid())))
        .map_err(written(&file))?;
    Ok(kept)
}
