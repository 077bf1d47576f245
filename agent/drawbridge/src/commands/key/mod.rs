//! `drawbridge key`: the passwords that open the repository.
//!
//! Invariants that this module owns:
//! - a password comes from a file, from a terminal that doesn't show it, or is made here; never from an argument or the environment;
//! - there is always a key that the password file opens;
//! - a rotation is decided by one rename, that of the password file: before it nothing has changed for the next run, after it the next
//!   run begins with the new master key.
//!
//! What a key opens: the repository that it lies in, and those that begin after it, which take over its master key
//! (see [`crate::engine`]). What lies in the vault is locked there: a key that is removed here opens what the vault already has of
//! the repository until that expires, and one that is added here doesn't open repositories of the past.

mod password;
mod rotate;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use drawbridge_wire::{RepositoryId, Sha256Digest};
use serde::Serialize;
use thiserror::Error;
use tokio::task::spawn_blocking;

use crate::config::{Config, PasswordError};
use crate::engine::{EngineError, KeyInfo, LocalRepository, key_ids, repositories};
use crate::exit::Exit;
use crate::lock::{Lock, LockError, Locking};
use crate::secret::Secret;
use crate::state::{Current, StateError};
use crate::state_file::{self, StateDirError};
use crate::ui::Ui;

pub use password::NewPassword;
use password::NewPasswordError;
pub use rotate::RotateArgs;

/// `drawbridge key`
#[derive(Debug, Clone, Args)]
pub struct KeyArgs {
    /// What to do with them
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Clone, Subcommand)]
enum What {
    /// Add a second password, for example a recovery password that is kept elsewhere
    Add {
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "recovery")]
        label: String,
        #[command(flatten)]
        password: NewPassword,
    },
    /// List the keys of every local repository, and what each opens
    List,
    /// Remove a key; the vault keeps its own copy of it until that expires
    Remove {
        /// The key's id, or as many of its first digits as tell it from the others
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Replace the password of the password file; the next run begins a repository with a new master key
    Rotate(RotateArgs),
}

/// Why nothing was done.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The lock can't be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// Which repository is current isn't known.
    #[error(transparent)]
    State(#[from] StateError),
    /// The password file.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The new password.
    #[error(transparent)]
    New(#[from] NewPasswordError),
    /// The local repository.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Nothing to open.
    #[error("there is no local repository yet: `drawbridge run` makes one")]
    NoRepository,
    /// A rotation isn't through.
    #[error("the keys were rotated, and the next run begins the new repository: `drawbridge run` first")]
    Rotating,
    /// The same again.
    #[error("this password opens the repository already")]
    OpensAlready,
    /// No or several such keys.
    #[error("{0:?} is the beginning of {1} keys of the repository: `drawbridge key list` shows them")]
    Which(String, usize),
    /// Nothing would open the repository.
    #[error("this is the only key of the repository, and without it nobody could open it")]
    Last,
    /// Runs need it.
    #[error("this key is in use, by the password file: `drawbridge key rotate` replaces it")]
    InUse,
    /// Passwords that would be lost.
    #[error(
        "{0} other passwords open the repository, and none is carried over into one with a new master key unless it is given: name a \
         file of each with --carry FILE, or leave those that aren't with --drop-others"
    )]
    WouldBeLost(usize),
    /// A password that was to be carried over is none.
    #[error("the password in {} does not open the repository", .0.display())]
    OpensNothing(PathBuf),
    /// A file can't be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A thread of ours ended by itself.
    #[error("the work broke off")]
    BrokeOff(#[from] tokio::task::JoinError),
}

/// Does what `args` say.
///
/// # Errors
/// See [`KeyError`]. Another run at work is no error but [`Exit::Later`].
pub async fn key(config: &Config, ui: &Ui, args: &KeyArgs) -> Result<Exit, KeyError> {
    state_file::prepare(&config.state_dir)?;
    let _lock = match Lock::take(&config.state_dir)? {
        Locking::Taken(lock) => lock,
        Locking::HeldBy(pid) => {
            ui.warn(&format!("another drawbridge is at work (process {pid}); this one ends"));
            return Ok(Exit::Later);
        }
    };
    let (config, ui, args) = (config.clone(), ui.clone(), args.clone());
    spawn_blocking(move || work(&config, &ui, &args.what)).await??;
    Ok(Exit::Done)
}

fn work(config: &Config, ui: &Ui, what: &What) -> Result<(), KeyError> {
    let opened = Opened::now(config)?;
    match what {
        What::List => list(config, ui, &opened),
        What::Rotate(args) => rotate::rotate(config, ui, opened, args),
        What::Add { label, password } => {
            let new = password.obtain()?;
            if opened.opens_with(config, &new)? {
                return Err(KeyError::OpensAlready);
            }
            let id = opened.repository.add_key(label, new.reveal())?;
            ui.result("key", &Changed { added: Some(id), removed: None }, &added(&id, opened.repository.id()));
            Ok(())
        }
        What::Remove { id } => {
            let key = opened.find(id)?;
            opened.repository.remove_key(&key.id)?;
            ui.result("key", &Changed { added: None, removed: Some(key.id) }, &removed(&key.id));
            Ok(())
        }
    }
}

/// The current repository, open.
struct Opened {
    current: Current,
    password: Secret,
    repository: LocalRepository,
}

impl Opened {
    fn now(config: &Config) -> Result<Self, KeyError> {
        let current = Current::load(&config.state_dir)?.ok_or(KeyError::NoRepository)?;
        if current.next.is_some() {
            return Err(KeyError::Rotating);
        }
        let password = config.read_password()?;
        let repository = LocalRepository::open(&config.repository_dir(), &current.repository, password.reveal())?;
        Ok(Self { current, password, repository })
    }

    fn opens_with(&self, config: &Config, password: &Secret) -> Result<bool, KeyError> {
        match LocalRepository::open(&config.repository_dir(), self.repository.id(), password.reveal()) {
            Ok(_) => Ok(true),
            Err(EngineError::WrongPassword { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The one key whose id begins so, if it may go.
    fn find(&self, id: &str) -> Result<KeyInfo, KeyError> {
        let keys = self.repository.keys()?;
        let mut found = keys.iter().filter(|key| !id.is_empty() && key.id.to_string().starts_with(id));
        let (Some(key), None) = (found.next(), found.next()) else {
            let count = keys.iter().filter(|key| key.id.to_string().starts_with(id)).count();
            return Err(KeyError::Which(id.to_owned(), count));
        };
        match () {
            () if keys.len() == 1 => Err(KeyError::Last),
            () if key.in_use => Err(KeyError::InUse),
            () => Ok(key.clone()),
        }
    }
}

#[derive(Serialize)]
struct Changed {
    #[serde(skip_serializing_if = "Option::is_none")]
    added: Option<Sha256Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Sha256Digest>,
}

fn added(id: &Sha256Digest, repository: &RepositoryId) -> String {
    format!(
        "Added the key {id}.\nIts password opens the repository {repository}, in the vault as soon as the next run is verified, and every \
         repository that begins later.\nRepositories of the past open with the passwords that they had."
    )
}

fn removed(id: &Sha256Digest) -> String {
    format!(
        "Removed the key {id} from this machine.\nThe vault's copy of it is locked there until it expires: its password still opens what \
         the vault has of this repository, also what is added to it from now on. `drawbridge key rotate` begins one that it \
         doesn't open."
    )
}

/// A key and the local repositories that it lies in.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    key: KeyInfo,
    opens: Vec<RepositoryId>,
}

#[derive(Serialize)]
struct Listing {
    keys: Vec<Listed>,
    /// Repositories with keys that aren't among those of the current one.
    others: BTreeMap<RepositoryId, usize>,
}

fn list(config: &Config, ui: &Ui, opened: &Opened) -> Result<(), KeyError> {
    let folder = config.repository_dir();
    let mut lie_in: BTreeMap<Sha256Digest, Vec<RepositoryId>> = BTreeMap::new();
    for id in repositories(&folder)? {
        for key in key_ids(&folder.join(id.as_str()))? {
            lie_in.entry(key).or_default().push(id.clone());
        }
    }
    let keys: Vec<Listed> = opened
        .repository
        .keys()?
        .into_iter()
        .map(|key| Listed { opens: lie_in.remove(&key.id).unwrap_or_default(), key })
        .collect();
    let mut others = BTreeMap::new();
    lie_in.into_values().flatten().for_each(|id| *others.entry(id).or_default() += 1);
    let listing = Listing { keys, others };
    ui.result("keys", &listing, &listing);
    Ok(())
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How much of an id is shown, and taken.
        const SHORT: usize = 8;
        write!(f, "{:<SHORT$}  {:<20}  {:<12}  {:<16}  {:<6}  opens", "id", "created", "label", "host", "in use")?;
        for Listed { key, opens } in &self.keys {
            let id = key.id.to_string();
            let opens: Vec<&str> = opens.iter().map(RepositoryId::as_str).collect();
            write!(
                f,
                "\n{:<SHORT$}  {:<20}  {:<12}  {:<16}  {:<6}  {}",
                id.get(..SHORT).unwrap_or(&id),
                key.created.as_deref().and_then(|time| time.get(..19)).unwrap_or("-"),
                key.label.as_deref().unwrap_or("-"),
                key.host.as_deref().unwrap_or("-"),
                if key.in_use { "yes" } else { "" },
                opens.join(", "),
            )?;
        }
        for (repository, count) in &self.others {
            write!(f, "\n{repository} has {count} keys that the current repository doesn't have")?;
        }
        Ok(())
    }
}
