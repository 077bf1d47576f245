//! Whatever a request asks for: one of the gate's routes, which says the same when it is asked for again, or none.
#![no_main]

use drawbridge_gate::route::Route;
use hyper::{Request, Version};

libfuzzer_sys::fuzz_target!(|input: (u8, &str, &str)| {
    let (version, method, path) = input;
    let version = if version % 2 == 0 { Version::HTTP_11 } else { Version::HTTP_2 };
    let Ok(request) = Request::builder().version(version).method(method).uri(path).body(()) else { return };
    if let Some(Route::Object(name)) = Route::of(&request.into_parts().0) {
        assert_eq!(method, "POST");
        assert_eq!(name.to_string().parse(), Ok(name));
        assert!(path.ends_with(&format!("/{name}")), "{path} is not {name}");
        let stored = name.path();
        assert!(!stored.contains("..") && !stored.starts_with('/') && stored.split('/').count() <= 3, "{stored}");
    }
});
