//! Things that happen at the wrong moment, in the whole system. What the emulator can't show is in the functions' own tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_local::timeline::task_tokens;
use drawbridge_tests::{OpenRun, Rig, invoke, wait_until};
use drawbridge_wire::{DestroyAnswer, SessionAnswer, StartAnswer};
use serde_json::{Value, json};

/// An hour for the upload: no deadline interferes.
const FAR_DEADLINE: [(&str, &str); 2] = [("WindowBaseSeconds", "3600"), ("SweepRate", "rate(365 days)")];

#[tokio::test]
async fn a_callback_after_the_heartbeat_expired_changes_nothing() {
    let rig = Rig::up_with(&FAR_DEADLINE).await;
    let open = OpenRun::begin(&rig).await;
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 60).await;
    assert_eq!(ended.status, "FAILED");
    assert!(ended.error.as_ref().unwrap().ends_with("Timeout"), "{ended:?}");
    let agent = rig.agent_clients().await;
    for what in ["heartbeat", "complete"] {
        let report = json!({"run": open.run, "report": {"what": what}});
        let answer: Value = invoke(&agent, &rig.stack().functions.report, &report).await.unwrap();
        assert_eq!(answer, json!({"answer": "closed"}), "{what}");
    }
    // Not even with the tokens themselves.
    let tokens = task_tokens(&rig.clients().sfn, &ended.arn).await.unwrap();
    assert_eq!(tokens.len(), 2);
    for token in tokens {
        rig.clients().sfn.send_task_success().task_token(token).output("{}").send().await.unwrap_err();
    }
    assert_eq!(rig.latest_execution().await.status, "FAILED");
    rig.nothing_is_left_within(10).await;
}

#[tokio::test]
async fn a_box_whose_word_nobody_heard_is_announced_when_provision_is_tried_again() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[("HeartbeatSeconds", "600")]].concat()).await;
    let rules = rig.call("events", "list_rules", json!({}));
    let mut names = rules["Rules"].as_array().unwrap().iter().map(|rule| rule["Name"].as_str().unwrap());
    let ready = names.find(|name| name.contains("GateListens")).unwrap();
    rig.call("events", "disable_rule", json!({"Name": ready}));
    let agent = rig.agent_clients().await;
    let request = json!({
        "public_key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICy+XW8l8CwzKE7KRW3nK5gDVWe7ejk6UY+N/Grqikwb one",
        "source_cidr": "127.0.0.1/32", "repository": "0123456789abcdef", "objects": 5, "bytes": 5000,
        "manifest_sha256": "00".repeat(32),
    });
    let started: Value = invoke(&agent, &rig.stack().functions.start, &request).await.unwrap();
    let run = started["run"].as_str().unwrap();
    wait_until(60, "the box has said that it is ready", async || {
        let said = rig.versions(&format!("runs/{run}/ready/")).await;
        if said.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
    })
    .await;
    let session = async || -> SessionAnswer {
        invoke(&agent, &rig.stack().functions.session, &json!({"run": run})).await.unwrap()
    };
    assert_eq!(session().await, SessionAnswer::Waiting, "nobody heard it");

    let execution = rig.latest_execution().await;
    let token = task_tokens(&rig.clients().sfn, &execution.arn).await.unwrap().remove(0);
    let again = json!({
        "run": run, "execution_arn": execution.arn, "started_at": execution.started_at, "task_token": token,
        "input": execution.input,
    });
    let provisioned: Value = invoke(rig.clients(), &rig.stack().functions.provision, &again).await.unwrap();
    wait_until(10, "the bridge is down", async || match session().await {
        SessionAnswer::Open { .. } => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let boxes = rig.clients().leftovers(rig.stack()).await.unwrap().instances;
    assert_eq!(boxes.len(), 1, "{boxes:?}");
    assert!(boxes[0].starts_with(provisioned["instance"].as_str().unwrap()), "{boxes:?}");
}

#[tokio::test]
async fn an_old_box_that_is_still_alive_goes_before_the_next_runs_box_comes() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[("HeartbeatSeconds", "600")]].concat()).await;
    rig.without_the_event_rule();
    let old = OpenRun::begin(&rig).await;
    let execution = rig.latest_execution().await;
    rig.clients().sfn.stop_execution().execution_arn(&execution.arn).send().await.unwrap();
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
    assert_eq!((left.instances.len(), left.rules.len()), (1, 1), "nothing destroyed the old one");

    // It comes from the same address, to which the old run's rule is open.
    let new = OpenRun::begin(&rig).await;
    assert_ne!(new.run, old.run);
    let now = rig.clients().leftovers(rig.stack()).await.unwrap();
    assert_eq!((now.instances.len(), now.rules.len()), (1, 1), "{now:?}");
    assert_ne!(now.instances, left.instances);
    // The emulator gives a rule of the same words the same id; its tags say whose it is.
    let ours = json!({"Filters": [{"Name": "tag:drawbridge:run", "Values": [new.run]}]});
    let ours = rig.call("ec2", "describe_security_group_rules", ours);
    assert_eq!(ours["SecurityGroupRules"][0]["SecurityGroupRuleId"], now.rules[0].as_str(), "{ours}");
    // What belongs to the old run shows no bridge and takes no report.
    let agent = rig.agent_clients().await;
    let session: Value = invoke(&agent, &rig.stack().functions.session, &json!({"run": old.run})).await.unwrap();
    assert_eq!(session["phase"], "failed", "{session}");
    let complete = json!({"run": old.run, "report": {"what": "complete"}});
    let answer: Value = invoke(&agent, &rig.stack().functions.report, &complete).await.unwrap();
    assert_eq!(answer, json!({"answer": "closed"}));
}

/// S3's word of a new object, as EventBridge passes it on.
fn object_created(rig: &Rig, key: &str) -> Value {
    let vault = &rig.stack().vault;
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
        "source": "aws.s3", "account": rig.stack().account, "time": "2026-11-23T20:31:30Z",
        "region": rig.stack().region, "resources": [format!("arn:aws:s3:::{vault}")],
        "detail": {"version": "0", "bucket": {"name": vault}, "object": {"key": key}, "reason": "PutObject"},
    })
}

/// Step Functions' word of an execution's end, as EventBridge passes it on.
fn ended(rig: &Rig, arn: &str, status: &str) -> Value {
    json!({
        "version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change", "account": rig.stack().account,
        "time": "2026-11-23T20:42:21Z", "region": rig.stack().region, "resources": [arn],
        "detail": {
            "executionArn": arn, "stateMachineArn": rig.stack().state_machine_arn,
            "name": arn.rsplit(':').next().unwrap(), "status": status,
        },
    })
}

/// Events come at least once, and whoever lost an answer asks again.
#[tokio::test]
async fn what_is_said_twice_ends_as_if_it_had_been_said_once() {
    let rig = Rig::up_with(&[&FAR_DEADLINE[..], &[("HeartbeatSeconds", "600")]].concat()).await;
    let (agent, functions) = (rig.agent_clients().await, &rig.stack().functions);
    let open = OpenRun::begin(&rig).await;
    let answer: StartAnswer = invoke(&agent, &functions.start, &open.request).await.unwrap();
    assert!(matches!(&answer, StartAnswer::Started { run, .. } if *run == open.run), "{answer:?}");
    assert_eq!(rig.executions().await, 1, "the same request has the same run");

    let session = async || -> Value { invoke(&agent, &functions.session, &json!({"run": open.run})).await.unwrap() };
    let before = session().await;
    let said = rig.versions(&format!("runs/{}/ready/", open.run)).await;
    let (word, _) = said.first().unwrap();
    for _ in 0..2 {
        invoke::<Value>(rig.clients(), &functions.ready, &object_created(&rig, word)).await.unwrap();
    }
    assert_eq!(session().await, before, "the bridge is where it was");

    open.cross().await;
    for expected in ["accepted", "closed"] {
        let complete = json!({"run": open.run, "report": {"what": "complete"}});
        let answer: Value = invoke(&agent, &functions.report, &complete).await.unwrap();
        assert_eq!(answer, json!({"answer": expected}));
    }
    let good = rig.latest_execution().await.ended_within(rig.clients(), 30).await;
    assert_eq!(good.status, "SUCCEEDED", "{good:?}");

    // The next run is open when word of the first one's end comes, twice.
    let next = OpenRun::begin(&rig).await;
    let leftovers = async || rig.clients().leftovers(rig.stack()).await.unwrap();
    let there = leftovers().await;
    assert_eq!((there.instances.len(), there.rules.len()), (1, 1), "{there:?}");
    let destroy =
        async |event: &Value| -> DestroyAnswer { invoke(rig.clients(), &functions.destroy, event).await.unwrap() };
    for _ in 0..2 {
        let answer = destroy(&ended(&rig, &good.arn, "FAILED")).await;
        assert!(answer.destroyed.is_empty(), "{answer:?}");
    }
    assert_eq!(leftovers().await.instances, there.instances, "the next run's");

    let aborted = rig.latest_execution().await;
    assert_eq!(aborted.name, next.run.as_str());
    rig.clients().sfn.stop_execution().execution_arn(&aborted.arn).send().await.unwrap();
    rig.nothing_is_left_within(15).await;
    for _ in 0..2 {
        let answer = destroy(&ended(&rig, &aborted.arn, "ABORTED")).await;
        assert!(answer.destroyed.is_empty(), "{answer:?}");
    }
    rig.nothing_is_left_within(1).await;
}
