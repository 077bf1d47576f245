//! What may reach a terminal, and in which colour.

use drawbridge_gather::is_harmless;

/// Lines that may reach a terminal. Names of files in them have to be harmless already: here nobody knows whose line feeds these are.
pub(super) fn printable(text: &str) -> String {
    let stays = |c: char| matches!(c, '\n' | '\t') || is_harmless(c);
    text.chars().map(|c| if stays(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// The colour of a line of a unified difference, as SGR codes (ECMA-48, 8.3.117): those that `git diff` uses.
fn colour(line: &str) -> Option<&'static str> {
    match line.as_bytes().first() {
        Some(b'+') => Some("32"),
        Some(b'-') => Some("31"),
        Some(b'@') => Some("36"),
        _ => None,
    }
}

/// `text`, lines of a unified difference that have been made printable, in colours.
pub(super) fn paint(text: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| match (colour(line), line.strip_suffix('\n')) {
            (None, _) => line.to_owned(),
            (Some(code), Some(line)) => format!("\u{1b}[{code}m{line}\u{1b}[0m\n"),
            (Some(code), None) => format!("\u{1b}[{code}m{line}\u{1b}[0m"),
        })
        .collect()
}

/// `text` in bold.
pub(super) fn bold(text: &str) -> String {
    format!("\u{1b}[1m{text}\u{1b}[0m")
}
