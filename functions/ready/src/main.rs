//! `ready`: a box has said that its gate listens; the state machine is told where.

mod handler;
#[cfg(test)]
mod tests;

use std::time::Duration;

use drawbridge_aws::{Aws, Looks, ReadySettings, init_logging, serve};

/// EC2 shows a new box and its address within seconds; Lambda's own second try would come a minute later.
const LOOKS: Looks = Looks { count: 8, pause: Duration::from_secs(1) };

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = ReadySettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, LOOKS, event)).await
}
