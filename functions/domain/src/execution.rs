//! An execution of the state machine, as far as decisions look at it.

use drawbridge_wire::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What Step Functions says of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Where it stands.
    pub status: Status,
    /// When it began.
    pub started_at: Timestamp,
    /// Its input, JSON.
    pub input: Option<String>,
    /// Its output, JSON, once it succeeded.
    pub output: Option<String>,
    /// The name of the error that it failed with.
    pub error: Option<String>,
    /// What that error says.
    pub cause: Option<String>,
}

/// Where an execution stands, by the names that Step Functions gives it in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Open.
    Running,
    /// Ended in a Succeed state.
    Succeeded,
    /// Ended with an error; waiting for a redrive counts as ended.
    Failed,
    /// Ended by its own time limit.
    TimedOut,
    /// Stopped by an operator.
    Aborted,
}

/// A state machine's ARN that no execution's can be made of.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{0:?} is not the ARN of a state machine: expected arn:<partition>:states:<region>:<account>:stateMachine:<name>"
)]
pub struct InvalidArn(String);

/// The ARN of the execution `name` of a state machine.
///
/// # Errors
/// When the state machine's ARN has another shape.
pub fn arn(state_machine: &str, name: &str) -> Result<String, InvalidArn> {
    match state_machine.split_once(":stateMachine:") {
        Some((owner, machine)) if owner.starts_with("arn:") && !machine.is_empty() && !machine.contains(':') => {
            Ok(format!("{owner}:execution:{machine}:{name}"))
        }
        _ => Err(InvalidArn(state_machine.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_executions_arn_is_made_of_its_state_machines() {
        let machine = "arn:aws:states:eu-central-1:123456789012:stateMachine:backup";
        assert_eq!(arn(machine, "x").unwrap(), "arn:aws:states:eu-central-1:123456789012:execution:backup:x");
        for wrong in
            ["", "backup", "arn:aws:states:r:1:stateMachine:", "arn:aws:states:r:1:stateMachine:backup:version"]
        {
            assert!(arn(wrong, "x").is_err(), "{wrong}");
        }
    }
}
