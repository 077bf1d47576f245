//! What stands for a path where keeping the path itself would take memory.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use sha2::{Digest, Sha256};

/// Half of a path's SHA-256: no host can find two paths with the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PathKey([u8; 16]);

impl PathKey {
    pub(crate) fn of(path: &Path) -> Self {
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(Sha256::digest(path.as_os_str().as_bytes())) {
            *to = from;
        }
        Self(key)
    }
}
