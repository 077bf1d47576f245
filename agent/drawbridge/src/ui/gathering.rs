use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use serde_json::json;

use super::pace::{Pace, rewind};
use super::{Form, Ui, human_bytes};

/// `files` and `amount` are written by [`Counts::draw`].
pub(super) const LINE: &str = "  {spinner} {msg:<20!} {files:>18}  {amount:>24}  {binary_bytes_per_sec}";

/// How often a line moves although nothing came: a host that takes its time must not look like a program that hangs.
const TICK: Duration = Duration::from_millis(200);

/// What has come of one source. Clones count together. A count that is dropped without [`Gathering::finish`] leaves no line.
#[derive(Clone)]
pub struct Gathering(Arc<Inner>);

struct Inner {
    ui: Ui,
    label: String,
    counts: Arc<Counts>,
    pace: Pace,
    finished: AtomicBool,
    line: Option<ProgressBar>,
}

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicU64,
    files: AtomicU64,
    /// 0 as long as nobody knows.
    total_bytes: AtomicU64,
    total_files: AtomicU64,
}

impl Gathering {
    pub(super) fn new(ui: Ui, label: &str) -> Self {
        let counts = Arc::new(Counts::default());
        let line = match &ui.0.form {
            Form::Terminal(lines) => Some(lines.add(line(label, &counts))),
            Form::Plain | Form::Json => None,
        };
        if let Some(line) = &line {
            line.enable_steady_tick(TICK);
        }
        let (label, finished) = (label.to_owned(), AtomicBool::new(false));
        Self(Arc::new(Inner { ui, label, counts, pace: Pace::begin(), finished, line }))
    }

    /// `bytes` more have come.
    pub fn advance(&self, bytes: u64) {
        self.set(self.0.counts.bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes));
    }

    /// `bytes` that had come have to come again, after an attempt that failed.
    pub fn rewind(&self, bytes: u64) {
        self.set(rewind(&self.0.counts.bytes, bytes));
    }

    /// One more file is done.
    pub fn file_done(&self) {
        self.0.counts.files.fetch_add(1, Ordering::Relaxed);
        self.set(self.0.counts.bytes.load(Ordering::Relaxed));
    }

    /// As far as one can tell, so many files of so many bytes will come in all.
    pub fn total_hint(&self, files: u64, bytes: u64) {
        self.0.counts.total_files.store(files, Ordering::Relaxed);
        self.0.counts.total_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Something about this source that is worth knowing and needs nobody.
    pub fn say(&self, text: &str) {
        self.0.ui.note(&format!("{}: {text}", self.0.label));
    }

    /// The source is through; `summary` says how it went. Only the first call counts.
    pub fn finish(&self, summary: &str) {
        if self.0.finished.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(line) = &self.0.line {
            line.finish_and_clear();
        }
        self.0.say_counts(Some(summary));
    }

    fn set(&self, bytes: u64) {
        if let Some(line) = &self.0.line {
            return line.set_position(bytes);
        }
        if self.0.pace.is_due() {
            self.0.say_counts(None);
        }
    }
}

impl drawbridge_gather::Progress for Gathering {
    fn bytes(&self, bytes: u64) {
        self.advance(bytes);
    }

    fn file(&self) {
        self.file_done();
    }

    fn note(&self, text: &str) {
        self.say(text);
    }
}

impl Inner {
    fn say_counts(&self, summary: Option<&str>) {
        let (bytes, files) = (self.counts.bytes.load(Ordering::Relaxed), self.counts.files.load(Ordering::Relaxed));
        if self.ui.is_json() {
            let total = |count: &AtomicU64| Some(count.load(Ordering::Relaxed)).filter(|count| *count > 0);
            return self.ui.out_line(
                &json!({
                    "event": "progress", "label": self.label, "bytes": bytes, "files": files, "total": total(&self.counts.total_bytes),
                    "total_files": total(&self.counts.total_files), "seconds": self.pace.seconds(), "done": summary.is_some(),
                    "summary": summary,
                })
                .to_string(),
            );
        }
        let text = summary.map_or_else(
            || {
                let rate = human_bytes(self.pace.rate(bytes));
                format!("{}, {}, {rate}/s", self.counts.files(), self.counts.amount())
            },
            str::to_owned,
        );
        self.ui.err_line(&format!("  {}: {text}", self.label));
    }
}

impl Counts {
    fn files(&self) -> String {
        let files = self.files.load(Ordering::Relaxed);
        match self.total_files.load(Ordering::Relaxed) {
            0 if files == 1 => "1 file".to_owned(),
            0 => format!("{files} files"),
            total => format!("{files} of {total} files"),
        }
    }

    fn amount(&self) -> String {
        let bytes = human_bytes(self.bytes.load(Ordering::Relaxed));
        match self.total_bytes.load(Ordering::Relaxed) {
            0 => bytes,
            total => format!("{bytes} of {}", human_bytes(total)),
        }
    }

    /// Read when the line is drawn, so that counting never waits for a terminal.
    fn draw(
        self: &Arc<Self>,
        what: fn(&Self) -> String,
    ) -> impl Fn(&ProgressState, &mut dyn Write) + Clone + Send + Sync + 'static {
        let counts = Arc::clone(self);
        move |_, to| {
            // A line that can't be drawn is drawn again soon.
            let _unseen = to.write_str(&what(&counts));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(line) = self.line.as_ref().filter(|_| !self.finished.load(Ordering::Acquire)) {
            line.finish_and_clear();
        }
    }
}

fn line(label: &str, counts: &Arc<Counts>) -> ProgressBar {
    // The template is a constant, and tested; a wrong one would only cost its looks.
    let style = ProgressStyle::with_template(LINE).unwrap_or_else(|_| ProgressStyle::default_spinner());
    let style = style.with_key("files", counts.draw(Counts::files)).with_key("amount", counts.draw(Counts::amount));
    ProgressBar::new_spinner().with_style(style).with_message(label.to_owned())
}
