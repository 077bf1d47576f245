use std::future::Future;

use drawbridge_domain::reason::bounded;
use drawbridge_wire::{RunId, Timestamp, parse_ready_key};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error as ThisError;
use tracing_subscriber::EnvFilter;

use crate::FunctionError;

/// What is logged. Fixed rather than taken from the environment: the SDK's finer levels show whole requests, and with them
/// task tokens.
///
/// `lambda_runtime` logs a handler's errors without their run; [`serve`] does it with.
const LOGGED: &str = "warn,drawbridge=info,lambda_runtime::layers::panic=off";

/// Logs as one JSON object a line, as CloudWatch Logs Insights reads it.
pub fn init_logging() {
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_ansi(false)
        .without_time()
        .with_env_filter(EnvFilter::new(LOGGED))
        .init();
}

/// Answers events with `handle` until Lambda ends the process. Errors leave under their stable names.
///
/// # Errors
/// When the Lambda runtime API can't be spoken to.
pub async fn serve<H, F, R>(handle: H) -> Result<(), Error>
where
    H: Fn(Value) -> F,
    F: Future<Output = Result<R, FunctionError>>,
    R: Serialize,
{
    serve_until(|event, _| handle(event)).await
}

/// As [`serve`], and tells `handle` at which moment Lambda ends the call.
///
/// # Errors
/// As [`serve`].
pub async fn serve_until<H, F, R>(handle: H) -> Result<(), Error>
where
    H: Fn(Value, Timestamp) -> F,
    F: Future<Output = Result<R, FunctionError>>,
    R: Serialize,
{
    let answer = |event: LambdaEvent<Value>| {
        let run = run_of(&event.payload);
        // A deadline that is no time is none that can be kept.
        let until = i64::try_from(event.context.deadline)
            .ok()
            .and_then(|at| Timestamp::from_millisecond(at).ok())
            .unwrap_or(Timestamp::MIN);
        let answered = handle(event.payload, until);
        async move {
            let answered = answered.await;
            if let Err(error) = &answered {
                tracing::error!(run, error = error.name(), cause = error.chain(), "failed");
            }
            answered
        }
    };
    lambda_runtime::run(service_fn(answer)).await
}

/// The run that an event is about, for the log, wherever the event names it.
fn run_of(event: &Value) -> Option<String> {
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let named = text("/run").or_else(|| text("/detail/name")).and_then(|name| name.parse::<RunId>().ok());
    let ready = || text("/detail/object/key").and_then(parse_ready_key).map(|(run, _)| run);
    named.or_else(ready).map(String::from)
}

/// An event that isn't of the expected shape.
#[derive(Debug, ThisError)]
#[error("{0}")]
struct Shape(String);

/// Reads an event as the one type that a function takes. Done here and not by `lambda_runtime`, which names such errors
/// after Rust types.
///
/// # Errors
/// [`FunctionError::InvalidRequest`] when it is something else.
pub fn parse<T: DeserializeOwned>(event: Value) -> Result<T, FunctionError> {
    // serde quotes what it doesn't understand, which may be long.
    serde_json::from_value(event).map_err(|error| FunctionError::invalid(Shape(bounded(&error.to_string()))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use drawbridge_wire::SessionRequest;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_names_the_run_wherever_the_event_does() {
        let run = "home-20261123T203000Z";
        for event in [
            json!({"run": run}),
            json!({"detail": {"name": run}}),
            json!({"detail": {"object": {"key": format!("runs/{run}/ready/i-0123456789abcdef0.json")}}}),
        ] {
            assert_eq!(run_of(&event).as_deref(), Some(run), "{event}");
        }
        for event in [json!({"sweep": {}}), json!({"run": "forged\n"}), json!(null)] {
            assert_eq!(run_of(&event), None, "{event}");
        }
    }

    #[test]
    fn an_event_of_another_shape_is_an_invalid_request() {
        assert!(parse::<SessionRequest>(json!({"run": "home-20261123T203000Z"})).is_ok());
        for event in [
            json!({}),
            json!({"run": "../x"}),
            json!({"run": "home-20261123T203000Z", "token": "x"}),
            json!("home-20261123T203000Z"),
        ] {
            let error = parse::<SessionRequest>(event).unwrap_err();
            assert_eq!(error.name(), "InvalidRequest", "{error:?}");
        }
    }
}
