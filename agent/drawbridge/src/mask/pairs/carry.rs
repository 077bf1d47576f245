//! Values that go on over lines.

use std::ops::Range;

use super::{cut, value};

/// What the lines before have left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carry {
    None,
    /// A quoted value, up to this quote.
    Quote(&'static str),
    /// A list or table, with so many brackets open.
    Brackets(usize),
    /// A block of text below a line that was indented so far: all that is indented further.
    Block(usize),
    /// What is below a name that was indented so far: values of names, and items of a list.
    Below(usize),
    /// The rest of a value: lines that are indented further and begin no setting.
    Tail(usize),
    /// The next line, whatever it is.
    NextLine,
}

impl Carry {
    /// Whether a value of which `text` is on its line is over with that line, as far as one can tell.
    pub(super) const fn is_over(&self, text: &str) -> bool {
        matches!(self, Self::None | Self::Tail(_)) || (matches!(self, Self::Below(_)) && !text.is_empty())
    }

    /// Hands what belongs to an open value to `secret`. Returns where the rest of the line begins, `None` if there is none.
    pub(super) fn take(&mut self, line: &str, mut secret: impl FnMut(Range<usize>)) -> Option<usize> {
        match *self {
            Self::None => Some(0),
            Self::Quote(quote) => {
                let Some(end) = value::closing_quote(line, quote) else {
                    secret(0..line.len());
                    return None;
                };
                *self = Self::None;
                secret(0..end);
                Some(end + quote.len())
            }
            Self::Brackets(depth) => self.brackets(line, depth, secret),
            Self::NextLine => {
                secret(0..line.len());
                if !line.trim_end().ends_with('\\') {
                    *self = Self::None;
                }
                None
            }
            Self::Block(indent) | Self::Below(indent) | Self::Tail(indent) => self.indented(line, indent, secret),
        }
    }

    fn brackets(&mut self, line: &str, mut depth: usize, mut secret: impl FnMut(Range<usize>)) -> Option<usize> {
        for (at, c) in line.char_indices() {
            match c {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                *self = Self::None;
                secret(0..at);
                return Some(at + c.len_utf8());
            }
        }
        *self = Self::Brackets(depth);
        secret(0..line.len());
        None
    }

    fn indented(&mut self, line: &str, indent: usize, mut secret: impl FnMut(Range<usize>)) -> Option<usize> {
        if line.trim().is_empty() {
            return None;
        }
        let here = indent_of(line);
        let item = line.trim_start().starts_with("- ") && !matches!(self, Self::Tail(_));
        let deeper = here > indent || (item && here == indent && !matches!(self, Self::Block(_)));
        let setting = setting(line);
        if !deeper
            || (matches!(self, Self::Tail(_))
                && (setting.is_some() || is_comment(line) || line.trim_start().starts_with('<')))
        {
            *self = Self::None;
            return Some(0);
        }
        match (*self, setting) {
            (Self::Below(_), _) if is_comment(line) || line.trim_start().starts_with('<') => return Some(0),
            (Self::Below(_), Some(begin)) => {
                if !value::is_harmless(cut(line, begin..line.len())) {
                    secret(begin..line.len());
                }
            }
            _ => secret(here + if item { 2 } else { 0 }..line.len()),
        }
        None
    }
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with(['#', ';'])
}

/// Where the value begins, if the line is a name and its value.
fn setting(line: &str) -> Option<usize> {
    let text = line.trim_start_matches(['-', ' ', '\t', '"', '\'']);
    let start = line.len() - text.len();
    let length =
        text.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))).filter(|length| *length > 0)?;
    let rest = text.get(length..)?.trim_start_matches(['"', '\'']);
    let sign = rest.trim_start();
    let behind = sign.strip_prefix(':').filter(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
    let behind =
        behind.or_else(|| sign.strip_prefix('=').filter(|rest| !rest.trim().is_empty() && !rest.starts_with('=')))?;
    Some(start + text.len() - behind.trim_start().len())
}

/// How far a line is indented, in bytes of white space.
pub(super) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start().len()
}
