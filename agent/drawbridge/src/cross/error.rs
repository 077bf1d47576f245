use std::io;
use std::path::PathBuf;
use std::time::Duration;

use drawbridge_ssh::LinkError;
use thiserror::Error;

use crate::cloud::CloudError;
use crate::engine::health::Damage;
use crate::journal::JournalError;

/// Why the crossing stopped. What had been acknowledged until then is in the journal.
#[derive(Debug, Error)]
pub enum CrossError {
    /// The gate said no, and it would say so again.
    #[error("the gate refused {what} with status {status}: {reason}")]
    Refused {
        /// The manifest, an object or the receipt.
        what: String,
        /// The HTTP status.
        status: u16,
        /// The gate's own words.
        reason: String,
    },
    /// Nobody at the gate who could be trusted, or who trusts us. Nothing crossed.
    #[error("the bridge can't be crossed")]
    Untrusted(#[source] LinkError),
    /// A file of the local repository can't be read.
    #[error("cannot read {}", path.display())]
    Local {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An object of the local repository isn't what was written. No attempt would help.
    #[error(
        "the local repository is damaged: {damage}; the next run begins a new repository and keeps the damaged one aside"
    )]
    Damaged {
        /// Which file, and how.
        damage: Damage,
    },
    /// Trying again didn't help.
    #[error("gave up on {what} after {attempts} attempts in {} s", .after.as_secs())]
    GaveUp {
        /// The manifest, an object or the receipt.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// For how long.
        after: Duration,
        /// What happened at the last attempt.
        source: Box<AttemptError>,
    },
    /// The run is over for the state machine: out of time, or stopped by an operator.
    #[error("the run was closed while objects were still crossing")]
    Closed,
    /// The state machine hears nothing of us and will give the run up.
    #[error("no heartbeat reached the stack for {} s, so it gives the run up", .silence.as_secs())]
    Unheard {
        /// For how long.
        silence: Duration,
        /// Why the last one didn't.
        source: Box<CloudError>,
    },
    /// The time for this run is up.
    #[error("the run's deadline is over; what has crossed is kept, and the next run carries the rest")]
    Deadline,
    /// What was acknowledged can't be written down.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Why one attempt failed that may be repeated.
#[derive(Debug, Error)]
pub enum AttemptError {
    /// No SSH connection or no stream on it.
    #[error("the SSH link failed")]
    Link(#[from] LinkError),
    /// HTTP broke off.
    #[error("the connection to the gate broke off")]
    Http(#[from] hyper::Error),
    /// An answer that isn't one.
    #[error("the gate's answer can't be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Nothing moves.
    #[error("nothing moved for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The gate asks for another attempt.
    #[error("the gate can't take it now: {0}")]
    NotNow(String),
}
