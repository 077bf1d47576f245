use drawbridge_aws::{Executions, FunctionError, Parameters, SessionSettings, parse};
use drawbridge_domain::{execution, parameters, phase};
use drawbridge_wire::{SessionAnswer, SessionRequest, Timestamp};
use serde_json::Value;

pub(crate) async fn handle<A: Executions + Parameters>(
    settings: &SessionSettings,
    aws: &A,
    event: Value,
    now: Timestamp,
) -> Result<SessionAnswer, FunctionError> {
    let SessionRequest { run } = parse(event)?;
    let arn = execution::arn(&settings.state_machine, run.as_str()).map_err(FunctionError::broken)?;
    let Some(execution) = aws.describe(&arn).await? else { return Err(FunctionError::UnknownRun(run.to_string())) };
    let session = match execution.status {
        execution::Status::Running => aws.get(&parameters::session(&settings.site, &run)).await?,
        _ => None,
    };
    let session = session.map(|json| serde_json::from_str(&json)).transpose().map_err(FunctionError::broken)?;
    phase::of(&execution, session, now).map_err(FunctionError::broken)
}
