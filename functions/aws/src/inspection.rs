use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ObjectLockMode, ObjectVersion};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drawbridge_domain::hash::sha256;
use drawbridge_domain::verification::{Listed, Seen};
use drawbridge_wire::{Sha256Digest, Timestamp};

use crate::convert::timestamp;
use crate::vault::{PUT, base64_of};
use crate::{Aws, AwsError, Kind};

/// The vault, as far as it can be looked at without reading it.
pub trait Inspection {
    /// Hands `each` the key and the current version of every object that begins with `prefix`. What lies below a delete marker isn't
    /// there.
    async fn inspect(&self, bucket: &str, prefix: &str, each: &mut impl FnMut(String, Listed)) -> Result<(), AwsError>;

    /// What S3 says of one version; `None` when it is gone. `now` is noted down with it.
    async fn look(&self, bucket: &str, key: &str, version: &str, now: Timestamp) -> Result<Option<Seen>, AwsError>;

    /// Writes an object that is replaced in every run, locked until `until` only and not as long as a backup.
    async fn note(&self, bucket: &str, key: &str, content: Vec<u8>, until: Timestamp) -> Result<(), AwsError>;
}

const LIST: &str = "s3:ListBucketVersions";
pub(crate) const HEAD: &str = "s3:HeadObject";

impl Inspection for Aws {
    async fn inspect(&self, bucket: &str, prefix: &str, each: &mut impl FnMut(String, Listed)) -> Result<(), AwsError> {
        let (mut key, mut version) = (None, None);
        loop {
            let request = self.s3.list_object_versions().bucket(bucket).prefix(prefix);
            let request = request.set_key_marker(key).set_version_id_marker(version);
            let page = request.send().await.map_err(|error| AwsError::sdk(LIST, error))?;
            for object in page.versions.unwrap_or_default() {
                if let Some((key, listed)) = current(object)? {
                    each(key, listed);
                }
            }
            if page.is_truncated != Some(true) {
                return Ok(());
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
            if key.is_none() {
                return Err(AwsError::unexpected(LIST, "a list that goes on, and doesn't say where"));
            }
        }
    }

    async fn look(&self, bucket: &str, key: &str, version: &str, now: Timestamp) -> Result<Option<Seen>, AwsError> {
        let request = self.s3.head_object().bucket(bucket).key(key).version_id(version);
        match request.checksum_mode(ChecksumMode::Enabled).send().await {
            Ok(head) => seen(&head, version, now).map(Some),
            Err(error) => {
                let error = AwsError::sdk(HEAD, error);
                if error.kind() == Kind::NotFound { Ok(None) } else { Err(error) }
            }
        }
    }

    async fn note(&self, bucket: &str, key: &str, content: Vec<u8>, until: Timestamp) -> Result<(), AwsError> {
        let digest = base64_of(&sha256(&content));
        let request = self.s3.put_object().bucket(bucket).key(key).checksum_sha256(digest);
        let request = request.object_lock_mode(ObjectLockMode::Governance);
        let request = request.object_lock_retain_until_date(DateTime::from_secs(until.as_second()));
        let written = request.content_type("application/json").body(ByteStream::from(content)).send().await;
        written.map_err(|error| AwsError::sdk(PUT, error))?;
        Ok(())
    }
}

/// The key and version of an object that is its key's current one.
fn current(object: ObjectVersion) -> Result<Option<(String, Listed)>, AwsError> {
    if object.is_latest != Some(true) {
        return Ok(None);
    }
    let size = object.size.and_then(|size| u64::try_from(size).ok());
    match (object.key, object.version_id, size) {
        (Some(key), Some(version), Some(size)) => Ok(Some((key, Listed { version, size }))),
        (key, ..) => Err(AwsError::unexpected(LIST, format!("{key:?} without a version or a size"))),
    }
}

fn seen(head: &HeadObjectOutput, version: &str, now: Timestamp) -> Result<Seen, AwsError> {
    let size = head.content_length().and_then(|length| u64::try_from(length).ok());
    let locked = matches!(head.object_lock_mode(), Some(ObjectLockMode::Governance | ObjectLockMode::Compliance));
    let until = head.object_lock_retain_until_date().filter(|_| locked);
    Ok(Seen {
        version: version.to_owned(),
        size: size.ok_or_else(|| AwsError::unexpected(HEAD, "the answer has no length"))?,
        // A composite checksum is a hash of the parts' hashes and says nothing about the name.
        sha256: match head.checksum_type() {
            Some(ChecksumType::Composite) => None,
            _ => head.checksum_sha256().and_then(digest_of),
        },
        locked_until: until.map(|until| timestamp(HEAD, until)).transpose()?,
        at: now,
    })
}

fn digest_of(base64: &str) -> Option<Sha256Digest> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(Sha256Digest::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn head() -> aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder {
        HeadObjectOutput::builder().content_length(3).checksum_sha256(base64_of(&sha256(b"abc")))
    }

    fn told(head: &HeadObjectOutput) -> Result<Seen, AwsError> {
        seen(head, "v1", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_checksum_counts_only_when_it_is_of_the_whole_object() {
        assert_eq!(told(&head().build()).unwrap().sha256, Some(sha256(b"abc")));
        let composite = head().checksum_type(ChecksumType::Composite).build();
        assert_eq!(told(&composite).unwrap().sha256, None);
        let of_parts = head().checksum_sha256(format!("{}-2", base64_of(&sha256(b"abc")))).build();
        assert_eq!(told(&of_parts).unwrap().sha256, None);
    }

    #[test]
    fn a_retention_date_without_a_mode_locks_nothing() {
        let dated = head().object_lock_retain_until_date(DateTime::from_secs(1_800_000_000));
        assert_eq!(told(&dated.clone().build()).unwrap().locked_until, None);
        let governed = dated.object_lock_mode(ObjectLockMode::Governance).build();
        assert_eq!(told(&governed).unwrap().locked_until.unwrap().as_second(), 1_800_000_000);
    }

    #[test]
    fn an_answer_without_a_length_is_an_error_and_not_an_empty_object() {
        assert!(told(&HeadObjectOutput::builder().build()).is_err());
    }

    #[test]
    fn only_the_current_version_of_a_key_is_there_and_half_an_answer_is_an_error() {
        let object = |latest| ObjectVersion::builder().key("k").version_id("v1").size(3).is_latest(latest);
        let listed = Listed { version: "v1".to_owned(), size: 3 };
        assert_eq!(current(object(true).build()).unwrap(), Some(("k".to_owned(), listed)));
        assert_eq!(current(object(false).build()).unwrap(), None);
        assert!(current(ObjectVersion::builder().key("k").is_latest(true).build()).is_err());
    }
}
