//! Every path through the definition, walked.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::definition::{Model, destroys, list, takes};
use crate::flaw::{Flaw, Property};
use crate::times;

/// One of each sort of error that a task can end with and that can be caught. The two that can't be caught, States.Runtime
/// and States.DataLimitExceeded, are what the event rule is for; that there is no cause for them is checked elsewhere.
pub(crate) fn errors() -> Vec<&'static str> {
    let mut errors = vec![
        "States.Timeout",
        "States.HeartbeatTimeout",
        "States.TaskFailed",
        "States.Permissions",
        "States.QueryEvaluationError",
        "States.NoChoiceMatched",
        "Lambda.ServiceException",
        "Lambda.Unknown",
        "Sandbox.Timedout",
        "Ssm.ThrottlingException",
        "Ssm.ParameterLimitExceededException",
        "AnErrorThatNobodyHasThoughtOf",
    ];
    errors.extend(drawbridge_aws::ERROR_NAMES);
    errors
}

/// Where a state can go next, or `None` for the execution's end, with what makes it go there.
fn outcomes(state: &Value) -> BTreeMap<Option<&str>, &'static str> {
    let mut ways: Vec<(Option<&Value>, &'static str)> = Vec::new();
    // An expression that fails outside of a task can't be caught.
    let fails = (None, "States.QueryEvaluationError");
    match state["Type"].as_str().unwrap_or_default() {
        "Task" => {
            let caught = |error: &&'static str| list(state, "Catch").find(|catcher| takes(catcher, error));
            ways.push((state.get("Next"), "success"));
            ways.extend(errors().iter().map(|error| (caught(error).and_then(|catcher| catcher.get("Next")), *error)));
        }
        "Choice" => {
            ways.extend(list(state, "Choices").map(|choice| (choice.get("Next"), "a choice")));
            ways.extend([(state.get("Default"), "no choice"), fails]);
        }
        "Pass" | "Wait" => ways.extend([(state.get("Next"), "success"), fails]),
        _ => ways.push((None, "the end")),
    }
    ways.into_iter().map(|(next, why)| (next.and_then(Value::as_str), why)).collect()
}

struct Walk<'a> {
    model: &'a Model,
    path: Vec<&'a str>,
    reached: BTreeSet<&'a str>,
    longest: u64,
    flaws: Vec<Flaw>,
}

impl<'a> Walk<'a> {
    fn visit(&mut self, name: &'a str, seconds_before: u64) {
        let Some(state) = self.model.state(name) else {
            return self.flaw(Property::TargetsExist, format!("there is no state {name}"));
        };
        if self.path.contains(&name) {
            return self.flaw(Property::NothingRepeats, format!("{name} comes again"));
        }
        self.path.push(name);
        self.reached.insert(name);
        // What has no known time is named by the checks of the timeouts.
        let seconds = seconds_before + times::longest(self.model, state).unwrap_or_default();
        self.longest = self.longest.max(seconds);
        for (next, why) in outcomes(state) {
            match next {
                Some(next) => self.visit(next, seconds),
                None if self.path.iter().filter_map(|name| self.model.state(name)).any(destroys) => {}
                None => self.flaw(Property::DestroyedBeforeTheEnd, format!("it ends by {why}")),
            }
        }
        self.path.pop();
    }

    fn flaw(&mut self, property: Property, what: String) {
        self.flaws.push(Flaw::new(property, &self.path.join(" > "), what));
    }
}

/// Walks all paths from the first state to every end.
pub(crate) fn check(model: &Model) -> Vec<Flaw> {
    let mut walk = Walk { model, path: Vec::new(), reached: BTreeSet::new(), longest: 0, flaws: Vec::new() };
    walk.visit(model.start(), 0);
    let Walk { reached, longest, mut flaws, .. } = walk;
    let unreached = model.states().filter(|(name, _)| !reached.contains(name));
    flaws.extend(unreached.map(|(name, _)| Flaw::new(Property::NothingIsUnreachable, name, "nothing leads here")));
    let execution = model.machine["TimeoutSeconds"].as_u64().unwrap_or_default();
    if longest >= execution {
        let what = format!("{longest} s of states at every parameter's maximum in {execution} s of execution");
        flaws.push(Flaw::new(Property::TheExecutionOutlastsItsParts, model.start(), what));
    }
    flaws
}
