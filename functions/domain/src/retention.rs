//! Retention: for how long the vault locks and keeps an object, so that every snapshot stays whole for as long as is promised,
//! and nothing stays for ever.
//!
//! A snapshot refers to objects that an earlier run of its generation brought, the oldest of them in the generation's first
//! moment; S3 counts each object's days from its own creation. So an object is kept for the longest time that can pass until
//! the last snapshot of its generation, and for the promise from there on. The template's table is this module's, cell by
//! cell; a contract test holds the two together.

use drawbridge_wire::Timestamp;
use jiff::SignedDuration;

use crate::generation::GenerationLength;

/// The promises, in days, that a stack can be deployed with: from a trial of a week to the ten years that bookkeeping asks for.
/// A list, because the template can look numbers up but can't add them.
pub const PROMISES: [u32; 12] = [7, 14, 30, 60, 90, 180, 365, 730, 1095, 1825, 2555, 3650];

/// From a generation's end until the last verdict of a run that counts to it, in days, rounded up. A run counts to the generation
/// in which its time slot begins, and may itself begin in the slot's last second, up to a day later; then its execution lasts eight
/// hours at most. S3 counts retention in whole days.
pub const SLACK_DAYS: u32 = 2;

/// From the end of an object's lock until lifecycle hides it, in days. The lock is what keeps a promise, so it ends first,
/// however S3 rounds; lifecycle itself rounds up to the next midnight UTC and never down.
const EXPIRES_AFTER_LOCK_DAYS: u32 = 1;

/// What the vault does with every object, in days from the object's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Object Lock's default retention: nobody can delete the object before.
    pub lock_days: u32,
    /// When lifecycle makes the current version a noncurrent one, behind a delete marker. A lock doesn't prevent that, so this
    /// is what ends a snapshot's life; the version itself goes a day later.
    pub expire_days: u32,
}

impl Retention {
    /// What it takes for every snapshot to stay whole for `promised_days` after its run's verdict.
    #[must_use]
    pub const fn of(length: GenerationLength, promised_days: u32) -> Self {
        let lock_days = length.longest_days() + promised_days + SLACK_DAYS;
        Self { lock_days, expire_days: lock_days + EXPIRES_AFTER_LOCK_DAYS }
    }
}

/// What was put before this moment and is needed now has to be put anew: lifecycle, which hides it `expire_days` after its
/// creation at the earliest, might do so within a day. No run needs anything for longer.
///
/// # Errors
/// When there is no such time.
pub fn renew_before(now: Timestamp, expire_days: u32) -> Result<Timestamp, jiff::Error> {
    let safe = SignedDuration::from_hours(24 * i64::from(expire_days.saturating_sub(1)));
    now.checked_sub(safe)
}

#[cfg(test)]
mod tests;
