//! `provision`: one jump box for a run, and a door in its security group for the run's agent.

mod boxes;
mod handler;
mod rivals;
#[cfg(test)]
mod tests;
mod undo;

use std::time::Duration;

use drawbridge_aws::{Aws, Looks, ProvisionSettings, init_logging, serve};
use drawbridge_wire::Timestamp;

/// How long a box that EC2 says it launched may stay out of its sight.
const LOOKS: Looks = Looks { count: 6, pause: Duration::from_secs(1) };

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = ProvisionSettings::from_env()?;
    let gate = handler::Gate::load(&settings.gate_program)?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &gate, &aws, LOOKS, event, Timestamp::now)).await
}
