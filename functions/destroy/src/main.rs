//! `destroy`: nothing of a run that is over stays behind.

mod handler;
mod request;
mod sweep;
#[cfg(test)]
mod tests;

use std::time::Duration;

use drawbridge_aws::{Aws, DestroySettings, Looks, init_logging, serve};
use drawbridge_wire::Timestamp;

/// How often a box is looked for that was launched a moment ago and may not be visible yet.
const LOOKS: Looks = Looks { count: 3, pause: Duration::from_secs(1) };

/// Leaves most of the function's time for what has to be done then.
const FATES: Duration = Duration::from_secs(20);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = DestroySettings::from_env()?;
    let aws = Aws::connect().await;
    let patience = handler::Patience { looks: LOOKS, fates: FATES };
    serve(|event| handler::handle(&settings, &aws, patience, event, Timestamp::now())).await
}
