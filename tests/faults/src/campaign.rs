//! Many cases on several stacks at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use drawbridge_local::Workspace;
use futures::future::join_all;
use tokio::task::JoinHandle;

use crate::board::Seen;
use crate::definition::{State, states};
use crate::fault::{Call, Caller, Case};
use crate::report::Report;
use crate::site::Site;
use crate::table::Table;

/// A case that takes longer than this is given up, and its stack with it.
const CASE_LIMIT: Duration = Duration::from_secs(900);

/// What is told while it goes on.
pub trait Tell: Sync {
    /// So many cases are going to be played.
    fn begin(&self, cases: usize);
    /// One was played.
    fn played(&self, case: &Case, report: &Report);
}

/// What a clean run calls, and the states that there are.
#[derive(Debug)]
pub struct Recording {
    /// Every call, with what is known of it.
    pub seen: BTreeMap<Call, Seen>,
    /// The state machine's states.
    pub states: Vec<State>,
}

/// Makes one run without faults and writes down what it called.
///
/// # Panics
/// When that run breaks anything.
pub async fn record(site: &mut Site) -> Recording {
    let clean = Case { name: "no fault".to_owned(), is_borne: true, ..Case::together([]) };
    let report = site.play(&clean).await;
    assert!(report.broken.is_empty(), "a run without faults: {:?}", report.broken);
    let seen = site.proxy().board().seen();
    for caller in Caller::ALL {
        assert!(seen.keys().any(|call| call.caller == caller), "nothing was heard of {}", caller.name());
    }
    Recording { seen, states: states() }
}

/// Plays all cases, on `stacks` stacks at once; `first` is one that is up already.
///
/// # Panics
/// When no stack comes up.
pub async fn play(first: Option<Site>, cases: Vec<Case>, stacks: usize, tell: &dyn Tell) -> Table {
    let began = Instant::now();
    tell.begin(cases.len());
    let stacks = stacks.clamp(1, cases.len().max(1));
    let queue = Mutex::new(VecDeque::from(cases));
    let table = Mutex::new(Table::default());
    let mut first = first;
    let workers = (0..stacks).map(|_| work(first.take(), &queue, &table, tell));
    join_all(workers).await;
    let mut table = table.into_inner().unwrap();
    table.seconds = began.elapsed().as_secs_f64();
    table
}

async fn work(site: Option<Site>, queue: &Mutex<VecDeque<Case>>, table: &Mutex<Table>, tell: &dyn Tell) {
    let mut site = site;
    loop {
        let Some(case) = queue.lock().unwrap().pop_front() else { break };
        let mut here = match site.take() {
            Some(site) => site,
            None => Site::up().await,
        };
        // On a task of its own, so that what stops the case doesn't stop the rest.
        let played: JoinHandle<(Site, Report)> = tokio::spawn({
            let case = case.clone();
            async move {
                let report = here.play(&case).await;
                (here, report)
            }
        });
        let abort = played.abort_handle();
        let report = match tokio::time::timeout(CASE_LIMIT, played).await {
            Ok(Ok((back, report))) => {
                site = Some(back);
                report
            }
            Ok(Err(stopped)) => failed(&format!("the rig stopped: {stopped}")),
            Err(_) => {
                abort.abort();
                failed("the case did not end")
            }
        };
        let file = if report.broken.is_empty() { None } else { Some(keep(&case)) };
        tell.played(&case, &report);
        table.lock().unwrap().add(&case, &report, file);
    }
    if let Some(site) = site {
        // Reads files, and takes the stack down, which waits for its processes.
        let searched = tokio::task::spawn_blocking(move || site.secrets_in_logs()).await.unwrap();
        table.lock().unwrap().add_secrets(searched);
    }
}

fn failed(what: &str) -> Report {
    let mut report = Report::default();
    report.broke(0, what);
    report
}

/// Writes a case down, so that it can be replayed.
fn keep(case: &Case) -> PathBuf {
    let folder = Workspace::here().target().join("faults");
    std::fs::create_dir_all(&folder).unwrap();
    let name: String = case.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(120).collect();
    let file = folder.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(case).unwrap()).unwrap();
    file
}

/// The states that no case was ever in.
#[must_use]
pub fn never_entered(states: &[State], entered: &BTreeSet<String>) -> Vec<String> {
    states.iter().map(|state| &state.name).filter(|name| !entered.contains(*name)).cloned().collect()
}
