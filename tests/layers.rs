//! The five layers of teardown, each alone, with the four others taken away: by a template parameter, by an operator's call, or by
//! what happens to a machine. Each test strikes where its layer is the only one that helps.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use aws_sdk_ec2::types::Filter;
use drawbridge_tests::{Execution, OpenRun, Rig, invoke, wait_until};
use drawbridge_wire::Timestamp;
use serde_json::{Value, json};

/// Layer 3 never comes in a test's time.
const NO_SWEEP: (&str, &str) = ("SweepRate", "rate(365 days)");

/// Layers 4 and 5, the machine's timer and the gate's deadline, are an hour away. The agent's silence is borne.
const FAR_DEADLINE: [(&str, &str); 2] = [("WindowBaseSeconds", "3600"), ("HeartbeatSeconds", "600")];

/// Layers 4 and 5 come soon, but not before the run has tried everything and given up.
const NEAR_DEADLINE: [(&str, &str); 2] = [("BootSeconds", "45"), ("WindowBaseSeconds", "45")];

/// How long a timer in whole minutes may be late, and a busy machine slow.
const A_MINUTE_AND_A_BIT: u64 = 80;

/// How long a busy machine may take to end a box whose time has come.
const A_BIT: u64 = 20;

async fn stop(rig: &Rig) -> Execution {
    let execution = rig.latest_execution().await;
    rig.clients().sfn.stop_execution().execution_arn(&execution.arn).cause("a test").send().await.unwrap();
    execution
}

async fn states(rig: &Rig, execution: &Execution) -> Vec<String> {
    execution.states(rig.clients()).await.into_iter().map(|passage| passage.state).collect()
}

async fn live_boxes(rig: &Rig) -> usize {
    rig.clients().leftovers(rig.stack()).await.unwrap().instances.len()
}

/// Layer 1. Only the catchers know the first failure, and destroy before the run ends.
#[tokio::test]
async fn the_catchers_alone() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[NO_SWEEP]].concat()).await;
    rig.without_the_event_rule();
    let open = OpenRun::begin(&rig).await;
    let failed = json!({"run": open.run, "report": {"what": "failed", "reason": "the disk is full"}});
    let agent = rig.agent_clients().await;
    let answer: Value = invoke(&agent, &rig.stack().functions.report, &failed).await.unwrap();
    assert_eq!(answer, json!({"answer": "accepted"}));
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 30).await;
    assert_eq!((ended.status.as_str(), ended.error.as_deref()), ("FAILED", Some("AgentFailed")), "{ended:?}");
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
    assert!(left.is_empty(), "the run ends after its box: {left:?}");
}

/// Layer 2. Nothing catches an operator's stop, and the sweeper takes its time.
#[tokio::test]
async fn the_event_rule_alone() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[NO_SWEEP]].concat()).await;
    OpenRun::begin(&rig).await;
    let stopped = stop(&rig).await;
    rig.nothing_is_left_within(15).await;
    assert_eq!(
        states(&rig, &stopped).await,
        ["ProvisionJumpBox", "AwaitUpload"],
        "no state of the run destroyed anything"
    );
}

/// Layer 3. The event never comes. What has no box any more is found too, and what isn't this stack's stays.
#[tokio::test]
async fn the_sweeper_alone() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[("SweepRate", "rate(1 minute)")]].concat()).await;
    rig.without_the_event_rule();
    let (ec2, stack) = (&rig.clients().ec2, rig.stack());
    let foreign = json!({
        "ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1, "TagSpecifications": [{
            "ResourceType": "instance",
            "Tags": [{"Key": "drawbridge:app", "Value": "drawbridge"}, {"Key": "drawbridge:site", "Value": "office"}],
        }],
    });
    let foreign = rig.call("ec2", "run_instances", foreign)["Instances"][0]["InstanceId"].as_str().unwrap().to_owned();
    let open = |address: &str, tags: Value| {
        let range = json!([{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": address}]}]);
        let tags = json!([{"ResourceType": "security-group-rule", "Tags": tags}]);
        let opening = json!({"GroupId": stack.security_group, "IpPermissions": range, "TagSpecifications": tags});
        rig.call("ec2", "authorize_security_group_ingress", opening);
    };
    let tag = |key: &str, value: &str| json!({"Key": format!("drawbridge:{key}"), "Value": value});
    // Of one dead run a rule is left, and of another one a parameter.
    let [dead, gone] = ["20200101", "20200102"].map(|day| format!("{}-{day}T000000Z", stack.site));
    let deadline = tag("deadline", "2100-01-01T00:00:00Z");
    open("192.0.2.1/32", json!([tag("app", "drawbridge"), tag("site", &stack.site), tag("run", &dead), deadline]));
    open("192.0.2.2/32", json!([{"Key": "Name", "Value": "an operator's"}]));
    let note = format!("/drawbridge/{}/note", stack.site);
    for name in [format!("/drawbridge/{}/{gone}/session", stack.site), note.clone()] {
        rig.call("ssm", "put_parameter", json!({"Name": name, "Value": "x", "Type": "String"}));
    }
    OpenRun::begin(&rig).await;
    stop(&rig).await;
    assert_eq!(live_boxes(&rig).await, 1, "no other layer is there");

    wait_until(A_MINUTE_AND_A_BIT, "only what isn't this stack's is left", async || {
        let left = rig.clients().leftovers(stack).await.unwrap();
        let only = left.instances.is_empty() && left.rules.len() == 1 && left.parameters == [note.as_str()];
        if only { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let described = ec2.describe_instances().instance_ids(foreign).send().await.unwrap();
    let state = described.reservations()[0].instances()[0].state().unwrap().name().unwrap().as_str().to_owned();
    assert_eq!(state, "running", "another site's box is another stack's");
}

/// Until when the run's one box may live, as its own tag says.
async fn deadline(rig: &Rig, run: &str) -> Timestamp {
    let of_run = Filter::builder().name("tag:drawbridge:run").values(run).build();
    let found = rig.clients().ec2.describe_instances().filters(of_run).send().await.unwrap();
    let [reservation] = found.reservations() else { panic!("{found:?}") };
    let tag = reservation.instances()[0].tags().iter().find(|tag| tag.key() == Some("drawbridge:deadline"));
    tag.unwrap().value().unwrap().parse().unwrap()
}

async fn sleep_until(time: Timestamp) {
    tokio::time::sleep(Duration::try_from(time.duration_since(Timestamp::now())).unwrap_or_default()).await;
}

/// The run has failed to destroy its box, which lives on until its deadline and not much longer. That it doesn't go before
/// is what tells the layer that is there from anything else that may have ended it. (EC2 sees a power-off some seconds late, so a
/// few seconds too early would not show.)
async fn goes_at_its_deadline_and_not_before(rig: &Rig, run: &str, late_seconds: u64) {
    let deadline = deadline(rig, run).await;
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 90).await;
    assert_eq!(ended.error.as_deref(), Some("JumpBoxNotDestroyed"), "{ended:?}");
    let shortly_before = deadline - Duration::from_secs(3);
    assert!(Timestamp::now() < shortly_before, "the deadline came while others still tried: this run shows nothing");
    assert_eq!(live_boxes(rig).await, 1, "nothing could destroy it");
    sleep_until(shortly_before).await;
    assert_eq!(live_boxes(rig).await, 1, "something ended it before its deadline");
    wait_until(3 + late_seconds, "the machine is off", async || match live_boxes(rig).await {
        0 => Ok(()),
        boxes => Err(format!("{boxes} boxes")),
    })
    .await;
    let gone = Timestamp::now();
    assert!(gone >= deadline, "off at {gone}, before its deadline {deadline}");
}

/// Layer 4. Nothing of ours may terminate, and the gate hangs.
#[tokio::test]
async fn the_machines_timer_alone() {
    let rig = Rig::up_with(&[&NEAR_DEADLINE[..], &[NO_SWEEP]].concat()).await;
    rig.without_terminations();
    rig.without_the_event_rule();
    let open = OpenRun::begin(&rig).await;
    rig.gate().hang();
    goes_at_its_deadline_and_not_before(&rig, open.run.as_str(), A_MINUTE_AND_A_BIT).await;
}

/// Layer 5. Nothing of ours may terminate, and the machine's timer is cancelled: the gate goes, and the machine with it.
#[tokio::test]
async fn the_gates_deadline_alone() {
    let rig = Rig::up_with(&[&NEAR_DEADLINE[..], &[NO_SWEEP]].concat()).await;
    rig.without_terminations();
    rig.without_the_event_rule();
    let open = OpenRun::begin(&rig).await;
    rig.gate().cancel_the_power_off();
    goes_at_its_deadline_and_not_before(&rig, open.run.as_str(), A_BIT).await;
}
