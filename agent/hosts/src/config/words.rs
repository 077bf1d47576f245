//! One line of ssh_config(5): a keyword and its arguments.

/// A line that can't be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnbalancedQuotes;

/// The keyword, in lower case, and the arguments. `None` for an empty line or a comment.
///
/// As OpenSSH's `strdelim` and `argv_split` have it: blanks or one `=` after the keyword, `"` and `'` quote, `\` escapes quotes,
/// itself, and a blank outside of quotes; `#` at the beginning of a word begins a comment.
pub(super) fn split(line: &str) -> Result<Option<(String, Vec<String>)>, UnbalancedQuotes> {
    let line = line.trim_matches([' ', '\t', '\r', '\n', '\u{c}']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find([' ', '\t', '\r', '=', '"']).unwrap_or(line.len());
    let (keyword, rest) = line.split_at_checked(end).unwrap_or((line, ""));
    let rest = rest.trim_start_matches([' ', '\t', '\r']);
    let rest = rest.strip_prefix('=').unwrap_or(rest).trim_start_matches([' ', '\t', '\r']);
    Ok(Some((keyword.to_ascii_lowercase(), arguments(rest)?)))
}

fn arguments(text: &str) -> Result<Vec<String>, UnbalancedQuotes> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    loop {
        while characters.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        match characters.peek() {
            None | Some('#') => return Ok(words),
            Some(_) => words.push(word(&mut characters)?),
        }
    }
}

fn word(characters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<String, UnbalancedQuotes> {
    let mut word = String::new();
    let mut quote = None;
    while let Some(c) = characters.next() {
        match (c, quote) {
            ('\\', _) => {
                let escaped = |next: &char| matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' ');
                word.push(characters.next_if(escaped).unwrap_or('\\'));
            }
            (' ' | '\t', None) => return Ok(word),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.push(c),
        }
    }
    if quote.is_some() { Err(UnbalancedQuotes) } else { Ok(word) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keyword_and_arguments_are_told_apart_in_every_spelling() {
        for (line, expected) in [
            ("Host a b", Some(("host", vec!["a", "b"]))),
            ("  HOSTNAME=a", Some(("hostname", vec!["a"]))),
            ("HostName  =  a # not this", Some(("hostname", vec!["a"]))),
            ("IdentityFile \"a b\"'c d'", Some(("identityfile", vec!["a bc d"]))),
            ("IdentityFile a\\ b", Some(("identityfile", vec!["a b"]))),
            ("User a#b", Some(("user", vec!["a#b"]))),
            ("User\t\"a\\\"b\"\r", Some(("user", vec!["a\"b"]))),
            ("User", Some(("user", vec![]))),
            ("User ''", Some(("user", vec![""]))),
            ("# Host a", None),
            ("   ", None),
        ] {
            let expected = expected
                .map(|(keyword, words)| (keyword.to_owned(), words.into_iter().map(str::to_owned).collect::<Vec<_>>()));
            assert_eq!(split(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn an_open_quote_is_an_error() {
        for line in ["User \"a", "User 'a\"", "User \"a\\\""] {
            assert_eq!(split(line), Err(UnbalancedQuotes), "{line}");
        }
    }
}
