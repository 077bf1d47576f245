//! Whatever comes as an object, in whatever pieces: never a panic, and text never passes.
#![no_main]

use drawbridge_gate::shape::{Inspection, sizes};
use drawbridge_wire::ObjectKind;

libfuzzer_sys::fuzz_target!(|input: (u8, u16, &[u8])| {
    let (kind, piece, bytes) = input;
    let kinds = [ObjectKind::Config, ObjectKind::Key, ObjectKind::Data, ObjectKind::Index, ObjectKind::Snapshot];
    let kind = kinds[usize::from(kind) % kinds.len()];
    let (least, most) = sizes(kind);
    if !(least..=most).contains(&(bytes.len() as u64)) {
        return;
    }
    let mut inspection = Inspection::new(kind, bytes.len() as u64);
    bytes.chunks(usize::from(piece).max(1)).for_each(|piece| inspection.take_in(piece));
    let judged = inspection.judge();
    if kind != ObjectKind::Key && bytes.is_ascii() {
        assert!(judged.is_err(), "text passed as {kind:?}");
    }
});
