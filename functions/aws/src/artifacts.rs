use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use drawbridge_wire::{Sha256Digest, Timestamp, artifact_key};

use crate::vault::{PUT, base64_of};
use crate::{Aws, AwsError, Kind};

/// Tries at a put that meets another put of the same object.
const CONFLICTS: u32 = 3;

/// The longest that a box may take to fetch its program. The signature's credentials seldom last longer.
const MAX_URL_SECONDS: i64 = 3600;

const PRESIGN: &str = "s3:GetObject (presigned)";

/// Programs that a box fetches at boot.
pub trait Artifacts {
    /// Puts a program where its hash says, unless it is there.
    async fn deposit(&self, bucket: &str, program: Bytes, sha256: &Sha256Digest) -> Result<(), AwsError>;

    /// A GET of a program that anybody may make between `from` and `until`, an hour at most. With the same credentials
    /// the same words again, so that a repeated launch is the same launch.
    async fn presign(
        &self,
        bucket: &str,
        sha256: &Sha256Digest,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<String, AwsError>;
}

impl Artifacts for Aws {
    async fn deposit(&self, bucket: &str, program: Bytes, sha256: &Sha256Digest) -> Result<(), AwsError> {
        let mut conflicts = 0;
        loop {
            let request = self
                .s3
                .put_object()
                .bucket(bucket)
                .key(artifact_key(sha256))
                .if_none_match("*")
                .checksum_sha256(base64_of(sha256))
                .content_type("application/octet-stream")
                .body(ByteStream::from(program.clone()));
            let error = match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => AwsError::sdk(PUT, error),
            };
            match error.kind() {
                Kind::AlreadyExists => return Ok(()),
                Kind::Conflict if conflicts < CONFLICTS => conflicts += 1,
                _ => return Err(error),
            }
        }
    }

    async fn presign(
        &self,
        bucket: &str,
        sha256: &Sha256Digest,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<String, AwsError> {
        let (from, lasts) = validity(from, until)?;
        let config = PresigningConfig::builder().start_time(from).expires_in(lasts).build();
        let config = config.map_err(|error| AwsError::unreadable(PRESIGN, "no such period", error))?;
        let request = self.s3.get_object().bucket(bucket).key(artifact_key(sha256)).presigned(config).await;
        Ok(request.map_err(|error| AwsError::sdk(PRESIGN, error))?.uri().to_owned())
    }
}

fn validity(from: Timestamp, until: Timestamp) -> Result<(SystemTime, Duration), AwsError> {
    let seconds = (until.as_second() - from.as_second()).clamp(1, MAX_URL_SECONDS);
    let from = Timestamp::from_second(from.as_second()).and_then(SystemTime::try_from);
    let from = from.map_err(|error| AwsError::unreadable(PRESIGN, "a time out of range", error))?;
    Ok((from, Duration::from_secs(seconds.unsigned_abs())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_url_lasts_until_the_deadline_and_never_longer_than_an_hour() {
        let from: Timestamp = "2026-11-23T20:30:00.25Z".parse().unwrap();
        for (until, seconds) in [
            ("2026-11-23T20:40:00Z", 600),
            ("2026-11-23T21:30:00Z", 3600),
            ("2026-11-24T20:30:00Z", 3600),
            ("2026-11-23T20:00:00Z", 1),
        ] {
            assert_eq!(validity(from, until.parse().unwrap()).unwrap().1, Duration::from_secs(seconds), "{until}");
        }
    }
}
