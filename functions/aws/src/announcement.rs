//! A box has said that its gate listens: the state machine is told where. `ready` does this when S3 reports the word, and
//! `provision` when it adopts a box that has said so before.

use std::net::Ipv4Addr;

use drawbridge_domain::key::Ed25519Key;
use drawbridge_domain::readiness::{Readiness, decide};
use drawbridge_wire::{BridgeReady, InstanceId, ProvisionRecord, Ready, RunId, Site, ready_key};
use thiserror::Error;

use crate::{Delivery, FunctionError, Instances, Looks, TaskTokens, Vault};

/// The largest word of a box, in bytes. A host key and a version take 150; a box may have been taken over.
const MAX_READY_BYTES: usize = 4096;

/// Where boxes leave their words, and where they listen.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The stack's site.
    pub site: &'a Site,
    /// The vault's bucket.
    pub vault: &'a str,
    /// The gate's TCP port.
    pub port: u16,
}

#[derive(Debug, Error)]
#[error("the vault doesn't hold {0:?}")]
struct NoWord(String);

/// Ends ProvisionJumpBox with what the box `instance` has said. Of a box that is going already nothing is said.
///
/// # Errors
/// When the word isn't there or is none, when EC2 doesn't show all of the box yet, or when AWS fails.
pub async fn announce<A: Instances + TaskTokens + Vault>(
    place: Place<'_>,
    aws: &A,
    looks: Looks,
    run: &RunId,
    instance: &InstanceId,
    record: &ProvisionRecord,
) -> Result<(), FunctionError> {
    let host_key = host_key(place, aws, &ready_key(run, instance)).await?;
    let Some(address) = address(place, aws, looks, run, instance).await? else {
        tracing::info!(%run, %instance, "this box is going already");
        return Ok(());
    };
    let (instance, port, deadline) = (instance.clone(), place.port, record.deadline);
    let bridge = BridgeReady { instance, address, port, host_key: host_key.into(), deadline };
    let output = serde_json::to_string(&bridge).map_err(FunctionError::broken)?;
    match aws.succeed(&record.task_token, &output).await? {
        Delivery::Accepted => tracing::info!(%run, instance = %bridge.instance, %address, "the bridge is down"),
        Delivery::Closed => tracing::info!(%run, instance = %bridge.instance, "said before, or too late"),
    }
    Ok(())
}

async fn host_key<A: Vault>(place: Place<'_>, aws: &A, key: &str) -> Result<Ed25519Key, FunctionError> {
    let word = aws.read(place.vault, key, MAX_READY_BYTES).await?;
    let word = word.ok_or_else(|| FunctionError::invalid(NoWord(key.to_owned())))?;
    let Ready { host_key, .. } = serde_json::from_slice(&word).map_err(FunctionError::invalid)?;
    host_key.parse().map_err(FunctionError::invalid)
}

/// The box's public address; `None` when the box is going.
async fn address<A: Instances>(
    place: Place<'_>,
    aws: &A,
    looks: Looks,
    run: &RunId,
    instance: &InstanceId,
) -> Result<Option<Ipv4Addr>, FunctionError> {
    let mut missing = "it was never looked for";
    let mut look = 0;
    while looks.again(look).await {
        match decide(run, place.site, instance, &aws.of_run(place.site, run).await?) {
            Readiness::Open(address) => return Ok(Some(address)),
            Readiness::Late => return Ok(None),
            Readiness::NotYet(why) => missing = why,
        }
        look += 1;
    }
    Err(FunctionError::NotYetVisible { instance: instance.to_string(), why: missing })
}
