use serde::{Deserialize, Serialize};

use crate::RunId;

/// What the agent sends to `report`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportRequest {
    /// The run it speaks of.
    pub run: RunId,
    /// What it has to say.
    pub report: Report,
}

/// How the crossing goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case", deny_unknown_fields)]
pub enum Report {
    /// Still crossing.
    Heartbeat,
    /// The gate has acknowledged everything and written its receipt.
    Complete,
    /// The agent gives up.
    Failed {
        /// Why, for the operator who reads the execution. `report` shortens what is too long for Step Functions.
        reason: String,
    },
}

/// What `report` answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum ReportAnswer {
    /// Passed on to the state machine.
    Accepted,
    /// The run doesn't wait for the agent: not yet, or not any more. Nothing changed; `session` tells more.
    Closed,
}
