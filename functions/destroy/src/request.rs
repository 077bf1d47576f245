//! Who asks: the state machine and the schedule in our own words, the event rule in EventBridge's.

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use drawbridge_aws::{FunctionError, parse};
use drawbridge_wire::DestroyRequest;
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
    status: String,
}

#[derive(Debug, Error)]
enum WrongEvent {
    #[error("the event tells of another state machine, {0}")]
    Foreign(String),
    #[error("the execution {0} is still running")]
    Running(String),
}

/// What to destroy.
pub(crate) fn read(event: Value, state_machine: &str) -> Result<DestroyRequest, FunctionError> {
    if event.get("detail-type").is_none() {
        return parse(event);
    }
    let StatusChange { state_machine_arn, name, status } = parse::<EventBridgeEvent<StatusChange>>(event)?.detail;
    if state_machine_arn != state_machine {
        return Err(FunctionError::invalid(WrongEvent::Foreign(state_machine_arn)));
    }
    if status == "RUNNING" {
        return Err(FunctionError::invalid(WrongEvent::Running(name)));
    }
    name.parse().map(DestroyRequest::Run).map_err(FunctionError::invalid)
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
            },
        })
    }

    #[test]
    fn all_three_callers_are_understood() {
        let run = DestroyRequest::Run(RUN.parse().unwrap());
        assert_eq!(read(json!({"run": RUN}), MACHINE).unwrap(), run);
        assert_eq!(read(json!({"sweep": {}}), MACHINE).unwrap(), DestroyRequest::Sweep {});
        for status in ["FAILED", "TIMED_OUT", "ABORTED", "SUCCEEDED"] {
            assert_eq!(read(change(MACHINE, RUN, status), MACHINE).unwrap(), run, "{status}");
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
        ] {
            assert_eq!(read(event.clone(), MACHINE).unwrap_err().name(), "InvalidRequest", "{event}");
        }
    }
}
