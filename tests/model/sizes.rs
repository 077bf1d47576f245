//! How large payloads and variables can get. States.DataLimitExceeded can't be caught, so it must not be possible.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::answers::{
    CAUSE_CHARACTERS, ERROR_CHARACTERS, LAMBDA_ENVELOPE_BYTES, TASK_TOKEN_BYTES, bridge, destruction, input,
    run_name_bytes, verdict,
};
use crate::definition::{Model, list};
use crate::expression::{self, Unit};
use crate::flaw::{Flaw, Property};

/// The most bytes of a state's input, output or arguments, and of all variables of one assignment. Source: "Step Functions
/// service quotas" and "Passing data between states with variables".
const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// The most bytes of a standard parameter's value. Source: PutParameter in the Systems Manager API reference.
const MAX_PARAMETER_BYTES: usize = 4096;

/// The largest that anything can be, as far as the states before it have been looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Bounds {
    unit: Unit,
    inputs: BTreeMap<String, usize>,
    /// By path: the variable, and each field of an object that is assigned to it.
    variables: BTreeMap<String, usize>,
}

impl Bounds {
    fn raise(bounds: &mut BTreeMap<String, usize>, name: &str, bytes: usize) {
        let bound = bounds.entry(name.to_owned()).or_default();
        *bound = bytes.max(*bound);
    }

    /// A variable, or a field of it, which is no longer than the whole.
    fn variable(&self, path: &str) -> Option<usize> {
        let whole = || self.variables.get(path.split('.').next()?);
        self.variables.get(path).or_else(whole).copied()
    }

    fn assign(&mut self, assigned: &Value, place: &Place<'_>) -> Result<usize, String> {
        let mut total = 0;
        for (name, value) in assigned.as_object().into_iter().flatten() {
            let bytes = place.size(self, value)?;
            Self::raise(&mut self.variables, name, bytes);
            for (field, value) in value.as_object().into_iter().flatten() {
                let bytes = place.size(self, value)?;
                Self::raise(&mut self.variables, &format!("{name}.{field}"), bytes);
            }
            total += bytes;
        }
        Ok(total)
    }
}

/// Where an expression stands, which says what it can refer to.
struct Place<'a> {
    state: &'a str,
    /// The task's result, on success.
    result: Option<&'a Value>,
    failed: bool,
}

impl Place<'_> {
    /// The most bytes of a template's value as JSON.
    fn size(&self, bounds: &Bounds, template: &Value) -> Result<usize, String> {
        let two_brackets = 2;
        match template {
            Value::String(text) if text.starts_with("{%") => {
                let bytes = self.value(bounds, text)?;
                Ok(if text.contains("$string(") { 2 * bytes + 2 } else { bytes })
            }
            Value::Array(items) => {
                items.iter().try_fold(two_brackets, |sum, item| Ok(sum + self.size(bounds, item)? + 1))
            }
            Value::Object(fields) => fields
                .iter()
                .try_fold(two_brackets, |sum, (name, item)| Ok(sum + name.len() + 4 + self.size(bounds, item)?)),
            other => Ok(other.to_string().len()),
        }
    }

    /// The most bytes of an expression's value itself.
    fn value(&self, bounds: &Bounds, text: &str) -> Result<usize, String> {
        let expression = text.trim_start_matches("{%").trim_end_matches("%}");
        expression::longest(expression, bounds.unit, &|name| self.reference(bounds, name))
    }

    fn reference(&self, bounds: &Bounds, name: &str) -> Result<usize, String> {
        let unknown = || format!("nobody knows how large ${name} gets");
        if let Some(field) = name.strip_prefix("states.context.Execution.Input.") {
            return input().get(field).map(|value| value.to_string().len()).ok_or_else(unknown);
        }
        match name {
            "states.input" => Ok(bounds.inputs.get(self.state).copied().unwrap_or_default()),
            "states.context.Execution.Name" => Ok(run_name_bytes()),
            "states.context.Execution.Id" => Ok(crate::answers::SUBSTITUTION_BYTES),
            "states.context.Execution.StartTime" => Ok("\"2026-11-23T20:30:00.123456789Z\"".len()),
            "states.context.Task.Token" => Ok(TASK_TOKEN_BYTES),
            "states.errorOutput.Error" if self.failed => Ok(bounds.unit.of(ERROR_CHARACTERS)),
            "states.errorOutput.Cause" if self.failed => Ok(bounds.unit.of(CAUSE_CHARACTERS)),
            "states.errorOutput" if self.failed => Ok(bounds.unit.of(ERROR_CHARACTERS + CAUSE_CHARACTERS) + 24),
            "states.result.Payload" => self.result.map(|payload| payload.to_string().len()).ok_or_else(unknown),
            "states.result" => self.result.map(|payload| payload.to_string().len()).ok_or_else(unknown),
            variable => bounds.variable(variable).ok_or_else(unknown),
        }
    }
}

/// What a task can answer, at its largest: a function's payload, or what the token is returned with.
fn answer(task: &Value) -> Result<(Value, usize), String> {
    let function = task["Arguments"]["FunctionName"].as_str().unwrap_or_default();
    match (task["Resource"].as_str().unwrap_or_default(), function) {
        ("arn:aws:states:::lambda:invoke", "${VerifyFunctionArn}") => Ok((verdict(), LAMBDA_ENVELOPE_BYTES)),
        ("arn:aws:states:::lambda:invoke", "${DestroyFunctionArn}") => Ok((destruction(), LAMBDA_ENVELOPE_BYTES)),
        // `ready` returns the token.
        ("arn:aws:states:::lambda:invoke.waitForTaskToken", "${ProvisionFunctionArn}") => Ok((bridge(), 0)),
        // `report` returns it with nothing.
        ("arn:aws:states:::aws-sdk:ssm:putParameter.waitForTaskToken", "") => {
            Ok((Value::Object([].into_iter().collect()), 0))
        }
        other => Err(format!("nobody says how large the answer of {other:?} gets")),
    }
}

/// One state's payloads, each with its bound; raises those of the states behind it.
fn pass(bounds: &mut Bounds, name: &str, state: &Value) -> Result<Vec<(&'static str, usize)>, String> {
    let before = bounds.inputs.get(name).copied().unwrap_or_default();
    let mut found = vec![("its input", before)];
    let answer = if state["Type"] == "Task" { Some(answer(state)?) } else { None };
    let place = Place { state: name, result: answer.as_ref().map(|(payload, _)| payload), failed: false };
    if let Some(arguments) = state.get("Arguments") {
        found.push(("its arguments", place.size(bounds, arguments)?));
    }
    let raw = answer.as_ref().map_or(before, |(payload, envelope)| payload.to_string().len() + envelope);
    found.push(("its raw result", raw));
    let output = state.get("Output").map_or(Ok(raw), |output| place.size(bounds, output))?;
    found.push(("its output", output));
    found.push(("its variables", bounds.assign(&state["Assign"], &place)?));
    let next =
        [&state["Next"], &state["Default"]].into_iter().chain(list(state, "Choices").map(|choice| &choice["Next"]));
    next.filter_map(Value::as_str).for_each(|next| Bounds::raise(&mut bounds.inputs, next, output));

    let place = Place { failed: true, result: None, ..place };
    for catcher in list(state, "Catch") {
        let all = Value::from("{% $states.errorOutput %}");
        let output = place.size(bounds, catcher.get("Output").unwrap_or(&all))?;
        found.push(("a catcher's output", output));
        found.push(("a catcher's variables", bounds.assign(&catcher["Assign"], &place)?));
        catcher["Next"].as_str().into_iter().for_each(|next| Bounds::raise(&mut bounds.inputs, next, output));
    }
    Ok(found)
}

/// The largest that everything gets, in these units, when the bounds have travelled through all states.
fn settled(model: &Model, unit: Unit) -> Bounds {
    let mut bounds = Bounds { unit, ..Bounds::default() };
    Bounds::raise(&mut bounds.inputs, model.start(), input().to_string().len());
    // Bounds travel one state a round, so that many rounds settle them in whatever order the states stand.
    for _ in model.states() {
        for (name, state) in model.states() {
            // What can't be bounded is named below.
            let _unsettled = pass(&mut bounds, name, state);
        }
    }
    bounds
}

/// Every payload, every variable, every parameter's value, and the words of every failure.
pub(crate) fn check(model: &Model) -> Vec<Flaw> {
    let mut bounds = settled(model, Unit::Bytes);
    let settled = bounds.clone();
    let mut flaws = failures(model);
    let mut flaw = |name: &str, what: String| flaws.push(Flaw::new(Property::PayloadsFit, name, what));
    for (name, state) in model.states() {
        match pass(&mut bounds, name, state) {
            Err(what) => flaw(name, what),
            Ok(found) => {
                let large = found.into_iter().filter(|(_, bytes)| *bytes > MAX_PAYLOAD_BYTES);
                large.for_each(|(what, bytes)| flaw(name, format!("{what} can have {bytes} bytes")));
            }
        }
        match parameter_value(&bounds, name, state) {
            Some(Err(what)) => flaw(name, what),
            Some(Ok(bytes)) if bytes > MAX_PARAMETER_BYTES => flaw(name, format!("a parameter of {bytes} bytes")),
            _ => {}
        }
    }
    if bounds != settled {
        flaw(model.start(), "something grows with every round".to_owned());
    }
    flaws
}

fn parameter_value(bounds: &Bounds, name: &str, state: &Value) -> Option<Result<usize, String>> {
    let value = state["Arguments"]["Value"].as_str()?;
    Some(Place { state: name, result: None, failed: false }.value(bounds, value))
}

/// The errors and causes of the Fail states.
fn failures(model: &Model) -> Vec<Flaw> {
    let bounds = settled(model, Unit::Characters);
    let mut flaws = Vec::new();
    for (name, state) in model.states().filter(|(_, state)| state["Type"] == "Fail") {
        let place = Place { state: name, result: None, failed: false };
        for (field, most) in [("Error", ERROR_CHARACTERS), ("Cause", CAUSE_CHARACTERS)] {
            let text = state[field].as_str().unwrap_or_default();
            let length = if text.starts_with("{%") { place.value(&bounds, text) } else { Ok(text.chars().count()) };
            match length {
                Ok(length) if length <= most => {}
                Ok(length) => {
                    flaws.push(Flaw::new(Property::FailuresFit, name, format!("{field} of {length} characters")))
                }
                Err(what) => flaws.push(Flaw::new(Property::FailuresFit, name, format!("{field}: {what}"))),
            }
        }
    }
    flaws
}
