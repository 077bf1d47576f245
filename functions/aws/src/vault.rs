use aws_sdk_s3::primitives::ByteStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drawbridge_domain::hash::sha256;
use drawbridge_wire::Sha256Digest;

use crate::{Aws, AwsError, Kind};

/// The vault, as far as functions read and write it.
pub trait Vault {
    /// The keys of all objects that begin with `prefix`.
    async fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<String>, AwsError>;

    /// An object's content; `None` when there is none.
    ///
    /// # Errors
    /// When it has more than `max_bytes`, too.
    async fn read(&self, bucket: &str, key: &str, max_bytes: usize) -> Result<Option<Vec<u8>>, AwsError>;

    /// Writes an object.
    async fn write(&self, bucket: &str, key: &str, content: Vec<u8>) -> Result<(), AwsError>;
}

const LIST: &str = "s3:ListBucket";
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
