//! One run of the agent under faults, until everything about it has come to rest.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::{Duration, Instant};

use drawbridge_local::timeline::Passage;
use drawbridge_tests::{Execution, Finished, need};
use tokio::process::Command;

use crate::board::Strike;
use crate::box_clock;
use crate::fault::{Clock, Fault};
use crate::site::Site;

/// How long an agent may take before it counts as hung. Its own longest patience is three minutes.
const AGENT_LIMIT: Duration = Duration::from_secs(240);

/// How long an execution may go on after its agent: its window, the steps after it, and their retries.
const EXECUTION_LIMIT: Duration = Duration::from_secs(180);

/// How long a delayed call may still be under way.
const SETTLING_LIMIT: Duration = Duration::from_secs(45);

/// For how long faults go on after the execution has ended: the event rule's call of `destroy` meets them too.
const AFTERMATH: Duration = Duration::from_secs(2);

const TICK: Duration = Duration::from_millis(100);

/// The library that shifts a process's clock; Debian's package is libfaketime.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// What there is to judge.
#[derive(Debug)]
pub struct Ran {
    /// The agent, with an exit code of -1 if it was killed.
    pub agent: Finished,
    /// Its executions, each with the states that it went through.
    pub executions: Vec<(Execution, Vec<Passage>)>,
    /// What struck.
    pub strikes: Vec<Strike>,
}

impl Site {
    /// Runs the agent once. When this returns, nothing of the run goes on by itself any more.
    pub async fn run(&self, faults: &[Fault]) -> Ran {
        let before: BTreeSet<String> = self.executions().await.into_iter().map(|(arn, _)| arn).collect();
        let rules = if faults.contains(&Fault::DropEvent) { self.destroys_rules() } else { &[] };
        for rule in rules {
            self.root().deliver(rule, false).await;
        }
        if faults.iter().any(|fault| matches!(fault, Fault::Clock { .. })) {
            // The package's program stands for its library.
            need("faketime", "faketime");
        }
        let began = jiff::Timestamp::now();
        self.set_clock(faults);
        self.proxy().board().arm(faults);

        let agent = self.agent_to_its_end(faults, &before).await;
        let executions = self.executions_to_their_end(&before).await;
        let until = Instant::now() + SETTLING_LIMIT;
        while self.proxy().board().under_way() > 0 && Instant::now() < until {
            tokio::time::sleep(TICK).await;
        }
        self.proxy().board().disarm();
        for rule in rules {
            self.root().deliver(rule, true).await;
        }
        self.set_clock(&[]);
        let mut strikes = self.proxy().board().strikes();
        strikes.extend(self.whole_run_strikes(faults, &executions, began));
        Ran { agent, executions, strikes }
    }

    async fn agent_to_its_end(&self, faults: &[Fault], before: &BTreeSet<String>) -> Finished {
        let mut command = Command::from(self.rig().agent().command(&["run"]));
        if let Some(minutes) = shift(faults, Clock::Agent) {
            command.envs(fake_time(minutes));
        }
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        self.proxy().hands().set_agent(child.id().and_then(|id| i32::try_from(id).ok()));
        let ended = tokio::time::timeout(AGENT_LIMIT, async {
            tokio::select! {
                output = child.wait_with_output() => output.unwrap(),
                never = self.disarm_when_over(before) => never,
            }
        });
        let finished = match ended.await {
            Ok(output) => output.into(),
            Err(_) => Finished { code: -2, stdout: String::new(), stderr: "the agent hung".to_owned() },
        };
        self.proxy().hands().set_agent(None);
        finished
    }

    /// Faults end soon after the execution that they were for. Never returns.
    async fn disarm_when_over<T>(&self, before: &BTreeSet<String>) -> T {
        loop {
            tokio::time::sleep(3 * TICK).await;
            let new: Vec<_> = self.executions().await.into_iter().filter(|(arn, _)| !before.contains(arn)).collect();
            if !new.is_empty() && new.iter().all(|(_, status)| status != "RUNNING") {
                tokio::time::sleep(AFTERMATH).await;
                self.proxy().board().disarm();
                std::future::pending::<()>().await;
            }
        }
    }

    async fn executions_to_their_end(&self, before: &BTreeSet<String>) -> Vec<(Execution, Vec<Passage>)> {
        let until = Instant::now() + EXECUTION_LIMIT;
        loop {
            let new: Vec<_> = self.executions().await.into_iter().filter(|(arn, _)| !before.contains(arn)).collect();
            if Instant::now() < until && new.iter().any(|(_, status)| status == "RUNNING") {
                tokio::time::sleep(TICK).await;
                continue;
            }
            let mut ended = Vec::new();
            for (arn, _) in new {
                let execution = Execution::describe(self.rig().clients(), &arn).await;
                let passages = execution.states(self.rig().clients()).await;
                ended.push((execution, passages));
            }
            return ended;
        }
    }

    /// Every execution there is, with its status.
    async fn executions(&self) -> Vec<(String, String)> {
        let list = self.rig().clients().sfn.list_executions().state_machine_arn(&self.rig().stack().state_machine_arn);
        let list = list.send().await.unwrap();
        let named = |item: &aws_sdk_sfn::types::ExecutionListItem| {
            (item.execution_arn().to_owned(), item.status().as_str().to_owned())
        };
        list.executions().iter().map(named).collect()
    }

    /// Faults that aren't at a call are there from its beginning, and strike by what came of the run.
    fn whole_run_strikes(
        &self,
        faults: &[Fault],
        executions: &[(Execution, Vec<Passage>)],
        began: jiff::Timestamp,
    ) -> Vec<Strike> {
        let struck = |fault: &Fault| match fault {
            Fault::Call { .. } => false,
            Fault::DropEvent => executions.iter().any(|(execution, _)| execution.status != "SUCCEEDED"),
            Fault::Clock { whose: Clock::Agent, .. } => true,
            Fault::Clock { whose: Clock::Box, .. } => {
                executions.iter().any(|(execution, _)| !self.watch().of_run(&execution.name).ids.is_empty())
            }
        };
        let all = faults.iter().enumerate().filter(|(_, fault)| struck(fault));
        all.map(|(fault, _)| Strike { fault, at: began }).collect()
    }

    fn set_clock(&self, faults: &[Fault]) {
        box_clock::set(&self.rig().folder().join("stack/machines"), shift(faults, Clock::Box).map(fake_time));
    }
}

fn shift(faults: &[Fault], of: Clock) -> Option<i32> {
    faults.iter().find_map(|fault| match fault {
        Fault::Clock { whose, minutes } if *whose == of => Some(*minutes),
        _ => None,
    })
}

fn fake_time(minutes: i32) -> Vec<(String, String)> {
    let pairs = [
        ("LD_PRELOAD", FAKETIME.to_owned()),
        ("FAKETIME", format!("{minutes:+}m")),
        // A wrong date, not a wrong length of a second.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value)).to_vec()
}
