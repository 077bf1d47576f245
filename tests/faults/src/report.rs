//! What one case came to.

use serde::Serialize;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Verified at rest.
    Verified,
    /// In `BackupFailed` or another state that says why.
    Failed,
    /// In `JumpBoxNotDestroyed`.
    Undestroyed,
    /// An operator stopped it.
    Aborted,
    /// `start` was never heard, so there was none.
    None,
    /// Not at all: it was still running when all its time was over.
    Endless,
}

impl Outcome {
    /// All of them, with a word for each.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::Verified, "verified"),
        (Self::Failed, "failed, first failure named"),
        (Self::Undestroyed, "failed, box left to the sweeper"),
        (Self::Aborted, "aborted"),
        (Self::None, "never begun"),
        (Self::Endless, "without a final status"),
    ];
}

/// Something that must never be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// Which of the seven invariants; 0 for what the case itself demands.
    pub invariant: u8,
    /// In words.
    pub what: String,
}

/// What one case came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// How its runs ended: the one under faults, and the one after it if that was needed.
    pub outcomes: Vec<Outcome>,
    /// Faults that struck.
    pub struck: usize,
    /// Boxes that were seen alive.
    pub launched: usize,
    /// Boxes that were left after the sweep.
    pub left: usize,
    /// The longest life of a box past the end of its run, in milliseconds.
    pub past_end: i64,
    /// Whether a sweep was needed.
    pub swept: bool,
    /// States that its executions entered.
    pub states: Vec<String>,
    /// What was broken.
    pub broken: Vec<Broken>,
    /// How long it all took, in seconds.
    pub seconds: f64,
}

impl Report {
    /// Notes something that must never be.
    pub fn broke(&mut self, invariant: u8, what: impl Into<String>) {
        self.broken.push(Broken { invariant, what: what.into() });
    }
}
