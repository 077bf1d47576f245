//! The vault, read with an operator's own credentials: for the day on which nothing else is left. The agent itself has none that could.
//!
//! What S3 holds by name is what is read. Where that was hidden by a delete marker or covered by another version, the version that was
//! put there first, or the one whose SHA-256 is the name, is read instead, and that is said: Object Lock keeps it.

mod backend;
mod error;
mod inventory;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::types::CommonPrefix;
use bytes::Bytes;
use drawbridge_wire::VaultRepository;
use rustic_core::WriteBackend;

pub use error::VaultError;
pub use inventory::Inventory;

use backend::VaultBackend;

/// How long the TCP and TLS connection to S3 may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long S3 may take until it begins to answer. Content that doesn't come any more is noticed by the SDK itself.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the repositories lie.
const REPOSITORIES: &str = "repo/";

/// How often a request is tried.
const ATTEMPTS: u32 = 5;

/// Hears what somebody should know of the vault's state.
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// The vault, as an operator sees it.
#[derive(Debug, Clone)]
pub struct Vault {
    client: Client,
    bucket: String,
}

impl Vault {
    /// Prepares to read the bucket, with the credentials that the AWS tools would use: the profile, the environment, the machine's role.
    ///
    /// # Errors
    /// When no region is named, here or there.
    pub async fn connect(bucket: &str, region: Option<&str>, profile: Option<&str>) -> Result<Self, VaultError> {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts);
        if let Ok(name) = AppName::new("drawbridge") {
            loader = loader.app_name(name);
        }
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(profile) = profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        if config.region().is_none() {
            return Err(VaultError::NoRegion);
        }
        Ok(Self { client: Client::new(&config), bucket: bucket.to_owned() })
    }

    /// The names of the repositories in it, sorted, with those that delete markers hide altogether.
    ///
    /// # Errors
    /// When S3 doesn't tell.
    pub async fn repositories(&self) -> Result<Vec<VaultRepository>, VaultError> {
        let mut prefixes = Vec::new();
        let list = self.client.list_objects_v2().bucket(&self.bucket).prefix(REPOSITORIES).delimiter("/");
        let mut pages = list.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("list the repositories", error))?;
            prefixes.extend(page.common_prefixes.unwrap_or_default());
        }
        match self.hidden_and_not().await {
            // Who may not look at versions sees what isn't hidden.
            Err(error) if error.is_denied() => {}
            found => prefixes.extend(found?),
        }
        let name = |prefix: CommonPrefix| prefix.prefix?.strip_prefix(REPOSITORIES)?.strip_suffix('/')?.parse().ok();
        let found: BTreeSet<VaultRepository> = prefixes.into_iter().filter_map(name).collect();
        Ok(found.into_iter().collect())
    }

    async fn hidden_and_not(&self) -> Result<Vec<CommonPrefix>, VaultError> {
        let (mut prefixes, mut marker) = (Vec::new(), None);
        loop {
            let list = self.client.list_object_versions().bucket(&self.bucket).prefix(REPOSITORIES).delimiter("/");
            let page = list.set_key_marker(marker).send().await;
            let page = page.map_err(|error| self.failed("list the versions of repositories", error))?;
            marker = page.next_key_marker.filter(|_| page.is_truncated == Some(true));
            prefixes.extend(page.common_prefixes.unwrap_or_default());
            if marker.is_none() {
                return Ok(prefixes);
            }
        }
    }

    /// What the vault holds of a repository, as a backend of the engine's; it reads, and refuses everything else. To be used outside of
    /// the runtime's own threads. `warn` hears of every object that isn't as it was put there.
    ///
    /// # Errors
    /// When S3 doesn't tell.
    pub async fn backend(&self, repository: &VaultRepository, warn: Warn) -> Result<Arc<dyn WriteBackend>, VaultError> {
        let inventory = self.inventory(repository, &warn).await?;
        Ok(Arc::new(VaultBackend::new(self.clone(), repository, inventory, warn)))
    }

    /// Where a repository lies, for people.
    #[must_use]
    pub fn place(&self, repository: &VaultRepository) -> String {
        format!("s3://{}/repo/{repository}", self.bucket)
    }

    /// An object's content, or these bytes of it: from the first to the one before the last.
    async fn get(&self, key: &str, version: Option<&str>, range: Option<(u64, u64)>) -> Result<Bytes, VaultError> {
        let mut attempt = 1;
        loop {
            let header = range.map(|(from, to)| format!("bytes={from}-{}", to.saturating_sub(1)));
            let request =
                self.client.get_object().bucket(&self.bucket).key(key).set_version_id(version.map(str::to_owned));
            let answer = request.set_range(header).send().await.map_err(|error| self.failed("get", error).of(key))?;
            // A server may ignore a range, and then says nothing of one.
            let is_whole = answer.content_range().is_none();
            match answer.body.collect().await {
                Ok(body) => {
                    return part(body.into_bytes(), range, is_whole)
                        .map_err(|(expected, found)| short(key, expected, found));
                }
                // The SDK tries again what fails before the answer has begun, and nothing after that.
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(source) => return Err(VaultError::BrokeOff { key: key.to_owned(), source: Box::new(source) }),
            }
        }
    }
}

fn short(key: &str, expected: u64, found: u64) -> VaultError {
    VaultError::Short { key: key.to_owned(), expected, found }
}

/// What was asked for of what came, which is the whole object or the range alone. The error tells how many bytes there should be, and how
/// many there are.
fn part(bytes: Bytes, range: Option<(u64, u64)>, is_whole: bool) -> Result<Bytes, (u64, u64)> {
    let Some((from, to)) = range else { return Ok(bytes) };
    let (expected, found) = (to.saturating_sub(from), bytes.len() as u64);
    if !is_whole {
        return if found == expected { Ok(bytes) } else { Err((expected, found)) };
    }
    match (usize::try_from(from), usize::try_from(to)) {
        (Ok(begin), Ok(end)) if begin <= end && end <= bytes.len() => Ok(bytes.slice(begin..end)),
        _ => Err((expected, found.saturating_sub(from))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_range_is_taken_out_of_a_whole_answer_and_a_short_one_is_refused() {
        let bytes = Bytes::from_static(b"abcdef");
        assert_eq!(part(bytes.clone(), None, true).unwrap(), "abcdef");
        assert_eq!(part(bytes.clone(), Some((2, 4)), true).unwrap(), "cd");
        assert_eq!(part(bytes.clone(), Some((2, 8)), false).unwrap(), "abcdef");
        assert_eq!(part(bytes.clone(), Some((2, 7)), true), Err((5, 4)));
        assert_eq!(part(bytes, Some((2, 7)), false), Err((5, 6)));
    }
}
