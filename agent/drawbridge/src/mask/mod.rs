//! Keeps secrets of configuration files off terminals and out of tickets.
//!
//! Invariants that this module owns:
//! - what is taken for a secret is replaced as a whole by a tag, `‹masked 1›`; a tag says nothing about the secret but whether it equals
//!   another one seen by the same [`Masker`] (it is a number in order of appearance, never a hash);
//! - lines stay lines, so that a masked file can be compared with another line by line;
//! - a file is looked at as a whole, since a private key or a block of text is a secret over many lines.
//!
//! When in doubt it masks: a word too many that is hidden costs a look at the file itself.

mod accounts;
mod key;
mod pairs;
mod shapes;
mod value;
mod xml;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Masks texts that belong together, for example both sides of a comparison: equal secrets get equal tags.
#[derive(Default)]
pub struct Masker {
    tags: HashMap<String, usize>,
}

// Not derived: the keys of the table are the secrets.
impl fmt::Debug for Masker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masker").field("tags", &self.tags.len()).finish()
    }
}

/// The parts of a text that are secrets, as byte ranges; in any order, they may overlap and reach over line ends.
type Spans = Vec<Range<usize>>;

/// `text`, a file that lies at `path` on its host, without its secrets.
#[must_use]
pub fn mask<'t>(text: &'t str, path: &Path) -> Cow<'t, str> {
    Masker::default().mask(text, path)
}

impl Masker {
    /// `text`, a file that lies at `path` on its host, without its secrets.
    pub fn mask<'t>(&mut self, text: &'t str, path: &Path) -> Cow<'t, str> {
        let mut spans = Spans::new();
        shapes::find(text, &mut spans);
        xml::find(text, &mut spans);
        accounts::find(text, path, &mut spans);
        pairs::find(text, path, &mut spans);
        let spans = merged(spans);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = String::with_capacity(text.len());
        let mut at = 0;
        for span in spans {
            masked.push_str(cut(text, at..span.start));
            for piece in cut(text, span.clone()).split_inclusive('\n') {
                self.replace(piece, &mut masked);
            }
            at = span.end;
        }
        masked.push_str(cut(text, at..text.len()));
        Cow::Owned(masked)
    }

    /// Appends `piece`, at most a line, with its tag in place of all but the white space around it.
    fn replace(&mut self, piece: &str, masked: &mut String) {
        let secret = piece.trim();
        if secret.is_empty() {
            return masked.push_str(piece);
        }
        let (before, after) = piece.split_once(secret).unwrap_or_default();
        let next = self.tags.len() + 1;
        let tag = *self.tags.entry(secret.to_owned()).or_insert(next);
        masked.push_str(&format!("{before}‹masked {tag}›{after}"));
    }
}

/// Sorted, without overlaps.
fn merged(mut spans: Spans) -> Spans {
    spans.retain(|span| !span.is_empty());
    spans.sort_by_key(|span| (span.start, span.end));
    let mut merged: Spans = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// A part of `text`; empty if there is no such part.
fn cut(text: &str, range: Range<usize>) -> &str {
    text.get(range).unwrap_or_default()
}

/// The first `most` bytes of `text`, or less where that would be within a character. What looks ahead from every place of a text
/// must not look far: a host may send a file that would take hours.
fn head(text: &str, most: usize) -> &str {
    cut(text, 0..text.floor_char_boundary(most))
}

/// Every line with the offset at which it begins, without its line end.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split_inclusive('\n').scan(0, |at, line| {
        let start = *at;
        *at += line.len();
        Some((start, line.trim_end_matches(['\n', '\r'])))
    })
}

#[cfg(test)]
pub(crate) mod tests;
