use drawbridge_ssh::{InvalidKey, KeyGenerationFailed};
use drawbridge_wire::{Ceiling, Failure, Generation, RunId, VaultRepository};
use thiserror::Error;

use super::after::Healing;
use crate::cloud::CloudError;
use crate::config::PasswordError;
use crate::cross::CrossError;
use crate::engine::EngineError;
use crate::engine::health::Damage;
use crate::gather::GatherError;
use crate::grades::GradesError;
use crate::history::HistoryError;
use crate::journal::JournalError;
use crate::lock::LockError;
use crate::state::StateError;
use crate::state_file::StateDirError;
use crate::stock::StockError;
use crate::ui::human_bytes;

/// Why a run failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// The state folder can't be used.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// The lock can't be used.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The mirror can't be written.
    #[error(transparent)]
    Gather(#[from] GatherError),
    /// The local repository.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What is in it.
    #[error(transparent)]
    Stock(#[from] StockError),
    /// Which one it is.
    #[error(transparent)]
    State(#[from] StateError),
    /// What has been acknowledged.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The record of this run.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The record of grades.
    #[error(transparent)]
    Grades(#[from] GradesError),
    /// The stack.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The crossing.
    #[error(transparent)]
    Cross(#[from] CrossError),
    /// No key for this run.
    #[error(transparent)]
    Key(#[from] KeyGenerationFailed),
    /// The manifest can't be written down.
    #[error("cannot write the manifest as JSON")]
    Manifest(#[source] serde_json::Error),
    /// The session names a host key that is none.
    #[error("the stack names a host key that is none, so the bridge can't be trusted")]
    HostKey(#[from] InvalidKey),
    /// More than the stack carries in one run.
    #[error(
        "this backup is too large for one run: {} would cross, and the stack allows {}; \
         deploy the stack with a larger {}, or gather less", amount(*.ceiling, *.declared), amount(*.ceiling, *.allowed), parameter(*.ceiling)
    )]
    TooMuch {
        /// Of what.
        ceiling: Ceiling,
        /// What would cross.
        declared: u64,
        /// What may.
        allowed: u64,
    },
    /// A new generation, twice in a row.
    #[error(
        "the stack turned to generation {0} although the new repository counts on none; are stack and agent of the same release?"
    )]
    TurnedTwice(Generation),
    /// Filed elsewhere than what was declared counts on.
    #[error(
        "the stack files this run under {0}, which is not what was declared; are stack and agent of the same release?"
    )]
    Misfiled(VaultRepository),
    /// The run ended before, or instead of, what it was for.
    #[error("the run {run} failed in the stack with {}: {}", .failure.error, .failure.cause)]
    Failed {
        /// Which.
        run: RunId,
        /// The first thing that went wrong.
        failure: Failure,
    },
    /// The vault doesn't hold what was declared.
    #[error("the vault does not hold the backup as declared: {said}; {healing}")]
    Bad {
        /// What `verify` says.
        said: String,
        /// What the next run does about it.
        healing: Healing,
    },
    /// Verified before anything could have crossed.
    #[error("the run {0} ended before anything crossed")]
    EndedEarly(RunId),
    /// The state machine took longer than it may.
    #[error("the run {run} did not {what} in time")]
    Late {
        /// Which.
        run: RunId,
        /// Do what.
        what: &'static str,
    },
    /// Somebody asked the program to stop.
    #[error("stopped by {0}; what has crossed is kept, and the next run carries the rest")]
    Interrupted(&'static str),
    /// No signals can be received.
    #[error("cannot wait for signals")]
    Signals(#[source] std::io::Error),
    /// A thread ended without an answer.
    #[error("a part of the program stopped unexpectedly")]
    Stopped(#[from] tokio::task::JoinError),
}

impl RunError {
    /// What is wrong with the local repository, if that is it.
    pub(super) fn damage(&self) -> Option<Damage> {
        match self {
            Self::Stock(error) => error.damage(),
            Self::Engine(EngineError::Damaged { damage, .. }) | Self::Cross(CrossError::Damaged { damage }) => {
                Some(damage.clone())
            }
            _ => None,
        }
    }
}

fn amount(ceiling: Ceiling, count: u64) -> String {
    match ceiling {
        Ceiling::Objects => format!("{count} objects"),
        Ceiling::Bytes => human_bytes(count),
    }
}

/// The template's parameter that sets the ceiling.
const fn parameter(ceiling: Ceiling) -> &'static str {
    match ceiling {
        Ceiling::Objects => "MaxObjects",
        Ceiling::Bytes => "MaxBytes",
    }
}
