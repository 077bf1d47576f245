//! Many histories on several stacks at once.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use indicatif::ProgressBar;

use crate::site::Site;

/// A history that takes longer is given up, and its stack with it.
const LIMIT: Duration = Duration::from_secs(1200);

/// How runs ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// With the verdict good.
    pub good: usize,
    /// With the verdict bad.
    pub bad: usize,
    /// Without a verdict.
    pub none: usize,
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} good, {} bad, {} without a verdict", self.good, self.bad, self.none)
    }
}

/// A verdict that stock restic doesn't agree with.
#[derive(Debug)]
pub struct Disagreement {
    /// The history.
    pub seed: u64,
    /// The run.
    pub run: String,
    /// What happened until then.
    pub told: Vec<String>,
}

/// What all histories came to.
#[derive(Debug, Default)]
pub struct Result {
    /// How many there were.
    pub histories: usize,
    /// How their runs ended.
    pub count: Count,
    /// What wasn't so.
    pub disagreements: Vec<Disagreement>,
    /// Histories that broke off, and why.
    pub broken: Vec<(u64, String)>,
}

impl Result {
    /// Whether every verdict was true, and every history was lived through.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.disagreements.is_empty() && self.broken.is_empty()
    }
}

impl fmt::Display for Result {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Disagreement { seed, run, told } in &self.disagreements {
            writeln!(f, "{run}: the verdict is not true")?;
            told.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
            writeln!(f, "  again: cargo histories --runs 1 --seed {seed}")?;
        }
        for (seed, why) in &self.broken {
            writeln!(f, "the history {seed} broke off: {why}")?;
        }
        writeln!(f, "runs without a verdict: {}", self.count.none)?;
        let Count { good, bad, .. } = self.count;
        write!(f, "histories={} good={good} bad={bad} disagreements={}", self.histories, self.disagreements.len())
    }
}

/// Lives through the histories of these seeds, on `stacks` stacks at once.
pub async fn live(seeds: impl Iterator<Item = u64>, stacks: usize, bar: &ProgressBar) -> Result {
    let queue: Mutex<VecDeque<u64>> = Mutex::new(seeds.collect());
    let stacks = stacks.clamp(1, queue.lock().unwrap().len().max(1));
    let result = Mutex::new(Result::default());
    join_all((0..stacks).map(|_| work(&queue, &result, bar))).await;
    result.into_inner().unwrap()
}

/// Above the bar on a terminal, a plain line elsewhere.
#[allow(clippy::print_stdout, reason = "where the result goes")]
fn tell(bar: &ProgressBar, line: &str) {
    if bar.is_hidden() {
        println!("{line}");
    } else {
        bar.println(line);
    }
}

async fn work(queue: &Mutex<VecDeque<u64>>, result: &Mutex<Result>, bar: &ProgressBar) {
    let mut site: Option<Site> = None;
    loop {
        let Some(seed) = queue.lock().unwrap().pop_front() else { return };
        let mut here = match site.take() {
            Some(site) => site,
            None => Site::up().await,
        };
        // On a task of its own, so that what stops one history doesn't stop the rest.
        let lived = tokio::spawn(async move {
            let lived = here.live(seed).await;
            (here, lived)
        });
        let abort = lived.abort_handle();
        let mut result = match tokio::time::timeout(LIMIT, lived).await {
            Ok(Ok((back, (count, disagreements)))) => {
                site = Some(back);
                let mut result = result.lock().unwrap();
                result.count.good += count.good;
                result.count.bad += count.bad;
                result.count.none += count.none;
                tell(bar, &format!("history {seed}: {count}, {} disagreements", disagreements.len()));
                result.disagreements.extend(disagreements);
                result
            }
            other => {
                abort.abort();
                let why = other.map_or_else(
                    |_| "it did not end".to_owned(),
                    |lived| match lived {
                        Err(stopped) => stopped.to_string(),
                        Ok(_) => unreachable!("taken above"),
                    },
                );
                let mut result = result.lock().unwrap();
                result.broken.push((seed, why));
                result
            }
        };
        result.histories += 1;
        bar.inc(1);
    }
}
