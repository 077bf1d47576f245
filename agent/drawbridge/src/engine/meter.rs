use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustic_core::{Progress, ProgressBars, ProgressType, RusticProgress};

/// Called with the number of bytes that have been dealt with since the last call, from several threads.
pub type Advance = Arc<dyn Fn(u64) + Send + Sync>;

/// Passes the engine's one byte counter on to whoever shows progress, and hides its others.
#[derive(Clone, Default)]
pub(super) struct Meter(Arc<RwLock<Option<Advance>>>);

impl Meter {
    pub(super) fn report_to(&self, advance: Advance) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(advance);
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

impl ProgressBars for Meter {
    fn progress(&self, progress_type: ProgressType, _prefix: &str) -> Progress {
        match progress_type {
            ProgressType::Bytes => Progress::new(self.clone()),
            ProgressType::Spinner | ProgressType::Counter => Progress::hidden(),
        }
    }
}

impl RusticProgress for Meter {
    fn is_hidden(&self) -> bool {
        false
    }

    fn set_length(&self, _len: u64) {}

    fn set_title(&self, _title: &str) {}

    fn inc(&self, inc: u64) {
        if let Some(advance) = self.0.read().unwrap_or_else(PoisonError::into_inner).as_ref() {
            advance(inc);
        }
    }

    fn finish(&self) {}
}
