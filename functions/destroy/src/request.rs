//! Who asks: the state machine and the schedule in our own words, the event rule in EventBridge's.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use drawbridge_aws::{FunctionError, parse};
use drawbridge_domain::execution::Status;
use drawbridge_domain::notice::End;
use drawbridge_wire::{DestroyRequest, RunId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The part of "Step Functions Execution Status Change" that matters. Source: "Automating Step Functions event delivery
/// with EventBridge" in the Step Functions developer guide.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct StatusChange {
    state_machine_arn: String,
    name: String,
    status: Status,
    error: Option<String>,
    cause: Option<String>,
}

/// What to destroy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Everything of this run: its own last state asks.
    Run(RunId),
    /// Everything of this run: it has ended, and the event tells how.
    Ended { run: RunId, end: End },
    /// Everything of every run that is over or past its deadline.
    Sweep,
}

#[derive(Debug, Error)]
enum WrongEvent {
    #[error("the event tells of another state machine, {0}")]
    Foreign(String),
    #[error("the execution {0} is still running")]
    Running(String),
}

/// Reads an event.
pub(crate) fn read(event: Value, state_machine: &str) -> Result<Request, FunctionError> {
    if event.get("detail-type").is_none() {
        return Ok(match parse(event)? {
            DestroyRequest::Run(run) => Request::Run(run),
            DestroyRequest::Sweep {} => Request::Sweep,
        });
    }
    let change = parse::<EventBridgeEvent<StatusChange>>(event)?.detail;
    let StatusChange { state_machine_arn, name, status, error, cause } = change;
    if state_machine_arn != state_machine {
        return Err(FunctionError::invalid(WrongEvent::Foreign(state_machine_arn)));
    }
    if status == Status::Running {
        return Err(FunctionError::invalid(WrongEvent::Running(name)));
    }
    let run = name.parse().map_err(FunctionError::invalid)?;
    Ok(Request::Ended { run, end: End { status, error, cause } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:backup";
    const RUN: &str = "home-20261123T203000Z";

    fn change(machine: &str, name: &str, status: &str) -> Value {
        json!({
            "version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "source": "aws.states",
            "detail-type": "Step Functions Execution Status Change", "account": "123456789012",
            "time": "2026-11-23T20:42:21Z", "region": "eu-central-1", "resources": [],
            "detail": {
                "executionArn": "arn", "stateMachineArn": machine, "name": name, "status": status,
                "startDate": 1, "stopDate": null, "input": "{}", "inputDetails": {"included": true}, "output": null,
                "error": null, "cause": "by hand",
            },
        })
    }

    #[test]
    fn all_three_callers_are_understood() {
        let run: RunId = RUN.parse().unwrap();
        assert_eq!(read(json!({"run": RUN}), MACHINE).unwrap(), Request::Run(run.clone()));
        assert_eq!(read(json!({"sweep": {}}), MACHINE).unwrap(), Request::Sweep);
        for (name, status) in [
            ("FAILED", Status::Failed),
            ("TIMED_OUT", Status::TimedOut),
            ("ABORTED", Status::Aborted),
            ("SUCCEEDED", Status::Succeeded),
        ] {
            let end = End { status, error: None, cause: Some("by hand".into()) };
            assert_eq!(read(change(MACHINE, RUN, name), MACHINE).unwrap(), Request::Ended { run: run.clone(), end });
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for event in [
            json!({}),
            json!({"run": "*"}),
            json!({"run": RUN, "sweep": {}}),
            change(MACHINE, RUN, "RUNNING"),
            change("arn:aws:states:eu-central-1:123456789012:stateMachine:other", RUN, "FAILED"),
            change(MACHINE, "by-hand", "FAILED"),
            change(MACHINE, RUN, "ODD"),
        ] {
            assert_eq!(read(event.clone(), MACHINE).unwrap_err().name(), "InvalidRequest", "{event}");
        }
    }
}
