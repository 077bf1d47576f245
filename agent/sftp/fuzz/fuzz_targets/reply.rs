//! No bytes of a host's do harm: neither panics nor memory beyond a few times the packet.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| drawbridge_sftp::fuzzing::decode(bytes));
