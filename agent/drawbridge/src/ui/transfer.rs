use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::pace::{Pace, rewind};
use super::{Form, Ui, human_bytes};

pub(super) const KNOWN: &str =
    "  {msg:<24!} [{bar:28}] {binary_bytes:>10} / {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
pub(super) const UNKNOWN: &str = "  {spinner} {msg:<22!} {binary_bytes:>10}  {binary_bytes_per_sec}";

/// A count of bytes on their way. Clones count together; what is said at the end is said once, by
/// [`Transfer::finish`]; a count that is dropped before has nothing to say.
#[derive(Clone)]
pub struct Transfer(Arc<Counter>);

struct Counter {
    ui: Ui,
    label: String,
    total: Option<u64>,
    bytes: AtomicU64,
    pace: Pace,
    finished: AtomicBool,
    bar: Option<ProgressBar>,
}

impl Transfer {
    pub(super) fn new(ui: Ui, label: &str, total: Option<u64>) -> Self {
        let bar = match &ui.0.form {
            Form::Terminal(bars) => Some(bars.add(bar(label, total))),
            Form::Plain | Form::Json => None,
        };
        Self(Arc::new(Counter {
            ui,
            label: label.to_owned(),
            total,
            bytes: AtomicU64::new(0),
            pace: Pace::begin(),
            finished: AtomicBool::new(false),
            bar,
        }))
    }

    /// `bytes` more are through.
    pub fn advance(&self, bytes: u64) {
        self.set(self.0.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
    }

    /// `bytes` that had been counted have to go again, after an attempt that failed.
    pub fn rewind(&self, bytes: u64) {
        self.set(rewind(&self.0.bytes, bytes));
    }

    /// How many are through.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// All is through.
    pub fn finish(&self) {
        self.0.finish();
    }

    fn set(&self, bytes: u64) {
        if let Some(bar) = &self.0.bar {
            return bar.set_position(bytes);
        }
        if self.0.pace.is_due() {
            self.0.line(bytes, false);
        }
    }
}

impl Counter {
    fn finish(&self) {
        if self.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.line(self.bytes.load(Ordering::Relaxed), true);
    }

    fn line(&self, bytes: u64, done: bool) {
        if self.ui.is_json() {
            let seconds = self.pace.seconds();
            return self.ui.out_line(
                &json!({"event": "progress", "label": self.label, "bytes": bytes, "total": self.total, "seconds": seconds, "done": done})
                    .to_string(),
            );
        }
        let (amount, rate) = (human_bytes(bytes), self.pace.rate(bytes));
        let text = match (done, self.total) {
            (true, _) => format!("{amount} in {:.1} s", self.pace.seconds()),
            (false, None) => format!("{amount}, {}/s", human_bytes(rate)),
            (false, Some(total)) => {
                let left = total.saturating_sub(bytes).checked_div(rate).map_or("?".to_owned(), |s| format!("{s} s"));
                format!("{amount} of {}, {}/s, {left} left", human_bytes(total), human_bytes(rate))
            }
        };
        self.ui.err_line(&format!("  {}: {text}", self.label));
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // An aborted transfer leaves no bar behind, and doesn't claim to be done.
        if let Some(bar) = self.bar.as_ref().filter(|_| !self.finished.load(Ordering::Acquire)) {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (ProgressBar::new(total), KNOWN),
        None => (ProgressBar::new_spinner(), UNKNOWN),
    };
    // The templates are constants, and tested; a wrong one would only cost its looks.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style.progress_chars("=> ")).with_message(label.to_owned())
}
