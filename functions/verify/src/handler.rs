use std::collections::{BTreeMap, BTreeSet};

use drawbridge_aws::{AwsError, FunctionError, Vault, VerifySettings, parse};
use drawbridge_domain::hash::sha256;
use drawbridge_domain::verification::{Stored, Subject, judge, promised_until};
use drawbridge_wire::{
    MAX_MANIFEST_BYTES, Manifest, ManifestObject, ObjectName, Timestamp, VerdictSummary, VerifyEvent, manifest_key,
    object_key, verdict_key,
};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde_json::Value;
use thiserror::Error;

/// How many objects are looked at at a time. At 30 ms a look that is some 2,000 objects a second.
const CONCURRENT_LOOKS: usize = 64;

#[derive(Debug, Error)]
enum WrongManifest {
    #[error("its SHA-256 is {0}")]
    Hash(drawbridge_wire::Sha256Digest),
    #[error("it is of the repository {0}")]
    Repository(drawbridge_wire::RepositoryId),
}

pub(crate) async fn handle<A: Vault>(
    settings: &VerifySettings,
    aws: &A,
    event: Value,
    now: Timestamp,
) -> Result<VerdictSummary, FunctionError> {
    let event: VerifyEvent = parse(event)?;
    let manifest = manifest(settings, aws, &event).await?;
    let found = look(settings, aws, &event, &manifest).await.map_err(FunctionError::VaultUnreadable)?;

    let promised = promised_until(now, settings.promised_days).map_err(FunctionError::broken)?;
    let VerifyEvent { run, repository, manifest_sha256 } = event;
    let file = judge(Subject { run: run.clone(), repository, manifest_sha256 }, &manifest, &found, promised);

    let json = serde_json::to_vec_pretty(&file).map_err(FunctionError::broken)?;
    aws.write(&settings.vault, &verdict_key(&run), json).await?;
    tracing::info!(%run, summary = ?file.summary, "verified");
    Ok(file.summary)
}

async fn manifest<A: Vault>(
    settings: &VerifySettings,
    aws: &A,
    event: &VerifyEvent,
) -> Result<Manifest, FunctionError> {
    let json = aws.read(&settings.vault, &manifest_key(&event.run), MAX_MANIFEST_BYTES).await;
    let json = json.map_err(FunctionError::VaultUnreadable)?;
    let json = json.ok_or_else(|| FunctionError::ManifestMissing(event.run.clone()))?;
    let wrong = |why| FunctionError::ManifestWrong(Box::new(why));
    if sha256(&json) != event.manifest_sha256 {
        return Err(wrong(WrongManifest::Hash(sha256(&json))));
    }
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|error| FunctionError::ManifestWrong(Box::new(error)))?;
    if *manifest.repository() != event.repository.id() {
        return Err(wrong(WrongManifest::Repository(manifest.repository().clone())));
    }
    Ok(manifest)
}

/// Every object of the manifest that the vault has. One look that fails fails them all.
async fn look<A: Vault>(
    settings: &VerifySettings,
    aws: &A,
    event: &VerifyEvent,
    manifest: &Manifest,
) -> Result<BTreeMap<ObjectName, Stored>, AwsError> {
    let listed = aws.list(&settings.vault, &format!("repo/{}/", event.repository)).await?;
    let listed: BTreeSet<String> = listed.into_iter().collect();
    let keys =
        manifest.objects().iter().map(ManifestObject::name).map(|name| (name, object_key(&event.repository, &name)));
    let present = keys.filter(|(_, key)| listed.contains(key));
    let looks = stream::iter(present).map(async |(name, key)| {
        let stored = aws.head(&settings.vault, &key).await?;
        Ok(stored.map(|stored| (name, stored)))
    });
    looks.buffer_unordered(CONCURRENT_LOOKS).try_filter_map(async |found| Ok(found)).try_collect().await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::cell::RefCell;

    use drawbridge_aws::Kind;
    use drawbridge_wire::{ObjectKind, Verdict, VerdictFile};
    use serde_json::json;

    use super::*;

    /// A vault in memory, of which one key can't be looked at.
    #[derive(Default)]
    struct Memory {
        objects: RefCell<BTreeMap<String, Vec<u8>>>,
        vanished: Option<String>,
        unreadable: Option<String>,
    }

    impl Vault for Memory {
        async fn list(&self, _: &str, prefix: &str) -> Result<Vec<String>, AwsError> {
            Ok(self.objects.borrow().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
        }

        async fn head(&self, _: &str, key: &str) -> Result<Option<Stored>, AwsError> {
            if self.unreadable.as_deref() == Some(key) {
                return Err(AwsError::of_kind("s3:HeadObject", Kind::Other));
            }
            let objects = self.objects.borrow();
            let content = objects.get(key).filter(|_| self.vanished.as_deref() != Some(key));
            let stored =
                |bytes: &Vec<u8>| Stored { size: bytes.len() as u64, sha256: Some(sha256(bytes)), locked_until: None };
            Ok(content.map(stored))
        }

        async fn read(&self, _: &str, key: &str, _: usize) -> Result<Option<Vec<u8>>, AwsError> {
            Ok(self.objects.borrow().get(key).cloned())
        }

        async fn write(&self, _: &str, key: &str, content: Vec<u8>) -> Result<(), AwsError> {
            self.objects.borrow_mut().insert(key.to_owned(), content);
            Ok(())
        }
    }

    const RUN: &str = "home-20261123T203000Z";
    const REPOSITORY: &str = "2026-11-0123456789abcdef";
    const MANIFEST: &str = "runs/home-20261123T203000Z/manifest.json";

    fn pack(content: &str) -> ObjectName {
        ObjectName::hashed(ObjectKind::Data, sha256(content.as_bytes())).unwrap()
    }

    fn key(content: &str) -> String {
        object_key(&REPOSITORY.parse().unwrap(), &pack(content))
    }

    /// A vault with two packs, and the event that asks about it.
    fn vault() -> (Memory, Value) {
        let objects = ["one", "two"].map(|content| ManifestObject::hashed(pack(content), content.len() as u64, true));
        let manifest = Manifest::new("0123456789abcdef".parse().unwrap(), objects.into()).unwrap();
        let json = serde_json::to_vec(&manifest).unwrap();
        let event = json!({"run": RUN, "repository": REPOSITORY, "manifest_sha256": sha256(&json)});
        let memory = Memory::default();
        memory.objects.borrow_mut().extend([
            (MANIFEST.to_owned(), json),
            (key("one"), b"one".to_vec()),
            (key("two"), b"two".to_vec()),
        ]);
        (memory, event)
    }

    async fn verify(vault: &Memory, event: Value) -> Result<VerdictSummary, FunctionError> {
        let settings = VerifySettings { vault: "vault".into(), promised_days: 0 };
        handle(&settings, vault, event, "2026-11-23T20:40:00Z".parse().unwrap()).await
    }

    #[tokio::test]
    async fn a_whole_vault_is_good_and_the_verdict_is_kept() {
        let (vault, event) = vault();
        let summary = verify(&vault, event).await.unwrap();
        assert_eq!((summary.verdict, summary.objects, summary.bytes), (Verdict::Good, 2, 6));
        let kept = vault.objects.borrow().get("runs/home-20261123T203000Z/verdict.json").cloned().unwrap();
        assert_eq!(serde_json::from_slice::<VerdictFile>(&kept).unwrap().summary, summary);
    }

    #[tokio::test]
    async fn what_is_not_listed_or_gone_at_the_look_is_missing() {
        let (mut vault, event) = vault();
        vault.objects.borrow_mut().remove(&key("one"));
        vault.vanished = Some(key("two"));
        let summary = verify(&vault, event).await.unwrap();
        assert_eq!((summary.verdict, summary.missing), (Verdict::Bad, 2));
    }

    #[tokio::test]
    async fn verifying_twice_comes_to_the_same_summary_and_changes_nothing_else() {
        for missing in [None, Some("one")] {
            let (vault, event) = vault();
            missing.map(|content| vault.objects.borrow_mut().remove(&key(content)));
            let first = verify(&vault, event.clone()).await.unwrap();
            let after_first = vault.objects.borrow().clone();
            assert_eq!(verify(&vault, event).await.unwrap(), first);
            assert_eq!(*vault.objects.borrow(), after_first, "the same verdict is kept");
            assert_eq!(first.verdict == Verdict::Good, missing.is_none());
        }
    }

    #[tokio::test]
    async fn a_look_that_fails_is_no_verdict() {
        let (mut vault, event) = vault();
        vault.unreadable = Some(key("two"));
        assert_eq!(verify(&vault, event).await.unwrap_err().name(), "VaultUnreadable");
        assert!(!vault.objects.borrow().contains_key("runs/home-20261123T203000Z/verdict.json"));
    }

    #[tokio::test]
    async fn another_manifest_than_the_declared_one_is_refused_and_none_is_missing() {
        let (vault, event) = vault();
        vault.objects.borrow_mut().get_mut(MANIFEST).unwrap().push(b' ');
        assert_eq!(verify(&vault, event.clone()).await.unwrap_err().name(), "ManifestWrong");
        vault.objects.borrow_mut().remove(MANIFEST);
        assert_eq!(verify(&vault, event).await.unwrap_err().name(), "ManifestMissing");
    }
}
