//! `session`: the agent asks where its run stands.

mod handler;

use drawbridge_aws::{Aws, SessionSettings, init_logging, serve};
use drawbridge_wire::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = SessionSettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, event, Timestamp::now())).await
}
