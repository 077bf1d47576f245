//! SHA-256, of bytes in memory and of what a reader gives.

use std::io::{self, Read};

use drawbridge_wire::Sha256Digest;
use sha2::{Digest, Sha256};

/// How many bytes are read at a time.
const PART_BYTES: usize = 256 * 1024;

/// The SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The SHA-256 of everything that `reader` gives.
pub(crate) fn sha256_of(mut reader: impl Read) -> io::Result<Sha256Digest> {
    let (mut hasher, mut part) = (Sha256::new(), vec![0; PART_BYTES]);
    loop {
        match reader.read(&mut part)? {
            0 => return Ok(Sha256Digest::from_bytes(hasher.finalize().into())),
            read => hasher.update(part.get(..read).unwrap_or_default()),
        }
    }
}
