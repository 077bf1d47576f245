//! No run is lost in silence: what the topic says, heard by a queue that is subscribed to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_tests::{Execution, Inbox, OpenRun, Rig, invoke};
use serde_json::{Value, json};

/// How long a message may take on a busy machine.
const SOON: u64 = 30;

async fn stop(rig: &Rig) -> Execution {
    let execution = rig.latest_execution().await;
    rig.clients().sfn.stop_execution().execution_arn(&execution.arn).cause("a \"test\"").send().await.unwrap();
    execution
}

#[tokio::test]
async fn a_failed_run_tells_its_first_failure_and_that_nothing_is_left() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "600")]).await;
    let mut inbox = Inbox::open(&rig);
    let open = OpenRun::begin(&rig).await;
    let reason = "the \"disk\" is full\nand C:\\temp too";
    let failed = json!({"run": open.run, "report": {"what": "failed", "reason": reason}});
    let agent = rig.agent_clients().await;
    let _accepted: Value = invoke(&agent, &rig.stack().functions.report, &failed).await.unwrap();
    let told = inbox.hears(&["failed with AgentFailed"], SOON).await;
    let said: String = serde_json::from_str(&told).unwrap();
    assert!(said.contains(open.run.as_str()), "{said}");
    assert!(said.contains("AwaitUpload: the 'disk' is full and C:'temp too; nothing of the run is left."), "{said}");
    assert_eq!(inbox.everything().len(), 1, "one message a run");
}

#[tokio::test]
async fn a_stopped_run_is_told_of_and_so_is_a_box_that_could_not_be_destroyed() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "600"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    rig.without_terminations();
    let open = OpenRun::begin(&rig).await;
    let stopped = stop(&rig).await;
    let told = inbox.hears(&["ended as ABORTED", open.run.as_str()], SOON).await;
    let said: String = serde_json::from_str(&told).unwrap();
    assert!(said.contains(&stopped.arn) && said.contains("another message follows"), "{said}");

    let gave_up: Value = serde_json::from_str(&inbox.hears(&["DestroyIncomplete"], SOON).await).unwrap();
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
    let instance = left.instances[0].split(' ').next().unwrap();
    assert_eq!(gave_up["requestPayload"]["detail"]["name"], open.run.as_str());
    let why = gave_up["responsePayload"]["errorMessage"].as_str().unwrap();
    assert!(why.contains(instance) && why.contains("UnauthorizedOperation"), "what, and why: {why}");
    assert!(why.contains("; destroyed: "), "and what has gone in the last try: {why}");
    assert!(left.rules.is_empty() && left.parameters.is_empty(), "the rest is gone: {left:?}");
}

#[tokio::test]
async fn a_run_whose_box_the_state_machine_could_not_destroy_says_so() {
    let rig = Rig::up_with(&[("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    rig.without_terminations();
    let open = OpenRun::begin(&rig).await;
    // The agent's silence fails the run after 6 s, and then DestroyJumpBox has six tries.
    let told = inbox.hears(&["failed with JumpBoxNotDestroyed", open.run.as_str()], 120).await;
    assert!(
        told.contains("not everything was destroyed: i-") && told.contains("before that, AwaitUpload: States."),
        "{told}"
    );
}

#[tokio::test]
async fn a_run_that_runs_into_its_time_limit_is_destroyed_and_told_of() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "600"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    let machine = &rig.stack().state_machine_arn;
    let described = rig.clients().sfn.describe_state_machine().state_machine_arn(machine).send().await.unwrap();
    let mut definition: Value = serde_json::from_str(described.definition()).unwrap();
    definition["TimeoutSeconds"] = json!(40);
    let update = rig.clients().sfn.update_state_machine().state_machine_arn(machine);
    update.definition(definition.to_string()).send().await.unwrap();
    let open = OpenRun::begin(&rig).await;
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 60).await;
    assert_eq!(ended.status, "TIMED_OUT");
    inbox.hears(&["ended as TIMED_OUT", open.run.as_str()], SOON).await;
    rig.nothing_is_left_within(15).await;
}

#[tokio::test]
async fn what_cannot_even_be_delivered_raises_the_alarm_and_is_kept() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "600"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    let open = OpenRun::begin(&rig).await;
    rig.call("lambda", "delete_function", json!({"FunctionName": rig.stack().functions.destroy}));
    stop(&rig).await;
    let alarm: Value = serde_json::from_str(&inbox.hears(&["\"ALARM\""], SOON).await).unwrap();
    assert!(alarm["AlarmName"].as_str().unwrap().ends_with("-undelivered"), "{alarm}");
    let name = json!({"QueueName": format!("drawbridge-{}-undelivered", rig.stack().site)});
    let url = rig.call("sqs", "get_queue_url", name)["QueueUrl"].clone();
    let kept = rig.call("sqs", "receive_message", json!({"QueueUrl": url}));
    let event: Value = serde_json::from_str(kept["Messages"][0]["Body"].as_str().unwrap()).unwrap();
    assert_eq!((&event["detail"]["name"], &event["detail"]["status"]), (&json!(open.run), &json!("ABORTED")));
}
