use std::time::Duration;

use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{AwsError, DestroySettings, Executions, FunctionError, Ingress, Instances, Looks, Parameters};
use drawbridge_domain::destruction::{self, Found};
use drawbridge_domain::execution::Status;
use drawbridge_domain::launch::Instance;
use drawbridge_domain::notice::{self, End};
use drawbridge_domain::{execution, parameters};
use drawbridge_wire::{DestroyAnswer, RunId, Timestamp};
use serde_json::Value;
use tokio::join;

use crate::request::{self, Request};
use crate::sweep::sweep;

/// How long to wait for what may not come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For boxes out of sight.
    pub(crate) looks: Looks,
    /// For Step Functions to say what became of all the runs of which something is left.
    pub(crate) fates: Duration,
}

/// Looks and deeds are tried one by one; one that fails is named at the end and stops none of the others.
///
/// Who is called by an event or by the schedule answers to a rule, which carries the notice to the topic. An event that comes
/// twice makes two notices of the same end.
pub(crate) async fn handle<A>(
    settings: &DestroySettings,
    aws: &A,
    patience: Patience,
    event: Value,
    now: Timestamp,
) -> Result<DestroyAnswer, FunctionError>
where
    A: Executions + Ingress + Instances + Parameters,
{
    // Boxed, because the compiler gives up on futures that are nested as deeply as these.
    match request::read(event, &settings.state_machine)? {
        Request::Run(run) => Box::pin(destroy_run(settings, aws, patience.looks, &run)).await,
        Request::Ended { run, end } => {
            let answer = Box::pin(destroy_run(settings, aws, patience.looks, &run)).await?;
            let notice = notice_of(settings, aws, &run, end, &answer).await;
            Ok(DestroyAnswer { notice, ..answer })
        }
        Request::Sweep => Box::pin(sweep(settings, aws, patience, now)).await,
    }
}

async fn destroy_run<A>(
    settings: &DestroySettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
) -> Result<DestroyAnswer, FunctionError>
where
    A: Ingress + Instances + Parameters,
{
    let mut left = Left::default();
    let folder = parameters::run_folder(&settings.site, run);
    let group = &settings.security_group;
    let (instances, rules, parameters) = join!(boxes(settings, aws, looks, run), aws.rules(group), aws.names(&folder));
    let found = Found {
        instances: left.keep(instances, "instances").unwrap_or_default(),
        rules: left.keep(rules, "security group rules").unwrap_or_default(),
        parameters: left.keep(parameters, "parameters").unwrap_or_default(),
    };
    let condemned = destruction::of_run(run, &settings.site, &found);
    let answer = carry_out(aws, looks, group, condemned, &mut left).await;
    tracing::info!(%run, ?answer, ?left, "destroyed");
    left.judge(answer)
}

/// The run's boxes. None at the first look may be one that was launched a moment ago.
async fn boxes<A: Instances>(
    settings: &DestroySettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
) -> Result<Vec<Instance>, AwsError> {
    let (mut found, mut look) = (Vec::new(), 0);
    while found.is_empty() && looks.again(look).await {
        found = aws.of_run(&settings.site, run).await?;
        look += 1;
    }
    Ok(found)
}

/// What is told of a run's end. A run that failed has told it itself, in its last state, and is told of again only when it had
/// left something.
async fn notice_of<A: Executions>(
    settings: &DestroySettings,
    aws: &A,
    run: &RunId,
    mut end: End,
    answer: &DestroyAnswer,
) -> Option<String> {
    let has_told = matches!(end.status, Status::Failed | Status::Succeeded);
    if has_told && answer.destroyed.is_empty() {
        return None;
    }
    if !end.says_why()
        && let Ok(arn) = execution::arn(&settings.state_machine, run.as_str())
        // Nobody's box waits for this any more, and without it the notice lacks a cause.
        && let Ok(Some(execution)) = aws.describe(&arn).await
        && execution.status == end.status
    {
        end = End::from(&execution);
    }
    Some(notice::with_left(&notice::of_run(run, Some(&end), &answer.found, &answer.destroyed), None))
}
