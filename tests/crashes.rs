//! Runs that don't end as planned: the agent dies, an operator stops the execution, `destroy` fails. No box outlives them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Child;

use drawbridge_tests::{OpenRun, Rig, invoke, wait_until};
use serde_json::{Value, json};

/// Enough to cross that a test can strike in the middle: 160 MiB that don't compress.
const FILES: u64 = 10;
const FILE_BYTES: usize = 16 * 1024 * 1024;

fn plant(rig: &Rig) {
    for file in 0..FILES {
        let mut state = 0x9e37_79b9_7f4a_7c15 ^ (file + 1);
        let mut noise = Vec::with_capacity(FILE_BYTES);
        while noise.len() < FILE_BYTES {
            // xorshift64: no pattern that chunking or compression could use.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            noise.extend_from_slice(&state.to_le_bytes());
        }
        std::fs::write(rig.source().join(format!("log-{file}")), noise).unwrap();
    }
    rig.agent().configure("[cross]\nstreams = 1");
}

/// A running agent that is killed, at the latest, when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Ended by itself already, or ended now.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Starts the agent and waits until some, and not all, of the packs have crossed.
async fn in_mid_crossing(rig: &Rig) -> Running {
    let mut running = Running(rig.agent().spawn(&["run"]));
    wait_until(120, "the first packs have crossed", async || {
        if let Some(status) = running.0.try_wait().unwrap() {
            panic!("the agent ended before it could be struck: {status}");
        }
        let page = rig.clients().s3.list_objects_v2().bucket(&rig.stack().vault).prefix("repo/").send().await.unwrap();
        let packs = page.contents().iter().filter(|object| object.key().unwrap().contains("/data/")).count();
        if packs >= 2 { Ok(()) } else { Err(format!("{packs} packs")) }
    })
    .await;
    running
}

#[tokio::test]
async fn a_killed_agent_costs_its_run_and_nothing_else() {
    let rig = Rig::up().await;
    plant(&rig);
    let mut running = in_mid_crossing(&rig).await;
    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let crossed = rig.versions("repo/").await;

    // The heartbeat is 6 s in these tests; the rest is for looking and destroying.
    let first = rig.latest_execution().await.ended_within(rig.clients(), 6 + 15).await;
    rig.nothing_is_left_within(5).await;
    assert_eq!(first.status, "FAILED", "{first:?}");
    let error = first.error.clone().unwrap();
    assert!(["States.HeartbeatTimeout", "States.Timeout"].contains(&error.as_str()), "{first:?}");
    assert!(first.cause.as_ref().unwrap().starts_with("AwaitUpload"), "{first:?}");
    assert!((crossed.len() as u64) < first.declared_objects(), "it was struck in the middle");

    rig.agent().run(&["run"]).await.expect(0);
    let second = rig.latest_execution().await;
    assert_eq!(second.status, "SUCCEEDED", "{second:?}");
    assert_eq!(second.output.as_ref().unwrap()["verdict"], "good");
    let whole = rig.versions("repo/").await;
    assert!(whole.is_superset(&crossed), "what had crossed stayed as it was");
    // One object may have been acknowledged by S3 and not yet by the journal when the agent died.
    let rest = (whole.len() - crossed.len()) as u64;
    assert!(second.declared_objects() <= rest + 1, "{} declared, {rest} were missing", second.declared_objects());
    rig.nothing_is_left_within(5).await;
}

#[tokio::test]
async fn an_operators_stop_destroys_the_box_within_seconds() {
    let rig = Rig::up().await;
    plant(&rig);
    let mut running = in_mid_crossing(&rig).await;
    let execution = rig.latest_execution().await;
    rig.clients().sfn.stop_execution().execution_arn(&execution.arn).cause("a test").send().await.unwrap();

    rig.nothing_is_left_within(10).await;
    let ended = execution.ended_within(rig.clients(), 1).await;
    assert_eq!(ended.status, "ABORTED");
    let status = tokio::task::spawn_blocking(move || running.0.wait().unwrap().code()).await.unwrap();
    assert_eq!(status, Some(1), "the agent says that its run failed");

    rig.agent().run(&["run"]).await.expect(0);
    assert_eq!(rig.latest_execution().await.status, "SUCCEEDED");
}

#[tokio::test]
async fn a_destroy_that_fails_at_first_is_tried_again_by_its_own_run() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
    rig.without_the_event_rule();
    rig.without_terminations();
    let open = OpenRun::begin(&rig).await;
    let failed = json!({"run": open.run, "report": {"what": "failed", "reason": "the disk is full"}});
    let agent = rig.agent_clients().await;
    invoke::<Value>(&agent, &rig.stack().functions.report, &failed).await.unwrap();
    wait_until(30, "destroy has failed", async || {
        let logs = rig.function_logs();
        if logs.contains("ec2:TerminateInstances failed") { Ok(()) } else { Err(logs) }
    })
    .await;
    rig.with_terminations_again();
    let ended = rig.latest_execution().await.ended_within(rig.clients(), 60).await;
    assert_eq!((ended.status.as_str(), ended.error.as_deref()), ("FAILED", Some("AgentFailed")), "{ended:?}");
    let left = rig.clients().leftovers(rig.stack()).await.unwrap();
    assert!(left.is_empty(), "the run ends after its box: {left:?}");
}
