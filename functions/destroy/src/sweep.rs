//! The sweeper: it looks at EC2 and not at any state of ours, and tells of what nobody else has destroyed.

use std::collections::BTreeMap;

use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{DestroySettings, Executions, FunctionError, Ingress, Instances, Parameters};
use drawbridge_domain::destruction::{self, Found};
use drawbridge_domain::execution::{Execution, arn};
use drawbridge_domain::notice::{self, End};
use drawbridge_domain::parameters;
use drawbridge_wire::{DestroyAnswer, RunId, Timestamp};
use futures::future::join_all;
use tokio::join;
use tokio::time::timeout;

use crate::handler::Patience;

/// What Step Functions shows of each run, or why it shows nothing.
type LookedUp = BTreeMap<RunId, Result<Option<Execution>, String>>;

/// Destroys everything of every run that is over or past its deadline. A sweep that destroyed something says so even when
/// something is left, since the next one will find no trace of it; one that only failed fails.
pub(crate) async fn sweep<A>(
    settings: &DestroySettings,
    aws: &A,
    patience: Patience,
    now: Timestamp,
) -> Result<DestroyAnswer, FunctionError>
where
    A: Executions + Ingress + Instances + Parameters,
{
    let (site, group) = (&settings.site, &settings.security_group);
    let mut left = Left::default();
    let found = of_site(settings, aws, &mut left).await;
    // What is past its deadline goes whatever became of its run, and so before anybody is asked about that.
    let overdue = destruction::overdue(site, &found, now);
    let first = carry_out(aws, patience.looks, group, overdue, &mut left).await;
    let rest = found.without(&first.found);
    let looked_up = look_up(settings, aws, patience, &found).await;
    for run in destruction::runs_of(site, &rest) {
        if let Some(Err(why)) = looked_up.get(&run) {
            left.keep(Err::<(), _>(why), run.as_str());
        }
    }
    let known = looked_up.iter().filter_map(|(run, shown)| Some((run.clone(), shown.as_ref().ok()?)));
    let fates = known.map(|(run, shown)| (run, shown.as_ref().map(|execution| execution.status))).collect();
    let dead = destruction::dead(site, &rest, &fates, now);
    let answer = first.and(carry_out(aws, patience.looks, group, dead, &mut left).await);
    tracing::info!(?answer, ?left, "swept");
    if answer.destroyed.is_empty() {
        return left.judge(answer);
    }
    let ends =
        looked_up.iter().filter_map(|(run, shown)| Some((run.clone(), End::from(shown.as_ref().ok()?.as_ref()?))));
    let told = notice::of_sweep(site, &found, &ends.collect(), &answer.destroyed);
    let left = left.judge(answer.clone()).err().map(|left| left.chain());
    Ok(DestroyAnswer { notice: Some(notice::with_left(&told, left.as_deref())), ..answer })
}

async fn of_site<A: Ingress + Instances + Parameters>(settings: &DestroySettings, aws: &A, left: &mut Left) -> Found {
    let folder = parameters::site_folder(&settings.site);
    let (instances, rules, parameters) =
        join!(aws.of_site(&settings.site), aws.rules(&settings.security_group), aws.names(&folder));
    Found {
        instances: left.keep(instances, "instances").unwrap_or_default(),
        rules: left.keep(rules, "security group rules").unwrap_or_default(),
        parameters: left.keep(parameters, "parameters").unwrap_or_default(),
    }
}

/// What became of every run that something was found of: all asked at once, since one that hangs must not use up the time of
/// the others. One that can't be looked up is spared until its deadline.
async fn look_up<A: Executions>(settings: &DestroySettings, aws: &A, patience: Patience, found: &Found) -> LookedUp {
    let asked = destruction::runs_of(&settings.site, found).into_iter().map(async |run| {
        let shown = match arn(&settings.state_machine, run.as_str()) {
            Ok(arn) => match timeout(patience.fates, aws.describe(&arn)).await {
                Ok(described) => described.map_err(|error| error.to_string()),
                Err(_) => Err(format!("states:DescribeExecution has not answered for {:?}", patience.fates)),
            },
            Err(error) => Err(error.to_string()),
        };
        (run, shown)
    });
    join_all(asked).await.into_iter().collect()
}
