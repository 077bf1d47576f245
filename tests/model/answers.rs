//! The largest values that enter an execution, made of the types that carry them.

use drawbridge_wire as wire;
use serde_json::Value;

/// Source: `taskToken` of SendTaskSuccess in the Step Functions API reference.
pub(crate) const TASK_TOKEN_BYTES: usize = 2048;
/// Source: `error` of SendTaskFailure and of ExecutionFailedEventDetails there.
pub(crate) const ERROR_CHARACTERS: usize = 256;
/// Source: `cause` of the same.
pub(crate) const CAUSE_CHARACTERS: usize = 32_768;
/// The longest ARN or path that stands for `${...}`.
pub(crate) const SUBSTITUTION_BYTES: usize = 256;
/// What the Lambda integration puts around a function's answer: status, version, and HTTP headers twice.
pub(crate) const LAMBDA_ENVELOPE_BYTES: usize = 8192;

/// One run makes one rule, two parameters, and one box an attempt at most. This is far more.
const MOST_OF_A_KIND: usize = 100;
/// The longest name of any of these: a parameter's.
const LONGEST_NAME_BYTES: usize = 100;

fn run() -> wire::RunId {
    format!("{}-20261123T203000Z", "s".repeat(20)).parse().unwrap()
}

fn moment() -> wire::Timestamp {
    "2026-11-23T20:30:00.123456789Z".parse().unwrap()
}

fn key() -> String {
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICy+XW8l8CwzKE7KRW3nK5gDVWe7ejk6UY+N/Grqikwb a comment";
    line.parse::<drawbridge_domain::key::Ed25519Key>().unwrap().into()
}

/// The length of a run's name.
pub(crate) fn run_name_bytes() -> usize {
    run().as_str().len() + 2
}

/// The largest input of an execution.
pub(crate) fn input() -> Value {
    let input = wire::RunInput {
        repository: "2026-q4-0123456789abcdef".parse().unwrap(),
        public_key: key(),
        source_cidr: "255.255.255.255/32".parse().unwrap(),
        objects: u64::MAX,
        bytes: u64::MAX,
        manifest_sha256: wire::Sha256Digest::from_bytes([255; 32]),
        window_seconds: u32::MAX,
        unusual: Some(wire::Unusual { usual_bytes: u64::MAX }),
    };
    serde_json::to_value(input).unwrap()
}

/// The largest word of `ready`.
pub(crate) fn bridge() -> Value {
    let bridge = wire::BridgeReady {
        instance: "i-0123456789abcdef0".parse().unwrap(),
        address: "255.255.255.255".parse().unwrap(),
        port: u16::MAX,
        host_key: key(),
        deadline: moment(),
    };
    serde_json::to_value(bridge).unwrap()
}

/// The largest word of `verify`.
pub(crate) fn verdict() -> Value {
    let summary = wire::VerdictSummary {
        verdict: wire::Verdict::Good,
        objects: u64::MAX,
        bytes: u64::MAX,
        missing: u64::MAX,
        wrong: u64::MAX,
        unlocked: u64::MAX,
        undeclared: u64::MAX,
    };
    serde_json::to_value(summary).unwrap()
}

/// The largest word of `destroy`: each of its lists as long as one run can make it, and longer.
pub(crate) fn destruction() -> Value {
    fn fill(value: &mut Value) {
        match value {
            Value::Array(list) => *list = vec![Value::from("x".repeat(LONGEST_NAME_BYTES)); MOST_OF_A_KIND],
            Value::Object(fields) => fields.values_mut().for_each(fill),
            _ => {}
        }
    }
    let mut answer = serde_json::to_value(wire::DestroyAnswer::default()).unwrap();
    fill(&mut answer);
    assert!(answer.to_string().len() > MOST_OF_A_KIND * LONGEST_NAME_BYTES, "it has lists: {answer}");
    answer
}
