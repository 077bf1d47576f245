use std::time::{Duration, Instant};

use drawbridge_local::Clients;
use drawbridge_local::timeline::{Passage, timeline};
use drawbridge_wire::Timestamp;
use serde_json::Value;

/// One execution, as it is now.
#[derive(Debug)]
pub struct Execution {
    /// Its ARN.
    pub arn: String,
    /// The run id.
    pub name: String,
    /// Step Functions' word: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED.
    pub status: String,
    /// When it began.
    pub started_at: Timestamp,
    /// Its input.
    pub input: Value,
    /// Its output, if it succeeded.
    pub output: Option<Value>,
    /// The error that it ended with.
    pub error: Option<String>,
    /// What the error says.
    pub cause: Option<String>,
}

impl Execution {
    /// Looks an execution up.
    pub async fn describe(clients: &Clients, arn: &str) -> Self {
        let found = clients.sfn.describe_execution().execution_arn(arn).send().await.unwrap();
        Self {
            arn: arn.to_owned(),
            name: found.name().unwrap().to_owned(),
            status: found.status().as_str().to_owned(),
            started_at: Timestamp::from_nanosecond(found.start_date().as_nanos()).unwrap(),
            input: serde_json::from_str(found.input().unwrap()).unwrap(),
            output: found.output().map(|output| serde_json::from_str(output).unwrap()),
            error: found.error().map(str::to_owned),
            cause: found.cause().map(str::to_owned),
        }
    }

    /// The vault's name of the repository.
    pub fn repository(&self) -> &str {
        self.input["repository"].as_str().unwrap()
    }

    /// How many objects the run declared to carry.
    pub fn declared_objects(&self) -> u64 {
        self.input["objects"].as_u64().unwrap()
    }

    /// The states it went through.
    pub async fn states(&self, clients: &Clients) -> Vec<Passage> {
        timeline(&clients.sfn, &self.arn).await.unwrap()
    }

    /// Waits until it has ended, and looks again.
    pub async fn ended_within(self, clients: &Clients, seconds: u64) -> Self {
        wait_until(seconds, "the execution ends", async || {
            let now = Self::describe(clients, &self.arn).await;
            if now.status == "RUNNING" { Err(now.status) } else { Ok(()) }
        })
        .await;
        Self::describe(clients, &self.arn).await
    }
}

/// Asks again and again until it is so; fails with the last answer when that takes longer than `seconds`.
pub async fn wait_until(seconds: u64, what: &str, mut ask: impl AsyncFnMut() -> Result<(), String>) {
    let until = Instant::now() + Duration::from_secs(seconds);
    loop {
        match ask().await {
            Ok(()) => return,
            Err(last) if Instant::now() > until => panic!("waited {seconds} s until {what}; the last answer: {last}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
