use aws_lambda_events::event::eventbridge::EventBridgeEvent;
use drawbridge_aws::announcement::{Place, announce};
use drawbridge_aws::{FunctionError, Instances, Looks, Parameters, ReadySettings, TaskTokens, Vault, parse};
use drawbridge_domain::parameters;
use drawbridge_wire::{ProvisionRecord, parse_ready_key};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

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
#[error("the event tells of {key:?} in {bucket:?}, which is no box's word in this vault")]
struct Foreign {
    bucket: String,
    key: String,
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
    let (run, instance) = subject.ok_or_else(|| FunctionError::invalid(Foreign { bucket, key }))?;

    let Some(record) = aws.get(&parameters::provision(&settings.site, &run)).await? else {
        tracing::info!(%run, %instance, "nobody waits for this box: its run is over");
        return Ok(());
    };
    let record: ProvisionRecord = serde_json::from_str(&record).map_err(FunctionError::broken)?;
    let place = Place { site: &settings.site, vault: &settings.vault, port: settings.port };
    announce(place, aws, looks, &run, &instance, &record).await?;
    Ok(())
}
