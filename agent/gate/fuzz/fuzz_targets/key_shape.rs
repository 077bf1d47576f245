//! Whatever comes as a key file: one, or none, never a panic.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if drawbridge_gate::key_shape::check(bytes).is_ok() {
        assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok_and(|key| key["kdf"] == "scrypt"));
    }
});
