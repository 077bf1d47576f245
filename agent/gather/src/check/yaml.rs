//! YAML 1.2, read as a stream of events. Aliases are only looked up, never followed, so that nothing can be multiplied.

use std::fs::File;
use std::time::Instant;

use saphyr_parser::{Event, Parser};

use super::text::{Chars, Stop};
use super::{PARSE_TIME, Rejection, tidy};

/// The deepest nesting: configurations have a dozen.
const MAX_DEPTH: usize = 256;
/// The most anchors; the parser remembers each.
const MAX_ANCHORS: usize = 100_000;
/// The longest text that the parser may hold before it says what it is, in characters. That is a scalar, or a collection in
/// brackets that might turn out to be a key: the parser keeps each of its tokens, a hundred bytes for one character.
const MAX_HELD: u64 = 256 << 10;

pub(super) fn check(file: File) -> Result<(), Rejection> {
    let begun = Instant::now();
    let (chars, watch) = Chars::new(file, MAX_HELD);
    let mut parser = Parser::new_from_iter(chars);
    let mut depth = 0_usize;
    while let Some(event) = parser.next_event() {
        // Before the parser's own word: it took what follows for the end of the file.
        match watch.stop() {
            None => watch.refill(),
            Some(Stop::NotUtf8(at)) => return Err(wrong(&format!("byte {at} is not UTF-8"))),
            Some(Stop::Spent) => {
                return Err(wrong(&format!("a scalar or a bracketed collection is longer than {MAX_HELD} characters")));
            }
            Some(Stop::Io(error)) => return Err(Rejection(format!("it can't be read for its check: {error}"))),
        }
        let (event, _) = event.map_err(|error| wrong(&error.to_string()))?;
        let anchor = match event {
            Event::SequenceStart(anchor, _) | Event::MappingStart(anchor, _) => {
                depth += 1;
                anchor
            }
            Event::Scalar(_, _, anchor, _) => anchor,
            Event::SequenceEnd | Event::MappingEnd => {
                depth = depth.saturating_sub(1);
                0
            }
            _ => 0,
        };
        if depth > MAX_DEPTH {
            return Err(wrong(&format!("it is nested more than {MAX_DEPTH} deep")));
        }
        if anchor > MAX_ANCHORS {
            return Err(wrong(&format!("it has more than {MAX_ANCHORS} anchors")));
        }
        if begun.elapsed() > PARSE_TIME {
            return Err(wrong(&format!("it can't be parsed within {} s", PARSE_TIME.as_secs())));
        }
    }
    Ok(())
}

fn wrong(why: &str) -> Rejection {
    Rejection(format!("it is no good YAML: {}", tidy(why)))
}
