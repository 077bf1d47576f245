use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumMode, ChecksumType, ObjectLockMode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drawbridge_domain::hash::sha256;
use drawbridge_domain::verification::Stored;
use drawbridge_wire::Sha256Digest;

use crate::convert::timestamp;
use crate::{Aws, AwsError, Kind};

/// The vault, as far as functions read and write it.
pub trait Vault {
    /// The keys of all objects that begin with `prefix`.
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, AwsError>;

    /// What S3 knows of an object without reading it; `None` when there is none.
    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Stored>, AwsError>;

    /// An object's content; `None` when there is none.
    ///
    /// # Errors
    /// When it has more than `max_bytes`, too.
    async fn read(&self, bucket: &str, key: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, AwsError>;

    /// Writes an object.
    async fn write(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<(), AwsError>;
}

const LIST: &str = "s3:ListBucket";
pub(crate) const HEAD: &str = "s3:HeadObject";
const GET: &str = "s3:GetObject";
pub(crate) const PUT: &str = "s3:PutObject";

impl Vault for Aws {
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, AwsError> {
        let mut pages = self.s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::sdk(LIST, error))?;
            keys.extend(page.contents.into_iter().flatten().filter_map(|object| object.key));
        }
        Ok(keys)
    }

    async fn head(&self, bucket: &str, key: &str) -> Result<Option<Stored>, AwsError> {
        let request = self.s3.head_object().bucket(bucket).key(key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await {
            Ok(head) => stored(&head).map(Some),
            Err(error) => {
                let error = AwsError::sdk(HEAD, error);
                if error.kind() == Kind::NotFound { Ok(None) } else { Err(error) }
            }
        }
    }

    async fn read(&self, bucket: &str, key: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, AwsError> {
        let mut body = match self.s3.get_object().bucket(bucket).key(key).send().await {
            Ok(found) => found.body,
            Err(error) => {
                let error = AwsError::sdk(GET, error);
                return if error.kind() == Kind::NotFound { Ok(None) } else { Err(error) };
            }
        };
        let mut content = Vec::new();
        while let Some(bytes) =
            body.try_next().await.map_err(|error| AwsError::unreadable(GET, "the body broke off", error))?
        {
            if content.len() + bytes.len() > max_bytes {
                return Err(AwsError::unexpected(GET, format!("{key} has more than {max_bytes} bytes")));
            }
            content.extend_from_slice(&bytes);
        }
        Ok(Some(content))
    }

    async fn write(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<(), AwsError> {
        let digest = base64_of(&sha256(&content));
        let request = self.s3.put_object().bucket(bucket).key(key).checksum_sha256(digest);
        let written = request.content_type("application/json").body(ByteStream::from(content)).send().await;
        written.map_err(|error| AwsError::sdk(PUT, error))?;
        Ok(())
    }
}

pub(crate) fn base64_of(digest: &Sha256Digest) -> String {
    STANDARD.encode(digest.as_bytes())
}

fn stored(head: &HeadObjectOutput) -> Result<Stored, AwsError> {
    let size = head.content_length().and_then(|length| u64::try_from(length).ok());
    let locked = matches!(head.object_lock_mode(), Some(ObjectLockMode::Governance | ObjectLockMode::Compliance));
    let until = head.object_lock_retain_until_date().filter(|_| locked);
    Ok(Stored {
        size: size.ok_or_else(|| AwsError::unexpected(HEAD, "the answer has no length"))?,
        // A composite checksum is a hash of the parts' hashes and says nothing about the name.
        sha256: match head.checksum_type() {
            Some(ChecksumType::Composite) => None,
            _ => head.checksum_sha256().and_then(digest_of),
        },
        locked_until: until.map(|until| timestamp(HEAD, until)).transpose()?,
    })
}

fn digest_of(base64: &str) -> Option<Sha256Digest> {
    let bytes = STANDARD.decode(base64).ok()?;
    Some(Sha256Digest::from_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_smithy_types::DateTime;

    use super::*;

    fn head() -> aws_sdk_s3::operation::head_object::builders::HeadObjectOutputBuilder {
        HeadObjectOutput::builder().content_length(3).checksum_sha256(base64_of(&sha256(b"abc")))
    }

    #[test]
    fn a_checksum_counts_only_when_it_is_of_the_whole_object() {
        assert_eq!(stored(&head().build()).unwrap().sha256, Some(sha256(b"abc")));
        let composite = head().checksum_type(ChecksumType::Composite).build();
        assert_eq!(stored(&composite).unwrap().sha256, None);
        let of_parts = head().checksum_sha256(format!("{}-2", base64_of(&sha256(b"abc")))).build();
        assert_eq!(stored(&of_parts).unwrap().sha256, None);
    }

    #[test]
    fn a_retention_date_without_a_mode_locks_nothing() {
        let dated = head().object_lock_retain_until_date(DateTime::from_secs(1_800_000_000));
        assert_eq!(stored(&dated.clone().build()).unwrap().locked_until, None);
        let governed = dated.object_lock_mode(ObjectLockMode::Governance).build();
        assert_eq!(stored(&governed).unwrap().locked_until.unwrap().as_second(), 1_800_000_000);
    }

    #[test]
    fn an_answer_without_a_length_is_an_error_and_not_an_empty_object() {
        assert!(stored(&HeadObjectOutput::builder().build()).is_err());
    }
}
