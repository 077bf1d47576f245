//! Objects that a gate takes for a repository's, without a repository: random bytes where one holds ciphertext.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The length of a pack's header with one blob: IV, MAC and one entry, in bytes.
const HEADER_BYTES: u32 = 32 + 37;

/// Bytes that look like ciphertext, the same for the same seed. Source: the generator is Vigna's SplitMix64.
#[must_use]
pub fn ciphertext(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0xd134_2543_de82_ef95);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// A pack of one blob; `length` bytes in all, at least 106.
#[must_use]
pub fn pack(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = ciphertext(seed, length - 4);
    bytes.extend(HEADER_BYTES.to_le_bytes());
    bytes
}

/// A key file as restic writes it, whose keys nobody knows.
#[must_use]
pub fn key(seed: u64) -> Vec<u8> {
    let (salt, data) = (STANDARD.encode(ciphertext(seed, 64)), STANDARD.encode(ciphertext(!seed, 179)));
    format!(
        r#"{{"created":"2026-11-23T20:30:00.123456789+01:00","username":"root","hostname":"vm","kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"{salt}","data":"{data}"}}"#
    )
    .into_bytes()
}
