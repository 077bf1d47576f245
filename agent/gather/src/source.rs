//! What there is to gather: a source, as the configuration says it and as gathering takes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use drawbridge_hosts::Target;
use globset::{GlobMatcher, GlobSet};

use crate::check::{FileRule, SourceRule};
use crate::pattern::Pattern;

/// How many sources are gathered at once: enough that one slow host doesn't hold up the rest, few enough for a small
/// machine's disk and memory.
pub const DEFAULT_PARALLEL: usize = 4;

/// One thing to gather.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, and that of its folder in the mirror: `a-z`, `0-9` and hyphens.
    pub name: String,
    /// Where it is.
    pub place: Place,
    /// What of it is wanted.
    pub what: What,
    /// What it may ask of this machine.
    pub limits: Limits,
    /// What must be true of the whole before it replaces the last good copy.
    pub rule: SourceRule,
    /// How old its last complete copy may become before a run counts as failed.
    pub max_age: Option<Duration>,
}

/// Where a source is.
#[derive(Debug, Clone)]
pub enum Place {
    /// On this machine.
    Local {
        /// What must be mounted: an empty mount point is a folder like any other.
        require_mount: Vec<Mount>,
    },
    /// On another machine, over SSH.
    Ssh(Target),
}

/// Something that must be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// At this folder itself, absolute.
    At(PathBuf),
    /// At this folder, absolute, or at one that it lies in, other than `/`.
    Over(PathBuf),
}

/// What of a place is wanted.
#[derive(Debug, Clone)]
pub enum What {
    /// Files, as they are.
    Files(Files),
    /// What commands say, each into a file of its own. At least one, file names unique.
    Commands(Vec<CommandOutput>),
}

/// Which files.
#[derive(Debug, Clone)]
pub struct Files {
    /// Paths and globs that must lead to something. Together with `if_present` at least one.
    pub paths: Vec<Pattern>,
    /// Paths and globs that may lead to nothing.
    pub if_present: Vec<Pattern>,
    /// What to leave out, matched against absolute paths. A folder that matches is not looked into.
    pub exclude: GlobSet,
    /// What becomes of symbolic links.
    pub symlinks: Symlinks,
    /// Of some files, only the newest.
    pub newest: Vec<Newest>,
    /// Files that only ever grow at their end, matched against absolute paths: of one whose beginning is as it was, only what
    /// was appended is fetched.
    pub append: Append,
    /// What must be true of a file's content before it replaces the last good copy.
    pub checks: Vec<FileRule>,
}

/// Which files only ever grow at their end.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// These, matched against absolute paths,
    pub files: GlobSet,
    /// but not these.
    pub except: GlobSet,
}

impl Append {
    /// Whether the file at `path` does.
    #[must_use]
    pub fn is_match(&self, path: &Path) -> bool {
        self.files.is_match(path) && !self.except.is_match(path)
    }
}

impl Files {
    /// No files at all.
    pub(crate) fn none() -> Self {
        Self {
            paths: Vec::new(),
            if_present: Vec::new(),
            exclude: GlobSet::empty(),
            symlinks: Symlinks::Keep,
            newest: Vec::new(),
            append: Append { files: GlobSet::empty(), except: GlobSet::empty() },
            checks: Vec::new(),
        }
    }
}

/// What becomes of symbolic links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// They stay links.
    #[default]
    Keep,
    /// What they lead to is gathered in their place: files and folders; on this machine only within what the
    /// configured path holds.
    Follow,
}

/// A rule for rotated logs: of the files in one folder that match, only the last modified are wanted.
#[derive(Debug, Clone)]
pub struct Newest {
    /// Matched against absolute paths.
    pub files: GlobMatcher,
    /// How many of each folder.
    pub keep: usize,
}

/// A command whose output is kept.
#[derive(Debug, Clone)]
pub struct CommandOutput {
    /// For the shell: the user's on another machine, `/bin/sh` on this one.
    pub run: String,
    /// The file in the source's folder that gets its standard output: a plain name.
    pub file: String,
    /// What must be true of the output before it replaces the last good copy.
    pub checks: Vec<FileRule>,
}

/// What a source may ask of this machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The largest file, or output of a command, in bytes. A larger one is a problem, and isn't fetched.
    pub file_bytes: u64,
    /// All files together, in bytes.
    pub total_bytes: u64,
    /// The most entries: files, folders, links. What is known of one that changed takes about half a kilobyte of memory.
    pub entries: u64,
    /// The deepest folder, counted from `/`.
    pub depth: usize,
    /// Bytes a second, `None` for as fast as it goes.
    pub bandwidth: Option<u64>,
    /// How long connecting and logging in may take.
    pub connect: Duration,
    /// How long a host, or a command, may say nothing.
    pub silence: Duration,
    /// The longest time for the whole source, attempts together.
    pub time: Duration,
    /// How often it is tried again after something that may pass, such as a lost connection.
    pub retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 64 << 30,
            total_bytes: 1 << 40,
            entries: 250_000,
            depth: 128,
            bandwidth: None,
            connect: Duration::from_secs(30),
            silence: Duration::from_secs(60),
            time: Duration::from_secs(6 * 3600),
            retries: 2,
        }
    }
}
