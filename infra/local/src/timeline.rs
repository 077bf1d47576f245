//! An execution's history as an operator would tell it: which state, how long, how it ended.

use aws_sdk_sfn::Client;
use aws_sdk_sfn::types::HistoryEvent;
use jiff::Timestamp;

use crate::Result;
use crate::error::Context;

/// One state of an execution.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The state's name.
    pub state: String,
    /// When it was entered.
    pub entered: Timestamp,
    /// How long it took, in milliseconds; `None` while it lasts.
    pub milliseconds: Option<i64>,
    /// The first error on the way out, if there was one.
    pub error: Option<String>,
}

/// The states of an execution, in the order of their entry.
///
/// # Errors
/// When Step Functions doesn't answer.
pub async fn timeline(sfn: &Client, execution_arn: &str) -> Result<Vec<Passage>> {
    let mut passages = Vec::new();
    let mut pages = sfn.get_execution_history().execution_arn(execution_arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.context(|| format!("cannot read the history of {execution_arn}"))?;
        for event in page.events() {
            note(&mut passages, event);
        }
    }
    Ok(passages)
}

/// The task tokens that an execution's history shows to those who may read it. Nothing else may show them.
///
/// # Errors
/// When Step Functions doesn't answer.
pub async fn task_tokens(sfn: &Client, execution_arn: &str) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut pages = sfn.get_execution_history().execution_arn(execution_arn).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.context(|| format!("cannot read the history of {execution_arn}"))?;
        let scheduled = page.events().iter().filter_map(|event| event.task_scheduled_event_details());
        tokens.extend(scheduled.filter_map(|details| token_in(details.parameters())));
    }
    Ok(tokens)
}

/// The token that a task was given, wherever in its parameters it stands.
fn token_in(parameters: &str) -> Option<String> {
    let (_, rest) = parameters.split_once("task_token")?;
    // Behind the name come quotes, a colon and perhaps backslashes, if it stands in a string in a string.
    let value = rest.trim_start_matches(|c| "\\\": ".contains(c));
    value.split(['"', '\\']).next().map(str::to_owned)
}

fn note(passages: &mut Vec<Passage>, event: &HistoryEvent) {
    let at = Timestamp::from_nanosecond(event.timestamp().as_nanos()).unwrap_or_default();
    if let Some(entered) = event.state_entered_event_details() {
        let state = entered.name().to_owned();
        passages.push(Passage { state, entered: at, milliseconds: None, error: None });
        return;
    }
    let Some(current) = passages.last_mut() else { return };
    if event.state_exited_event_details().is_some() || event.r#type().as_str().starts_with("Execution") {
        current.milliseconds.get_or_insert(at.as_millisecond() - current.entered.as_millisecond());
    }
    if current.error.is_none() {
        current.error = error_of(event);
    }
}

fn error_of(event: &HistoryEvent) -> Option<String> {
    let error = event
        .task_failed_event_details()
        .and_then(|details| details.error())
        .or_else(|| event.task_timed_out_event_details().and_then(|details| details.error()))
        .or_else(|| event.lambda_function_failed_event_details().and_then(|details| details.error()))
        .or_else(|| event.execution_failed_event_details().and_then(|details| details.error()))
        .or_else(|| event.execution_timed_out_event_details().and_then(|details| details.error()));
    error.map(str::to_owned).or_else(|| event.execution_aborted_event_details().map(|_| "aborted".to_owned()))
}
