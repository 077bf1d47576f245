//! The state machine file means the same to two interpreters: moto's, which all other tests run on, and MiniStack's own.
//! Everything else is real in both: functions, gate, agent.
//!
//! What MiniStack's can't do is not in the table: heartbeats, execution timeouts, aborts, the role's rights, and the error of a
//! function that keeps a task token.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_local::Interpreter;
use drawbridge_tests::{OpenRun, Rig, invoke};
use drawbridge_wire::StartAnswer;
use serde_json::{Value, json};

/// Long enough to boot on a busy machine, and then waited for once.
const BOOT_SECONDS: &str = "25";

/// What is to be seen of a run that has ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    scenario: &'static str,
    status: String,
    error: Option<String>,
    cause: Option<String>,
    output: Option<Value>,
    states: Vec<String>,
}

/// The cause without what differs between any two runs and between two writers of JSON: the run's name, and the spaces
/// in a function's error.
fn comparable(cause: &str, run: &str) -> String {
    let cause = cause.replace(run, "RUN");
    let Some((before, rest)) = cause.split_once('{') else { return cause };
    let Some((error, after)) = rest.rsplit_once('}') else { return cause };
    // Cut off at a thousand characters it is no JSON, and stays as it is.
    match serde_json::from_str::<Value>(&format!("{{{error}}}")) {
        Ok(error) => format!("{before}{}: {}{after}", error["errorType"], error["errorMessage"]),
        Err(_) => cause,
    }
}

async fn outcome(rig: &Rig, scenario: &'static str) -> Outcome {
    let execution = rig.latest_execution().await.ended_within(rig.clients(), 120).await;
    let states = execution.states(rig.clients()).await.into_iter().map(|passage| passage.state).collect();
    let succeeded = execution.status == "SUCCEEDED";
    Outcome {
        scenario,
        error: execution.error.clone(),
        cause: execution.cause.as_ref().map(|cause| comparable(cause, &execution.name)),
        output: execution.output.clone().filter(|_| succeeded),
        status: execution.status,
        states,
    }
}

async fn report(rig: &Rig, run: &OpenRun, report: Value) {
    let agent = rig.agent_clients().await;
    let request = json!({"run": run.run, "report": report});
    let answer: Value = invoke(&agent, &rig.stack().functions.report, &request).await.unwrap();
    assert_eq!(answer, json!({"answer": "accepted"}));
}

async fn happy(rig: &Rig) -> Outcome {
    std::fs::write(rig.source().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    rig.agent().run(&["run"]).await.expect(0);
    let mut outcome = outcome(rig, "happy").await;
    // The sizes of two repositories differ, because their keys do.
    outcome.output.as_mut().unwrap()["bytes"].take();
    outcome
}

async fn verify_says_bad(rig: &Rig) -> Outcome {
    let open = OpenRun::begin(rig).await;
    open.cross().await;
    let repository = rig.latest_execution().await.repository().to_owned();
    rig.overwrite(&format!("repo/{repository}/index/junk"), b"that nobody declared".to_vec()).await;
    report(rig, &open, json!({"what": "complete"})).await;
    outcome(rig, "verify says bad").await
}

async fn verify_fails(rig: &Rig) -> Outcome {
    let open = OpenRun::begin(rig).await;
    report(rig, &open, json!({"what": "complete"})).await;
    outcome(rig, "verify fails with a named error").await
}

async fn agent_fails(rig: &Rig) -> Outcome {
    let open = OpenRun::begin(rig).await;
    report(rig, &open, json!({"what": "failed", "reason": "the disk is \"full\""})).await;
    outcome(rig, "the agent reports a failure").await
}

/// Turns the rule by which `ready` hears of a gate off or on.
fn switch_ready(rig: &Rig, operation: &str) {
    let rules = rig.call("events", "list_rules", json!({}));
    let names = rules["Rules"].as_array().unwrap().iter().map(|rule| rule["Name"].as_str().unwrap());
    let ours: Vec<_> = names.filter(|name| name.contains("GateListens")).collect();
    assert_eq!(ours.len(), 1, "{rules}");
    rig.call("events", operation, json!({"Name": ours[0]}));
}

async fn provision_fails(rig: &Rig) -> Outcome {
    switch_ready(rig, "disable_rule");
    let request = json!({
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICy+XW8l8CwzKE7KRW3nK5gDVWe7ejk6UY+N/Grqikwb",
        "source_cidr": "127.0.0.1/32", "repository": "0123456789abcdef",
        "objects": 1, "bytes": 1, "manifest_sha256": "00".repeat(32),
    });
    let agent = rig.agent_clients().await;
    let started: StartAnswer = invoke(&agent, &rig.stack().functions.start, &request).await.unwrap();
    assert!(matches!(started, StartAnswer::Started { .. }), "{started:?}");
    let mut outcome = outcome(rig, "provisioning ends by timeout").await;
    switch_ready(rig, "enable_rule");
    // Whose timeout it is, the state's name and the error tell; the rest is each interpreter's own words.
    outcome.cause = outcome.cause.map(|cause| cause.split(':').next().unwrap_or_default().to_owned());
    outcome
}

/// Leaves its box behind; the last scenario.
async fn destroy_fails(rig: &Rig) -> Outcome {
    let open = OpenRun::begin(rig).await;
    rig.without_terminations();
    report(rig, &open, json!({"what": "complete"})).await;
    let mut outcome = outcome(rig, "destroy fails").await;
    // Which instance, each stack has to say for itself.
    let instances = rig.clients().leftovers(rig.stack()).await.unwrap().instances;
    let [instance] = instances.as_slice() else { panic!("destroy was kept from destroying one box: {instances:?}") };
    let id = instance.split(' ').next().unwrap();
    outcome.cause = outcome.cause.map(|cause| cause.replace(id, "INSTANCE"));
    outcome
}

async fn all(interpreter: Interpreter) -> Vec<Outcome> {
    let rig = Rig::interpreted_by(interpreter, &[("BootSeconds", BOOT_SECONDS), ("HeartbeatSeconds", "120")]).await;
    let mut outcomes = vec![happy(&rig).await];
    outcomes.push(verify_says_bad(&rig).await);
    outcomes.push(verify_fails(&rig).await);
    outcomes.push(agent_fails(&rig).await);
    outcomes.push(provision_fails(&rig).await);
    rig.nothing_is_left_within(10).await;
    outcomes.push(destroy_fails(&rig).await);
    outcomes
}

#[tokio::test]
async fn two_interpreters_come_to_the_same_ends() {
    let (ours, stock) = tokio::join!(all(Interpreter::Repaired), all(Interpreter::Stock));
    assert_eq!(ours, stock);
    let ends: Vec<_> = ours.iter().map(|end| (end.status.as_str(), end.error.as_deref())).collect();
    let failed = |error| ("FAILED", Some(error));
    assert_eq!(
        ends,
        [
            ("SUCCEEDED", None),
            failed(drawbridge_wire::VERDICT_BAD),
            failed("ManifestMissing"),
            failed(drawbridge_aws::AGENT_FAILED),
            failed("States.Timeout"),
            failed("JumpBoxNotDestroyed"),
        ]
    );
    for outcome in &ours {
        assert!(outcome.states.contains(&"DestroyJumpBox".to_owned()), "{outcome:?}");
    }
}
