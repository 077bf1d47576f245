//! What a gathering would bring.

use std::path::PathBuf;

/// One entry that would come, or go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coming {
    /// Its path in the source.
    pub path: PathBuf,
    /// How many bytes would be fetched.
    pub bytes: u64,
    /// Why.
    pub why: Why,
}

/// Why an entry would come, or go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The mirror doesn't have it.
    New,
    /// It isn't as the mirror has it.
    Changed,
    /// It is a log that grew: only what was appended would be fetched, if its beginning is as it was.
    Grown,
    /// The source doesn't have it any more.
    Gone,
    /// It is a command, which would be run.
    Command,
}
