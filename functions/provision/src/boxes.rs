//! A run has one box: this module launches it, or adopts the one that is there, and terminates a second one.

use drawbridge_aws::{AwsError, FunctionError, Instances, Kind, Launch, Looks, ProvisionSettings, removal};
use drawbridge_domain::launch::{Candidate, Plan, decide, surplus};
use drawbridge_domain::tags::Tags;
use drawbridge_wire::{InstanceId, RunId};

/// The run's one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obtained {
    /// Launched by this call, for all that is known.
    Launched(InstanceId),
    /// Launched by an earlier one. It may have said already that it is ready, and nobody heard.
    Adopted(InstanceId),
}

impl Obtained {
    pub(crate) const fn instance(&self) -> &InstanceId {
        match self {
            Self::Launched(instance) | Self::Adopted(instance) => instance,
        }
    }
}

/// The run's one box, whoever launched it.
pub(crate) async fn obtain<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    user_data: &str,
    tags: &Tags,
) -> Result<Obtained, FunctionError> {
    let site = &settings.site;
    let obtained = match decide(run, site, &aws.of_run(site, run).await?, &settings.choices) {
        Plan::Adopt(instance) => Obtained::Adopted(instance),
        Plan::Launch(candidates) => launch(settings, aws, looks, run, user_data, tags, &candidates).await?,
    };
    // An earlier try whose answer was lost may have launched in another zone, and EC2 may have hidden it until now.
    let found = aws.of_run(site, run).await?;
    for extra in surplus(run, site, &found) {
        tracing::warn!(%run, instance = %extra, "a second box of the run is terminated");
        removal::terminate(aws, looks, &extra).await?;
    }
    Ok(match decide(run, site, &found, &settings.choices) {
        Plan::Adopt(kept) if kept != *obtained.instance() => Obtained::Adopted(kept),
        _ => obtained,
    })
}

async fn launch<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    user_data: &str,
    tags: &Tags,
    candidates: &[Candidate],
) -> Result<Obtained, FunctionError> {
    let (template_id, security_group) = (&settings.template_id, &settings.security_group);
    let mut tried = Vec::new();
    for candidate in candidates {
        let error = match aws.launch(&Launch { template_id, candidate, security_group, user_data, tags }).await {
            Ok(instance) => return Ok(Obtained::Launched(instance)),
            Err(error) => error,
        };
        match error.kind() {
            Kind::Capacity => tried.push(format!("{candidate}: {error}")),
            // This token has launched, with a presigned URL of other credentials: it is there, if not yet in sight.
            Kind::AlreadyLaunched => return find(settings, aws, looks, run, error).await.map(Obtained::Adopted),
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
