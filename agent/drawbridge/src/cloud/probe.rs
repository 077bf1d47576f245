use drawbridge_wire::ReportAnswer;
use serde_json::{Value, json};

use super::{Cloud, CloudError};

/// The error that every function answers to what is no request of its own, before it does anything.
const INVALID_REQUEST: &str = "InvalidRequest";

/// What trying one function showed.
#[derive(Debug)]
pub struct Probed {
    /// Its name or ARN.
    pub function: String,
    /// Whether the agent was let in.
    pub result: Result<(), CloudError>,
}

impl Cloud {
    /// Whether each of the three functions can be reached and invoked. Nothing is started: `start` gets no request that it
    /// could understand, the others are asked about a run that can't be.
    pub async fn probe_each(&self) -> [Probed; 3] {
        let (start, session, report) = tokio::join!(self.probe_start(), self.probe(), self.probe_report());
        [(&self.stack.start, start), (&self.stack.session, session), (&self.stack.report, report)]
            .map(|(function, result)| Probed { function: function.clone(), result })
    }

    async fn probe_start(&self) -> Result<(), CloudError> {
        let_in(self.invoke::<_, Value>(&self.stack.start, &json!({})).await, INVALID_REQUEST)
    }

    async fn probe_report(&self) -> Result<(), CloudError> {
        let never = json!({ "run": "check-19700101T000000Z", "report": { "what": "heartbeat" } });
        let_in(self.invoke::<_, ReportAnswer>(&self.stack.report, &never).await, super::UNKNOWN_RUN)
    }
}

/// An answer, and the error that was to be expected, both come from behind the door.
fn let_in<A>(answer: Result<A, CloudError>, expected: &str) -> Result<(), CloudError> {
    match answer {
        Err(error) if error.function_error() != Some(expected) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use drawbridge_wire::StartRequest;

    use super::*;

    #[test]
    fn what_start_is_probed_with_is_no_request() {
        assert!(serde_json::from_value::<StartRequest>(json!({})).is_err());
    }

    #[test]
    fn only_the_expected_error_counts_as_let_in() {
        let error = |error_type: &str| {
            Err::<(), _>(CloudError::Function {
                function: "start".to_owned(),
                error_type: error_type.to_owned(),
                message: String::new(),
            })
        };
        assert!(let_in(error(INVALID_REQUEST), INVALID_REQUEST).is_ok());
        assert!(let_in(error("Runtime.ExitError"), INVALID_REQUEST).is_err());
        assert!(let_in(Ok(()), INVALID_REQUEST).is_ok());
    }
}
