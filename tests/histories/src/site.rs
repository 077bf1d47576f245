//! One stack, on which one history after the other is lived through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use drawbridge_tests::{Dice, Execution, Rig};

use crate::campaign::{Count, Disagreement};
use crate::oracle::{self, Expected};
use crate::{damage, files};

/// As short as a busy machine bears.
const PARAMETERS: [(&str, &str); 4] =
    [("SlotSeconds", "1"), ("MaxRunsPerDay", "1000"), ("SweepRate", "rate(1 hour)"), ("WindowBaseSeconds", "60")];

/// The longest that a killed run's execution may take to end: its heartbeat, what comes after, and a busy machine.
const ENDING: Duration = Duration::from_secs(180);

/// A stack, and what its vault is expected to hold.
pub(crate) struct Site {
    rig: Rig,
    /// By repository: snapshots that a verdict has counted.
    counted: BTreeMap<String, BTreeSet<String>>,
    /// Copies of the agent's state, as of the evening of each day.
    evenings: Vec<PathBuf>,
    told: Vec<String>,
}

impl Site {
    pub(crate) async fn up() -> Self {
        let rig = Rig::up_with(&PARAMETERS).await;
        Self { rig, counted: BTreeMap::new(), evenings: Vec::new(), told: Vec::new() }
    }

    /// Lives through a history.
    pub(crate) async fn live(&mut self, seed: u64) -> (Count, Vec<Disagreement>) {
        let mut dice = Dice::new(seed);
        self.begin();
        let (mut count, mut wrong) = (Count::default(), Vec::new());
        for day in 0..3 + dice.throw(3) {
            self.told.push(format!("day {day}"));
            files::change(&self.rig.source(), &mut dice);
            self.misfortune(&mut dice).await;
            for execution in self.run(&mut dice).await {
                let good = match (execution.status.as_str(), execution.error.as_deref()) {
                    ("SUCCEEDED", _) => true,
                    ("FAILED", Some("VerdictBad")) => false,
                    other => {
                        self.told.push(format!("{other:?}: no verdict"));
                        count.none += 1;
                        continue;
                    }
                };
                let truth = self.ask(&execution).await;
                self.told.push(format!("verdict {}, restic: {truth:?}", if good { "good" } else { "bad" }));
                *(if good { &mut count.good } else { &mut count.bad }) += 1;
                if good != truth.is_ok() {
                    wrong.push(Disagreement { seed, run: execution.name.clone(), told: self.told.clone() });
                }
            }
            self.keep_evening();
            // A slot is a second long.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        (count, wrong)
    }

    /// A new site, with nothing but its password.
    fn begin(&mut self) {
        self.told.clear();
        self.evenings.clear();
        for folder in [self.rig.files().state_dir(), self.rig.source(), self.rig.folder().join("evenings")] {
            if folder.exists() {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
    }

    /// What may happen before a run: to the vault, to the agent's state.
    async fn misfortune(&mut self, dice: &mut Dice) {
        let state = self.rig.files().state_dir();
        if dice.throw(2) == 0
            && let Some(repository) = self.filed_under()
            && let Some((key, how)) = damage::strike(&self.rig, &format!("repo/{repository}/"), dice).await
        {
            self.told.push(format!("{how:?}: {key}"));
        }
        match dice.throw(8) {
            0 if state.exists() => {
                std::fs::remove_dir_all(&state).unwrap();
                self.told.push("the state is lost".to_owned());
            }
            1 if !self.evenings.is_empty() => {
                let evening = dice.choose(&self.evenings).clone();
                if state.exists() {
                    std::fs::remove_dir_all(&state).unwrap();
                }
                copy(&evening, &state);
                self.told.push(format!("the state is set back to {}", evening.file_name().unwrap().display()));
            }
            _ => {}
        }
    }

    /// Where the vault files the current repository, if a run has told.
    fn filed_under(&self) -> Option<String> {
        let current = std::fs::read(self.rig.files().state_dir().join("current.json")).ok()?;
        let current: serde_json::Value = serde_json::from_slice(&current).ok()?;
        let vault = current.pointer("/vault").or_else(|| current.pointer("/value/vault"));
        Some(vault?.as_str()?.to_owned())
    }

    /// One run, killed at any moment if chance wants it; answers its executions, once they have ended.
    async fn run(&mut self, dice: &mut Dice) -> Vec<Execution> {
        let before = self.executions().await;
        if dice.throw(4) == 0 {
            let after = Duration::from_millis(100 + dice.throw(3000));
            let mut agent = self.rig.agent().spawn(&["run"]);
            tokio::time::sleep(after).await;
            // Over already, or over now.
            let _over = agent.kill();
            agent.wait().unwrap();
            self.told.push(format!("the run is killed after {after:?}"));
        } else {
            let finished = self.rig.agent().run(&["run"]).await;
            let said = finished.stderr.lines().last().unwrap_or_default().to_owned();
            self.told.push(format!("the run ends with {}: {said}", finished.code));
        }
        let begun: Vec<String> = self.executions().await.difference(&before).cloned().collect();
        let mut ended = Vec::new();
        for arn in begun {
            ended.push(self.ended(&arn).await);
        }
        ended
    }

    async fn ended(&self, arn: &str) -> Execution {
        let until = Instant::now() + ENDING;
        loop {
            let execution = Execution::describe(self.rig.clients(), arn).await;
            if execution.status != "RUNNING" {
                return execution;
            }
            assert!(Instant::now() < until, "{} has not ended after {ENDING:?}", execution.name);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn executions(&self) -> BTreeSet<String> {
        let machine = &self.rig.stack().state_machine_arn;
        let (mut arns, mut next) = (BTreeSet::new(), None);
        loop {
            let list = self.rig.clients().sfn.list_executions().state_machine_arn(machine);
            let page = list.set_next_token(next).send().await.unwrap();
            arns.extend(page.executions.into_iter().map(|execution| execution.execution_arn));
            next = page.next_token;
            if next.is_none() {
                return arns;
            }
        }
    }

    async fn ask(&mut self, execution: &Execution) -> Result<(), String> {
        let repository = execution.repository().to_owned();
        let here = self.rig.local_snapshots(execution);
        let Some(snapshot) = here.last().cloned() else {
            return Err(format!("the local repository of {repository} holds no snapshot"));
        };
        let mut snapshots: BTreeSet<String> = here.iter().cloned().collect();
        snapshots.extend(self.counted.get(&repository).into_iter().flatten().cloned());
        let truth = oracle::ask(&self.rig, execution, Expected { snapshot, snapshots }).await;
        if truth.is_ok() {
            self.counted.entry(repository).or_default().extend(here);
        }
        truth
    }

    fn keep_evening(&mut self) {
        let evening = self.rig.folder().join("evenings").join(format!("day-{}", self.evenings.len()));
        std::fs::create_dir_all(evening.parent().unwrap()).unwrap();
        if self.rig.files().state_dir().exists() {
            copy(&self.rig.files().state_dir(), &evening);
            self.evenings.push(evening);
        }
    }
}

/// A copy with everything that belongs to a file.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(status.success(), "cp -a {} {}", from.display(), to.display());
}
