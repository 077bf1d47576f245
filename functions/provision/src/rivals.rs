//! At most one box a site. `start` opens one run at a time, but its list of open runs may be some seconds old, and a box may
//! outlive its run: so this function looks at EC2 itself, before it launches and after.

use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{Executions, FunctionError, Ingress, Instances, Looks, Parameters, ProvisionSettings};
use drawbridge_domain::destruction::{Fates, Found, dead, overdue, runs_of};
use drawbridge_domain::execution;
use drawbridge_domain::launch::{InstanceState, elder, occupant};
use drawbridge_domain::tags::{Tags, run_of};
use drawbridge_wire::{RunId, Timestamp};

/// Destroys the boxes and rules that runs which are over have left, so that this one neither shares the site with them nor is
/// kept out by them.
///
/// # Errors
/// [`FunctionError::SiteTaken`] when the site's box is that of another open run.
pub(crate) async fn make_way<A: Executions + Ingress + Instances + Parameters>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    now: Timestamp,
) -> Result<(), FunctionError> {
    let site = &settings.site;
    let others = |tags: &Tags| run_of(tags).as_ref() != Some(run);
    let (mut instances, mut rules) = (aws.of_site(site).await?, aws.rules(&settings.security_group).await?);
    rules.retain(|rule| others(&rule.tags));
    let is_ours_there = instances.iter().any(|instance| !others(&instance.tags) && instance.state.is_live());
    let gone = |state| matches!(state, InstanceState::ShuttingDown | InstanceState::Terminated);
    instances.retain(|instance| others(&instance.tags) && !gone(instance.state));
    let mut found = Found { instances, rules, parameters: Vec::new() };

    let mut left = Left::default();
    let condemned = overdue(site, &found, now);
    found = found.without(&condemned.remains);
    let first = carry_out(aws, looks, &settings.security_group, condemned, &mut left).await;

    let mut fates = Fates::new();
    for other in runs_of(site, &found) {
        let arn = execution::arn(&settings.state_machine, other.as_str()).map_err(FunctionError::broken)?;
        fates.insert(other, aws.describe(&arn).await?.map(|execution| execution.status));
    }
    let condemned = dead(site, &found, &fates, now);
    found = found.without(&condemned.remains);
    let then = carry_out(aws, looks, &settings.security_group, condemned, &mut left).await;
    let answer = left.judge(first.and(then))?;
    if !answer.destroyed.is_empty() {
        tracing::warn!(%run, destroyed = ?answer.destroyed, "other runs had left this");
    }
    match occupant(site, &found.instances) {
        Some(occupant) if !is_ours_there => Err(FunctionError::SiteTaken(occupant)),
        _ => Ok(()),
    }
}

/// Two runs may have launched, each before it could see the other's box. The younger one gives way.
///
/// # Errors
/// [`FunctionError::SiteTaken`] when that is `run`.
pub(crate) async fn give_way<A: Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    run: &RunId,
) -> Result<(), FunctionError> {
    match elder(run, &settings.site, &aws.of_site(&settings.site).await?) {
        Some(elder) => Err(FunctionError::SiteTaken(elder)),
        None => Ok(()),
    }
}
