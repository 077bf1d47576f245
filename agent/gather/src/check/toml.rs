//! TOML. The parser holds the whole document as a tree.

use std::fs::File;
use std::io::Read;

use serde::de::IgnoredAny;

use super::{Rejection, tidy};

/// The largest file that is looked into, in bytes: a tree takes up to eighty times its text (measured), and nobody writes
/// more TOML than that.
pub(super) const MAX_BYTES: u64 = 1 << 20;

pub(super) fn check(file: File) -> Result<(), Rejection> {
    let mut text = String::new();
    // Not more than was looked at in the size, should it grow meanwhile.
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .map_err(|error| Rejection(format!("it is no TOML: {}", tidy(&error.to_string()))))?;
    toml::from_str::<IgnoredAny>(&text).map(drop).map_err(|error| {
        let before = text.get(..error.span().unwrap_or_default().start).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // The message without the excerpt that usually goes with it: that may hold a secret.
        Rejection(format!("it is no TOML: line {line}: {}", tidy(error.message())))
    })
}
