//! What became of the sources.

use std::ffi::OsStr;

use serde::{Deserialize, Serialize};

/// How many problems of one source are kept in words; the rest is only counted. A broken disk has millions.
pub const MAX_PROBLEMS_NAMED: usize = 50;

/// What became of all sources, in the configuration's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatherSummary {
    /// One outcome a source.
    pub sources: Vec<SourceOutcome>,
}

impl GatherSummary {
    /// Whether every source was read completely.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.sources.iter().all(|source| source.state == SourceState::Complete)
    }
}

/// What became of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceOutcome {
    /// The source.
    pub name: String,
    /// Whether it was read, and how far.
    pub state: SourceState,
    /// Its counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// The first [`MAX_PROBLEMS_NAMED`] of the files that changed whenever they were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// How far a source was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// To the end. The mirror is as the source.
    Complete,
    /// But for some files, of which the mirror keeps the last good copy.
    Partial {
        /// How many problems there were.
        count: u64,
        /// The first [`MAX_PROBLEMS_NAMED`] of them: the file and what was wrong.
        problems: Vec<String>,
    },
    /// Not, or only to some point, or what came doesn't pass the source's checks. The mirror keeps the last good copy of
    /// everything.
    Failed {
        /// The error and its causes.
        error: String,
    },
}

/// The counts of one source. Files are regular files; bytes are their lengths.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files that the source holds.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were fetched because they were new or had changed.
    pub copied_files: u64,
    /// The bytes that were fetched for them: of a log that grew, what was appended.
    pub copied_bytes: u64,
    /// Entries that left the mirror because the source has them no more; a folder counts as one.
    pub removed: u64,
    /// Devices, FIFOs and sockets, which are not copied.
    pub skipped_special: u64,
    /// Files that changed while they were read, twice: the mirror has what was read the second time.
    pub changed_while_read: u64,
    /// Files whose new copy didn't pass its checks and was kept aside.
    #[serde(default)]
    pub rejected: u64,
}

impl SourceOutcome {
    /// A source of which nothing could be read.
    #[must_use]
    pub fn failed(name: &str, error: String) -> Self {
        let (counts, changed) = (Counts::default(), Vec::new());
        Self { name: name.to_owned(), state: SourceState::Failed { error }, counts, changed }
    }
}

/// What was wrong with single entries of a source.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    count: u64,
    named: Vec<String>,
}

impl Problems {
    pub(crate) fn note(&mut self, path: &std::path::Path, what: &str) {
        self.count += 1;
        if self.named.len() < MAX_PROBLEMS_NAMED {
            self.named.push(one_line(format!("{}: {what}", path.display())));
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn into_state(self) -> SourceState {
        if self.is_empty() {
            SourceState::Complete
        } else {
            SourceState::Partial { count: self.count, problems: self.named }
        }
    }
}

/// `text` as a part of one line. What hosts call their files may hold anything: a line feed in it would forge a line of ours, and
/// characters that control a terminal or turn the direction of writing (<https://trojansource.codes>) the rest of it.
#[must_use]
pub fn one_line(text: impl AsRef<OsStr>) -> String {
    let text = text.as_ref().to_string_lossy();
    text.chars().map(|c| if is_harmless(c) { c } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Whether `c` stays within its line, and moves or turns nothing.
#[must_use]
pub fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !turns && !matches!(c, '\u{2028}' | '\u{2029}') && !c.is_control()
}

/// An error and its causes in one line.
#[must_use]
pub fn in_one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = cause.source();
    }
    one_line(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn nothing_that_a_host_names_is_more_than_a_part_of_one_line() {
        assert_eq!(
            one_line("caf\u{e9} \u{202e}cod\u{2028}x\n\t\u{1b}["),
            "caf\u{e9} \u{fffd}cod\u{fffd}x\u{fffd}\u{fffd}\u{fffd}["
        );
        let mut problems = Problems::default();
        problems.note(Path::new("/x\nok    source firewall"), "links to /y\nz");
        let SourceState::Partial { problems, .. } = problems.into_state() else { unreachable!() };
        assert_eq!(problems, ["/x\u{fffd}ok    source firewall: links to /y\u{fffd}z"]);
        let error = std::io::Error::other("a\nb");
        assert_eq!(in_one_line(&error), "a\u{fffd}b");
    }
}
