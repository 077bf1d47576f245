//! The result of a campaign.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use crate::fault::Case;
use crate::report::{Broken, Outcome, Report};

/// What all cases together came to.
#[derive(Debug, Default)]
pub struct Table {
    cases: usize,
    struck: usize,
    outcomes: BTreeMap<Outcome, usize>,
    launched: usize,
    left: usize,
    past_end: i64,
    swept: usize,
    broken: Vec<(String, Vec<Broken>, Option<PathBuf>)>,
    /// Every state that was entered.
    pub entered: BTreeSet<String>,
    /// How long it took.
    pub seconds: f64,
}

impl Table {
    /// Adds a case. `file` replays it, if it broke anything.
    pub fn add(&mut self, case: &Case, report: &Report, file: Option<PathBuf>) {
        self.cases += 1;
        self.struck += report.struck;
        for outcome in &report.outcomes {
            *self.outcomes.entry(*outcome).or_default() += 1;
        }
        self.launched += report.launched;
        self.left += report.left;
        self.past_end = self.past_end.max(report.past_end);
        self.swept += usize::from(report.swept);
        self.entered.extend(report.states.iter().cloned());
        if !report.broken.is_empty() {
            self.broken.push((case.name.clone(), report.broken.clone(), file));
        }
    }

    /// Adds secrets that were found in a stack's logs.
    pub fn add_secrets(&mut self, found: Vec<String>) {
        let broken: Vec<Broken> = found.into_iter().map(|what| Broken { invariant: 5, what }).collect();
        if !broken.is_empty() {
            self.broken.push(("the logs of a whole stack".to_owned(), broken, None));
        }
    }

    /// Whether nothing was broken.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.broken.is_empty()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<42} {:>6}", "cases", self.cases)?;
        writeln!(f, "{:<42} {:>6}", "faults injected", self.struck)?;
        for (outcome, word) in Outcome::ALL {
            let count = self.outcomes.get(&outcome).copied().unwrap_or_default();
            writeln!(f, "{:<42} {count:>6}", format!("runs {word}"))?;
        }
        writeln!(f, "{:<42} {:>6}", "boxes launched", self.launched)?;
        writeln!(f, "{:<42} {:>6}", "boxes left", self.left)?;
        #[allow(clippy::cast_precision_loss, reason = "seconds to one digit")]
        let seconds = self.past_end as f64 / 1000.0;
        writeln!(f, "{:<42} {seconds:>5.1}s", "longest life of a box past its run's end")?;
        writeln!(f, "{:<42} {:>6}", "cases in which a sweep was needed", self.swept)?;
        let broken: usize =
            self.broken.iter().map(|(_, broken, _)| broken.iter().filter(|b| b.invariant > 0).count()).sum();
        writeln!(f, "{:<42} {broken:>6}", "invariants broken")?;
        writeln!(f, "{:<42} {:>5.0}s", "took", self.seconds)?;
        for (name, broken, file) in &self.broken {
            writeln!(f, "\n{name}")?;
            for Broken { invariant, what } in broken {
                match invariant {
                    0 => writeln!(f, "  {what}")?,
                    number => writeln!(f, "  invariant {number}: {what}")?,
                }
            }
            if let Some(file) = file {
                writeln!(f, "  again: cargo faults --replay {}", file.display())?;
            }
        }
        Ok(())
    }
}
