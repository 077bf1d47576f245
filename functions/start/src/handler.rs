use drawbridge_aws::{Executions, FunctionError, Kind, StartSettings, parse};
use drawbridge_domain::admission::{OpenRun, Plan, Start, decide, started, taken};
use drawbridge_domain::execution::{Execution, Status, arn};
use drawbridge_domain::usual::{LOOKED_AT, Past, weigh};
use drawbridge_wire::{RunId, StartAnswer, StartRequest, Timestamp};
use futures::future::try_join_all;
use serde_json::Value;

pub(crate) async fn handle<A: Executions>(
    settings: &StartSettings,
    aws: &A,
    event: Value,
    now: Timestamp,
) -> Result<StartAnswer, FunctionError> {
    let request: StartRequest = parse(event)?;
    let open = open_runs(settings, aws).await?;
    let begun = aws.begun(&settings.state_machine, settings.limits.max_runs_per_day).await?;
    let plan = decide(&request, &settings.limits, &open, &begun, now).map_err(FunctionError::invalid)?;
    let answer = match plan {
        Plan::Answer(answer) => answer,
        Plan::Start(mut start) => {
            start.input.unusual = weigh(&start.input, &past(settings, aws).await?);
            begin(settings, aws, &start).await?
        }
    };
    tracing::info!(repository = %request.repository, objects = request.objects, bytes = request.bytes, ?answer, "asked");
    Ok(answer)
}

async fn open_runs<A: Executions>(settings: &StartSettings, aws: &A) -> Result<Vec<OpenRun>, FunctionError> {
    let mut open = Vec::new();
    for listed in aws.running(&settings.state_machine).await? {
        let Ok(run) = listed.name.parse() else { return Err(FunctionError::ForeignExecution(listed.name)) };
        // What has ended since it was listed stands in nobody's way.
        if let Some(execution) = aws.describe(&listed.arn).await?
            && execution.status == Status::Running
        {
            open.push(open_run(run, &execution));
        }
    }
    Ok(open)
}

/// The last verified runs, the newest first. All are looked up at once: the agent waits for the answer.
async fn past<A: Executions>(settings: &StartSettings, aws: &A) -> Result<Vec<Past>, FunctionError> {
    let listed = aws.succeeded(&settings.state_machine, LOOKED_AT).await?;
    let described = try_join_all(listed.iter().map(|one| aws.describe(&one.arn))).await?;
    Ok(described.iter().flatten().filter_map(Past::of).collect())
}

async fn begin<A: Executions>(settings: &StartSettings, aws: &A, start: &Start) -> Result<StartAnswer, FunctionError> {
    let (machine, limits) = (&settings.state_machine, &settings.limits);
    let input = serde_json::to_string(&start.input).map_err(FunctionError::broken)?;
    let answer = match aws.begin(machine, &start.run, &input).await {
        Ok(started_at) => started(&start.run, &start.input, started_at, limits),
        Err(error) if error.kind() == Kind::AlreadyExists => {
            let arn = arn(machine, start.run.as_str()).map_err(FunctionError::broken)?;
            match aws.describe(&arn).await? {
                Some(theirs) if theirs.status == Status::Running => {
                    taken(&open_run(start.run.clone(), &theirs), &start.input, limits)
                }
                _ => Ok(StartAnswer::TooSoon { retry_after: start.next_slot }),
            }
        }
        Err(error) => return Err(error.into()),
    };
    answer.map_err(FunctionError::broken)
}

fn open_run(run: RunId, execution: &Execution) -> OpenRun {
    let input = execution.input.as_deref().and_then(|input| serde_json::from_str(input).ok());
    OpenRun { run, started_at: execution.started_at, input }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use drawbridge_aws::{AwsError, Environment, Listed};
    use drawbridge_wire::Unusual;
    use serde_json::json;

    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
    const OTHER_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMmvmmPAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    const PAST: &str = "arn:aws:states:eu-central-1:123456789012:execution:backup";

    /// Step Functions whose list doesn't show yet what was just begun.
    #[derive(Default)]
    struct BlindList(RefCell<BTreeMap<String, Execution>>);

    impl Executions for BlindList {
        async fn running(&self, _: &str) -> Result<Vec<Listed>, AwsError> {
            Ok(Vec::new())
        }

        async fn succeeded(&self, _: &str, count: u32) -> Result<Vec<Listed>, AwsError> {
            let executions = self.0.borrow();
            let succeeded = executions.iter().rev().filter(|(_, execution)| execution.status == Status::Succeeded);
            let listed = succeeded.map(|(name, _)| Listed { name: name.clone(), arn: format!("{PAST}:{name}") });
            Ok(listed.take(count.try_into().unwrap()).collect())
        }

        async fn begun(&self, _: &str, _: u32) -> Result<Vec<Timestamp>, AwsError> {
            Ok(Vec::new())
        }

        async fn begin(&self, _: &str, run: &RunId, input: &str) -> Result<Timestamp, AwsError> {
            let began = now();
            let mut executions = self.0.borrow_mut();
            let taken = executions.get(run.as_str());
            if taken.is_some_and(|other| other.status != Status::Running || other.input.as_deref() != Some(input)) {
                return Err(AwsError::of_kind("states:StartExecution", Kind::AlreadyExists));
            }
            let execution = Execution {
                status: Status::Running,
                started_at: began,
                input: Some(input.to_owned()),
                output: None,
                error: None,
                cause: None,
            };
            executions.insert(run.to_string(), execution);
            Ok(began)
        }

        async fn describe(&self, arn: &str) -> Result<Option<Execution>, AwsError> {
            Ok(self.0.borrow().get(arn.rsplit_once(':').unwrap().1).cloned())
        }
    }

    fn now() -> Timestamp {
        "2026-11-23T20:31:00Z".parse().unwrap()
    }

    fn settings() -> StartSettings {
        let read = |name: &str| {
            let value = match name {
                "DRAWBRIDGE_SITE" => "home",
                "DRAWBRIDGE_STATE_MACHINE_ARN" => "arn:aws:states:eu-central-1:123456789012:stateMachine:backup",
                "DRAWBRIDGE_ALLOWED_CIDR" => "0.0.0.0/0",
                "DRAWBRIDGE_GENERATION" => "month",
                "DRAWBRIDGE_HEARTBEAT_SECONDS" => "60",
                "DRAWBRIDGE_MAX_BYTES" => "100000000",
                _ => "900",
            };
            Some(value.to_owned())
        };
        StartSettings::read(&Environment::new(&read)).unwrap()
    }

    async fn ask(aws: &BlindList, key: &str) -> StartAnswer {
        ask_for(aws, key, 10).await
    }

    async fn ask_for(aws: &BlindList, key: &str, bytes: u64) -> StartAnswer {
        let request = json!({
            "public_key": key, "repository": "0123456789abcdef", "objects": 1, "bytes": bytes,
            "manifest_sha256": "00".repeat(32),
        });
        handle(&settings(), aws, request, now()).await.unwrap()
    }

    #[tokio::test]
    async fn a_slot_that_looked_free_and_was_not_is_busy_or_over_and_its_own_request_gets_it_again() {
        let aws = BlindList::default();
        let first = ask(&aws, KEY).await;
        assert!(matches!(first, StartAnswer::Started { .. }));
        assert_eq!(ask(&aws, KEY).await, first);
        assert!(matches!(ask(&aws, OTHER_KEY).await, StartAnswer::Busy { .. }));
        aws.0.borrow_mut().values_mut().for_each(|execution| execution.status = Status::Failed);
        for key in [KEY, OTHER_KEY] {
            let retry_after = "2026-11-23T20:45:00Z".parse().unwrap();
            assert_eq!(ask(&aws, key).await, StartAnswer::TooSoon { retry_after });
        }
    }

    /// Verified nights of 2 MiB each, after a first one that carried everything.
    fn quiet_nights() -> BlindList {
        const MIB: u64 = 1024 * 1024;
        let night = |number: u64| {
            let bytes = if number == 0 { 500 * MIB } else { 2 * MIB };
            let input = json!({
                "repository": "2026-11-0123456789abcdef", "public_key": KEY, "source_cidr": "0.0.0.0/0", "objects": 1,
                "bytes": bytes, "manifest_sha256": "00".repeat(32), "window_seconds": 600,
            });
            let execution = Execution {
                status: Status::Succeeded,
                started_at: now(),
                input: Some(input.to_string()),
                output: None,
                error: None,
                cause: None,
            };
            (format!("home-202611{:02}T203000Z", number + 1), execution)
        };
        BlindList(RefCell::new((0..5).map(night).collect()))
    }

    #[tokio::test]
    async fn ten_times_the_usual_is_let_through_and_told_and_the_same_request_again_is_the_same_run() {
        let aws = quiet_nights();
        let flagged = ask_for(&aws, KEY, 20 << 20).await;
        let usual = Some(Unusual { usual_bytes: 2 << 20 });
        assert!(matches!(flagged, StartAnswer::Started { unusual, .. } if unusual == usual), "{flagged:?}");
        let kept = aws.0.borrow().get("home-20261123T203000Z").cloned().unwrap();
        assert!(kept.input.unwrap().contains(r#""unusual":{"usual_bytes":2097152}"#));
        // Another run has ended since, and the usual is another one.
        aws.0.borrow_mut().retain(|_, execution| execution.status == Status::Running);
        assert_eq!(ask_for(&aws, KEY, 20 << 20).await, flagged);
    }

    #[tokio::test]
    async fn what_is_usual_is_not_told() {
        let plain = ask_for(&quiet_nights(), KEY, (20 << 20) - 1).await;
        assert!(matches!(plain, StartAnswer::Started { unusual: None, .. }), "{plain:?}");
    }
}
