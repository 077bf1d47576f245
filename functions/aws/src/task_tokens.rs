use drawbridge_wire::TaskToken;

use crate::{Aws, AwsError, Kind};

/// Whether the state machine took what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Taken.
    Accepted,
    /// The token's state has ended; nothing changed.
    Closed,
}

/// Ending, or keeping alive, a state that waits.
pub trait TaskTokens {
    /// Ends the state with `output`, JSON.
    async fn succeed(&self, token: &TaskToken, output: &str) -> Result<Delivery, AwsError>;

    /// Ends the state with an error.
    async fn fail(&self, token: &TaskToken, error: &str, cause: &str) -> Result<Delivery, AwsError>;

    /// Begins the state's heartbeat interval anew.
    async fn heartbeat(&self, token: &TaskToken) -> Result<Delivery, AwsError>;
}

impl TaskTokens for Aws {
    async fn succeed(&self, token: &TaskToken, output: &str) -> Result<Delivery, AwsError> {
        let request = self.sfn.send_task_success().task_token(token.reveal()).output(output);
        delivery(request.send().await.map_err(|error| AwsError::sdk("states:SendTaskSuccess", error)))
    }

    async fn fail(&self, token: &TaskToken, error: &str, cause: &str) -> Result<Delivery, AwsError> {
        let request = self.sfn.send_task_failure().task_token(token.reveal()).error(error).cause(cause);
        delivery(request.send().await.map_err(|error| AwsError::sdk("states:SendTaskFailure", error)))
    }

    async fn heartbeat(&self, token: &TaskToken) -> Result<Delivery, AwsError> {
        let request = self.sfn.send_task_heartbeat().task_token(token.reveal());
        delivery(request.send().await.map_err(|error| AwsError::sdk("states:SendTaskHeartbeat", error)))
    }
}

fn delivery<T>(sent: Result<T, AwsError>) -> Result<Delivery, AwsError> {
    match sent {
        Ok(_) => Ok(Delivery::Accepted),
        Err(error) if error.kind() == Kind::Closed => Ok(Delivery::Closed),
        Err(error) => Err(error),
    }
}
