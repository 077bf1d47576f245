//! The seven invariants of a run, looked at from outside: EC2, S3, SSM and Step Functions themselves.

use std::time::Duration;

use drawbridge_local::compare::compare_mirror;
use drawbridge_local::restore::restore_snapshot;
use drawbridge_local::timeline::{Passage, task_tokens};
use drawbridge_tests::{Execution, restic};
use jiff::Timestamp;

use crate::canary;
use crate::fault::{Case, Effect, Fault};
use crate::report::{Outcome, Report};
use crate::run::Ran;
use crate::site::Site;
use crate::vault;

/// How long what destroys a run's remains may take once the run is over, before the sweeper is asked.
const GRACE: Duration = Duration::from_secs(6);

impl Site {
    /// What the case demands: that its faults strike, and which state fails.
    pub(crate) fn judge_case(&self, case: &Case, ran: &Ran, report: &mut Report) {
        let struck: Vec<bool> =
            (0..case.faults.len()).map(|index| ran.strikes.iter().any(|s| s.fault == index)).collect();
        report.struck = struck.iter().filter(|struck| **struck).count();
        for (fault, struck) in case.faults.iter().zip(struck) {
            if case.all_strike && !struck {
                report.broke(0, format!("the fault did not strike: {fault}"));
            }
        }
        let ended = || ran.executions.iter().map(|(execution, _)| execution.status.as_str()).collect::<Vec<_>>();
        if case.is_borne && (ran.agent.code != 0 || ended() != ["SUCCEEDED"]) {
            report.broke(0, format!("one verified run was to come of it, and {:?} did", ended()));
        }
        let Some(expected) = &case.fails_in else { return };
        let failed = ran.executions.first().and_then(|(_, passages)| failing_state(passages));
        if failed != Some(expected.as_str()) {
            report.broke(0, format!("{expected} was to fail, and {failed:?} did"));
        }
    }

    /// The invariants.
    pub(crate) async fn judge_run(&mut self, ran: &Ran, faults: &[Fault], report: &mut Report) {
        let from = report.outcomes.len();
        if ran.executions.is_empty() {
            report.outcomes.push(Outcome::None);
        }
        for (execution, passages) in &ran.executions {
            judge_status(execution, passages, ran, faults, report);
        }
        let verified = report.outcomes[from..].contains(&Outcome::Verified);
        if ran.agent.code == 0 && !verified {
            report.broke(2, "the agent says that the backup is verified, and no run says so");
        }
        if ran.agent.code == -2 {
            report.broke(6, "the agent hung");
        }
        self.judge_leftovers(ran, report).await;
        for touched in self.planted().touched(self.rig().clients(), self.rig().stack()).await {
            report.broke(3, touched);
        }
        self.judge_versions(report).await;
        for (execution, _) in &ran.executions {
            if execution.status == "SUCCEEDED" {
                self.judge_vault(execution, report).await;
            }
        }
        self.judge_secrets(ran, report).await;
    }

    /// 1 and 7: no box, no rule and no parameter outlives its run, its deadline and one sweep.
    async fn judge_leftovers(&self, ran: &Ran, report: &mut Report) {
        let mut left = self.leftovers_after(GRACE).await;
        if !left.is_empty() {
            report.swept = true;
            self.sweep().await;
            left = self.leftovers_after(GRACE).await;
        }
        if !left.is_empty() {
            report.left += left.instances.len();
            let invariant = if left.instances.is_empty() { 7 } else { 1 };
            report.broke(invariant, format!("left after a sweep: {left:?}"));
            // The next case must not suffer from it: what is past its deadline goes at the next sweep.
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.sweep().await;
        }
        for (execution, _) in &ran.executions {
            let boxes = self.watch().of_run(&execution.name);
            report.launched += boxes.ids.len();
            if boxes.at_once > 1 {
                report.broke(1, format!("{} boxes of {} at once", boxes.at_once, execution.name));
            }
            if let (Some(last), Some(end)) = (boxes.last_alive, self.end_of(execution).await) {
                report.past_end = report.past_end.max(last.as_millisecond() - end.as_millisecond());
            }
        }
    }

    async fn leftovers_after(&self, patience: Duration) -> drawbridge_local::Leftovers {
        let until = std::time::Instant::now() + patience;
        loop {
            let left = self.rig().clients().leftovers(self.rig().stack()).await.unwrap();
            let left = self.planted().without(left);
            if left.is_empty() || std::time::Instant::now() > until {
                return left;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the schedule does, at once.
    async fn sweep(&self) {
        let invoked = self.rig().clients().lambda.invoke().function_name(&self.rig().stack().functions.destroy);
        // What it couldn't destroy is seen by looking.
        let _answer = invoked.payload(aws_smithy_types::Blob::new("{\"sweep\":{}}")).send().await;
    }

    async fn end_of(&self, execution: &Execution) -> Option<Timestamp> {
        let described =
            self.rig().clients().sfn.describe_execution().execution_arn(&execution.arn).send().await.ok()?;
        Timestamp::from_nanosecond(described.stop_date()?.as_nanos()).ok()
    }

    /// 4: (key, version) pairs only grow.
    async fn judge_versions(&mut self, report: &mut Report) {
        let now = self.rig().versions("").await;
        let before = self.versions_mut();
        let gone: Vec<_> = before.difference(&now).collect();
        if !gone.is_empty() {
            report.broke(4, format!("gone from the vault: {gone:?}"));
        }
        let mut keys: Vec<&str> =
            now.iter().map(|(key, _)| key.as_str()).filter(|key| key.starts_with("repo/")).collect();
        let all = keys.len();
        keys.dedup();
        if keys.len() != all {
            report.broke(4, "an object of a repository was overwritten");
        }
        *before = now;
    }

    /// 2: a good verdict is true.
    async fn judge_vault(&self, execution: &Execution, report: &mut Report) {
        for wrong in vault::defects(self.rig(), execution).await {
            report.broke(2, format!("the verdict of {} is good, but {wrong}", execution.name));
        }
        let room = tempfile::tempdir_in(self.rig().folder()).unwrap();
        let copy = room.path().join("copy");
        let prefix = format!("repo/{}/", execution.repository());
        let clients = self.rig().clients();
        drawbridge_local::restore::fetch(&clients.s3, &self.rig().stack().vault, &prefix, &copy).await.unwrap();
        let (password, restored, mirror) =
            (self.rig().files().password_file(), room.path().join("restored"), self.rig().mirror());
        let snapshot = self.rig().local_snapshots(execution).pop().expect("a good run has made a snapshot");
        let judged = tokio::task::spawn_blocking(move || {
            restic(&password, &copy, &["check", "--read-data"])?;
            restore_snapshot(&copy, &password, &snapshot, &restored).map_err(|problem| problem.to_string())?;
            let compared = compare_mirror(&mirror, &restored).map_err(|problem| problem.to_string())?;
            compared.verdict().map_err(|problem| problem.to_string())
        });
        if let Err(wrong) = judged.await.unwrap() {
            report.broke(2, format!("what {} left can't be restored: {wrong}", execution.name));
        }
    }

    /// 5: no secret in what this run wrote. Logs are searched once, at the end.
    async fn judge_secrets(&mut self, ran: &Ran, report: &mut Report) {
        let mut tokens = Vec::new();
        for (execution, _) in &ran.executions {
            tokens.extend(task_tokens(&self.rig().clients().sfn, &execution.arn).await.unwrap());
        }
        self.add_secrets(tokens);
        for found in canary::in_run(self, ran).await {
            report.broke(5, found);
        }
    }
}

/// The task on whose way out the run went wrong: the one before the box was destroyed, or the destruction itself.
fn failing_state(passages: &[Passage]) -> Option<&str> {
    let names: Vec<&str> = passages.iter().map(|passage| passage.state.as_str()).collect();
    if names.last() == Some(&"JumpBoxNotDestroyed") {
        return Some("DestroyJumpBox");
    }
    if names.last() != Some(&"BackupFailed") {
        return None;
    }
    let destroyed = names.iter().position(|name| *name == "DestroyJumpBox")?;
    names.get(destroyed.checked_sub(1)?).copied()
}

/// 6: a final status that names the first failure.
fn judge_status(execution: &Execution, passages: &[Passage], ran: &Ran, faults: &[Fault], report: &mut Report) {
    report.states.extend(passages.iter().map(|passage| passage.state.clone()));
    let name = &execution.name;
    let outcome = match execution.status.as_str() {
        "SUCCEEDED" => Outcome::Verified,
        "ABORTED" => Outcome::Aborted,
        "FAILED" if execution.error.as_deref() == Some("JumpBoxNotDestroyed") => Outcome::Undestroyed,
        "FAILED" => Outcome::Failed,
        _ => Outcome::Endless,
    };
    report.outcomes.push(outcome);
    let stopped = |strike: &crate::board::Strike| {
        matches!(faults.get(strike.fault), Some(Fault::Call { effect: Effect::Stop { .. }, .. }))
    };
    match outcome {
        Outcome::Endless => report.broke(6, format!("{name} is {}", execution.status)),
        Outcome::Aborted if !ran.strikes.iter().any(stopped) => report.broke(6, format!("nobody stopped {name}")),
        Outcome::Verified if execution.output.as_ref().is_none_or(|output| output["verdict"] != "good") => {
            report.broke(2, format!("{name} succeeded with {:?}", execution.output));
        }
        Outcome::Failed | Outcome::Undestroyed => judge_failure(execution, passages, ran, report),
        _ => {}
    }
}

fn judge_failure(execution: &Execution, passages: &[Passage], ran: &Ran, report: &mut Report) {
    let name = &execution.name;
    let (error, cause) =
        (execution.error.as_deref().unwrap_or_default(), execution.cause.as_deref().unwrap_or_default());
    let failed = failing_state(passages);
    let named = cause.split(':').next().unwrap_or_default();
    if error.is_empty() || failed != Some(named) {
        report.broke(6, format!("{name}: {failed:?} failed, and the status says {error}: {cause}"));
    }
    // Nothing fails before the first fault strikes.
    let struck = ran.strikes.iter().map(|strike| strike.at).min();
    let left = passages.iter().find(|passage| Some(passage.state.as_str()) == failed);
    let left = left.and_then(|passage| Some(passage.entered.as_millisecond() + passage.milliseconds?));
    match (struck, left) {
        (Some(struck), Some(left)) if struck.as_millisecond() <= left + 50 => {}
        (Some(_), None) => {}
        (struck, left) => report.broke(
            0,
            format!("{name} failed in {failed:?}, left at {left:?}, and the first fault struck at {struck:?}"),
        ),
    }
}
