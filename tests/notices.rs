//! No run is lost in silence: what the topic says, heard by a queue that is subscribed to it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_tests::{Dice, Execution, Inbox, OpenRun, Rig, invoke};
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
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300")]).await;
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

/// Fails unless the notice names all that an operator needs: what lay there when the run ended, and that it is gone.
#[track_caller]
fn names_everything(said: &str, open: &OpenRun, box_id: &str) {
    let session = format!("/{}/session", open.run);
    for word in [open.run.as_str(), box_id, "sgr-", &session, "Left: nothing."] {
        assert!(said.contains(word), "{word} in {said}");
    }
    let destroyed = said.split_once("Destroyed now: ").unwrap().1;
    assert!(destroyed.contains(box_id), "{said}");
}

async fn box_of(rig: &Rig) -> String {
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
    left.instances[0].split(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_stopped_run_tells_who_stopped_it_and_what_became_of_its_box() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    let open = OpenRun::begin(&rig).await;
    let box_id = box_of(&rig).await;
    stop(&rig).await;
    let told = inbox.hears(&["was ABORTED: somebody stopped it", open.run.as_str()], SOON).await;
    let said: String = serde_json::from_str(&told).unwrap();
    assert!(said.contains("stopped it: a \"test\"."), "the operator's own cause: {said}");
    names_everything(&said, &open, &box_id);
    rig.nothing_is_left_within(15).await;
    assert_eq!(inbox.everything().len(), 1, "one message a run");
}

#[tokio::test]
async fn a_run_whose_event_never_came_is_told_of_when_the_sweeper_has_destroyed_it() {
    let rig =
        Rig::up_with(&[("HeartbeatSeconds", "300"), ("WindowBaseSeconds", "3600"), ("SweepRate", "rate(1 minute)")])
            .await;
    let mut inbox = Inbox::open(&rig);
    rig.without_the_event_rule();
    let open = OpenRun::begin(&rig).await;
    let box_id = box_of(&rig).await;
    stop(&rig).await;
    let told = inbox.hears(&["was ABORTED: somebody stopped it", open.run.as_str()], 60 + SOON).await;
    let said: String = serde_json::from_str(&told).unwrap();
    assert!(said.contains("stopped it: a \"test\"."), "the operator's own cause: {said}");
    names_everything(&said, &open, &box_id);
}

#[tokio::test]
async fn a_stopped_run_whose_box_could_not_be_destroyed_is_told_of_with_what_is_left() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    rig.without_terminations();
    let open = OpenRun::begin(&rig).await;
    let instance = box_of(&rig).await;
    stop(&rig).await;
    let gave_up: Value = serde_json::from_str(&inbox.hears(&["DestroyIncomplete"], SOON).await).unwrap();
    let end = &gave_up["requestPayload"]["detail"];
    assert_eq!((&end["name"], &end["status"]), (&json!(open.run), &json!("ABORTED")));
    // Such an event holds no cause; the execution that it names does.
    assert!(end["executionArn"].as_str().unwrap().ends_with(open.run.as_str()), "{gave_up}");
    let why = gave_up["responsePayload"]["errorMessage"].as_str().unwrap();
    assert!(why.contains(&instance) && why.contains("UnauthorizedOperation"), "what, and why: {why}");
    assert!(why.contains("; destroyed: "), "and what has gone in the last try: {why}");
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
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
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
    let mut inbox = Inbox::open(&rig);
    let machine = &rig.stack().state_machine_arn;
    let described = rig.clients().sfn.describe_state_machine().state_machine_arn(machine).send().await.unwrap();
    let mut definition: Value = serde_json::from_str(described.definition()).unwrap();
    definition["TimeoutSeconds"] = json!(40);
    let update = rig.clients().sfn.update_state_machine().state_machine_arn(machine);
    update.definition(definition.to_string()).send().await.unwrap();
    let open = OpenRun::begin(&rig).await;
    let box_id = box_of(&rig).await;
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 60).await;
    assert_eq!(ended.status, "TIMED_OUT");
    let told = inbox.hears(&["TIMED_OUT: it ran into its own time limit", open.run.as_str()], SOON).await;
    names_everything(&serde_json::from_str::<String>(&told).unwrap(), &open, &box_id);
    rig.nothing_is_left_within(15).await;
}

#[tokio::test]
async fn what_cannot_even_be_delivered_raises_the_alarm_and_is_kept() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
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

#[tokio::test]
async fn a_run_of_many_times_the_usual_goes_on_and_agent_receipt_and_topic_say_so() {
    let rig = Rig::up().await;
    let mut inbox = Inbox::open(&rig);
    for night in 0..4 {
        std::fs::write(rig.source().join("hosts"), format!("127.0.0.{night} localhost\n")).unwrap();
        let quiet = rig.agent().run(&["run"]).await.expect(0);
        assert!(!quiet.stderr.contains("the usual"), "{}", quiet.stderr);
    }
    std::fs::write(rig.source().join("disk"), Dice::new(7).bytes(11 << 20)).unwrap();
    let told = rig.agent().run(&["run"]).await.expect(0);
    assert!(told.stderr.contains("times the usual: 11."), "{}", told.stderr);

    let run = rig.latest_execution().await;
    assert_eq!(run.status, "SUCCEEDED", "it goes on: {run:?}");
    let usual = run.input["unusual"]["usual_bytes"].as_u64().unwrap();
    assert!((100..100_000).contains(&usual), "{usual} bytes, as the quiet nights had");
    let receipt = rig.clients().s3.get_object().bucket(&rig.stack().vault);
    let receipt = receipt.key(format!("runs/{}/receipt.json", run.name)).send().await.unwrap();
    let receipt: Value = serde_json::from_slice(&receipt.body.collect().await.unwrap().to_vec()).unwrap();
    assert_eq!(receipt["unusual"]["usual_bytes"], usual);
    let said = inbox.hears(&["has begun and declares at least ten times", &run.name], SOON).await;
    serde_json::from_str::<String>(&said).unwrap();
    assert_eq!(inbox.everything().len(), 1, "one message, and none of the quiet nights");
}
