//! `drawbridge run` as it is started by a timer: the program itself, against a stack in one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use drawbridge_peers::need;
use drawbridge_wire::{Ceiling, Failure, Report, StartAnswer, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::agent::Site;
use support::stack::Script;

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_verified_and_an_unchanged_second_one_carries_little_more_than_its_snapshot() {
    let site = Site::new().await;
    let first = site.run().await;
    first.assert(0, "verified at rest");
    site.assert_vault_is_whole();
    assert_eq!(site.stack.starts()[0].generation, None, "nothing is counted on in a first run");
    assert_eq!(site.last_run()["outcome"]["outcome"], "verified");

    site.stack.vault.forget_arrivals();
    let second = site.run().await;
    second.assert(0, "verified at rest");
    let arrived = site.stack.vault.arrived();
    // Its folder lies in /tmp, whose time changes and is backed up: that may take a pack of trees and its index.
    let snapshots = arrived.iter().filter(|path| path.starts_with("snapshots/")).count();
    let bytes: usize = site.stack.starts()[1].bytes.try_into().unwrap();
    assert!(snapshots == 1 && arrived.len() <= 3 && bytes < 10_000, "{arrived:?}");
    assert_eq!(site.stack.starts()[1].generation.as_ref().unwrap().as_str(), "2026-11");
    site.assert_vault_is_whole();

    // No secret has left, whatever was logged.
    for text in [&first.out, &first.err, &second.out, &second.err, &site.stack.everything_said()] {
        assert!(!text.contains("canary") && !text.contains("PRIVATE KEY"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_of_a_clock_that_was_ahead_stays_the_latest_and_every_run_says_so() {
    let site = Site::new().await;
    let faketime = need("faketime", "faketime");
    let tomorrow = site.spawn_under(&[faketime.to_str().unwrap(), "-f", "+1d"], &["run"]);
    let ended = site.wait(tomorrow).await;
    ended.assert(0, "verified at rest");
    assert!(!ended.err.contains("ahead"), "{}", ended.err);
    for _ in 0..2 {
        site.run().await.assert(0, "this machine's clock was ahead then");
    }
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_too_soon_and_too_often_end_with_75_and_say_when() {
    let site = Site::new().await;
    let later = || Timestamp::now() + std::time::Duration::from_secs(600);
    let run = "test-20261123T203000Z".parse().unwrap();
    site.stack.script(Script::Start(StartAnswer::Busy { run, until: later() }));
    site.run().await.assert(75, "test-20261123T203000Z is open, until");
    assert_eq!(site.last_run()["outcome"]["outcome"], "busy");
    site.stack.script(Script::Start(StartAnswer::TooSoon { retry_after: later() }));
    site.run().await.assert(75, "in 10 min");
    assert_eq!(site.last_run()["exit_code"], 75);
    site.stack.script(Script::Start(StartAnswer::DailyLimit { allowed: 4, retry_after: later() }));
    site.run().await.assert(75, "all the runs that the stack allows, 4 (MaxRunsPerDay): the next may begin at");
    assert_eq!(site.last_run()["outcome"]["outcome"], "daily_limit");
    // What was backed up meanwhile crosses afterwards.
    site.run().await.assert(0, "verified");
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_errors_of_the_stack_end_with_1_and_say_what_to_do() {
    let site = Site::new().await;
    let (declared, allowed) = (3 << 30, 1 << 30);
    site.stack.script(Script::Start(StartAnswer::TooMuch { ceiling: Ceiling::Bytes, declared, allowed }));
    site.run().await.assert(1, "the stack allows 1.00 GiB");
    site.stack.script(Script::StartFails { error_type: "InvalidRequest", message: "source_cidr is outside" });
    site.run().await.assert(1, "InvalidRequest: source_cidr is outside");
    site.stack.script(Script::Lambda { status: 403, code: "AccessDeniedException" });
    site.run().await.assert(1, "AgentPolicyArn");
    site.stack.script(Script::Lambda { status: 403, code: "UnrecognizedClientException" });
    site.run().await.assert(1, "check the access key");
    site.stack.script(Script::Lambda { status: 404, code: "ResourceNotFoundException" });
    site.run().await.assert(1, "sam deploy");
    assert_eq!(site.last_run()["outcome"]["outcome"], "failed");
    assert!(site.stack.reports().is_empty(), "no run was open");

    fs::remove_file(site.dir.path().join("aws")).unwrap();
    site.run().await.assert(1, "no AWS credentials");
    site.stack.configure(site.dir.path(), &site.source(""));
    let config = fs::read_to_string(&site.config).unwrap().replace(&site.stack.url, "http://127.0.0.1:1");
    fs::write(&site.config, config).unwrap();
    site.run().await.assert(1, "cannot reach the stack at http://127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_function_is_asked_again() {
    let site = Site::new().await;
    for _ in 0..2 {
        site.stack.script(Script::StartFails { error_type: "AwsThrottled", message: "slow down" });
        site.stack.script(Script::Lambda { status: 429, code: "TooManyRequestsException" });
    }
    site.run().await.assert(0, "verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_begins_a_new_repository_in_the_same_run() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    let first = site.vault_repository();
    site.stack.turn_to("2026-12");
    site.run().await.assert(0, "verified");
    let second = site.vault_repository();
    assert_ne!(first.id(), second.id());
    assert_eq!(second.generation().as_str(), "2026-12");
    site.assert_vault_is_whole();
    let listed = site.wait(site.spawn(&["snapshots", "--json"])).await;
    let listed: Value = serde_json::from_str(listed.out.lines().last().unwrap()).unwrap();
    // The vault has all that the first one had, so it is gone from here.
    assert!(!listed.to_string().contains(first.id().as_str()) && listed.to_string().contains(second.id().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_bad_verdict_everything_crosses_again() {
    let site = Site::new().await;
    site.stack.script(Script::VerdictBad);
    site.run().await.assert(1, "2 missing");
    let objects = site.stack.starts()[0].objects;
    site.stack.vault.clear();
    site.run().await.assert(0, "verified");
    let again = &site.stack.starts()[1];
    assert!(again.objects > objects && again.generation.is_none(), "{again:?}");
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_gives_the_run_up_and_the_next_one_carries_the_rest() {
    let site = Site::new().await;
    site.stack.vault.hang_after(3);
    let child = site.spawn(&["run"]);
    site.stack.vault.wait_for(3).await;
    kill_process(Pid::from_raw(child.id().unwrap().cast_signed()).unwrap(), Signal::TERM).unwrap();
    let Report::Failed { reason } = site.stack.wait_for_report().await else { panic!("not given up") };
    assert!(reason.contains("SIGTERM"), "{reason}");
    site.wait(child).await.assert(1, "stopped by SIGTERM");

    site.assert_the_next_run_carries_the_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_the_next_run_carries_the_rest() {
    let site = Site::new().await;
    site.stack.vault.hang_after(3);
    let mut child = site.spawn(&["run"]);
    site.stack.vault.wait_for(3).await;
    child.kill().await.unwrap();
    site.stack.time_out().await;
    site.assert_the_next_run_carries_the_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_at_the_same_time_ends_with_75_and_names_the_first() {
    let site = Site::new().await;
    site.stack.vault.hang_after(1);
    let first = site.spawn(&["run"]);
    site.stack.vault.wait_for(1).await;
    site.run().await.assert(75, &format!("process {}", first.id().unwrap()));
    site.stack.vault.go_on();
    site.wait(first).await.assert(0, "verified");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_stopped_in_the_cloud_stops_the_crossing_with_the_cloud_s_reason() {
    let site = Site::new().await;
    site.stack.vault.hang_after(2);
    let child = site.spawn(&["run"]);
    site.stack.vault.wait_for(2).await;
    let failure = Failure { error: "Aborted".to_owned(), cause: "AwaitUpload: stopped by an operator".to_owned() };
    site.stack.script(Script::HeartbeatClosed(failure));
    site.wait(child).await.assert(1, "stopped by an operator");
    assert!(!site.stack.reports().iter().any(|report| matches!(report, Report::Failed { .. })), "it was over already");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completion_whose_answer_was_lost_is_still_followed_to_its_verdict() {
    let site = Site::new().await;
    site.stack.script(Script::CompleteUnanswered);
    site.run().await.assert(0, "verified at rest");
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_fails_makes_the_exit_code_3_though_the_rest_is_verified() {
    let site = Site::new().await;
    let mut config = fs::read_to_string(&site.config).unwrap();
    config.push_str("[[source]]\nname = \"gone\"\npaths = [\"/nonexistent/etc\"]\n");
    fs::write(&site.config, config).unwrap();
    site.run().await.assert(3, "verified at rest");
    site.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn json_output_is_one_object_a_line_and_ends_with_the_run() {
    let site = Site::new().await;
    let ended = site.wait(site.spawn(&["--json", "run"])).await;
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    let lines: Vec<Value> = ended.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["event"], &last["exit_code"]), (&"run".into(), &0.into()));
    assert!(
        lines.iter().any(|line| line["event"] == "progress" && line["label"] == "crossing" && line["done"] == true)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_local_repository_begins_a_new_one() {
    let site = Site::new().await;
    site.run().await.assert(0, "verified");
    let first = site.vault_repository();
    fs::remove_dir_all(site.state("repository")).unwrap();
    site.run().await.assert(0, "is gone, so a new one begins");
    assert_ne!(site.vault_repository(), first);
    site.assert_vault_is_whole();
}
