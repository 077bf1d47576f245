//! The parts of a JSONata expression.

use crate::answers::SUBSTITUTION_BYTES;
use crate::expression::Unit;

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// `$name.of.something`, without the `$`.
    Variable(String),
    Word(String),
    Text(Text),
    Number(Number),
    Regex,
    /// `${Name}`, which the template fills in.
    Substitution,
    /// `:=`
    Assign,
    Mark(char),
}

/// A text between quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    characters: usize,
    substitutions: usize,
}

impl Text {
    /// How long it is; quotes count where JSON has them.
    pub(crate) const fn length(&self, unit: Unit) -> usize {
        let quotes = match unit {
            Unit::Bytes => 2,
            Unit::Characters => 0,
        };
        self.characters + quotes + self.substitutions * SUBSTITUTION_BYTES
    }
}

/// A number, and how many characters it is written in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Number {
    pub(crate) value: usize,
    pub(crate) digits: usize,
}

/// All of them.
pub(crate) fn tokens(mut rest: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    while let Some(first) = {
        rest = rest.trim_start();
        rest.chars().next()
    } {
        let after = &rest[first.len_utf8()..];
        let (token, behind) = match first {
            '$' if after.starts_with('{') => {
                (Token::Substitution, after.split_once('}').ok_or("an open substitution")?.1)
            }
            '$' => {
                let (name, behind) = split(after, |c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
                (Token::Variable(name.to_owned()), behind)
            }
            quote @ ('\'' | '"') => {
                let (text, behind) = after.split_once(quote).ok_or("an open text")?;
                (Token::Text(text_of(text)?), behind)
            }
            // Nothing is divided here.
            '/' => (Token::Regex, behind_regex(after)?),
            ':' if after.starts_with('=') => (Token::Assign, &after[1..]),
            c if c.is_ascii_digit() => {
                let (digits, behind) = split(rest, |c| c.is_ascii_digit());
                let value = digits.parse().map_err(|_| format!("{digits} is too large"))?;
                (Token::Number(Number { value, digits: digits.len() }), behind)
            }
            c if c.is_ascii_alphabetic() => {
                let (word, behind) = split(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Token::Word(word.to_owned()), behind)
            }
            mark => (Token::Mark(mark), after),
        };
        found.push(token);
        rest = behind;
    }
    Ok(found)
}

fn split(text: &str, belongs: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !belongs(c)).unwrap_or(text.len()))
}

fn text_of(text: &str) -> Result<Text, String> {
    let (mut characters, mut substitutions) = (text.chars().count(), 0);
    for part in text.split("${").skip(1) {
        let (name, _) = part.split_once('}').ok_or("an open substitution in a text")?;
        characters -= name.chars().count() + 3;
        substitutions += 1;
    }
    Ok(Text { characters, substitutions })
}

fn behind_regex(text: &str) -> Result<&str, String> {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = c == '/' && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Ok(&text[end.ok_or("an open pattern")? + 1..])
}
