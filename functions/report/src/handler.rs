use drawbridge_aws::{AGENT_FAILED, Delivery, FunctionError, Parameters, ReportSettings, TaskTokens, parse};
use drawbridge_domain::{parameters, reason};
use drawbridge_wire::{Report, ReportAnswer, ReportRequest, SessionRecord};
use serde_json::Value;

/// The output of AwaitUpload. What the agent uploaded is `verify`'s business, not the agent's word.
const NOTHING: &str = "{}";

pub(crate) async fn handle<A: Parameters + TaskTokens>(
    settings: &ReportSettings,
    aws: &A,
    event: Value,
) -> Result<ReportAnswer, FunctionError> {
    let ReportRequest { run, report } = parse(event)?;
    let Some(session) = aws.get(&parameters::session(&settings.site, &run)).await? else {
        return Ok(ReportAnswer::Closed);
    };
    let SessionRecord { task_token, .. } = serde_json::from_str(&session).map_err(FunctionError::broken)?;
    let delivery = match &report {
        Report::Heartbeat => aws.heartbeat(&task_token).await?,
        Report::Complete => aws.succeed(&task_token, NOTHING).await?,
        Report::Failed { reason } => aws.fail(&task_token, AGENT_FAILED, &reason::bounded(reason)).await?,
    };
    let answer = match delivery {
        Delivery::Accepted => ReportAnswer::Accepted,
        Delivery::Closed => ReportAnswer::Closed,
    };
    if report != Report::Heartbeat {
        tracing::info!(%run, report = reason::bounded(&format!("{report:?}")), ?answer, "reported");
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::cell::RefCell;

    use drawbridge_aws::AwsError;
    use drawbridge_wire::TaskToken;
    use serde_json::json;

    use super::*;

    /// A waiting state, and what it was told.
    struct Waiting {
        session: Option<&'static str>,
        delivery: Delivery,
        told: RefCell<Vec<String>>,
    }

    const SESSION: &str = r#"{"task_token": "token", "bridge": {"instance": "i-0123456789abcdef0",
        "address": "198.51.100.7", "port": 2222, "host_key": "ssh-ed25519 AAAA", "deadline": "2026-11-23T21:00:00Z"}}"#;

    impl Waiting {
        fn new(session: Option<&'static str>, delivery: Delivery) -> Self {
            Self { session, delivery, told: RefCell::default() }
        }

        fn hear(&self, token: &TaskToken, what: String) -> Result<Delivery, AwsError> {
            assert_eq!(token.reveal(), "token");
            self.told.borrow_mut().push(what);
            Ok(self.delivery)
        }
    }

    impl TaskTokens for Waiting {
        async fn succeed(&self, token: &TaskToken, output: &str) -> Result<Delivery, AwsError> {
            self.hear(token, format!("success {output}"))
        }

        async fn fail(&self, token: &TaskToken, error: &str, cause: &str) -> Result<Delivery, AwsError> {
            self.hear(token, format!("{error} {cause}"))
        }

        async fn heartbeat(&self, token: &TaskToken) -> Result<Delivery, AwsError> {
            self.hear(token, "heartbeat".into())
        }
    }

    impl Parameters for Waiting {
        async fn put(&self, _: &str, _: &str) -> Result<(), AwsError> {
            unreachable!("report keeps nothing")
        }

        async fn get(&self, name: &str) -> Result<Option<String>, AwsError> {
            assert_eq!(name, "/drawbridge/home/home-20261123T203000Z/session");
            Ok(self.session.map(str::to_owned))
        }

        async fn names(&self, _: &str) -> Result<Vec<String>, AwsError> {
            unreachable!("report lists nothing")
        }

        async fn delete(&self, _: &str) -> Result<(), AwsError> {
            unreachable!("report deletes nothing")
        }
    }

    async fn report(aws: &Waiting, report: Value) -> ReportAnswer {
        let settings = ReportSettings { site: "home".parse().unwrap() };
        handle(&settings, aws, json!({"run": "home-20261123T203000Z", "report": report})).await.unwrap()
    }

    #[tokio::test]
    async fn each_report_reaches_the_state_machine_and_a_reason_is_bounded() {
        let aws = Waiting::new(Some(SESSION), Delivery::Accepted);
        let reason = format!("line\n{}", "x".repeat(5000));
        for what in
            [json!({"what": "heartbeat"}), json!({"what": "complete"}), json!({"what": "failed", "reason": reason})]
        {
            assert_eq!(report(&aws, what).await, ReportAnswer::Accepted);
        }
        let told = aws.told.borrow();
        assert_eq!(told[..2], ["heartbeat", "success {}"]);
        assert!(told[2].starts_with("AgentFailed line x") && told[2].len() == "AgentFailed ".len() + 1024);
    }

    #[tokio::test]
    async fn a_run_that_does_not_wait_answers_closed() {
        let late = Waiting::new(Some(SESSION), Delivery::Closed);
        assert_eq!(report(&late, json!({"what": "complete"})).await, ReportAnswer::Closed);
        let early = Waiting::new(None, Delivery::Accepted);
        assert_eq!(report(&early, json!({"what": "complete"})).await, ReportAnswer::Closed);
        assert!(early.told.borrow().is_empty());
    }
}
