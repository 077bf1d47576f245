//! From a name on: what stands between it and its value, and how far the value reaches.

use std::ops::Range;

use super::carry::Carry;
use super::{cut, head, key, value};

/// Where the name stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// The line is about this name; the value may reach to its end.
    pub(super) first: bool,
    /// The line is a comment.
    pub(super) comment: bool,
    /// How far the line is indented.
    pub(super) indent: usize,
}

/// A value, as a range of its line.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) range: Range<usize>,
    /// What of it is on the lines that follow.
    pub(super) carry: Carry,
    /// A colon stands between name and value, as in a sentence.
    pub(super) colon: bool,
}

/// The value that belongs to `name`. `follows` judges whether what comes after mere white space is one.
pub(super) fn after(line: &str, name: Range<usize>, reach: Reach, follows: impl Fn(&str) -> bool) -> Option<Found> {
    let before = cut(line, 0..name.start);
    let mut at = name.end;
    let mut around = value::quote_before(before);
    let mut quoted_name = false;
    if let Some(quote) = around.filter(|quote| cut(line, at..line.len()).starts_with(*quote)) {
        at += quote.len();
        (around, quoted_name) = (None, true);
    }
    let call = quoted_name && before.trim_end_matches(['"', '\'', '\\']).trim_end().ends_with(['(', '[']);
    let rest = cut(line, at..line.len());
    let sign = separator(rest, quoted_name, call);
    let begin = match sign {
        Some(length) => at + length,
        // Behind a slash it is the name of a program.
        None if rest.starts_with([' ', '\t']) && !before.ends_with('/') => {
            let skipped = rest.len() - rest.trim_start().len();
            let rest = rest.trim_start();
            match phrase(rest) {
                Some(about) if about => return None,
                Some(_) => {}
                None if follows(rest) => {}
                None => return None,
            }
            at + skipped
        }
        None => return None,
    };
    let colon = cut(line, at..begin).contains(':');
    let found = |range, carry| Some(Found { range, carry, colon });
    let rest = cut(line, begin..line.len());
    let sigil = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '@').len();
    let sigil = if sigil <= 2 && value::opening_quote(cut(rest, sigil..rest.len())).is_some() { sigil } else { 0 };
    if let Some(quote) = value::opening_quote(cut(rest, sigil..rest.len())) {
        let (range, carry) = quoted(line, begin + sigil, quote, reach.first && !quoted_name);
        return found(range, carry);
    }
    if sign.is_none() && around.is_none() && !before.ends_with('-') {
        // `password 7 0822455D0A16`: nobody but the daemon knows how many words it takes.
        return found(begin..begin + rest.trim_end().trim_end_matches(';').len(), Carry::None);
    }
    let (length, carry) = bare(rest, around, quoted_name, reach);
    found(begin..begin + length, carry)
}

/// How long the separator at the beginning of `rest` is, with the white space around it.
fn separator(rest: &str, quoted_name: bool, call: bool) -> Option<usize> {
    const SIGNS: &[&str] = &["=>", ":=", "+=", "?=", "==", "=", ":"];
    let mut text = rest;
    if quoted_name {
        text = text.trim_start_matches([']', ')']);
    }
    text = text.trim_start();
    let sign = SIGNS.iter().find(|sign| text.starts_with(**sign)).copied();
    let sign = sign.or_else(|| (call && text.starts_with(',')).then_some(","));
    let opens = text.strip_prefix('(').is_some_and(|rest| value::opening_quote(rest.trim_start()).is_some());
    let sign = sign.or_else(|| (opens && text.len() == rest.len()).then_some("("))?;
    if sign == ":" && text.starts_with("://") {
        return None;
    }
    let behind = text.get(sign.len()..)?;
    Some(rest.len() - behind.trim_start().len())
}

/// `passwd chat = ...`: whether words and a separator of their own follow; and if so, whether the whole only speaks about a secret.
fn phrase(rest: &str) -> Option<bool> {
    /// The longest such phrase, in bytes.
    const LONGEST: usize = 40;
    let near = head(rest, LONGEST);
    let words = near.get(..near.find([':', '='])?)?;
    let plain = words.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, ' ' | '_' | '-'));
    let last = words.split_whitespace().last()?;
    (words.ends_with(' ') && plain).then(|| key::is_about(&last.to_lowercase()))
}

/// A value that begins with `quote` at `begin`.
fn quoted(line: &str, begin: usize, quote: &'static str, first: bool) -> (Range<usize>, Carry) {
    let from = begin + quote.len();
    let rest = cut(line, from..line.len());
    let Some(length) = value::closing_quote(rest, quote) else {
        return (from..line.len(), Carry::Quote(quote));
    };
    let behind = cut(rest, length + quote.len()..rest.len());
    // What goes on right behind the quote belongs to the value: a shell joins them, an INI file keeps the quotes.
    let glued = behind.find(|c: char| {
        c.is_whitespace() || matches!(c, ',' | ';' | ')' | ']' | '}' | '>' | '<' | '/' | '#' | '&' | '\\' | '"' | '\'')
    });
    let goes_on = first
        && !behind.trim_start().is_empty()
        && !behind.trim_start().starts_with(['#', ';', ',', ')', ']', '}', '\\', '/', '>', '<', '&', '|']);
    let spaced = behind.starts_with(char::is_whitespace);
    match glued {
        Some(0) if !goes_on || spaced => (from..from + length, Carry::None),
        _ if behind.is_empty() => (from..from + length, Carry::None),
        _ if goes_on => (from..line.len(), Carry::None),
        Some(end) => (from..from + length + quote.len() + end, Carry::None),
        None => (from..line.len(), Carry::None),
    }
}

/// How far a value without quotes reaches.
fn bare(rest: &str, around: Option<&'static str>, quoted_name: bool, reach: Reach) -> (usize, Carry) {
    let all = rest.trim_end().len();
    let text = cut(rest, 0..all);
    if text.is_empty() || matches!(text, "\\") {
        return (0, if reach.comment { Carry::None } else { Carry::Below(reach.indent) });
    }
    let block = text.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    if matches!(block, "|" | ">" | "!vault |" | "!!binary |") {
        return (all, Carry::Block(reach.indent));
    }
    if let Some(end) = bracketed(text) {
        return match end {
            Some(end) => (end, Carry::None),
            None if text.ends_with(['[', '{', '(', ',']) || quoted_name => (all, Carry::Brackets(depth(text))),
            None => (all, Carry::None),
        };
    }
    if let Some(quote) = around {
        return (value::closing_quote(text, quote).unwrap_or(all), Carry::None);
    }
    if quoted_name {
        return (text.find([',', '}', ']']).unwrap_or(all), Carry::None);
    }
    if reach.first {
        let goes_on = text.ends_with('\\');
        let end = text.trim_end_matches([';', ',']).len();
        let carry = if goes_on { Carry::NextLine } else { Carry::Tail(reach.indent) };
        return (end, if reach.comment { Carry::None } else { carry });
    }
    (text.find(char::is_whitespace).unwrap_or(all), Carry::None)
}

/// Whether `text` is a list or a table, and if so, where it ends, if it does.
fn bracketed(text: &str) -> Option<Option<usize>> {
    if !text.starts_with(['[', '{']) || text.starts_with("{{") {
        return None;
    }
    let mut depth = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(Some(at + c.len_utf8()));
                }
            }
            _ => {}
        }
    }
    Some(None)
}

/// How many brackets are left open at the end of `text`.
pub(super) fn depth(text: &str) -> usize {
    text.chars().fold(0_usize, |depth, c| match c {
        '[' | '{' => depth + 1,
        ']' | '}' => depth.saturating_sub(1),
        _ => depth,
    })
}
