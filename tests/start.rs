//! What `start` takes and what it refuses, through the agent's own credentials.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_tests::{OpenRun, Rig, invoke, wait_until};
use drawbridge_wire::{Ceiling, StartAnswer};
use futures::StreamExt as _;
use serde_json::{Value, json};

/// Another key each, as two agents would have.
const KEYS: [&str; 2] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICy+XW8l8CwzKE7KRW3nK5gDVWe7ejk6UY+N/Grqikwb one",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaL734tOD94dmTLFLqMJLi8bff39BOBejnm2p10Whp4 two",
];

fn request() -> Value {
    json!({
        "public_key": KEYS[0], "source_cidr": "127.0.0.1/32", "repository": "0123456789abcdef",
        "objects": 5, "bytes": 5000, "manifest_sha256": "00".repeat(32),
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut request = request();
    request[field] = value;
    request
}

#[tokio::test]
async fn what_is_not_a_proper_request_starts_nothing() {
    let rig = Rig::up().await;
    let agent = rig.agent_clients().await;
    let start = &rig.stack().functions.start;
    let improper = [
        ("an unknown field", with("instance_type", json!("p5.48xlarge"))),
        ("no key", with("public_key", json!(""))),
        ("two keys", with("public_key", json!(KEYS.join("\n")))),
        ("an option before the key", with("public_key", json!(format!("command=\"id\" {}", KEYS[0])))),
        ("an RSA key", with("public_key", json!("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== x"))),
        ("a short repository id", with("repository", json!("0123"))),
        ("a path as repository", with("repository", json!("../../etc/passwd"))),
        ("a wide source", with("source_cidr", json!("0.0.0.0/0"))),
        ("a foreign source", with("source_cidr", json!("203.0.113.7/32"))),
        ("no hash", with("manifest_sha256", json!("00"))),
        ("negative bytes", with("bytes", json!(-1))),
        ("no object at all", json!({})),
        ("text", json!("start")),
    ];
    for (what, request) in improper {
        let answer = invoke::<Value>(&agent, start, &request).await;
        let error = answer.expect_err(what);
        assert!(error.contains("InvalidRequest"), "{what}: {error}");
    }
    assert_eq!(rig.executions().await, 0);
}

#[tokio::test]
async fn too_much_is_refused_with_the_ceiling_and_a_turned_generation_with_its_name() {
    let rig = Rig::up_with(&[("MaxObjects", "10"), ("MaxBytes", "10000")]).await;
    let agent = rig.agent_clients().await;
    let start = &rig.stack().functions.start;
    let answer = async |request| invoke::<StartAnswer>(&agent, start, &request).await.unwrap();
    let objects = StartAnswer::TooMuch { ceiling: Ceiling::Objects, declared: 11, allowed: 10 };
    assert_eq!(answer(with("objects", json!(11))).await, objects);
    let bytes = StartAnswer::TooMuch { ceiling: Ceiling::Bytes, declared: 10_001, allowed: 10_000 };
    assert_eq!(answer(with("bytes", json!(10_001))).await, bytes);
    let turned = answer(with("generation", json!("2020-01"))).await;
    assert!(matches!(turned, StartAnswer::GenerationTurned { .. }), "{turned:?}");
    assert_eq!(rig.executions().await, 0);
}

#[tokio::test]
async fn a_slot_has_one_run_at_most_whoever_asks_and_how_often() {
    let rig = Rig::up_with(&[("SlotSeconds", "86400"), ("HeartbeatSeconds", "300")]).await;
    let agent = rig.agent_clients().await;
    let start = &rig.stack().functions.start;
    // Very many, dozens at once, with two keys: one run, and everybody is told of that one.
    let requests: Vec<Value> = (0..1000).map(|i| with("public_key", json!(KEYS[i % 2]))).collect();
    let asked = requests.iter().map(|request| invoke::<StartAnswer>(&agent, start, request));
    let mut answers = futures::stream::iter(asked).buffer_unordered(40);
    let mut runs = std::collections::BTreeSet::new();
    while let Some(answer) = answers.next().await {
        match answer.unwrap() {
            StartAnswer::Started { run, .. } | StartAnswer::Busy { run, .. } => runs.insert(run),
            other => panic!("{other:?}"),
        };
    }
    assert_eq!(runs.len(), 1, "{runs:?}");
    assert_eq!(rig.executions().await, 1);
    wait_until(60, "the box is there", async || {
        let boxes = rig.clients().leftovers(rig.stack()).await.unwrap().instances;
        if boxes.len() == 1 { Ok(()) } else { Err(format!("{boxes:?}")) }
    })
    .await;
    // Ended or not, the slot has had its run.
    let execution = rig.latest_execution().await;
    rig.clients().sfn.stop_execution().execution_arn(&execution.arn).send().await.unwrap();
    rig.nothing_is_left_within(10).await;
    let late = invoke::<StartAnswer>(&agent, start, &request()).await.unwrap();
    assert!(matches!(late, StartAnswer::TooSoon { .. }), "{late:?}");
    assert_eq!(rig.executions().await, 1);
}

#[tokio::test]
async fn a_day_has_as_many_runs_as_the_stack_allows_however_they_end() {
    let rig = Rig::up_with(&[("MaxRunsPerDay", "2")]).await;
    let agent = rig.agent_clients().await;
    let start = &rig.stack().functions.start;
    let mut first = None;
    for _ in 0..2 {
        wait_until(20, "the next slot has begun", async || {
            match invoke::<StartAnswer>(&agent, start, &request()).await.unwrap() {
                StartAnswer::Started { .. } => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        let execution = rig.latest_execution().await;
        rig.clients().sfn.stop_execution().execution_arn(&execution.arn).send().await.unwrap();
        first.get_or_insert(execution.started_at);
    }
    wait_until(20, "the day is full", async || match invoke::<StartAnswer>(&agent, start, &request()).await.unwrap() {
        StartAnswer::DailyLimit { allowed: 2, retry_after } => {
            let day = retry_after.duration_since(first.unwrap()).as_secs();
            assert_eq!(day, 24 * 60 * 60, "the first of them leaves the day");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(rig.executions().await, 2);
    rig.nothing_is_left_within(30).await;
}

#[tokio::test]
async fn late_and_foreign_reports_change_nothing() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "120")]).await;
    let open = OpenRun::begin(&rig).await;
    let agent = rig.agent_clients().await;
    let report = async |run: &str, what: Value| -> Value {
        invoke(&agent, &rig.stack().functions.report, &json!({"run": run, "report": what})).await.unwrap()
    };
    let (heartbeat, complete) = (json!({"what": "heartbeat"}), json!({"what": "complete"}));
    let closed = json!({"answer": "closed"});
    assert_eq!(report("home-20200101T000000Z", complete.clone()).await, closed, "another run");
    assert_eq!(report(open.run.as_str(), heartbeat.clone()).await, json!({"answer": "accepted"}));
    let failed = json!({"what": "failed", "reason": "the disk is full"});
    assert_eq!(report(open.run.as_str(), failed.clone()).await, json!({"answer": "accepted"}));
    for (again, what) in [(failed, "twice"), (complete, "complete after failed"), (heartbeat, "a late heartbeat")] {
        assert_eq!(report(open.run.as_str(), again).await, closed, "{what}");
    }
    let execution = rig.latest_execution().await.ended_within(rig.clients(), 20).await;
    assert_eq!((execution.status.as_str(), execution.error.as_deref()), ("FAILED", Some("AgentFailed")));
    assert_eq!(execution.cause.as_deref(), Some("AwaitUpload: the disk is full; nothing of the run is left"));
    rig.nothing_is_left_within(5).await;
}

#[tokio::test]
async fn complete_without_an_upload_is_never_good() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "120")]).await;
    let open = OpenRun::begin(&rig).await;
    let gate = open.forward().await;
    assert_eq!(gate.post("/manifest", &open.file("manifest", &open.manifest)).0, 200);
    let (name, contents) = &open.objects[0];
    assert_eq!(gate.post(&format!("/{name}"), &open.file("body", contents)).0, 200);
    let agent = rig.agent_clients().await;
    let complete = json!({"run": open.run, "report": {"what": "complete"}});
    let answer: Value = invoke(&agent, &rig.stack().functions.report, &complete).await.unwrap();
    assert_eq!(answer, json!({"answer": "accepted"}));
    let execution = rig.latest_execution().await.ended_within(rig.clients(), 30).await;
    // The gate writes its receipt when everything declared has crossed.
    assert_eq!((execution.status.as_str(), execution.error.as_deref()), ("FAILED", Some("ReceiptMissing")));
    assert!(execution.cause.as_ref().unwrap().starts_with("VerifyBackup: the gate left no receipt"), "{execution:?}");
    rig.nothing_is_left_within(5).await;
}
