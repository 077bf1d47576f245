//! A verification that takes more than one call: the state machine carries it on, and nothing is looked at twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use aws_sdk_sfn::types::HistoryEvent;
use drawbridge_faults::fault::{Call, Caller, Effect, FOR_GOOD, Fault};
use drawbridge_faults::proxy::Proxy;
use drawbridge_local::free_port;
use drawbridge_tests::{OpenRun, Rig, invoke};
use serde_json::{Value, json};

/// More than a call gets done: with 64 looks at a time, two seconds each, in three quarters of its ten seconds, 256.
const PACKS: u32 = 300;

/// How often a task's own error ended a task of this execution.
async fn failures(rig: &Rig, execution: &str, error: &str) -> usize {
    let mut pages = rig.clients().sfn.get_execution_history().execution_arn(execution).into_paginator().send();
    let mut count = 0;
    while let Some(page) = pages.next().await {
        let is_it = |event: &&HistoryEvent| event.task_failed_event_details().and_then(|d| d.error()) == Some(error);
        count += page.unwrap().events().iter().filter(is_it).count();
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_call_of_verify_leaves_the_next_one_looks_at_and_the_run_ends_well() {
    let port = free_port().unwrap();
    let proxy = Proxy::start(port).await;
    let rig = Rig::up_routed(&[("VerifySeconds", "10"), ("HeartbeatSeconds", "60")], Some(port), proxy.routes()).await;
    let open = OpenRun::with_packs(&rig, PACKS.into()).await;
    open.cross().await;

    let look = Call { caller: Caller::Verify, action: "s3:HeadObject repo/data".to_owned() };
    let slow = Fault::Call { call: look.clone(), nth: 1, times: FOR_GOOD, effect: Effect::Delay { seconds: 2 } };
    proxy.board().arm(&[slow]);
    let complete = json!({"run": open.run, "report": {"what": "complete"}});
    let agent = rig.agent_clients().await;
    let answer: Value = invoke(&agent, &rig.stack().functions.report, &complete).await.unwrap();
    assert_eq!(answer, json!({"answer": "accepted"}));

    let execution = rig.latest_execution().await.ended_within(rig.clients(), 90).await;
    assert_eq!(execution.status, "SUCCEEDED", "{execution:?}");
    let output = execution.output.as_ref().unwrap();
    assert_eq!((&output["verdict"], &output["objects"]), (&json!("good"), &json!(open.objects.len())), "{output}");
    let carried_on = failures(&rig, &execution.arn, "VerificationUnfinished").await;
    assert!((1..=3).contains(&carried_on), "carried on {carried_on} times");
    assert_eq!(proxy.board().seen()[&look].times, PACKS, "each pack was looked at once");
    rig.nothing_is_left_within(5).await;
}
