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
    }
    if counts.rejected > 0 {
        text.push_str(&format!("; {} rejected", counts.rejected));
    }
    text
}
