//! Whatever is configured as the agent's key: a line that says the same when it is read again, or an error.
#![no_main]

use drawbridge_ssh::PublicKey;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let Ok(key) = text.parse::<PublicKey>() else { return };
    let line = key.to_string();
    assert!(!line.contains('\n'), "{line:?}");
    assert_eq!(line.parse::<PublicKey>().expect("what was written can be read").to_string(), line);
});
