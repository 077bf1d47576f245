//! `start`: the agent asks for a bridge and gets a run, or is told when to come again.

mod handler;

use drawbridge_aws::{Aws, StartSettings, init_logging, serve};
use drawbridge_wire::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = StartSettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, event, Timestamp::now())).await
}
