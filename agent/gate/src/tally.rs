//! How many requests each check has refused.

use std::sync::atomic::{AtomicU64, Ordering};

use drawbridge_wire::{Check, CheckLine, ReceiptEntry};

/// A counter for each check, as long as the gate lives.
#[derive(Debug, Default)]
pub(crate) struct Tally([AtomicU64; Check::ALL.len()]);

impl Tally {
    /// One more was refused.
    pub(crate) fn refused(&self, check: Check) {
        let counters = Check::ALL.iter().zip(&self.0);
        counters.filter(|(known, _)| **known == check).for_each(|(_, counter)| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// What the receipt of these objects says. Each of them is in the vault, so it has passed every check of its kind.
    pub(crate) fn lines(&self, objects: &[ReceiptEntry]) -> Vec<CheckLine> {
        let passed = |check: Check| objects.iter().filter(|entry| check.applies_to(entry.name.kind())).count() as u64;
        let line = |(check, refused): (&Check, &AtomicU64)| CheckLine {
            check: *check,
            passed: passed(*check),
            refused: refused.load(Ordering::Relaxed),
        };
        Check::ALL.iter().zip(&self.0).map(line).collect()
    }
}
