use aws_sdk_sfn::types::ExecutionStatus;
use drawbridge_domain::execution::{Execution, Status};
use drawbridge_wire::{RunId, Timestamp};

use crate::convert::timestamp;
use crate::{Aws, AwsError, Kind};

/// An execution in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
}

/// Executions of a state machine.
pub trait Executions {
    /// Every execution that is running.
    async fn running(&self, state_machine: &str) -> Result<Vec<Listed>, AwsError>;

    /// The last executions that succeeded, `count` at most, the newest first.
    async fn succeeded(&self, state_machine: &str, count: u32) -> Result<Vec<Listed>, AwsError>;

    /// When at least the last `count` executions began, whatever became of them; the newest first, all if there are fewer.
    async fn begun(&self, state_machine: &str, count: u32) -> Result<Vec<Timestamp>, AwsError>;

    /// Begins an execution and returns when it began. The same name and input again, while it is open, succeeds again;
    /// otherwise a taken name is [`Kind::AlreadyExists`].
    async fn begin(&self, state_machine: &str, run: &RunId, input: &str) -> Result<Timestamp, AwsError>;

    /// What there is to know of an execution; `None` when there is none of this ARN.
    async fn describe(&self, arn: &str) -> Result<Option<Execution>, AwsError>;
}

/// The most that one page of ListExecutions holds.
const MAX_PAGE: i32 = 1000;

const LIST: &str = "states:ListExecutions";
const START: &str = "states:StartExecution";
const DESCRIBE: &str = "states:DescribeExecution";

impl Executions for Aws {
    async fn running(&self, state_machine: &str) -> Result<Vec<Listed>, AwsError> {
        let request =
            self.sfn.list_executions().state_machine_arn(state_machine).status_filter(ExecutionStatus::Running);
        let mut pages = request.into_paginator().send();
        let mut running = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::sdk(LIST, error))?;
            let listed = page.executions.into_iter();
            running.extend(listed.map(|one| Listed { name: one.name, arn: one.execution_arn }));
        }
        Ok(running)
    }

    async fn succeeded(&self, state_machine: &str, count: u32) -> Result<Vec<Listed>, AwsError> {
        let request =
            self.sfn.list_executions().state_machine_arn(state_machine).status_filter(ExecutionStatus::Succeeded);
        let page = request.max_results(i32::try_from(count).unwrap_or(MAX_PAGE).clamp(1, MAX_PAGE)).send().await;
        let listed = page.map_err(|error| AwsError::sdk(LIST, error))?.executions.into_iter();
        Ok(listed.map(|one| Listed { name: one.name, arn: one.execution_arn }).collect())
    }

    async fn begun(&self, state_machine: &str, count: u32) -> Result<Vec<Timestamp>, AwsError> {
        let wanted = usize::try_from(count).unwrap_or(usize::MAX);
        // The newest come first, and a state machine keeps 90 days of them: only as many pages as it takes.
        let request = self.sfn.list_executions().state_machine_arn(state_machine);
        let mut pages =
            request.max_results(i32::try_from(count).unwrap_or(MAX_PAGE).min(MAX_PAGE)).into_paginator().send();
        let mut begun = Vec::new();
        while begun.len() < wanted
            && let Some(page) = pages.next().await
        {
            for one in page.map_err(|error| AwsError::sdk(LIST, error))?.executions {
                begun.push(timestamp(LIST, &one.start_date)?);
            }
        }
        begun.sort_unstable_by(|one, other| other.cmp(one));
        Ok(begun)
    }

    async fn begin(&self, state_machine: &str, run: &RunId, input: &str) -> Result<Timestamp, AwsError> {
        let request = self.sfn.start_execution().state_machine_arn(state_machine).name(run.as_str()).input(input);
        let begun = request.send().await.map_err(|error| AwsError::sdk(START, error))?;
        timestamp(START, &begun.start_date)
    }

    async fn describe(&self, arn: &str) -> Result<Option<Execution>, AwsError> {
        let described = match self.sfn.describe_execution().execution_arn(arn).send().await {
            Ok(described) => described,
            Err(error) => {
                let error = AwsError::sdk(DESCRIBE, error);
                return if error.kind() == Kind::NotFound { Ok(None) } else { Err(error) };
            }
        };
        let status = match described.status {
            ExecutionStatus::Running => Status::Running,
            ExecutionStatus::Succeeded => Status::Succeeded,
            ExecutionStatus::Failed | ExecutionStatus::PendingRedrive => Status::Failed,
            ExecutionStatus::TimedOut => Status::TimedOut,
            ExecutionStatus::Aborted => Status::Aborted,
            other => return Err(AwsError::unexpected(DESCRIBE, format!("unknown status {other}"))),
        };
        Ok(Some(Execution {
            status,
            started_at: timestamp(DESCRIBE, &described.start_date)?,
            input: described.input,
            output: described.output,
            error: described.error,
            cause: described.cause,
        }))
    }
}
