//! What runs declared: this one, and for what its manifest doesn't name, those before it.

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_aws::{Executions, FunctionError, Vault, VerifySettings};
use drawbridge_domain::execution;
use drawbridge_domain::hash::sha256;
use drawbridge_domain::verification::{Evidence, Listed, Subject, agrees};
use drawbridge_wire::{
    MAX_MANIFEST_BYTES, Manifest, ObjectName, Receipt, RepositoryId, RunId, RunInput, Sha256Digest, manifest_key,
    parse_manifest_key, receipt_key,
};
use thiserror::Error;

/// The largest receipt that is read, in bytes: an entry takes half as much again as in the manifest.
const MAX_RECEIPT_BYTES: usize = 24 * 1024 * 1024;

#[derive(Debug, Error)]
enum WrongManifest {
    #[error("its SHA-256 is {0}")]
    Hash(Sha256Digest),
    #[error("it is of the repository {0}")]
    Repository(RepositoryId),
}

/// The run's manifest, if it is the declared one.
pub(crate) async fn manifest<A: Vault>(vault: &str, aws: &A, subject: &Subject) -> Result<Manifest, FunctionError> {
    let json = aws.read(vault, &manifest_key(&subject.run), MAX_MANIFEST_BYTES).await;
    let json = json.map_err(FunctionError::VaultUnreadable)?;
    let json = json.ok_or_else(|| FunctionError::ManifestMissing(subject.run.clone()))?;
    let wrong = |why| FunctionError::ManifestWrong(Box::new(why));
    if sha256(&json) != subject.manifest_sha256 {
        return Err(wrong(WrongManifest::Hash(sha256(&json))));
    }
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|error| FunctionError::ManifestWrong(Box::new(error)))?;
    if manifest.repository() != &subject.repository.id() {
        return Err(wrong(WrongManifest::Repository(manifest.repository().clone())));
    }
    Ok(manifest)
}

/// Whether the gate says that it stored what the manifest declares.
pub(crate) async fn receipt<A: Vault>(
    vault: &str,
    aws: &A,
    subject: &Subject,
    manifest: &Manifest,
) -> Result<(), FunctionError> {
    let json = aws.read(vault, &receipt_key(&subject.run), MAX_RECEIPT_BYTES).await;
    let json = json.map_err(FunctionError::VaultUnreadable)?;
    let json = json.ok_or_else(|| FunctionError::ReceiptMissing(subject.run.clone()))?;
    let receipt: Receipt =
        serde_json::from_slice(&json).map_err(|error| FunctionError::ReceiptWrong(Box::new(error)))?;
    agrees(&receipt, subject, manifest).map_err(|why| FunctionError::ReceiptWrong(Box::new(why)))
}

/// What is `listed` and no run ever declared. What an earlier one did declare is owed from now on.
///
/// A run that was cut off leaves objects that the newest manifest doesn't name, and so does a local repository that was set back to an
/// earlier state.
pub(crate) async fn undeclared<A: Vault + Executions>(
    settings: &VerifySettings,
    aws: &A,
    subject: &Subject,
    manifest: &Manifest,
    evidence: &mut Evidence,
    listed: &BTreeMap<ObjectName, Listed>,
) -> Result<BTreeSet<ObjectName>, FunctionError> {
    let unknown = listed.keys().filter(|name| !evidence.knows(manifest, **name));
    let mut unknown: BTreeSet<ObjectName> = unknown.copied().collect();
    if unknown.is_empty() {
        return Ok(unknown);
    }
    let keys = aws.list(&settings.vault, "runs/").await.map_err(FunctionError::VaultUnreadable)?;
    // The newest first: names of runs sort by time.
    for run in keys.iter().rev().filter_map(|key| parse_manifest_key(key)).filter(|run| *run != subject.run) {
        if let Some(earlier) = earlier(settings, aws, subject, &run).await? {
            evidence.explain(&mut unknown, &earlier, manifest);
        }
        if unknown.is_empty() {
            break;
        }
    }
    Ok(unknown)
}

/// The manifest of another run of the same repository. Its execution says which one was declared: anything may lie under `runs/` that
/// a box has put there.
async fn earlier<A: Vault + Executions>(
    settings: &VerifySettings,
    aws: &A,
    subject: &Subject,
    run: &RunId,
) -> Result<Option<Manifest>, FunctionError> {
    let arn = execution::arn(&settings.state_machine, run.as_str()).map_err(FunctionError::broken)?;
    let input = aws.describe(&arn).await?.and_then(|execution| execution.input);
    let input = input.and_then(|input| serde_json::from_str::<RunInput>(&input).ok());
    let Some(input) = input.filter(|input| input.repository == subject.repository) else { return Ok(None) };
    let declared = Subject { run: run.clone(), repository: input.repository, manifest_sha256: input.manifest_sha256 };
    match manifest(&settings.vault, aws, &declared).await {
        Ok(manifest) => Ok(Some(manifest)),
        // It explains nothing; what it might have explained stays undeclared.
        Err(FunctionError::ManifestMissing(_) | FunctionError::ManifestWrong(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
