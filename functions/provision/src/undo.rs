//! Taking back what was made for a run that is over.

use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{FunctionError, Ingress, Instances, Looks, Parameters, ProvisionSettings};
use drawbridge_domain::destruction::{Found, of_run};
use drawbridge_domain::parameters;
use drawbridge_wire::{DestroyAnswer, RunId};

/// Destroys the run's boxes, its rule and its parameter, found by their tags and by name: a launch whose answer was lost has
/// told nobody its id. Each step is tried, whatever became of the others. Answers `why`, and behind it what couldn't be destroyed.
pub(crate) async fn undo<A: Ingress + Instances + Parameters>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    why: FunctionError,
) -> FunctionError {
    tracing::warn!(%run, ?why, "taken back");
    let (site, group) = (&settings.site, &settings.security_group);
    let (mut left, mut taken) = (Left::default(), DestroyAnswer::default());
    let mut found = Found {
        instances: Vec::new(),
        rules: left.keep(aws.rules(group).await, "security group rules").unwrap_or_default(),
        parameters: vec![parameters::provision(site, run)],
    };
    // All the looks, whatever the first ones show: beside the box in sight there may be one that was launched a moment ago.
    // A look that fails is made good by a later one.
    let (mut look, mut last) = (0, Ok(()));
    while looks.again(look).await {
        last = aws.of_run(site, run).await.map(|instances| found.instances = instances);
        let condemned = of_run(run, site, &found.without(&taken.found));
        taken = taken.and(carry_out(aws, looks, group, condemned, &mut left).await);
        look += 1;
    }
    left.keep(last, "instances");
    match left.judge(taken) {
        Ok(_) => why,
        Err(left) => FunctionError::NotTakenBack { why: why.into(), left: left.into() },
    }
}
