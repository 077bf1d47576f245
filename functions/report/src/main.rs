//! `report`: the agent says how its crossing goes, and the state machine hears it.

mod handler;

use drawbridge_aws::{Aws, ReportSettings, init_logging, serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = ReportSettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, event)).await
}
