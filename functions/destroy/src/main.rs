//! `destroy`: nothing of a run that is over stays behind.

mod handler;
mod request;
#[cfg(test)]
mod tests;

use std::time::Duration;

use drawbridge_aws::{Aws, DestroySettings, Looks, init_logging, serve};
use drawbridge_wire::Timestamp;

/// How often a box is looked for that was launched a moment ago and may not be visible yet.
const LOOKS: Looks = Looks { count: 3, pause: Duration::from_secs(1) };

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = DestroySettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, LOOKS, event, Timestamp::now())).await
}
