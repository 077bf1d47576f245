use std::ffi::{OsStr, OsString};

use drawbridge_gather::pattern::{Pattern, PatternError, Patterns, Wanted};

/// Which part of a snapshot is wanted.
#[derive(Debug, Clone)]
pub struct Selection {
    /// All, when there is none.
    sources: Vec<OsString>,
    patterns: Option<Patterns>,
}

/// What is wanted of one folder and what it holds.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// These sources, of the folder that holds them.
    Sources,
    /// All it holds.
    All,
    /// What patterns say.
    Part(Wanted),
}

impl Want {
    /// All it holds is wanted, or the file itself.
    pub(super) const fn is_whole(&self) -> bool {
        match self {
            Self::Sources => false,
            Self::All => true,
            Self::Part(wanted) => wanted.whole,
        }
    }

    /// The patterns that end here.
    pub(super) fn ends(&self) -> &[usize] {
        match self {
            Self::Part(wanted) => &wanted.ends,
            Self::Sources | Self::All => &[],
        }
    }
}

impl Selection {
    /// Of these sources, or of all when none is named, what these globs of absolute paths name, or everything when there is none. A glob
    /// that doesn't begin with a slash names entries anywhere: `*.conf` is `/**/*.conf`.
    ///
    /// # Errors
    /// When a glob can't be read.
    pub fn new(sources: &[String], globs: &[String]) -> Result<Self, PatternError> {
        let pattern = |glob: &String| match glob.as_str() {
            anywhere if !anywhere.starts_with('/') => Pattern::new(&format!("/**/{anywhere}")),
            absolute => Pattern::new(absolute),
        };
        let patterns = globs.iter().map(pattern).collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            sources: sources.iter().map(OsString::from).collect(),
            patterns: (!patterns.is_empty()).then(|| Patterns::new(patterns)),
        })
    }

    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self { sources: Vec::new(), patterns: None }
    }

    /// The names of the sources that are wanted; none for all of them.
    #[must_use]
    pub fn sources(&self) -> &[OsString] {
        &self.sources
    }

    /// The globs that none of `matched`, indices of globs, is.
    pub(super) fn unmatched(&self, matched: &std::collections::BTreeSet<usize>) -> Vec<String> {
        let Some(patterns) = &self.patterns else { return Vec::new() };
        let missing = (0..patterns.len()).filter(|index| !matched.contains(index));
        missing.filter_map(|index| Some(patterns.get(index)?.to_string())).collect()
    }

    /// What is wanted of the entry `name` of a folder, if anything.
    pub(super) fn step(&self, from: &Want, name: &OsStr) -> Option<Want> {
        match (from, &self.patterns) {
            (Want::Sources, _) if !self.sources.is_empty() && !self.sources.iter().any(|source| source == name) => None,
            (Want::Sources, Some(patterns)) => Some(Want::Part(patterns.root())),
            (Want::Part(wanted), Some(patterns)) => patterns.step(wanted, name).map(Want::Part),
            _ => Some(Want::All),
        }
    }
}
