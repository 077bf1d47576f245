//! The works that are measured.

use std::fs::File;
use std::path::Path;

use crate::content;

/// How much a log grows between two gatherings, in bytes.
const GROWTH: usize = 1 << 20;

/// One work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// 1 GiB in 16 log files, for the first time.
    Logs,
    /// 20,000 small files, for the first time.
    Small,
    /// The same 20,000 again.
    Unchanged,
    /// A log of 1 GiB that has grown by 1 MiB.
    Grown,
}

impl Work {
    /// The one of this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Logs, Self::Small, Self::Unchanged, Self::Grown].into_iter().find(|work| work.name() == name)
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Small => "small",
            Self::Unchanged => "unchanged",
            Self::Grown => "grown",
        }
    }

    /// Makes its source.
    pub(crate) fn fill(self, source: &Path) {
        match self {
            Self::Logs => content::logs(source),
            Self::Small | Self::Unchanged => content::small(source),
            Self::Grown => {
                std::fs::create_dir_all(source).unwrap();
                content::file(&source.join("grows.log"), 1 << 30, 1);
            }
        }
    }

    /// What happens at the source before each round.
    pub(crate) fn change(self, source: &Path) {
        if self == Self::Grown {
            let log = File::options().append(true).open(source.join("grows.log")).unwrap();
            let rounds = log.metadata().unwrap().len() / GROWTH as u64;
            content::log(&log, GROWTH, rounds);
            content::set_time(&log, rounds);
        }
    }

    /// Whether each tool has a copy already, from the round before.
    pub(crate) fn starts_with_a_copy(self) -> bool {
        matches!(self, Self::Unchanged | Self::Grown)
    }

    /// Whether round trips count for each of many files.
    pub(crate) fn has_many_files(self) -> bool {
        matches!(self, Self::Small | Self::Unchanged)
    }
}

/// Does something with so many of the folders of small files; the sum of the seconds.
pub(crate) fn sample(source: &Path, parts: usize, mut take: impl FnMut(&Path) -> f64) -> f64 {
    (0..parts).map(|number| take(&source.join(format!("site-0/host-{number}")))).sum()
}
