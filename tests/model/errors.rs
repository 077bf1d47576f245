//! Who retries and who catches what.

use serde_json::Value;

use crate::definition::{Model, destroys, list, matched};
use crate::flaw::{Flaw, Property};

/// What AWS recommends to retry of every invocation. Source: "Handle transient Lambda service exceptions" in the Step
/// Functions developer guide.
const OF_EVERY_LAMBDA: [&str; 5] = [
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.TooManyRequestsException",
];

/// Matchers that take whatever happened.
const WILDCARDS: [&str; 3] = ["States.ALL", "States.TaskFailed", "States.Timeout"];

/// Retriers and catchers of every task.
pub(crate) fn check(model: &Model) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    for (name, task) in model.tasks() {
        let mut flaw = |property, what: String| flaws.push(Flaw::new(property, name, what));
        let last = list(task, "Catch").last();
        if last.is_none_or(|catcher| !matched(catcher).eq(["States.ALL"])) {
            flaw(Property::EveryTaskCatchesAll, format!("the last catcher is {last:?}"));
        }
        let retried: Vec<&str> = list(task, "Retry").flat_map(matched).collect();
        let wildcard = retried.iter().find(|error| WILDCARDS.contains(error));
        if let Some(wildcard) = wildcard.filter(|_| !destroys(task)) {
            flaw(Property::RetriesAreOnPurpose, format!("{wildcard} is done again, whatever it was"));
        }
        let tries = |retrier: &&Value| retrier["MaxAttempts"].as_u64().unwrap_or(3) > 0;
        let on_everything = |retrier: &Value| matched(retrier).eq(["States.ALL"]);
        if destroys(task) && !list(task, "Retry").filter(tries).any(on_everything) {
            flaw(Property::DestructionIsTriedAgain, "an error ends it at its first try".to_owned());
        }
        let lambda = task["Resource"].as_str().is_some_and(|resource| resource.contains("lambda:invoke"));
        let missed = OF_EVERY_LAMBDA.iter().find(|error| !retried.contains(error) && !retried.contains(&"States.ALL"));
        if let Some(missed) = missed.filter(|_| lambda) {
            flaw(Property::RetriesAreOnPurpose, format!("{missed} passes by itself and isn't retried"));
        }
        for unknown in list(task, "Catch").flat_map(matched).chain(retried).filter(|error| !is_raised(task, error)) {
            flaw(Property::MatchedErrorsExist, format!("{unknown} is raised by nobody"));
        }
    }
    flaws
}

/// Whether Step Functions, the service that the task calls, or one of our functions raises this.
fn is_raised(task: &Value, error: &str) -> bool {
    let resource = task["Resource"].as_str().unwrap_or_default().to_lowercase();
    let of_service = |service: &str| resource.contains(&format!(":{}:", service.to_lowercase()));
    match error.split_once('.') {
        Some(("States", _)) => true,
        Some((service, _)) => of_service(service),
        None => resource.contains("lambda:invoke") && drawbridge_aws::ERROR_NAMES.contains(&error),
    }
}
