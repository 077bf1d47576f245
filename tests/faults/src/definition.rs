//! What the state machine file says about its states and what they call.

use drawbridge_local::Workspace;
use serde_json::Value;

use crate::fault::{Call, Caller};

/// One state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// What it calls, if it is a task.
    pub call: Option<Call>,
}

/// The states of `statemachine/backup.asl.json`.
///
/// # Panics
/// When a task is of a kind that this program can't name the call of.
#[must_use]
pub fn states() -> Vec<State> {
    let text = std::fs::read_to_string(Workspace::here().root().join("statemachine/backup.asl.json")).unwrap();
    let definition: Value = serde_json::from_str(&text).unwrap();
    let states = definition["States"].as_object().unwrap();
    states.iter().map(|(name, state)| State { name: name.clone(), call: call_of(name, state) }).collect()
}

fn call_of(name: &str, state: &Value) -> Option<Call> {
    let resource = state["Resource"].as_str()?;
    let service = resource.strip_prefix("arn:aws:states:::").unwrap_or(resource);
    let service = service.strip_suffix(".waitForTaskToken").unwrap_or(service);
    let action = match service.split(':').collect::<Vec<_>>().as_slice() {
        ["lambda", "invoke"] => {
            let function = state["Arguments"]["FunctionName"].as_str().unwrap_or_default();
            let role = function.strip_prefix("${").and_then(|rest| rest.strip_suffix("FunctionArn}"));
            format!("lambda:Invoke {}", role.unwrap_or_else(|| panic!("{name} invokes {function}")).to_lowercase())
        }
        ["aws-sdk", service, operation] => {
            let (first, rest) = operation.split_at(1);
            format!("{service}:{}{rest}", first.to_uppercase())
        }
        _ => panic!("{name} is a task of an unknown kind: {resource}"),
    };
    Some(Call { caller: Caller::States, action })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_has_a_call() {
        let states = states();
        let named: Vec<_> =
            states.iter().filter_map(|state| Some((state.name.as_str(), state.call.as_ref()?))).collect();
        assert!(named.len() >= 4, "{named:?}");
        let provision = Call { caller: Caller::States, action: "lambda:Invoke provision".to_owned() };
        assert!(named.contains(&("ProvisionJumpBox", &provision)), "{named:?}");
        let publish = Call { caller: Caller::States, action: "ssm:PutParameter".to_owned() };
        assert!(named.contains(&("AwaitUpload", &publish)), "{named:?}");
    }
}
