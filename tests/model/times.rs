//! Timeouts, heartbeats and retries, in seconds.

use drawbridge_aws::AGENT_FAILED;
use serde_json::Value;

use crate::definition::{Model, list, plain, takes, waits};
use crate::flaw::{Flaw, Property};

/// The longest silence of somebody who is waited for, in seconds: of the agent, or of a box that boots.
const LONGEST_SILENCE: u64 = 900;

/// The longest that a call to AWS by Step Functions itself may take, in seconds. No figure is documented; this is five
/// times what the SDKs' clients allow.
const LONGEST_CALL: u64 = 300;

/// A time that depends on parameters: at their minima, their defaults and their maxima.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seconds {
    pub(crate) least: u64,
    pub(crate) usual: u64,
    pub(crate) most: u64,
}

impl Seconds {
    fn exactly(seconds: u64) -> Self {
        Self { least: seconds, usual: seconds, most: seconds }
    }

    fn of_parameter(model: &Model, name: &str) -> Result<Self, String> {
        Ok(Self {
            least: model.parameter(name, "MinValue")?,
            usual: model.parameter(name, "Default")?,
            most: model.parameter(name, "MaxValue")?,
        })
    }

    /// `start` makes the window of a base, the declared bytes and a ceiling.
    fn of_window(model: &Model) -> Result<Self, String> {
        let (base, ceiling) =
            (Self::of_parameter(model, "WindowBaseSeconds")?, Self::of_parameter(model, "WindowMaxSeconds")?);
        Ok(Self { least: base.least.min(ceiling.least), usual: base.usual.min(ceiling.usual), most: ceiling.most })
    }

    fn plus(self, other: Self) -> Self {
        Self { least: self.least + other.least, usual: self.usual + other.usual, most: self.most + other.most }
    }

    fn is_below(self, other: Self) -> bool {
        self.least < other.least && self.usual < other.usual && self.most < other.most
    }
}

/// What a number or a sum in JSONata can come to.
fn seconds(model: &Model, value: &Value) -> Result<Seconds, String> {
    if let Some(number) = value.as_u64() {
        return Ok(Seconds::exactly(number));
    }
    let text = value.as_str().ok_or_else(|| format!("{value} is no time"))?;
    let sum = text.strip_prefix("{%").and_then(|text| text.strip_suffix("%}")).ok_or("not an expression")?;
    sum.split('+').map(str::trim).try_fold(Seconds::default(), |sum, term| {
        let parameter = term.strip_prefix("${").and_then(|term| term.strip_suffix('}'));
        let value = match (term.parse(), parameter) {
            (Ok(number), _) => Seconds::exactly(number),
            (_, Some(name)) => Seconds::of_parameter(model, name)?,
            _ if term == "$states.context.Execution.Input.window_seconds" => Seconds::of_window(model)?,
            _ => return Err(format!("nobody knows how large {term} gets")),
        };
        Ok(sum.plus(value))
    })
}

fn timeout(model: &Model, task: &Value) -> Result<Seconds, String> {
    seconds(model, task.get("TimeoutSeconds").ok_or("no TimeoutSeconds")?)
}

/// The timeout of the function that a task invokes.
fn function_timeout(model: &Model, task: &Value) -> Option<Result<Seconds, String>> {
    let timeout = &model.function(task)?["Properties"]["Timeout"];
    let name = plain(timeout).as_str().ok_or_else(|| format!("{timeout:?} is no parameter"));
    Some(name.and_then(|name| Seconds::of_parameter(model, name)))
}

/// The most seconds that a state can take, its retries and the pauses between them included.
pub(crate) fn longest(model: &Model, state: &Value) -> Result<u64, String> {
    if state["Type"] != "Task" {
        return Ok(0);
    }
    let last = timeout(model, state)?.most;
    let mut all = last;
    for retrier in list(state, "Retry") {
        let attempts = retrier["MaxAttempts"].as_u64().unwrap_or(3);
        all += attempts * longest_retried(model, state, retrier)?.min(last) + pauses(retrier, attempts);
    }
    Ok(all)
}

/// How long an attempt may have lasted when this retrier takes its error. An error of the call that hands the token out
/// comes before anybody is waited for.
fn longest_retried(model: &Model, task: &Value, retrier: &Value) -> Result<u64, String> {
    let ends_a_wait = ["States.Timeout", "States.HeartbeatTimeout", AGENT_FAILED];
    if !waits(task) || ends_a_wait.iter().any(|error| takes(retrier, error)) {
        return Ok(u64::MAX);
    }
    Ok(function_timeout(model, task).transpose()?.map_or(LONGEST_CALL, |timeout| timeout.most))
}

/// The pauses before a retrier's attempts. Jitter only shortens them.
fn pauses(retrier: &Value, attempts: u64) -> u64 {
    let first = retrier["IntervalSeconds"].as_f64().unwrap_or(1.0);
    let rate = retrier["BackoffRate"].as_f64().unwrap_or(2.0);
    let most = retrier["MaxDelaySeconds"].as_f64().unwrap_or(f64::INFINITY);
    let mut next = first;
    let mut total = 0.0;
    for _ in 0..attempts {
        total += f64::min(next, most);
        next *= rate;
    }
    total.ceil() as u64
}

/// Timeouts, heartbeats, and what they have to do with each other.
pub(crate) fn check(model: &Model) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let execution = model.machine["TimeoutSeconds"].as_u64().unwrap_or_default();
    for (name, task) in model.tasks() {
        let mut flaw = |property, what: String| flaws.push(Flaw::new(property, name, what));
        let timeout = match timeout(model, task) {
            Ok(timeout) => timeout,
            Err(what) => {
                flaw(Property::EveryTaskHasATimeout, what);
                continue;
            }
        };
        if timeout.most >= execution {
            flaw(Property::TimesAreNested, format!("{} s of state in {execution} s of execution", timeout.most));
        }
        let heartbeat = task.get("HeartbeatSeconds").map(|heartbeat| seconds(model, heartbeat)).transpose();
        match heartbeat {
            Err(what) => flaw(Property::SilenceIsBounded, what),
            Ok(heartbeat) => {
                let silence = heartbeat.unwrap_or(timeout).most;
                if waits(task) && silence > LONGEST_SILENCE {
                    flaw(Property::SilenceIsBounded, format!("{silence} s without a sign of life"));
                }
                // At other values of the parameters `start` sees to this, and refuses to run.
                if heartbeat.is_some_and(|heartbeat| heartbeat.usual >= timeout.usual) {
                    flaw(Property::TimesAreNested, "the heartbeat isn't shorter than the timeout".to_owned());
                }
            }
        }
        match function_timeout(model, task) {
            Some(Ok(function)) if !function.is_below(timeout) && !waits(task) => {
                flaw(Property::FunctionsEndBeforeTheirStates, format!("{function:?} in {timeout:?}"));
            }
            Some(Err(what)) => flaw(Property::FunctionsEndBeforeTheirStates, what),
            _ => {}
        }
    }
    flaws
}
