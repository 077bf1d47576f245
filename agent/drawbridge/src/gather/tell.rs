use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use drawbridge_gather::{Listener, Progress, SourceOutcome, SourceState};
use drawbridge_wire::Timestamp;

use super::SourceRecords;
use crate::ui::{Gathering, Ui, human_bytes};

/// How many problems of a source are told at once; its outcome keeps more.
const TOLD: usize = 5;

/// Tells people how each source comes along.
pub(super) struct Telling {
    ui: Ui,
    records: SourceRecords,
    under_way: Mutex<HashMap<String, Gathering>>,
}

impl Telling {
    pub(super) fn new(ui: &Ui, records: &SourceRecords) -> Self {
        Self { ui: ui.clone(), records: records.clone(), under_way: Mutex::default() }
    }
}

impl Listener for Telling {
    fn begins(&self, source: &str) -> Arc<dyn Progress> {
        let gathering = self.ui.gathering(source);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.insert(source.to_owned(), gathering.clone());
        Arc::new(gathering)
    }

    fn ended(&self, outcome: &SourceOutcome) {
        let gathering = self.under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&outcome.name);
        let summary = summary(outcome);
        if let Some(gathering) = gathering {
            gathering.finish(&summary);
        }
        let name = &outcome.name;
        match &outcome.state {
            SourceState::Complete => {}
            SourceState::Failed { error } => {
                let age = self.records.of(name).copy_age(Timestamp::now());
                self.ui.warn(&format!("{name}: {error} ({age})"));
            }
            SourceState::Partial { count, problems } => {
                for problem in problems.iter().take(TOLD) {
                    self.ui.warn(&format!("{name}: {problem}"));
                }
                let told = u64::try_from(problems.len().min(TOLD)).unwrap_or(*count);
                if *count > told {
                    self.ui.warn(&format!("{name}: and {} more", count - told));
                }
            }
        }
    }
}

/// How a source went, in one line.
fn summary(outcome: &SourceOutcome) -> String {
    let counts = &outcome.counts;
    if let SourceState::Failed { .. } = outcome.state {
        return "failed".to_owned();
    }
    let mut text = format!(
        "{} files, {}; {} new or changed, {} fetched, {} removed",
        counts.files,
        human_bytes(counts.bytes),
        counts.copied_files,
        human_bytes(counts.copied_bytes),
        counts.removed
    );
    if counts.changed_while_read > 0 {
        text.push_str(&format!("; {} changed while they were read", counts.changed_while_read));
        text.push_str(&changed(&outcome.changed, counts.changed_while_read));
    }
    if counts.rejected > 0 {
        text.push_str(&format!("; {} rejected", counts.rejected));
    }
    text
}

/// Which files changed while they were read, as far as they are told.
fn changed(files: &[String], count: u64) -> String {
    let told = files.len().min(TOLD);
    let named = files.iter().take(told).map(String::as_str).collect::<Vec<_>>().join(", ");
    match count.saturating_sub(told as u64) {
        _ if told == 0 => String::new(),
        0 => format!(" ({named})"),
        more => format!(" ({named} and {more} more)"),
    }
}

#[cfg(test)]
mod tests {
    use drawbridge_gather::Counts;

    use super::*;

    #[test]
    fn files_that_changed_while_they_were_read_are_named() {
        let outcome = |files: u64| SourceOutcome {
            name: "dns".to_owned(),
            state: SourceState::Complete,
            counts: Counts { changed_while_read: files, ..Counts::default() },
            changed: (0..files).map(|number| format!("/var/log/{number}")).collect(),
        };
        assert!(!summary(&outcome(0)).contains("changed while"));
        assert!(summary(&outcome(1)).ends_with("1 changed while they were read (/var/log/0)"));
        assert!(summary(&outcome(TOLD as u64 + 2)).ends_with("/var/log/4 and 2 more)"));
    }
}
