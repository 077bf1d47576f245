use std::path::{Path, PathBuf};

use bytes::Bytes;
use drawbridge_aws::announcement::{Place, announce};
use drawbridge_aws::{
    Artifacts, Executions, FunctionError, Ingress, Instances, Kind, Looks, Opening, Parameters, ProvisionSettings,
    TaskTokens, Vault, parse,
};
use drawbridge_domain::box_config;
use drawbridge_domain::hash::sha256;
use drawbridge_domain::launch::check_open;
use drawbridge_domain::retention::renew_before;
use drawbridge_domain::tags::{self, Tags, is_of_run};
use drawbridge_domain::{parameters, user_data, window};
use drawbridge_wire::{InstanceId, ProvisionEvent, ProvisionRecord, RunId, Sha256Digest, Timestamp, ready_key};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::boxes::{self, Obtained};
use crate::rivals;
use crate::undo::undo;

/// The gate's program, read and hashed once a process.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) program: Bytes,
    pub(crate) sha256: Sha256Digest,
}

/// The package lacks the gate.
#[derive(Debug, Error)]
#[error("the gate's program can't be read from {path}: {source}")]
pub(crate) struct NoGate {
    path: PathBuf,
    source: std::io::Error,
}

impl Gate {
    pub(crate) fn load(path: &Path) -> Result<Self, NoGate> {
        let program = std::fs::read(path).map_err(|source| NoGate { path: path.to_owned(), source })?;
        Ok(Self { sha256: sha256(&program), program: program.into() })
    }
}

/// What `provision` did, for the one who reads its log; the state machine waits for `ready` and not for this.
#[derive(Debug, Serialize)]
pub(crate) struct Provisioned {
    pub(crate) instance: InstanceId,
    pub(crate) deadline: Timestamp,
}

/// Every effect is something that `destroy` finds by tag or by name, so what a failure leaves behind is not lost.
pub(crate) async fn handle<A>(
    settings: &ProvisionSettings,
    gate: &Gate,
    aws: &A,
    looks: Looks,
    event: Value,
    clock: impl Fn() -> Timestamp,
) -> Result<Provisioned, FunctionError>
where
    A: Artifacts + Executions + Ingress + Instances + Parameters + TaskTokens + Vault,
{
    let event: ProvisionEvent = parse(event)?;
    let deadline =
        window::deadline(event.started_at, settings.boot_seconds, &event.input).map_err(FunctionError::invalid)?;
    check_run(aws, &event, deadline, clock()).await?;

    let why = match provision(settings, gate, aws, looks, &event, deadline, &clock).await {
        Ok(provisioned) => return Ok(provisioned),
        Err(why) => why,
    };
    // An abort doesn't stop this function, and the run's own `destroy` may have looked before the launch: so whatever failed,
    // and whether or not it took effect, nothing stays that nobody waits for. Of a run that goes on everything stays, for the
    // state machine tries again, or destroys it; only a run that gives way to another one goes at once.
    let ends_here =
        matches!(why, FunctionError::RunIsOver { .. } | FunctionError::UnknownRun(_) | FunctionError::SiteTaken(_));
    if ends_here || check_run(aws, &event, deadline, clock()).await.is_err() {
        return Err(undo(settings, aws, looks, &event.run, why).await);
    }
    Err(why)
}

async fn provision<A>(
    settings: &ProvisionSettings,
    gate: &Gate,
    aws: &A,
    looks: Looks,
    event: &ProvisionEvent,
    deadline: Timestamp,
    clock: impl Fn() -> Timestamp,
) -> Result<Provisioned, FunctionError>
where
    A: Artifacts + Executions + Ingress + Instances + Parameters + TaskTokens + Vault,
{
    let record = keep_token(settings, aws, event, deadline).await?;
    rivals::make_way(settings, aws, looks, &event.run, clock()).await?;
    let tags = tags::of_run(&settings.site, &event.run, deadline);
    let script = script(settings, gate, aws, event, deadline, clock()).await?;
    open_door(settings, aws, event, &tags).await?;
    let obtained = boxes::obtain(settings, aws, looks, &event.run, &script, &tags).await?;
    let instance = obtained.instance();
    check_launched(settings, aws, event, deadline, clock()).await?;
    tracing::info!(run = %event.run, %instance, %deadline, "provisioned");
    if let Obtained::Adopted(instance) = &obtained {
        hear_again(settings, aws, looks, &event.run, instance, &record).await?;
    }
    Ok(Provisioned { instance: instance.clone(), deadline })
}

async fn check_launched<A: Executions + Instances>(
    settings: &ProvisionSettings,
    aws: &A,
    event: &ProvisionEvent,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<(), FunctionError> {
    check_run(aws, event, deadline, now).await?;
    rivals::give_way(settings, aws, &event.run).await
}

async fn check_run<A: Executions>(
    aws: &A,
    event: &ProvisionEvent,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<(), FunctionError> {
    match aws.describe(&event.execution_arn).await? {
        None => Err(FunctionError::UnknownRun(event.run.to_string())),
        Some(execution) => check_open(&execution, deadline, now)
            .map_err(|why| FunctionError::RunIsOver { run: event.run.clone(), why }),
    }
}

async fn keep_token<A: Parameters>(
    settings: &ProvisionSettings,
    aws: &A,
    event: &ProvisionEvent,
    deadline: Timestamp,
) -> Result<ProvisionRecord, FunctionError> {
    let record = ProvisionRecord { task_token: event.task_token.clone(), deadline };
    let json = serde_json::to_string(&record).map_err(FunctionError::broken)?;
    aws.put(&parameters::provision(&settings.site, &event.run), &json).await?;
    Ok(record)
}

/// A box that an earlier try launched may have said that it is ready while only that try's token was kept, and it says so
/// once. A word that comes from now on is `ready`'s business, which finds the new token.
async fn hear_again<A: Instances + TaskTokens + Vault>(
    settings: &ProvisionSettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    instance: &InstanceId,
    record: &ProvisionRecord,
) -> Result<(), FunctionError> {
    let word = ready_key(run, instance);
    // A list, because S3 answers 403 to a GET of what isn't there, unless one may list the whole bucket.
    if aws.list(&settings.vault, &word).await?.contains(&word) {
        let place = Place { site: &settings.site, vault: &settings.vault, port: settings.port };
        announce(place, aws, looks, run, instance, record).await?;
    }
    Ok(())
}

async fn script<A: Artifacts>(
    settings: &ProvisionSettings,
    gate: &Gate,
    aws: &A,
    event: &ProvisionEvent,
    deadline: Timestamp,
    now: Timestamp,
) -> Result<String, FunctionError> {
    let renew_before = renew_before(now, settings.expire_days).map_err(FunctionError::broken)?;
    aws.deposit(&settings.vault, gate.program.clone(), &gate.sha256, renew_before).await?;
    let place = box_config::Place {
        gate_url: aws.presign(&settings.vault, &gate.sha256, event.started_at, deadline).await?,
        gate_sha256: gate.sha256,
        region: &settings.region,
        vault: &settings.vault,
        port: settings.port,
    };
    user_data::render(&box_config::of_run(event, place, deadline)).map_err(FunctionError::broken)
}

/// Admits the run's agent. A rule that does so already is right only if it is this run's: another's would go with that
/// run, or never.
async fn open_door<A: Ingress>(
    settings: &ProvisionSettings,
    aws: &A,
    event: &ProvisionEvent,
    tags: &Tags,
) -> Result<(), FunctionError> {
    let (group, cidr, port) = (&settings.security_group, event.input.source_cidr, settings.port);
    let error = match aws.open(&Opening { group, cidr, port, tags }).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if error.kind() != Kind::AlreadyExists {
        return Err(error.into());
    }
    let rules = aws.rules(group).await?;
    let text = cidr.to_string();
    match rules.into_iter().find(|rule| rule.cidr.as_ref() == Some(&text) && rule.port == Some(port)) {
        Some(rule) if is_of_run(&rule.tags, &settings.site, &event.run) => Ok(()),
        Some(rule) => Err(FunctionError::IngressTaken { rule: rule.id, cidr: text }),
        None => Err(error.into()),
    }
}
