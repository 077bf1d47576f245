//! Whatever is declared: a manifest that survives being written and read again, or an error.
#![no_main]

use drawbridge_wire::{MAX_MANIFEST_OBJECTS, Manifest};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(manifest) = serde_json::from_slice::<Manifest>(bytes) else { return };
    assert!(manifest.objects().len() <= MAX_MANIFEST_OBJECTS);
    assert!(manifest.objects().is_sorted_by(|one, next| one.name() < next.name()));
    let text = serde_json::to_vec(&manifest).expect("what was read can be written");
    assert_eq!(serde_json::from_slice::<Manifest>(&text).expect("and read again"), manifest);
    let _totals = manifest.declared();
});
