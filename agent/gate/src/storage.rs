//! Where things are put: the one capability that the gate has.

use std::error::Error;
use std::fmt::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::PutObjectError;
use aws_sdk_s3::primitives::ByteStream;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drawbridge_wire::{Sha256Digest, StoreOutcome};
use hyper::body::{Body, Frame, SizeHint};
use sha2::{Digest, Sha256};
use thiserror::Error;
use tokio::time::sleep;
use tracing::warn;

use crate::intake::{Fault, LentBody};
use crate::limits::{S3_ATTEMPT_TIMEOUT, S3_CONNECT_TIMEOUT, WHOLE_PUT_PAUSES};

/// Puts objects that are not there yet.
pub trait ObjectStore: Send + Sync + 'static {
    /// Puts `body`, of `size` bytes and with the SHA-256 `digest`, at `key`, unless something is there. A body that ends
    /// with an error must leave nothing behind.
    ///
    /// Dropping the future gives the put up; whether it took place is unknown then.
    fn put(
        &self,
        key: &str,
        digest: Sha256Digest,
        size: u64,
        body: Payload,
    ) -> impl Future<Output = Result<StoreOutcome, StoreError>> + Send;
}

/// What is put.
#[derive(Debug)]
pub enum Payload {
    /// Something of the gate's own.
    Whole(Bytes),
    /// What an agent sends.
    Stream(LentBody),
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

/// The store didn't take an object. It may pass: the object can be put again.
#[derive(Debug, Error)]
#[error("cannot put {key}{}", .code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default())]
pub struct StoreError {
    key: String,
    code: Option<String>,
    source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// A failure to put `key`.
    pub fn new(key: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { key: key.to_owned(), code: None, source: source.into() }
    }
}

/// Puts bytes that are in memory, more than once if need be.
///
/// The tries are counted here and not left to the SDK, because the answer to the first of them may be lost: that the key
/// exists then means that it was this put that took place, and the outcome is [`StoreOutcome::Stored`].
///
/// # Errors
/// As [`ObjectStore::put`], the last one.
pub async fn put_whole<S: ObjectStore>(store: &S, key: &str, bytes: Bytes) -> Result<StoreOutcome, StoreError> {
    let digest = Sha256Digest::from_bytes(Sha256::digest(&bytes).into());
    let put = || store.put(key, digest, bytes.len() as u64, Payload::Whole(bytes.clone()));
    let mut error = match put().await {
        Ok(outcome) => return Ok(outcome),
        Err(error) => error,
    };
    for pause in WHOLE_PUT_PAUSES {
        warn!(reason = chain(&error), "trying again");
        sleep(pause).await;
        error = match put().await {
            Ok(_) => return Ok(StoreOutcome::Stored),
            Err(error) => error,
        };
    }
    Err(error)
}

/// The vault's bucket.
#[derive(Debug, Clone)]
pub struct S3Vault {
    client: Client,
    bucket: String,
}

impl S3Vault {
    /// The bucket, reached with the SDK's standard chain of credentials and endpoints.
    #[must_use]
    pub fn new(sdk: &aws_config::SdkConfig, bucket: &str) -> Self {
        let config = aws_sdk_s3::config::Builder::from(sdk)
            // Every put states its SHA-256. A second checksum would go into a trailer, which needs aws-chunked.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            // The gate watches its streams itself; a slow agent is not S3's failure.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // A stream cannot be sent twice, and for the rest see `put_whole`.
            .retry_config(RetryConfig::disabled())
            .build();
        Self { client: Client::from_conf(config), bucket: bucket.to_owned() }
    }
}

impl ObjectStore for S3Vault {
    async fn put(&self, key: &str, digest: Sha256Digest, size: u64, body: Payload) -> Result<StoreOutcome, StoreError> {
        let length = i64::try_from(size).map_err(|error| StoreError::new(key, error))?;
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .content_length(length)
            .checksum_sha256(STANDARD.encode(digest.as_bytes()))
            .if_none_match("*");
        let sent = match body {
            Payload::Whole(bytes) => {
                let timeouts = TimeoutConfig::builder()
                    .connect_timeout(S3_CONNECT_TIMEOUT)
                    .operation_attempt_timeout(S3_ATTEMPT_TIMEOUT)
                    .build();
                let config = aws_sdk_s3::config::Builder::new().timeout_config(timeouts);
                put.body(ByteStream::from(bytes)).customize().config_override(config).send().await
            }
            Payload::Stream(stream) => {
                // The content is protected by TLS and the checksum, so it isn't hashed a second time for the
                // signature. No read timeout: it would run while the body is sent, and that takes as long as the
                // agent's line takes.
                let timeouts = TimeoutConfig::builder().connect_timeout(S3_CONNECT_TIMEOUT).disable_read_timeout();
                let config = aws_sdk_s3::config::Builder::new().timeout_config(timeouts.build());
                let body = ByteStream::from_body_1_x(stream);
                put.body(body).customize().disable_payload_signing().config_override(config).send().await
            }
        };
        match sent {
            Ok(_) => Ok(StoreOutcome::Stored),
            Err(error) => refused(key, error),
        }
    }
}

/// 412 says that the key exists; everything else is a failure that may pass, 409 (a conflicting put at the same moment)
/// among them. Source: Amazon S3 user guide, "Add preconditions to S3 operations with conditional requests".
fn refused(key: &str, error: SdkError<PutObjectError>) -> Result<StoreOutcome, StoreError> {
    const PRECONDITION_FAILED: u16 = 412;
    if error.raw_response().is_some_and(|response| response.status().as_u16() == PRECONDITION_FAILED) {
        return Ok(StoreOutcome::AlreadyThere);
    }
    let code = error.code().map(str::to_owned);
    Err(StoreError { key: key.to_owned(), code, source: error.into() })
}

/// An error with its causes, in one line. Only what the errors say about themselves: the SDK's `Debug` prints whole
/// requests and responses.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string doesn't fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
