//! What a fault does beside the wire: it kills processes and stops executions.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use drawbridge_local::Clients;

use crate::fault::{Caller, Victim};
use crate::process::{kill, started_with};

/// The program that the box runs.
const GATE: &str = "drawbridge-gate";

/// Reaches the processes and the executions of one stack.
#[derive(Debug, Default)]
pub struct Hands {
    /// The endpoint of each caller, by which its processes are recognised.
    endpoints: BTreeMap<Caller, String>,
    agent: Mutex<Option<i32>>,
    stack: OnceLock<(Clients, String)>,
}

impl Hands {
    /// Of a stack whose callers have these endpoints.
    #[must_use]
    pub const fn new(endpoints: BTreeMap<Caller, String>) -> Self {
        Self { endpoints, agent: Mutex::new(None), stack: OnceLock::new() }
    }

    /// Once the stack is up: the operator's clients and the state machine.
    pub fn hold(&self, clients: Clients, state_machine_arn: String) {
        // Set once, when the stack is up.
        let _already = self.stack.set((clients, state_machine_arn));
    }

    /// The agent that runs now.
    pub fn set_agent(&self, id: Option<i32>) {
        *self.agent.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }

    /// Kills. True when there was somebody to kill.
    #[must_use]
    pub fn kill(&self, victim: Victim, caller: Caller) -> bool {
        let of = |caller: Caller, program| {
            let endpoint = self.endpoints.get(&caller).map(String::as_str).unwrap_or_default();
            started_with(&format!("AWS_ENDPOINT_URL={endpoint}"), program)
        };
        let ids = match victim {
            Victim::Agent => self.agent.lock().unwrap_or_else(PoisonError::into_inner).into_iter().collect(),
            Victim::Gate => of(Caller::Box, Some(GATE)),
            Victim::Function if caller.is_function() => of(caller, None),
            Victim::Function => Vec::new(),
        };
        ids.into_iter().filter(|id| kill(*id)).count() > 0
    }

    /// Stops the execution that runs. True when there was one.
    pub async fn stop(&self) -> bool {
        let Some((clients, machine)) = self.stack.get() else { return false };
        let running = aws_running(clients, machine).await;
        let mut any = false;
        for arn in running {
            any |= clients.sfn.stop_execution().execution_arn(arn).cause("a fault").send().await.is_ok();
        }
        any
    }
}

async fn aws_running(clients: &Clients, machine: &str) -> Vec<String> {
    let list = clients.sfn.list_executions().state_machine_arn(machine).send().await;
    let list = list.map(|list| list.executions).unwrap_or_default();
    let running = list.into_iter().filter(|execution| execution.status().as_str() == "RUNNING");
    running.map(|execution| execution.execution_arn().to_owned()).collect()
}
