use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{AwsError, DestroySettings, Executions, FunctionError, Ingress, Instances, Looks, Parameters};
use drawbridge_domain::destruction::{self, Fates, Found};
use drawbridge_domain::launch::Instance;
use drawbridge_domain::{execution, parameters};
use drawbridge_wire::{DestroyAnswer, DestroyRequest, RunId, Timestamp};
use serde_json::Value;

use crate::request;

/// Looks and deeds are tried one by one; one that fails is named at the end and stops none of the others.
pub(crate) async fn handle<A>(
    settings: &DestroySettings,
    aws: &A,
    looks: Looks,
    event: Value,
    now: Timestamp,
) -> Result<DestroyAnswer, FunctionError>
where
    A: Executions + Ingress + Instances + Parameters,
{
    let mut left = Left::default();
    let request = request::read(event, &settings.state_machine)?;
    let condemned = match &request {
        DestroyRequest::Run(run) => {
            let found = of_run(settings, aws, looks, run, &mut left).await;
            destruction::of_run(run, &settings.site, &found)
        }
        DestroyRequest::Sweep {} => {
            let found = of_site(settings, aws, &mut left).await;
            let fates = fates(settings, aws, &found, &mut left).await;
            destruction::sweep(&settings.site, &found, &fates, now)
        }
    };
    let answer = carry_out(aws, looks, &settings.security_group, condemned, &mut left).await;
    tracing::info!(?request, ?answer, ?left, "destroyed");
    left.judge(answer)
}

async fn of_run<A>(settings: &DestroySettings, aws: &A, looks: Looks, run: &RunId, left: &mut Left) -> Found
where
    A: Ingress + Instances + Parameters,
{
    let folder = parameters::run_folder(&settings.site, run);
    Found {
        rules: left.keep(aws.rules(&settings.security_group).await, "security group rules").unwrap_or_default(),
        parameters: left.keep(aws.names(&folder).await, "parameters").unwrap_or_default(),
        instances: left.keep(boxes(settings, aws, looks, run).await, "instances").unwrap_or_default(),
    }
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

async fn of_site<A: Ingress + Instances + Parameters>(settings: &DestroySettings, aws: &A, left: &mut Left) -> Found {
    let folder = parameters::site_folder(&settings.site);
    Found {
        instances: left.keep(aws.of_site(&settings.site).await, "instances").unwrap_or_default(),
        rules: left.keep(aws.rules(&settings.security_group).await, "security group rules").unwrap_or_default(),
        parameters: left.keep(aws.names(&folder).await, "parameters").unwrap_or_default(),
    }
}

/// What became of every run that something was found of. One that can't be looked up is left out, and thereby spared
/// until its deadline.
async fn fates<A: Executions>(settings: &DestroySettings, aws: &A, found: &Found, left: &mut Left) -> Fates {
    let mut fates = Fates::new();
    for run in destruction::runs_of(&settings.site, found) {
        let described = match execution::arn(&settings.state_machine, run.as_str()) {
            Ok(arn) => left.keep(aws.describe(&arn).await, run.as_str()),
            Err(error) => left.keep(Err(error), run.as_str()),
        };
        if let Some(execution) = described {
            fates.insert(run, execution.map(|execution| execution.status));
        }
    }
    fates
}
