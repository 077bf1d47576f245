//! A file's characters, one after the other.

use std::cell::{Cell, RefCell};
use std::io::{BufReader, Read};
use std::rc::Rc;

/// Why there are no more characters, other than the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not UTF-8 from this byte on, counted from 0.
    NotUtf8(u64),
    /// The budget is used up.
    Spent,
    /// It can't be read.
    Io(String),
}

/// What the reader of [`Chars`] and whoever pulls them tell each other.
#[derive(Debug, Default)]
pub(super) struct Watch {
    stop: RefCell<Option<Stop>>,
    taken: Cell<u64>,
}

impl Watch {
    /// The budget counts from here again.
    pub(super) fn refill(&self) {
        self.taken.set(0);
    }

    /// Why there were no more characters; `None` at the end of the file.
    pub(super) fn stop(&self) -> Option<Stop> {
        self.stop.take()
    }
}

/// The characters of a UTF-8 text.
pub(super) struct Chars<R> {
    bytes: std::io::Bytes<BufReader<R>>,
    at: u64,
    budget: u64,
    watch: Rc<Watch>,
}

impl<R: Read> Chars<R> {
    /// At most `budget` characters between two refills of the watch.
    pub(super) fn new(file: R, budget: u64) -> (Self, Rc<Watch>) {
        let watch = Rc::new(Watch::default());
        (Self { bytes: BufReader::new(file).bytes(), at: 0, budget, watch: Rc::clone(&watch) }, watch)
    }

    fn byte(&mut self) -> Option<Result<u8, Stop>> {
        let byte = self.bytes.next()?;
        self.at += 1;
        Some(byte.map_err(|error| Stop::Io(error.to_string())))
    }

    fn char(&mut self) -> Option<Result<char, Stop>> {
        let first = match self.byte()? {
            Ok(byte) => byte,
            Err(stop) => return Some(Err(stop)),
        };
        let begin = self.at - 1;
        let length = match first {
            0..0x80 => return Some(Ok(char::from(first))),
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => return Some(Err(Stop::NotUtf8(begin))),
        };
        let mut bytes = [first, 0, 0, 0];
        let mut read = 1;
        for slot in bytes.iter_mut().take(length).skip(1) {
            match self.byte() {
                Some(Ok(byte)) => *slot = byte,
                Some(Err(stop)) => return Some(Err(stop)),
                None => break,
            }
            read += 1;
        }
        let decoded =
            bytes.get(..read).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
        Some(decoded.ok_or(Stop::NotUtf8(begin)))
    }
}

impl<R: Read> Iterator for Chars<R> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let taken = self.watch.taken.get() + 1;
        self.watch.taken.set(taken);
        let next = if taken > self.budget { Err(Stop::Spent) } else { self.char()? };
        // After a stop it goes on saying so: the text is over.
        next.map_err(|stop| {
            self.budget = 0;
            self.watch.stop.borrow_mut().get_or_insert(stop);
        })
        .ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(bytes: &[u8], budget: u64) -> (String, Option<Stop>) {
        let (chars, watch) = Chars::new(bytes, budget);
        (chars.collect(), watch.stop())
    }

    #[test]
    fn what_is_utf8_comes_as_it_is() {
        let text = "a é € 𝄞\0\u{10ffff}\n";
        assert_eq!(read(text.as_bytes(), 100), (text.to_owned(), None));
    }

    #[test]
    fn what_is_not_utf8_is_found_where_it_is() {
        for broken in
            [&b"ab\xff"[..], b"ab\xc0\x80", b"ab\xe2\x82", b"ab\xed\xa0\x80", b"ab\xf4\x90\x80\x80", b"ab\x80"]
        {
            assert_eq!(read(broken, 100), ("ab".to_owned(), Some(Stop::NotUtf8(2))), "{broken:?}");
        }
    }

    #[test]
    fn the_budget_is_kept_and_can_be_refilled() {
        assert_eq!(read(b"abc", 3), ("abc".to_owned(), Some(Stop::Spent)));
        let (mut chars, watch) = Chars::new(&b"abcd"[..], 2);
        assert_eq!((chars.next(), chars.next()), (Some('a'), Some('b')));
        watch.refill();
        assert_eq!((chars.next(), chars.next(), chars.next()), (Some('c'), Some('d'), None));
    }
}
