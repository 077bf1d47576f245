//! What may reach a terminal, and in which colour.

/// File names and remote messages come from anywhere: control characters must not reach a terminal, nor those that turn the
/// direction of writing and let a line look like another (<https://trojansource.codes>).
pub(super) fn printable(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' => false,
        c => !c.is_control(),
    };
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
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
