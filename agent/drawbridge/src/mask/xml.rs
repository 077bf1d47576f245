//! Elements of XML whose name says that what is in them is a secret, such as OPNsense's `<password>` and `<prv>`; and attributes
//! that belong together, such as `name="password" value="..."`.

use std::ops::Range;

use super::key::{Key, judge};
use super::{Spans, cut, head, value};

/// The longest content of an element that perhaps is a key, in bytes: OpenVPN's and TLS's keys in base64 take a third.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// So many elements that aren't closed may be placeholders, as in `login <user> <password>`. In a text with more, all that follows is hidden.
const MAX_UNCLOSED: usize = 64;

/// Elements that hold keys under names that say so only in XML: OPNsense's certificates, their keys, OpenVPN's static keys.
const XML_ONLY: &[&str] = &["prv", "crt", "tls", "privkey", "pubkeyauth", "static_keys", "keydata"];

/// Adds the secrets in elements of `text` to `spans`.
pub(super) fn find(text: &str, spans: &mut Spans) {
    let is_xml = text.trim_start_matches('\u{feff}').trim_start().starts_with('<');
    let (mut at, mut unclosed) = (0, 0);
    while let Some(tag) = next_tag(text, at) {
        at = tag.whole.end;
        if tag.closes || tag.empty {
            if tag.empty {
                named_value(text, &tag, spans);
            }
            continue;
        }
        let by_attribute = named_value(text, &tag, spans);
        let name = cut(text, tag.name.clone());
        let verdict = if by_attribute || XML_ONLY.contains(&name) { Key::Secret } else { judge(name) };
        if verdict == Key::Plain {
            continue;
        }
        let rest = cut(text, at..text.len());
        let near = if verdict == Key::Secret { rest } else { head(rest, MAX_KEY_BYTES) };
        let end = match end_of(near, name) {
            Some(length) => at + length,
            None if verdict == Key::Secret && (is_xml || unclosed == MAX_UNCLOSED) => text.len(),
            None => {
                unclosed += 1;
                continue;
            }
        };
        let inner = cut(text, at..end);
        let wanted = verdict == Key::Secret || value::is_opaque(inner.trim());
        if wanted && !value::is_harmless(inner) {
            contents(text, at..end, spans);
            at = end;
        }
    }
}

struct Tag {
    /// From `<` to behind `>`.
    whole: Range<usize>,
    name: Range<usize>,
    closes: bool,
    empty: bool,
}

fn next_tag(text: &str, from: usize) -> Option<Tag> {
    let mut at = from;
    loop {
        let open = at + text.get(at..)?.find('<')?;
        let closes = text.get(open + 1..)?.starts_with('/');
        let begin = open + 1 + usize::from(closes);
        let rest = text.get(begin..)?;
        let length =
            rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))).unwrap_or(rest.len());
        let named = rest.starts_with(|c: char| c.is_alphabetic() || c == '_');
        match end_of_tag(text, begin + length) {
            Some(end) if named => {
                let empty = cut(text, open..end).ends_with("/>");
                return Some(Tag { whole: open..end, name: begin..begin + length, closes, empty });
            }
            _ => at = open + 1,
        }
    }
}

/// Behind the `>` of a tag; one within quotes is an attribute's. XML has no `<` within a tag, not even in quotes.
fn end_of_tag(text: &str, from: usize) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.get(from..)?.char_indices() {
        match (quote, c) {
            (_, '<') => return None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '>') => return Some(from + at + 1),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Where in `text`, which begins with the contents of the element `name`, that is closed.
fn end_of(text: &str, name: &str) -> Option<usize> {
    let closing = format!("</{name}");
    let mut found = text.match_indices(&closing).map(|(at, _)| at);
    found.find(|at| {
        text.get(at + closing.len()..).is_some_and(|rest| rest.starts_with(|c: char| c == '>' || c.is_whitespace()))
    })
}

/// All in `range` but the names of the elements in it.
fn contents(text: &str, range: Range<usize>, spans: &mut Spans) {
    let mut at = range.start;
    while let Some(tag) = next_tag(text, at).filter(|tag| tag.whole.end <= range.end) {
        spans.push(at..tag.whole.start);
        let end = if tag.empty { tag.whole.end - 2 } else { tag.whole.end - 1 };
        spans.push(tag.name.end..end.max(tag.name.end));
        at = tag.whole.end;
    }
    spans.push(at..range.end);
}

/// `<property name="password" value="..."/>`: whether the element is about a secret; its `value` goes to `spans`.
fn named_value(text: &str, tag: &Tag, spans: &mut Spans) -> bool {
    let inner = tag.name.end..tag.whole.end;
    let of = |name: &str| attribute(text, inner.clone(), name);
    let named = ["name", "key", "id", "property"]
        .into_iter()
        .filter_map(of)
        .any(|range| judge(cut(text, range)) == Key::Secret);
    if named {
        spans.extend(["value", "content", "default"].into_iter().filter_map(of));
    }
    named
}

/// The value of the attribute `name` of the tag whose attributes are `within`.
fn attribute(text: &str, within: Range<usize>, name: &str) -> Option<Range<usize>> {
    let attributes = cut(text, within.clone());
    let (at, _) = attributes.match_indices(name).find(|(at, _)| {
        let apart = attributes.get(..*at).is_some_and(|before| before.ends_with(char::is_whitespace));
        apart && attributes.get(at + name.len()..).is_some_and(|rest| rest.trim_start().starts_with('='))
    })?;
    let rest = attributes.get(at + name.len()..)?;
    let open = at + name.len() + rest.find(['"', '\''])?;
    let quote = attributes.get(open..=open)?;
    let length = attributes.get(open + 1..)?.find(quote)?;
    Some(within.start + open + 1..within.start + open + 1 + length)
}
