//! A limit on bytes a second, shared by everybody who takes from it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much may come at once after a pause, in seconds' worth: short, so that a limit of one MiB/s is one on every graph.
const BURST: Duration = Duration::from_millis(250);

/// Lets bytes through at a rate. Without one, at once.
#[derive(Debug)]
pub(crate) struct Throttle {
    rate: Option<u64>,
    /// When everything that was let through has taken its time.
    due: Mutex<Instant>,
}

impl Throttle {
    /// `rate` in bytes a second.
    #[must_use]
    pub(crate) fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), due: Mutex::new(Instant::now()) }
    }

    /// Waits until `bytes` more may come.
    pub(crate) async fn take(&self, bytes: u64) {
        if let Some(until) = self.reserve(bytes, Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Until when whoever takes `bytes` at `now` has to wait.
    fn reserve(&self, bytes: u64, now: Instant) -> Option<Instant> {
        let rate = self.rate?;
        #[expect(clippy::cast_precision_loss, reason = "a wait to the microsecond is more than enough")]
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        *due = (*due).max(now.checked_sub(BURST).unwrap_or(now)) + cost;
        Some(*due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_at_the_rate_however_many_ask() {
        let throttle = Throttle::new(Some(1_000_000));
        let now = Instant::now() + Duration::from_secs(10);
        let last = (0..10).filter_map(|_| throttle.reserve(500_000, now)).last();
        assert_eq!(last, Some(now + Duration::from_secs(5) - BURST));
        // A pause is no credit beyond the burst.
        let later = now + Duration::from_secs(100);
        assert_eq!(throttle.reserve(1_000_000, later), Some(later + Duration::from_secs(1) - BURST));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        assert_eq!(Throttle::new(None).reserve(u64::MAX, Instant::now()), None);
        assert_eq!(Throttle::new(Some(0)).reserve(u64::MAX, Instant::now()), None);
    }
}
