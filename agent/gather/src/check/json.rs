//! JSON, as RFC 8259 has it. Read in a stream and thrown away; nesting costs a byte a level and no stack.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};

use serde::de::IgnoredAny;

use super::text::{Chars, Stop};
use super::{Rejection, tidy};

pub(super) fn check(mut file: File) -> Result<(), Rejection> {
    // The parser looks at the inside of strings that it throws away for their end only.
    let (chars, watch) = Chars::new(&file, u64::MAX);
    chars.for_each(drop);
    match watch.stop() {
        None => {}
        Some(Stop::NotUtf8(at)) => return Err(Rejection(format!("it is no JSON: byte {at} is not UTF-8"))),
        Some(stop) => return Err(Rejection(format!("it can't be read for its check: {stop:?}"))),
    }
    file.seek(SeekFrom::Start(0)).map_err(|error| Rejection(format!("it can't be read for its check: {error}")))?;
    let parsed: Result<IgnoredAny, _> = serde_json::from_reader(BufReader::new(file));
    parsed.map(drop).map_err(|error| Rejection(format!("it is no JSON: {}", tidy(&error.to_string()))))
}
