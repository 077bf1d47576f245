use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long lines of progress are apart: often enough to see that something moves, seldom enough for a log.
pub(super) const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// When the next line of progress is due, and how fast things go.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    /// In milliseconds after `began`.
    next_line: AtomicU64,
}

impl Pace {
    pub(super) fn begin() -> Self {
        Self { began: Instant::now(), next_line: AtomicU64::new(millis(LINE_INTERVAL)) }
    }

    /// Whether a line is due. Of those who ask at the same time, one hears that it is; the others go on.
    pub(super) fn is_due(&self) -> bool {
        self.is_due_at(self.began.elapsed())
    }

    fn is_due_at(&self, elapsed: Duration) -> bool {
        let now = millis(elapsed);
        let due = self.next_line.load(Ordering::Relaxed);
        let next = now.saturating_add(millis(LINE_INTERVAL));
        now >= due && self.next_line.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Seconds since the beginning.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Bytes a second since the beginning.
    pub(super) fn rate(&self, bytes: u64) -> u64 {
        bytes.saturating_mul(1000).checked_div(millis(self.began.elapsed())).unwrap_or(0)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `count` less `bytes`, never below nothing: what had been counted has to go again.
pub(super) fn rewind(count: &AtomicU64, bytes: u64) -> u64 {
    let rewound = |count: u64| Some(count.saturating_sub(bytes));
    let before = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, rewound).unwrap_or_default();
    before.saturating_sub(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_once_in_each_interval() {
        let pace = Pace::begin();
        assert!(!pace.is_due_at(LINE_INTERVAL - Duration::from_millis(1)));
        assert!(pace.is_due_at(LINE_INTERVAL));
        assert!(!pace.is_due_at(LINE_INTERVAL + Duration::from_millis(1)));
        assert!(pace.is_due_at(LINE_INTERVAL * 2));
    }
}
