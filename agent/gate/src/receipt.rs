//! What the gate writes itself: that it listens, and what it stored.

use bytes::Bytes;
use drawbridge_wire::{
    BoxConfig, Ready, Receipt, ReceiptEntry, RunId, Sha256Digest, Timestamp, Unusual, VaultRepository,
};

use crate::tally::Tally;

/// The gate's version, as it signs with it.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A receipt's JSON without its entries, in bytes, generously.
const HEAD_BYTES: usize = 512;

/// One check's, at its longest: `{"check":"ciphertext","passed":120000,"refused":<20 digits>},`.
const CHECK_BYTES: usize = 80;

/// One entry's, at its longest: `{"name":"snapshots/<64 digits>","size":150994944,"outcome":"already_there"},`.
const ENTRY_BYTES: usize = 136;

/// What stays the same in a run's receipt, whatever crosses.
#[derive(Debug, Clone)]
pub(crate) struct Letterhead {
    run: RunId,
    repository: VaultRepository,
    manifest_sha256: Sha256Digest,
    opened_at: Timestamp,
    unusual: Option<Unusual>,
}

impl Letterhead {
    pub(crate) fn new(config: &BoxConfig, opened_at: Timestamp) -> Self {
        Self {
            run: config.run.clone(),
            repository: config.repository.clone(),
            manifest_sha256: config.manifest_sha256,
            opened_at,
            unusual: config.unusual,
        }
    }

    /// The receipt's JSON.
    pub(crate) fn receipt(
        &self,
        objects: Vec<ReceiptEntry>,
        tally: &Tally,
        completed_at: Timestamp,
    ) -> Result<Bytes, serde_json::Error> {
        let receipt = Receipt {
            run: self.run.clone(),
            repository: self.repository.clone(),
            manifest_sha256: self.manifest_sha256,
            version: VERSION.to_owned(),
            opened_at: self.opened_at,
            completed_at,
            unusual: self.unusual,
            checks: tally.lines(&objects),
            objects,
        };
        // A buffer that grows by doubling would need twice its size for a moment, up to 32 MiB.
        let (checks, entries) = (CHECK_BYTES * receipt.checks.len(), ENTRY_BYTES * receipt.objects.len());
        let mut text = Vec::with_capacity(HEAD_BYTES + checks + entries);
        serde_json::to_writer(&mut text, &receipt)?;
        Ok(Bytes::from(text))
    }
}

/// The JSON that tells `ready` which host key to expect.
pub(crate) fn ready(host_key: &drawbridge_ssh::PublicKey) -> Result<Bytes, serde_json::Error> {
    let ready = Ready { host_key: host_key.to_string(), version: VERSION.to_owned() };
    serde_json::to_vec(&ready).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use drawbridge_wire::{
        Check, CheckLine, MAX_MANIFEST_OBJECTS, MAX_PACK_BYTES, ObjectKind, ObjectName, StoreOutcome,
    };

    use super::*;

    #[test]
    fn the_longest_entry_fits_its_share_of_the_buffer() {
        let name = ObjectName::hashed(ObjectKind::Snapshot, Sha256Digest::from_bytes([0; 32])).unwrap();
        let entry = ReceiptEntry { name, size: MAX_PACK_BYTES, outcome: StoreOutcome::AlreadyThere };
        assert!(serde_json::to_string(&entry).unwrap().len() < ENTRY_BYTES);
    }

    #[test]
    fn the_longest_check_fits_its_share_of_the_buffer() {
        for check in Check::ALL {
            let line = CheckLine { check, passed: MAX_MANIFEST_OBJECTS as u64, refused: u64::MAX };
            assert!(serde_json::to_string(&line).unwrap().len() < CHECK_BYTES, "{check:?}");
        }
    }
}
