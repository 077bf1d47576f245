//! A run has one box: this module launches it, adopts the one that is there, and takes back what is too much.

use drawbridge_aws::{
    AwsError, FunctionError, Ingress, Instances, Kind, Launch, Looks, Parameters, ProvisionSettings, removal,
};
use drawbridge_domain::launch::{Candidate, Plan, decide, surplus};
use drawbridge_domain::parameters;
use drawbridge_domain::tags::{Tags, is_of_run};
use drawbridge_wire::{InstanceId, RunId};

/// The run's one box, whoever launched it.
pub(crate) async fn obtain<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    user_data: &str,
    tags: &Tags,
) -> Result<InstanceId, FunctionError> {
    let site = &settings.site;
    let instance = match decide(run, site, &aws.of_run(site, run).await?, &settings.choices) {
        Plan::Adopt(instance) => instance,
        Plan::Launch(candidates) => launch(settings, aws, looks, run, user_data, tags, &candidates).await?,
    };
    // An earlier try whose answer was lost may have launched in another zone, and EC2 may have hidden it until now.
    for extra in surplus(run, site, &aws.of_run(site, run).await?) {
        tracing::warn!(%run, instance = %extra, "a second box of the run is terminated");
        removal::terminate(aws, looks, &extra).await?;
    }
    Ok(instance)
}

async fn launch<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    user_data: &str,
    tags: &Tags,
    candidates: &[Candidate],
) -> Result<InstanceId, FunctionError> {
    let (template_id, security_group) = (&settings.template_id, &settings.security_group);
    let mut tried = Vec::new();
    for candidate in candidates {
        let error = match aws.launch(&Launch { template_id, candidate, security_group, user_data, tags }).await {
            Ok(instance) => return Ok(instance),
            Err(error) => error,
        };
        match error.kind() {
            Kind::Capacity => tried.push(format!("{candidate}: {error}")),
            // This token has launched, with a presigned URL of other credentials: it is there, if not yet in sight.
            Kind::AlreadyLaunched => return find(settings, aws, looks, run, error).await,
            // There may be a box now. Trying elsewhere could make it two.
            _ => return Err(error.into()),
        }
    }
    Err(FunctionError::OutOfCapacity { tried })
}

async fn find<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    error: AwsError,
) -> Result<InstanceId, FunctionError> {
    let mut look = 0;
    while looks.again(look).await {
        let found = aws.of_run(&settings.site, run).await?;
        if let Plan::Adopt(instance) = decide(run, &settings.site, &found, &settings.choices) {
            return Ok(instance);
        }
        look += 1;
    }
    Err(error.into())
}

/// Takes back everything that was made for a run that is over. Each step is tried, whatever became of the others.
pub(crate) async fn undo<A: Ingress + Instances + Parameters>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    instance: &InstanceId,
    why: &FunctionError,
) -> Result<(), FunctionError> {
    tracing::warn!(%run, %instance, ?why, "taken back");
    let mut left = Vec::new();
    if let Err(error) = removal::terminate(aws, looks, instance).await {
        left.push(format!("instance {instance}: {error}"));
    }
    if let Err(error) = close_door(settings, aws, run).await {
        left.push(format!("rules of {}: {error}", settings.security_group));
    }
    let parameter = parameters::provision(&settings.site, run);
    if let Err(error) = aws.delete(&parameter).await {
        left.push(format!("parameter {parameter}: {error}"));
    }
    if left.is_empty() { Ok(()) } else { Err(FunctionError::DestroyIncomplete { left }) }
}

async fn close_door<A: Ingress>(settings: &ProvisionSettings, aws: &A, run: &RunId) -> Result<(), AwsError> {
    let rules = aws.rules(&settings.security_group).await?;
    for rule in rules.iter().filter(|rule| is_of_run(&rule.tags, &settings.site, run)) {
        removal::revoke(aws, &settings.security_group, &rule.id).await?;
    }
    Ok(())
}
