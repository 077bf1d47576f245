//! Which part of a tree the configured paths name: plain paths, or with globs.
//!
//! Patterns are taken apart into path components and stepped through together, one name at a time, so that only the folders
//! on the way to something wanted are ever listed, and only where a glob stands.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use globset::{GlobBuilder, GlobMatcher};
use thiserror::Error;

/// A path that is wanted, absolute; with globs in its components, or `**` for any number of them.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Name(OsString),
    Glob(GlobMatcher),
    /// `**`: any number of components, none among them.
    Deep,
}

/// Why a text names no part of a tree.
#[derive(Debug, Error)]
pub enum PatternError {
    /// It doesn't begin with a slash.
    #[error("{0:?} is not an absolute path: it must begin with /")]
    Relative(String),
    /// It goes up.
    #[error("{0:?} must not contain `..`")]
    Up(String),
    /// It names everything there is.
    #[error("/ as a whole holds things that are no files, such as /proc: name the folders that matter")]
    Everything,
    /// A glob that can't be read.
    #[error("{text:?} is no glob")]
    Glob {
        /// The component.
        text: String,
        /// Why.
        source: globset::Error,
    },
}

impl Pattern {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// When it isn't absolute, goes up, names the whole machine or isn't a glob.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let path = Path::new(text);
        if !path.is_absolute() || text.contains('\0') {
            return Err(PatternError::Relative(text.to_owned()));
        }
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::ParentDir => return Err(PatternError::Up(text.to_owned())),
                Component::Normal(name) => parts.push(part(name)?),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        if parts.iter().all(|part| matches!(part, Part::Deep)) {
            return Err(PatternError::Everything);
        }
        let text = path.components().collect::<std::path::PathBuf>().display().to_string();
        Ok(Self { text, parts })
    }

    /// The folder or file that it begins with, up to the first glob.
    #[must_use]
    pub fn literal_prefix(&self) -> std::path::PathBuf {
        let names = self.parts.iter().map_while(|part| match part {
            Part::Name(name) => Some(name),
            Part::Glob(_) | Part::Deep => None,
        });
        Path::new("/").join(names.collect::<std::path::PathBuf>())
    }

    /// Whether it names one path.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        self.parts.iter().all(|part| matches!(part, Part::Name(_)))
    }
}

fn part(name: &OsStr) -> Result<Part, PatternError> {
    let Some(text) = name.to_str() else { return Ok(Part::Name(name.to_owned())) };
    if text == "**" {
        return Ok(Part::Deep);
    }
    if !text.contains(['*', '?', '[', '{']) {
        return Ok(Part::Name(name.to_owned()));
    }
    let glob = GlobBuilder::new(text).literal_separator(true).build();
    let glob = glob.map_err(|source| PatternError::Glob { text: text.to_owned(), source })?;
    Ok(Part::Glob(glob.compile_matcher()))
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Several patterns together.
#[derive(Debug, Clone)]
pub struct Patterns(Vec<Pattern>);

/// What is wanted of one folder and what it holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// All it holds.
    pub whole: bool,
    /// Where in which patterns it stands: indices of pattern and part. Sorted, unique.
    at: Vec<(usize, usize)>,
    /// Patterns that end here.
    pub ends: Vec<usize>,
}

impl Patterns {
    /// All of `patterns`.
    #[must_use]
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self(patterns)
    }

    /// The pattern at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Pattern> {
        self.0.get(index)
    }

    /// What is wanted of `/`.
    #[must_use]
    pub fn root(&self) -> Wanted {
        self.wanted((0..self.0.len()).map(|pattern| (pattern, 0)).collect(), false)
    }

    /// What is wanted of the entry `name`, if anything.
    #[must_use]
    pub fn step(&self, from: &Wanted, name: &OsStr) -> Option<Wanted> {
        let mut at = Vec::new();
        for &(pattern, index) in &from.at {
            match self.part(pattern, index) {
                Some(Part::Deep) => at.push((pattern, index)),
                Some(part) if part.matches(name) => at.push((pattern, index + 1)),
                _ => {}
            }
        }
        if at.is_empty() && !from.whole { None } else { Some(self.wanted(at, from.whole)) }
    }

    /// The names that are asked for, where no glob makes it necessary to list.
    pub(crate) fn names(&self, wanted: &Wanted) -> Option<Vec<OsString>> {
        if wanted.whole {
            return None;
        }
        let mut names: Vec<OsString> = wanted
            .at
            .iter()
            .map(|&(pattern, index)| match self.part(pattern, index) {
                Some(Part::Name(name)) => Some(name.clone()),
                _ => None,
            })
            .collect::<Option<_>>()?;
        names.sort();
        names.dedup();
        Some(names)
    }

    /// Whether a pattern says in plain words that `name` is on the way to more.
    pub(crate) fn leads_through(&self, from: &Wanted, name: &OsStr) -> bool {
        from.at.iter().any(|&(pattern, index)| {
            matches!(self.part(pattern, index), Some(Part::Name(part)) if part == name)
                && self.part(pattern, index + 1).is_some()
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns that say in plain words that `name` is there.
    pub(crate) fn naming(&self, from: &Wanted, name: &OsStr) -> impl Iterator<Item = usize> {
        from.at
            .iter()
            .filter(
                move |(pattern, index)| matches!(self.part(*pattern, *index), Some(Part::Name(part)) if part == name),
            )
            .map(|(pattern, _)| *pattern)
    }

    fn part(&self, pattern: usize, index: usize) -> Option<&Part> {
        self.0.get(pattern)?.parts.get(index)
    }

    /// Adds what `**` reaches without taking a component.
    fn wanted(&self, mut at: Vec<(usize, usize)>, whole: bool) -> Wanted {
        let mut next = 0;
        while let Some(&(pattern, index)) = at.get(next) {
            if matches!(self.part(pattern, index), Some(Part::Deep)) {
                at.push((pattern, index + 1));
            }
            next += 1;
        }
        at.sort_unstable();
        at.dedup();
        let mut ends: Vec<usize> = at
            .iter()
            .filter(|(pattern, index)| self.part(*pattern, *index).is_none())
            .map(|(pattern, _)| *pattern)
            .collect();
        ends.dedup();
        at.retain(|&(pattern, index)| self.part(pattern, index).is_some());
        Wanted { whole: whole || !ends.is_empty(), at, ends }
    }
}

impl Part {
    fn matches(&self, name: &OsStr) -> bool {
        match self {
            Self::Name(part) => part == name,
            // As a path: globs see bytes, so that names that aren't UTF-8 match too.
            Self::Glob(glob) => glob.is_match(Path::new(OsStr::from_bytes(name.as_bytes()))),
            Self::Deep => true,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn patterns(texts: &[&str]) -> Patterns {
        Patterns::new(texts.iter().map(|text| Pattern::new(text).unwrap()).collect())
    }

    fn reach(patterns: &Patterns, path: &str) -> Option<Wanted> {
        let mut wanted = patterns.root();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            wanted = patterns.step(&wanted, OsStr::new(name))?;
        }
        Some(wanted)
    }

    fn is_whole(patterns: &Patterns, path: &str) -> bool {
        reach(patterns, path).is_some_and(|wanted| wanted.whole)
    }

    #[test]
    fn a_plain_path_wants_all_below_it_and_asks_for_nothing_beside_it() {
        let patterns = patterns(&["/etc", "/var/log/"]);
        assert!(is_whole(&patterns, "/etc") && is_whole(&patterns, "/etc/a/b") && is_whole(&patterns, "/var/log"));
        assert!(!is_whole(&patterns, "/var") && reach(&patterns, "/var").is_some());
        assert!(reach(&patterns, "/var/lib").is_none() && reach(&patterns, "/home").is_none());
        let names = patterns.names(&patterns.root()).unwrap();
        assert_eq!(names, ["etc", "var"]);
        assert!(patterns.leads_through(&patterns.root(), OsStr::new("var")));
        assert!(!patterns.leads_through(&patterns.root(), OsStr::new("etc")));
    }

    #[test]
    fn a_glob_in_the_middle_is_looked_for_by_listing() {
        let patterns = patterns(&["/var/log/*/messages*"]);
        let log = reach(&patterns, "/var/log").unwrap();
        assert_eq!(patterns.names(&log), None);
        assert!(is_whole(&patterns, "/var/log/fw/messages.1") && !is_whole(&patterns, "/var/log/fw"));
        assert!(reach(&patterns, "/var/log/fw/other").is_none());
    }

    #[test]
    fn two_stars_take_any_number_of_folders() {
        let all = patterns(&["/etc/monit.d/**"]);
        let folder = reach(&all, "/etc/monit.d").unwrap();
        assert!(folder.whole && folder.ends == [0]);
        assert!(is_whole(&all, "/etc/monit.d/a/b"));
        let some = patterns(&["/srv/**/*.conf"]);
        assert!(is_whole(&some, "/srv/a.conf") && is_whole(&some, "/srv/x/y/a.conf"));
        assert!(!is_whole(&some, "/srv/x/y") && !is_whole(&some, "/srv/x/a.txt"));
    }

    #[test]
    fn what_leads_nowhere_is_refused_in_words() {
        for (text, part) in
            [("etc", "absolute"), ("/a/../b", ".."), ("/", "as a whole"), ("/**", "as a whole"), ("/a/[", "glob")]
        {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(Pattern::new("/var//log/").unwrap().to_string(), "/var/log");
        assert_eq!(Pattern::new("/var/log/*.gz").unwrap().literal_prefix(), Path::new("/var/log"));
    }

    proptest! {
        #[test]
        fn a_literal_pattern_wants_exactly_its_path_and_what_is_below(
            parts in proptest::collection::vec("[a-z.é ]{1,8}", 1..5), other in "[a-z]{1,3}"
        ) {
            prop_assume!(parts.iter().all(|part| part != "." && part != ".."));
            let text = format!("/{}", parts.join("/"));
            let patterns = patterns(&[&text]);
            prop_assert!(is_whole(&patterns, &text));
            let below = format!("{text}/{other}");
            prop_assert!(is_whole(&patterns, &below));
            for depth in 1..parts.len() {
                let above = format!("/{}", parts[..depth].join("/"));
                prop_assert!(!is_whole(&patterns, &above));
            }
        }
    }
}
