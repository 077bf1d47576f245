//! A regular expression that must match somewhere.

use std::fs::File;
use std::io::Read;

use regex::bytes::Regex;

use super::{MAX_DOCUMENT_BYTES, Rejection};

pub(super) fn check(file: File, size: u64, expression: &Regex) -> Result<(), Rejection> {
    let mut content = Vec::new();
    file.take(MAX_DOCUMENT_BYTES)
        .read_to_end(&mut content)
        .map_err(|error| Rejection(format!("it can't be read for its check: {error}")))?;
    if expression.is_match(&content) {
        return Ok(());
    }
    let place = if size > MAX_DOCUMENT_BYTES {
        format!("in its first {MAX_DOCUMENT_BYTES} bytes, all that is searched,")
    } else {
        "in it".to_owned()
    };
    Err(Rejection(format!("nothing {place} matches {:?}", expression.as_str())))
}
