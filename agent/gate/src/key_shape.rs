//! Whether a file is a key as restic and rustic write it: the repository's master keys, encrypted under a password.
//! Source: restic's design document, "Keys, Encryption and MAC".
//!
//! Nothing else may stand in it, so that it cannot carry plaintext.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drawbridge_wire::Timestamp;
use serde::Deserialize;
use thiserror::Error;

use crate::ciphertext::{Sample, Tell};

/// The master keys, encrypted, in bytes: three keys in JSON, IV and MAC. restic's and rustic's have 179.
const DATA_BYTES: std::ops::RangeInclusive<usize> = 128..=512;

/// The salt, in bytes. restic's and rustic's have 64.
const SALT_BYTES: std::ops::RangeInclusive<usize> = 16..=128;

/// scrypt's cost, a power of two. restic's is 2^15 on most machines.
const COST: std::ops::RangeInclusive<u64> = 1 << 10..=1 << 26;

/// scrypt's block size and parallelism. restic's are 8 and 1.
const FACTOR: std::ops::RangeInclusive<u64> = 1..=64;

/// A user's or host's name, in bytes.
const NAME_BYTES: usize = 255;

/// Why it is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyFlaw {
    /// Not JSON, a field too many or too few, a field of another type.
    #[error("not JSON with restic's fields and no others")]
    Fields,
    /// Not a moment.
    #[error("created is no time")]
    Created,
    /// Too long, or with control characters.
    #[error("username or hostname is none")]
    Name,
    /// Another one.
    #[error("kdf is not scrypt")]
    Kdf,
    /// N, r or p.
    #[error("scrypt's N, r and p are not plausible")]
    Parameters,
    /// Not base64, too long, too short, not random.
    #[error("salt is not some 64 random bytes in base64")]
    Salt,
    /// Not base64, too long, too short.
    #[error("data is not the encrypted master keys in base64")]
    Data,
    /// Plaintext in their place.
    #[error("data is not encrypted: {0}")]
    Plaintext(Tell),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    #[serde(default)]
    created: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    hostname: Option<String>,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u64,
    p: u64,
    salt: String,
    data: String,
}

/// Holds a whole file against the shape.
///
/// # Errors
/// See [`KeyFlaw`].
pub fn check(text: &[u8]) -> Result<(), KeyFlaw> {
    let file: KeyFile = serde_json::from_slice(text).map_err(|_| KeyFlaw::Fields)?;
    if file.created.is_some_and(|created| created.parse::<Timestamp>().is_err()) {
        return Err(KeyFlaw::Created);
    }
    let is_name = |name: &String| name.len() <= NAME_BYTES && !name.chars().any(char::is_control);
    if ![&file.username, &file.hostname].into_iter().flatten().all(is_name) {
        return Err(KeyFlaw::Name);
    }
    if file.kdf != "scrypt" {
        return Err(KeyFlaw::Kdf);
    }
    let plausible = COST.contains(&file.n) && file.n.is_power_of_two();
    if !plausible || !FACTOR.contains(&file.r) || !FACTOR.contains(&file.p) {
        return Err(KeyFlaw::Parameters);
    }
    let salt = STANDARD.decode(file.salt).map_err(|_| KeyFlaw::Salt)?;
    if !SALT_BYTES.contains(&salt.len()) || looks(&salt).is_err() {
        return Err(KeyFlaw::Salt);
    }
    let data = STANDARD.decode(file.data).map_err(|_| KeyFlaw::Data)?;
    if !DATA_BYTES.contains(&data.len()) {
        return Err(KeyFlaw::Data);
    }
    looks(&data).map_err(KeyFlaw::Plaintext)
}

/// Whether it looks like ciphertext.
fn looks(bytes: &[u8]) -> Result<(), Tell> {
    let mut sample = Sample::default();
    sample.take_in(bytes);
    sample.judge()
}
