use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Defects, RunId, VerdictSummary};

/// What the agent sends to `session`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRequest {
    /// The run it asks about.
    pub run: RunId,
}

/// Where a run stands. The task token is never part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum SessionAnswer {
    /// The run is open and there is nothing to connect to: the box isn't there yet, or not any more.
    Waiting,
    /// The bridge is down, connect.
    Open {
        /// The box's public address.
        address: Ipv4Addr,
        /// The gate's TCP port.
        port: u16,
        /// The gate's SSH host key, one line of OpenSSH public key. Exactly this one, or nobody.
        host_key: String,
        /// The gate exits at this moment.
        deadline: Timestamp,
    },
    /// Ended, and the vault holds everything that the manifest names.
    Verified {
        /// What `verify` counted.
        verdict: VerdictSummary,
    },
    /// Ended otherwise.
    Failed {
        /// The first thing that went wrong.
        failure: Failure,
        /// After a bad verdict, what it found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        defects: Option<Defects>,
    },
}

/// An error as Step Functions reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's name, for example `States.Timeout` or `VerdictBad`.
    pub error: String,
    /// What it says about itself, beginning with the state that it struck.
    pub cause: String,
}
