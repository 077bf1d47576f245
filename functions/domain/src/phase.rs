//! `session`: where a run stands, as far as the agent may know.

use drawbridge_wire::{Failure, SessionAnswer, SessionRecord, Timestamp, VERDICT_BAD, Verdict, VerdictSummary};
use thiserror::Error;

use crate::execution::{Execution, Status};
use crate::reason::bounded;

/// The error of a run that an operator stopped without naming one.
pub const ABORTED: &str = "Aborted";
/// The error of a run that its own time limit ended, in Step Functions' words.
pub const TIMED_OUT: &str = "States.Timeout";

/// An execution that succeeded without a verdict.
#[derive(Debug, Error)]
#[error("the execution succeeded, and its output is no verdict")]
pub struct NoVerdict(#[source] serde_json::Error);

/// Where the run of `execution` stands; `session` is what AwaitUpload published, if it did.
///
/// # Errors
/// When a succeeded execution's output is no [`VerdictSummary`].
pub fn of(execution: &Execution, session: Option<SessionRecord>, now: Timestamp) -> Result<SessionAnswer, NoVerdict> {
    Ok(match execution.status {
        Status::Running => match session {
            Some(SessionRecord { bridge, .. }) if now < bridge.deadline => SessionAnswer::Open {
                address: bridge.address,
                port: bridge.port,
                host_key: bridge.host_key,
                deadline: bridge.deadline,
            },
            _ => SessionAnswer::Waiting,
        },
        Status::Succeeded => {
            let output = execution.output.as_deref().unwrap_or_default();
            judged(serde_json::from_str(output).map_err(NoVerdict)?)
        }
        Status::Failed => failed(execution, "Failed", "the execution failed and says no more"),
        Status::TimedOut => failed(execution, TIMED_OUT, "the execution ran into its time limit"),
        Status::Aborted => failed(execution, ABORTED, "the execution was stopped"),
    })
}

/// The state machine fails a run with a bad verdict; should one come through as a success, it is a failure here.
fn judged(verdict: VerdictSummary) -> SessionAnswer {
    match verdict.verdict {
        Verdict::Good => SessionAnswer::Verified { verdict },
        Verdict::Bad => SessionAnswer::Failed {
            failure: Failure {
                error: VERDICT_BAD.to_owned(),
                cause: format!(
                    "of {} objects {} are missing, {} wrong, {} unlocked; {} are undeclared",
                    verdict.objects, verdict.missing, verdict.wrong, verdict.unlocked, verdict.undeclared
                ),
            },
            defects: None,
        },
    }
}

fn failed(execution: &Execution, error: &str, cause: &str) -> SessionAnswer {
    let told = |said: &Option<String>, otherwise: &str| match said.as_deref() {
        Some(said) if !said.is_empty() => bounded(said),
        _ => otherwise.to_owned(),
    };
    let (error, cause) = (told(&execution.error, error), told(&execution.cause, cause));
    SessionAnswer::Failed { failure: Failure { error, cause }, defects: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use drawbridge_wire::BridgeReady;

    use super::*;

    fn execution(status: Status) -> Execution {
        let started_at = "2026-11-23T20:30:00Z".parse().unwrap();
        Execution { status, started_at, input: None, output: None, error: None, cause: None }
    }

    fn record() -> SessionRecord {
        let bridge = BridgeReady {
            instance: "i-0123456789abcdef0".parse().unwrap(),
            address: [198, 51, 100, 7].into(),
            port: 2222,
            host_key: "ssh-ed25519 AAAA".into(),
            deadline: "2026-11-23T21:00:00Z".parse().unwrap(),
        };
        SessionRecord { task_token: "canary".to_owned().into(), bridge }
    }

    fn summary(verdict: Verdict) -> String {
        let missing = u64::from(verdict == Verdict::Bad);
        let summary = VerdictSummary { verdict, objects: 3, bytes: 30, missing, wrong: 0, unlocked: 0, undeclared: 0 };
        serde_json::to_string(&summary).unwrap()
    }

    fn at(execution: &Execution, session: Option<SessionRecord>, now: &str) -> SessionAnswer {
        of(execution, session, now.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_open_run_shows_its_bridge_without_the_token_until_the_deadline() {
        let running = execution(Status::Running);
        assert_eq!(at(&running, None, "2026-11-23T20:31:00Z"), SessionAnswer::Waiting);
        let open = at(&running, Some(record()), "2026-11-23T20:59:59Z");
        let text = serde_json::to_string(&open).unwrap();
        assert!(text.contains("198.51.100.7") && !text.contains("canary") && !text.contains("token"), "{text}");
        assert_eq!(at(&running, Some(record()), "2026-11-23T21:00:00Z"), SessionAnswer::Waiting);
    }

    #[test]
    fn a_run_is_verified_only_by_a_good_verdict() {
        let with = |output: Option<String>| Execution { output, ..execution(Status::Succeeded) };
        let now = "2026-11-23T20:31:00Z";
        assert!(matches!(at(&with(Some(summary(Verdict::Good))), None, now), SessionAnswer::Verified { .. }));
        assert!(matches!(
            at(&with(Some(summary(Verdict::Bad))), Some(record()), now),
            SessionAnswer::Failed { failure, .. } if failure.error == VERDICT_BAD
        ));
        for output in [None, Some("{}".to_owned()), Some("\"ok\"".to_owned())] {
            assert!(of(&with(output), None, now.parse().unwrap()).is_err());
        }
    }

    #[test]
    fn a_failed_run_tells_its_error_and_an_ended_one_never_shows_a_bridge() {
        let failed = Execution {
            error: Some("OutOfCapacity".into()),
            cause: Some("ProvisionJumpBox: none".into()),
            ..execution(Status::Failed)
        };
        let failure = |error: &str, cause: &str| SessionAnswer::Failed {
            failure: Failure { error: error.into(), cause: cause.into() },
            defects: None,
        };
        let now = "2026-11-23T20:31:00Z";
        assert_eq!(at(&failed, Some(record()), now), failure("OutOfCapacity", "ProvisionJumpBox: none"));
        assert_eq!(
            at(&execution(Status::TimedOut), Some(record()), now),
            failure("States.Timeout", "the execution ran into its time limit")
        );
        assert_eq!(at(&execution(Status::Aborted), None, now), failure("Aborted", "the execution was stopped"));
    }
}
