use std::net::Ipv4Addr;

use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use drawbridge_aws::{Delivery, FunctionError, Instances, Looks, Parameters, ReadySettings, TaskTokens, Vault, parse};
use drawbridge_domain::key::Ed25519Key;
use drawbridge_domain::parameters;
use drawbridge_domain::readiness::{Readiness, decide};
use drawbridge_wire::{BridgeReady, InstanceId, ProvisionRecord, Ready, RunId, parse_ready_key};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

/// The largest word of a box, in bytes. A host key and a version take 150; a box may have been taken over.
const MAX_READY_BYTES: usize = 4096;

/// The part of S3's "Object Created" that matters. Source: "EventBridge event message structure" in the S3 user guide.
#[derive(Debug, Deserialize, Serialize)]
struct ObjectCreated {
    bucket: Bucket,
    object: Object,
}

#[derive(Debug, Deserialize, Serialize)]
struct Bucket {
    name: String,
}

#[derive(Debug, Deserialize, Serialize)]
struct Object {
    key: String,
}

#[derive(Debug, Error)]
enum WrongEvent {
    #[error("the event tells of {key:?} in {bucket:?}, which is no box's word in this vault")]
    Foreign { bucket: String, key: String },
    #[error("the vault doesn't hold {0:?}, which the event tells of")]
    Gone(String),
}

pub(crate) async fn handle<A>(
    settings: &ReadySettings,
    aws: &A,
    looks: Looks,
    event: Value,
) -> Result<(), FunctionError>
where
    A: Instances + Parameters + TaskTokens + Vault,
{
    let event: EventBridgeEvent<ObjectCreated> = parse(event)?;
    let ObjectCreated { bucket: Bucket { name: bucket }, object: Object { key } } = event.detail;
    let subject = parse_ready_key(&key).filter(|_| bucket == settings.vault);
    let (run, instance) =
        subject.ok_or_else(|| FunctionError::invalid(WrongEvent::Foreign { bucket, key: key.clone() }))?;

    let Some(record) = aws.get(&parameters::provision(&settings.site, &run)).await? else {
        tracing::info!(%run, %instance, "nobody waits for this box: its run is over");
        return Ok(());
    };
    let ProvisionRecord { task_token, deadline } = serde_json::from_str(&record).map_err(FunctionError::broken)?;
    let host_key = host_key(settings, aws, &key).await?;
    let Some(address) = address(settings, aws, looks, &run, &instance).await? else {
        tracing::info!(%run, %instance, "this box is going already");
        return Ok(());
    };

    let bridge = BridgeReady { instance, address, port: settings.port, host_key: host_key.into(), deadline };
    let output = serde_json::to_string(&bridge).map_err(FunctionError::broken)?;
    match aws.succeed(&task_token, &output).await? {
        Delivery::Accepted => tracing::info!(%run, instance = %bridge.instance, %address, "the bridge is down"),
        Delivery::Closed => tracing::info!(%run, instance = %bridge.instance, "said before, or too late"),
    }
    Ok(())
}

async fn host_key<A: Vault>(settings: &ReadySettings, aws: &A, key: &str) -> Result<Ed25519Key, FunctionError> {
    let word = aws.read(&settings.vault, key, MAX_READY_BYTES).await?;
    let word = word.ok_or_else(|| FunctionError::invalid(WrongEvent::Gone(key.to_owned())))?;
    let Ready { host_key, .. } = serde_json::from_slice(&word).map_err(FunctionError::invalid)?;
    host_key.parse().map_err(FunctionError::invalid)
}

/// The box's public address; `None` when the box is going.
async fn address<A: Instances>(
    settings: &ReadySettings,
    aws: &A,
    looks: Looks,
    run: &RunId,
    instance: &InstanceId,
) -> Result<Option<Ipv4Addr>, FunctionError> {
    let mut missing = "it was never looked for";
    let mut look = 0;
    while looks.again(look).await {
        match decide(run, &settings.site, instance, &aws.of_run(&settings.site, run).await?) {
            Readiness::Open(address) => return Ok(Some(address)),
            Readiness::Late => return Ok(None),
            Readiness::NotYet(why) => missing = why,
        }
        look += 1;
    }
    Err(FunctionError::NotYetVisible { instance: instance.to_string(), why: missing })
}
