//! Whatever stands in a block of a catalogue: understood or refused, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _understood = drawbridge_gather::catalogue::fuzz_block(bytes);
});
