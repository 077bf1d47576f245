use drawbridge_aws::{Executions, FunctionError, Kind, Parameters, SessionSettings, Vault, parse};
use drawbridge_domain::{execution, parameters, phase};
use drawbridge_wire::{Defects, RunId, SessionAnswer, SessionRequest, Timestamp, VERDICT_BAD, defects_key};
use serde_json::Value;

/// The most bytes of defects that are read: `verify` names 20,000 objects at most, each in less than 100 bytes.
const MAX_DEFECTS_BYTES: usize = 2 * 1024 * 1024;

pub(crate) async fn handle<A: Executions + Parameters + Vault>(
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
    let mut answer = phase::of(&execution, session, now).map_err(FunctionError::broken)?;
    if let SessionAnswer::Failed { failure, defects: told } = &mut answer
        && failure.error == VERDICT_BAD
    {
        *told = defects(settings, aws, &run).await?;
    }
    Ok(answer)
}

/// What the verdict means for the agent. Without it, the agent carries everything across again, so only what passes is worth failing for.
async fn defects<A: Vault>(settings: &SessionSettings, aws: &A, run: &RunId) -> Result<Option<Defects>, FunctionError> {
    match aws.read(&settings.vault, &defects_key(run), MAX_DEFECTS_BYTES).await {
        Ok(json) => Ok(json.and_then(|json| serde_json::from_slice(&json).ok())),
        Err(error) if error.kind() == Kind::Throttled => Err(error.into()),
        Err(error) => {
            tracing::warn!(%run, %error, "the defects can't be read");
            Ok(None)
        }
    }
}
