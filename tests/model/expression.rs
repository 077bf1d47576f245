//! How long an expression's value can get, without evaluating it.
//!
//! What the definition uses of JSONata makes its values of its operands: it joins, chooses, nests and cuts them. So no value
//! is longer than all literals and all references of its expression together. An expression that uses anything else is an
//! error here, and whoever wrote it adds what it can come to.

use crate::answers::SUBSTITUTION_BYTES;

/// Functions whose values are no longer than their arguments; `$string` quotes them, which makes a text of at most twice
/// the length when that stands in JSON again.
const KNOWN_FUNCTIONS: [&str; 4] = ["exists", "not", "string", "substring"];

/// The most bytes of JSON in the value of `expression`, with `reference` knowing each `$name.of.something`.
pub(crate) fn longest(expression: &str, reference: &dyn Fn(&str) -> Result<usize, String>) -> Result<usize, String> {
    let mut total = 0;
    let mut rest = expression;
    while let Some(at) = rest.find(['$', '\'', '"']) {
        let (mark, after) = (rest.as_bytes()[at], &rest[at + 1..]);
        rest = match mark {
            b'$' if after.starts_with('{') => {
                total += SUBSTITUTION_BYTES;
                after.split_once('}').ok_or("an open substitution")?.1
            }
            b'$' => {
                let (name, after) = split_name(after);
                let (bytes, after) =
                    if after.starts_with('(') { call(name, after, reference)? } else { (reference(name)?, after) };
                total += bytes;
                after
            }
            quote => {
                let (literal, after) = after.split_once(char::from(quote)).ok_or("an open text")?;
                total += literal.len() + 2;
                after
            }
        };
    }
    // Digits, brackets and operators.
    Ok(total + expression.len())
}

fn split_name(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

/// A call's own bytes, and what is still to be read: for `$substring(of, 0, length)` behind its end, else its arguments.
fn call<'a>(
    name: &str,
    arguments: &'a str,
    reference: &dyn Fn(&str) -> Result<usize, String>,
) -> Result<(usize, &'a str), String> {
    if !KNOWN_FUNCTIONS.contains(&name) {
        return Err(format!("nobody knows how large ${name}(...) gets"));
    }
    let cut = arguments.strip_prefix("($").filter(|_| name == "substring").and_then(|arguments| {
        let (of, rest) = split_name(arguments);
        let (length, rest) = rest.strip_prefix(", 0, ")?.split_once(')')?;
        Some((of, length.parse::<usize>().ok()?, rest))
    });
    match cut {
        // JSON writes the worst of characters in six bytes.
        Some((of, characters, rest)) => Ok((reference(of)?.min(6 * characters + 2), rest)),
        None => Ok((0, arguments)),
    }
}
