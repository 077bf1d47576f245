//! What two contents have to do with each other.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use similar::{ChangeTag, DiffOp, TextDiff};

use crate::mask::Masker;

/// From this size on, in bytes, files are not compared line by line: nobody reads that, and it would have to be held in memory.
pub(super) const MAX_TEXT_BYTES: u64 = 1024 * 1024;

/// How many equal lines are shown around a change, as `diff -u` does.
const CONTEXT_LINES: usize = 3;

/// How long the search for the shortest difference may take; after that a longer one will do.
const SEARCH_TIME: Duration = Duration::from_secs(2);

/// What is known of the content of an entry, on one side or both.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// It has none.
    None,
    /// Equal.
    Same,
    /// Different; a unified difference without its two header lines, masked.
    Text(String),
    /// Different, and not text.
    Binary,
    /// Different, and too large to be shown.
    Large,
}

impl Contents {
    pub(super) const fn differ(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary | Self::Large)
    }
}

/// Compares two versions of the file that lies at `path` (`<source>/<path on the host>`).
pub(super) fn compare(before: &[u8], after: &[u8], path: &Path) -> Contents {
    if before == after {
        return Contents::Same;
    }
    let (Some(old), Some(new)) = (as_text(before), as_text(after)) else { return Contents::Binary };
    let on_host: std::path::PathBuf = Path::new("/").join(path.components().skip(1).collect::<std::path::PathBuf>());
    let mut masker = Masker::default();
    let (old, new) = (line_ends(old, old, new), line_ends(new, old, new));
    let (old, new) = (masker.mask(&old, &on_host), masker.mask(&new, &on_host));
    Contents::Text(unified(&old, &new))
}

fn as_text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

/// `text` without the carriage returns at its lines' ends, when all lines on both sides have them.
fn line_ends(text: &str, old: &str, new: &str) -> String {
    let windows = |text: &str| text.matches('\n').count() == text.matches("\r\n").count();
    if windows(old) && windows(new) { text.replace("\r\n", "\n") } else { text.to_owned() }
}

fn unified(old: &str, new: &str) -> String {
    // Lines end with a line feed and nothing else: a lone carriage return must not begin a line of its own.
    let (old_lines, new_lines): (Vec<&str>, Vec<&str>) =
        (old.split_inclusive('\n').collect(), new.split_inclusive('\n').collect());
    let diff = TextDiff::configure().timeout(SEARCH_TIME).diff_slices(&old_lines, &new_lines);
    let mut text = String::new();
    for hunk in diff.grouped_ops(CONTEXT_LINES) {
        let (Some(first), Some(last)) = (hunk.first(), hunk.last()) else { continue };
        let side = |of: fn(&DiffOp) -> Range<usize>| position(of(first).start..of(last).end);
        text.push_str(&format!("@@ -{} +{} @@\n", side(DiffOp::old_range), side(DiffOp::new_range)));
        for change in hunk.iter().flat_map(|op| diff.iter_changes(op)) {
            text.push(match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            });
            text.push_str(change.value());
            if !change.value().ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    text
}

/// Lines as POSIX's `diff -u` counts them: from 1, the count left out when it is 1, the line before when there are none.
fn position(lines: Range<usize>) -> String {
    match lines.len() {
        0 => format!("{},0", lines.start),
        1 => format!("{}", lines.start + 1),
        count => format!("{},{count}", lines.start + 1),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn text(before: &str, after: &str) -> String {
        match compare(before.as_bytes(), after.as_bytes(), Path::new("fw/etc/app.conf")) {
            Contents::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_difference_is_one_that_patch_would_take() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9";
        assert_eq!(
            text(before, "1\n2\n3\n4\nfive\n6\n7\n8\n9"),
            "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(text("", "a\n"), "@@ -0,0 +1 @@\n+a\n");
        assert_eq!(text("a\n", "a"), "@@ -1 +1 @@\n-a\n+a\n\\ No newline at end of file\n");
    }

    #[test]
    fn a_changed_secret_shows_as_changed_and_not_as_itself() {
        let shown = text("user = joe\npassword = old\n", "user = joe\npassword = new\n");
        assert_eq!(shown, "@@ -1,2 +1,2 @@\n user = joe\n-password = ‹masked 1›\n+password = ‹masked 2›\n");
    }

    #[test]
    fn a_secret_over_many_lines_is_masked_in_a_hunk_that_shows_its_middle_only() {
        let key = |line: &str| {
            let lines: Vec<String> = (10..30).map(|n| format!("MIIE{n}")).collect();
            format!(
                "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
                lines.join("\n").replace("MIIE20", line)
            )
        };
        let shown = text(&key("MIIE20"), &key("MIIF20"));
        assert!(!shown.contains("BEGIN") && !shown.contains("MII"), "{shown}");
        assert_eq!(shown.lines().filter(|line| line.starts_with(['-', '+'])).count(), 2, "{shown}");
    }

    #[test]
    fn what_is_no_text_is_not_shown() {
        assert_eq!(compare(b"a\0b", b"c", Path::new("x/y")), Contents::Binary);
        assert_eq!(compare(b"\xff", b"c", Path::new("x/y")), Contents::Binary);
        assert_eq!(compare(b"\xff", b"\xff", Path::new("x/y")), Contents::Same);
    }

    #[test]
    fn line_ends_of_windows_are_shown_only_where_they_differ() {
        assert_eq!(text("a\r\nb\r\n", "a\r\nc\r\n"), "@@ -1,2 +1,2 @@\n a\n-b\n+c\n");
        assert_eq!(text("a\r\n", "a\n"), "@@ -1 +1 @@\n-a\r\n+a\n");
    }

    #[test]
    fn the_place_on_the_host_tells_what_a_file_is() {
        let shown = compare(b"a:!x1:1::::::\n", b"a:!x2:1::::::\n", Path::new("dns/etc/shadow"));
        assert_eq!(shown, Contents::Text("@@ -1 +1 @@\n-a:‹masked 1›:1::::::\n+a:‹masked 2›:1::::::\n".to_owned()));
    }

    /// Another secret of the same shape.
    fn other(secret: &str) -> String {
        let last = secret.chars().next_back().unwrap_or_default();
        let next = match last {
            'z' | 'Z' | '9' => char::from(last as u8 - 1),
            letter if letter.is_ascii_alphanumeric() => char::from(letter as u8 + 1),
            sign => sign,
        };
        let begin = secret.strip_suffix(last).unwrap_or_default();
        if next == last { format!("{}{last}", other(begin)) } else { format!("{begin}{next}") }
    }

    #[test]
    fn no_planted_secret_survives_in_any_difference() {
        for (path, text, secrets, _) in crate::mask::tests::CASES {
            let path = Path::new("host").join(path.trim_start_matches('/'));
            let mut changed = (*text).to_owned();
            for secret in *secrets {
                changed = changed.replace(secret, &other(secret));
            }
            let sides = [(*text, ""), ("", *text), (*text, changed.as_str()), (changed.as_str(), *text)];
            for (before, after) in sides {
                let Contents::Text(shown) = compare(before.as_bytes(), after.as_bytes(), &path) else { continue };
                for secret in *secrets {
                    assert!(
                        !shown.contains(secret) && !shown.contains(&other(secret)),
                        "{} shows {secret}:\n{shown}",
                        path.display()
                    );
                }
                assert!(
                    before.is_empty() || after.is_empty() || shown.contains("\n+"),
                    "a changed secret shows as changed: {shown}"
                );
            }
        }
    }
}
