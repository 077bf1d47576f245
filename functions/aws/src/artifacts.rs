use std::time::{Duration, SystemTime};

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use drawbridge_wire::{Sha256Digest, Timestamp, artifact_key};

use crate::convert::{field, timestamp};
use crate::inspection::HEAD;
use crate::vault::{PUT, base64_of};
use crate::{Aws, AwsError, Kind};

/// Tries at a put that meets another put of the same object.
const CONFLICTS: u32 = 3;

/// The longest that a box may take to fetch its program. The signature's credentials seldom last longer.
const MAX_URL_SECONDS: i64 = 3600;

const PRESIGN: &str = "s3:GetObject (presigned)";

/// Programs that a box fetches at boot.
pub trait Artifacts {
    /// Puts a program where its hash says, unless one is there that was put at `renew_before` or later. An older one gets a
    /// new version in front of it, since lifecycle might hide it before a box has fetched it.
    async fn deposit(
        &self,
        bucket: &str,
        program: Bytes,
        sha256: &Sha256Digest,
        renew_before: Timestamp,
    ) -> Result<(), AwsError>;

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
    async fn deposit(
        &self,
        bucket: &str,
        program: Bytes,
        sha256: &Sha256Digest,
        renew_before: Timestamp,
    ) -> Result<(), AwsError> {
        match self.put_program(bucket, &program, sha256, Existing::Stays).await {
            Err(error) if error.kind() == Kind::AlreadyExists => {}
            done => return done,
        }
        let head = self.s3.head_object().bucket(bucket).key(artifact_key(sha256)).send().await;
        let head = head.map_err(|error| AwsError::sdk(HEAD, error))?;
        let put_at = timestamp(HEAD, field(HEAD, "date", head.last_modified())?)?;
        if put_at >= renew_before {
            return Ok(());
        }
        tracing::info!(%sha256, %put_at, "the gate in the vault is about to expire and is put anew");
        self.put_program(bucket, &program, sha256, Existing::GetsANewVersion).await
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

/// What becomes of an object that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Existing {
    Stays,
    GetsANewVersion,
}

impl Aws {
    /// Puts a program, and tries again while another put of the same object is on its way.
    async fn put_program(
        &self,
        bucket: &str,
        program: &Bytes,
        sha256: &Sha256Digest,
        existing: Existing,
    ) -> Result<(), AwsError> {
        let mut conflicts = 0;
        loop {
            let request = self
                .s3
                .put_object()
                .bucket(bucket)
                .key(artifact_key(sha256))
                .set_if_none_match((existing == Existing::Stays).then(|| "*".to_owned()))
                .checksum_sha256(base64_of(sha256))
                .content_type("application/octet-stream")
                .body(ByteStream::from(program.clone()));
            let error = match request.send().await {
                Ok(_) => return Ok(()),
                Err(error) => AwsError::sdk(PUT, error),
            };
            match error.kind() {
                Kind::Conflict if conflicts < CONFLICTS => conflicts += 1,
                _ => return Err(error),
            }
        }
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
