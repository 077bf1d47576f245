//! Whether an object is built as restic builds objects of its kind, told while it streams.
//! Source of every fact: restic's design document, "Repository Format".
//!
//! | object | shape |
//! |---|---|
//! | `keys/*` | JSON, see [`crate::key_shape`] |
//! | `config`, `index/*`, `snapshots/*` | IV (16 bytes), ciphertext, MAC (16 bytes) |
//! | `data/*` | sealed blobs, a sealed header of 37 or 41 bytes for each blob, its length (4 bytes, little-endian) |

use drawbridge_wire::{MAX_PACK_BYTES, ObjectKind};
use thiserror::Error;

use crate::ciphertext::{Sample, Tell};
use crate::key_shape::{self, KeyFlaw};

/// What encryption adds to a plaintext, in bytes: an initialisation vector and a MAC.
pub const SEAL_BYTES: u64 = 32;

/// The largest key file, in bytes. restic's and rustic's have about 450.
pub const MAX_KEY_BYTES: u64 = 4096;

/// The largest `config`, in bytes. restic's has 155, rustic's with all settings less than 1 KiB.
pub const MAX_CONFIG_BYTES: u64 = 4096;

/// A pack's last field.
const HEADER_LENGTH_BYTES: u64 = 4;

/// A blob in a pack's header, in bytes: its type, its length and its SHA-256.
const PLAIN_ENTRY_BYTES: u64 = 37;

/// A compressed blob in a pack's header: its uncompressed length as well.
const COMPRESSED_ENTRY_BYTES: u64 = 41;

/// The sizes in bytes that an object of a kind can have: the least, and the most.
#[must_use]
pub const fn sizes(kind: ObjectKind) -> (u64, u64) {
    match kind {
        // The salt and the master keys alone have more.
        ObjectKind::Key => (128, MAX_KEY_BYTES),
        // `{"version":2,"id":"<64 digits>"}`
        ObjectKind::Config => (SEAL_BYTES + 85, MAX_CONFIG_BYTES),
        // One blob of one byte.
        ObjectKind::Data => (2 * SEAL_BYTES + 1 + PLAIN_ENTRY_BYTES + HEADER_LENGTH_BYTES, MAX_PACK_BYTES),
        // `{"packs":[]}`
        ObjectKind::Index => (SEAL_BYTES + 12, MAX_PACK_BYTES),
        // It names its tree, whose 32 bytes can't be compressed.
        ObjectKind::Snapshot => (SEAL_BYTES + 32, MAX_PACK_BYTES),
    }
}

/// Why an object is none of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Misfit {
    /// In `keys/`.
    #[error("not a key as restic writes it: {0}")]
    Key(#[from] KeyFlaw),
    /// In `data/`.
    #[error("not a pack as restic writes it: its last four bytes are no header's length")]
    Pack,
    /// In any other folder, and `config`.
    #[error("not encrypted: {0}")]
    Plaintext(#[from] Tell),
}

/// An object on its way.
#[derive(Debug)]
pub enum Inspection {
    /// It is kept: [`MAX_KEY_BYTES`] at most.
    Key(Vec<u8>),
    /// It is sampled.
    Sealed(Sample),
    /// It is sampled without its last field, which is kept.
    Pack {
        /// The blobs and the header.
        sample: Sample,
        /// How many bytes these have.
        sealed: u64,
        /// How many of them have come.
        seen: u64,
        /// The header's length.
        tail: Vec<u8>,
    },
}

impl Inspection {
    /// Begins with an object of this kind and exactly this size in bytes, one of [`sizes`].
    #[must_use]
    pub fn new(kind: ObjectKind, size: u64) -> Self {
        match kind {
            ObjectKind::Key => Self::Key(Vec::with_capacity(usize::try_from(size.min(MAX_KEY_BYTES)).unwrap_or(0))),
            ObjectKind::Config | ObjectKind::Index | ObjectKind::Snapshot => Self::Sealed(Sample::default()),
            ObjectKind::Data => {
                let sealed = size.saturating_sub(HEADER_LENGTH_BYTES);
                Self::Pack { sample: Sample::default(), sealed, seen: 0, tail: Vec::new() }
            }
        }
    }

    /// The next bytes.
    pub fn take_in(&mut self, bytes: &[u8]) {
        match self {
            Self::Key(text) => text.extend_from_slice(bytes),
            Self::Sealed(sample) => sample.take_in(bytes),
            Self::Pack { sample, sealed, seen, tail } => {
                let left = usize::try_from(*sealed - *seen).unwrap_or(usize::MAX);
                let (inside, beyond) = bytes.split_at(left.min(bytes.len()));
                sample.take_in(inside);
                *seen += inside.len() as u64;
                tail.extend_from_slice(beyond);
            }
        }
    }

    /// Judges the whole.
    ///
    /// # Errors
    /// See [`Misfit`].
    pub fn judge(self) -> Result<(), Misfit> {
        match self {
            Self::Key(text) => Ok(key_shape::check(&text)?),
            Self::Sealed(sample) => Ok(sample.judge()?),
            Self::Pack { sample, sealed, tail, .. } => {
                // First, because it says more: whatever is no pack has no header's length at its end.
                sample.judge()?;
                let length = <[u8; 4]>::try_from(tail).map_err(|_| Misfit::Pack)?;
                if is_header_length(u64::from(u32::from_le_bytes(length)), sealed) { Ok(()) } else { Err(Misfit::Pack) }
            }
        }
    }
}

/// Whether a header of this length, with the blobs that it lists, fits into so many bytes.
fn is_header_length(length: u64, sealed: u64) -> bool {
    let Some(entries) = length.checked_sub(SEAL_BYTES).filter(|entries| *entries > 0 && length < sealed) else {
        return false;
    };
    let is_left_plain = |compressed: u64| {
        let left = entries.checked_sub(compressed * COMPRESSED_ENTRY_BYTES);
        left.is_some_and(|left| left.is_multiple_of(PLAIN_ENTRY_BYTES))
    };
    let fewest = entries.div_ceil(COMPRESSED_ENTRY_BYTES);
    // So many compressed ones could as well be plain ones.
    (0..PLAIN_ENTRY_BYTES).any(is_left_plain) && sealed - length > fewest * SEAL_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_holds_whole_entries_and_fits_before_its_length() {
        let one = SEAL_BYTES + PLAIN_ENTRY_BYTES;
        for (length, sealed, fits) in [
            (one, one + 33, true),
            (one, one + 32, false),
            (one, 20, false),
            (one + 1, 1000, false),
            (SEAL_BYTES + COMPRESSED_ENTRY_BYTES, 1000, true),
            (SEAL_BYTES + COMPRESSED_ENTRY_BYTES + PLAIN_ENTRY_BYTES, 1000, true),
            (SEAL_BYTES, 1000, false),
            (0, 1000, false),
            (u64::from(u32::MAX), MAX_PACK_BYTES, false),
            // All but the space of two thousand blobs.
            (SEAL_BYTES + 2000 * 41, SEAL_BYTES + 2000 * 41 + 2000 * 32, false),
        ] {
            assert_eq!(is_header_length(length, sealed), fits, "{length} of {sealed}");
        }
    }
}
