//! How much of what a source says is held in memory at once.
//!
//! Numbers alone don't bound it: a name may have 255 bytes and a link's target 4,095, and many folders are listed at once.

use std::cell::Cell;
use std::ffi::OsStr;
use std::rc::Rc;

use crate::tree::TreeError;

/// Bytes of names, paths and link targets for each entry that the source may have. Names are rarely longer than 20 bytes on
/// average, those of mails some 70.
const BYTES_AN_ENTRY: u64 = 128;

/// What a source may take even if it may have few entries, in bytes.
const MIN_BYTES: u64 = 8 << 20;

/// What of a source's room is left.
#[derive(Debug)]
pub(crate) struct Room {
    entries: Cell<u64>,
    bytes: Cell<u64>,
}

/// What is taken of it. Dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Held {
    room: Rc<Room>,
    entries: u64,
    bytes: u64,
}

impl Room {
    /// For a source that may have `entries`.
    pub(crate) fn new(entries: u64) -> Rc<Self> {
        let bytes = entries.saturating_mul(BYTES_AN_ENTRY).max(MIN_BYTES);
        Rc::new(Self { entries: Cell::new(entries), bytes: Cell::new(bytes) })
    }

    pub(crate) fn hold(self: &Rc<Self>) -> Held {
        Held { room: Rc::clone(self), entries: 0, bytes: 0 }
    }
}

impl Held {
    /// One more entry was listed.
    pub(crate) fn take_entry(&mut self, name: &OsStr) -> Result<(), TreeError> {
        let left = self.room.entries.get().checked_sub(1).ok_or(TreeError::TooMany)?;
        self.take(name.len())?;
        self.room.entries.set(left);
        self.entries += 1;
        Ok(())
    }

    /// It isn't listed any more, but looked at.
    pub(crate) fn give_entry(&mut self, name: &OsStr) {
        self.give(name.len());
        let given = self.entries.min(1);
        self.entries -= given;
        self.room.entries.set(self.room.entries.get().saturating_add(given));
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Result<(), TreeError> {
        let left = self.room.bytes.get().checked_sub(bytes as u64).ok_or(TreeError::TooLong)?;
        self.room.bytes.set(left);
        self.bytes += bytes as u64;
        Ok(())
    }

    pub(crate) fn give(&mut self, bytes: usize) {
        let given = self.bytes.min(bytes as u64);
        self.bytes -= given;
        self.room.bytes.set(self.room.bytes.get().saturating_add(given));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.entries.set(self.room.entries.get().saturating_add(self.entries));
        self.room.bytes.set(self.room.bytes.get().saturating_add(self.bytes));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_together_hold_so_many_entries_and_what_is_given_back_can_be_taken_again() {
        let room = Room::new(3);
        let (mut one, mut other) = (room.hold(), room.hold());
        let name = OsStr::new("name");
        one.take_entry(name).unwrap();
        one.take_entry(name).unwrap();
        other.take_entry(name).unwrap();
        assert!(matches!(other.take_entry(name), Err(TreeError::TooMany)));
        one.give_entry(name);
        other.take_entry(name).unwrap();
        drop((one, other));
        assert_eq!((room.entries.get(), room.bytes.get()), (3, MIN_BYTES));
    }

    #[test]
    fn all_together_hold_so_many_bytes() {
        let room = Room::new(1_000_000);
        let (mut one, mut other) = (room.hold(), room.hold());
        one.take(100_000_000).unwrap();
        assert!(matches!(other.take(28_000_001), Err(TreeError::TooLong)));
        other.take(28_000_000).unwrap();
        drop(one);
        other.take(100_000_000).unwrap();
    }
}
