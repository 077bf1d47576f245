//! Whether what a good verdict says is so: S3 asked directly, object by object.

use bytes::Bytes;
use drawbridge_tests::{Execution, Rig, digest};
use drawbridge_wire::Manifest;
use jiff::Timestamp;

/// How long everything stays locked at least: the template's PromisedDays.
const PROMISED_DAYS: i64 = 90;

/// A sentence for every object of a run's manifest that isn't as declared.
pub(crate) async fn defects(rig: &Rig, execution: &Execution) -> Vec<String> {
    let (s3, vault) = (&rig.clients().s3, &rig.stack().vault);
    let Some(manifest) = get(rig, &format!("runs/{}/manifest.json", execution.name)).await else {
        return vec!["its manifest is not there".to_owned()];
    };
    let manifest: Manifest = serde_json::from_slice(&manifest).unwrap();
    let promised = Timestamp::now().as_second() + PROMISED_DAYS * 24 * 3600;
    let mut wrong = Vec::new();
    for object in manifest.objects() {
        let key = format!("repo/{}/{}", execution.repository(), object.name().path());
        let Some(bytes) = get(rig, &key).await else {
            wrong.push(format!("{key} is not there"));
            continue;
        };
        if bytes.len() as u64 != object.size() {
            wrong.push(format!("{key} has {} bytes and not {}", bytes.len(), object.size()));
        }
        if object.digest() != digest(&bytes) {
            wrong.push(format!("{key} is not named by its contents"));
        }
        let lock = s3.get_object_retention().bucket(vault).key(&key).send().await.ok();
        let until = lock.and_then(|lock| lock.retention?.retain_until_date);
        if until.is_none_or(|until| until.secs() < promised) {
            wrong.push(format!("{key} is locked until {until:?}"));
        }
    }
    wrong
}

async fn get(rig: &Rig, key: &str) -> Option<Bytes> {
    let object = rig.clients().s3.get_object().bucket(&rig.stack().vault).key(key).send().await.ok()?;
    Some(object.body.collect().await.ok()?.into_bytes())
}
