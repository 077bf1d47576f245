//! Words from outside on their way into an execution's history: bounded and printable.

/// The longest reason that goes on, in bytes. Step Functions would take 32 KiB; an operator reads a screen.
pub const MAX_REASON_BYTES: usize = 1024;

/// `text` on one line, without control characters, cut at [`MAX_REASON_BYTES`].
#[must_use]
pub fn bounded(text: &str) -> String {
    cut(text, MAX_REASON_BYTES)
}

/// As [`bounded`], cut at `most` bytes.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    let mut reason = String::new();
    for c in text.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if reason.len() + c.len_utf8() > most {
            break;
        }
        reason.push(c);
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters_and_has_no_control_characters() {
        let long = format!("a{}", "ü".repeat(MAX_REASON_BYTES));
        assert_eq!(bounded(&long).len(), MAX_REASON_BYTES - 1);
        assert_eq!(bounded(&"x".repeat(MAX_REASON_BYTES)).len(), MAX_REASON_BYTES);
        assert_eq!(bounded("host\u{1b}[2J gone\r\n"), "host [2J gone  ");
    }
}
