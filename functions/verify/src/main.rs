//! `verify`: what the vault really holds, against what the run declared.

mod handler;

use drawbridge_aws::{Aws, VerifySettings, init_logging, serve};
use drawbridge_wire::Timestamp;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = VerifySettings::from_env()?;
    let aws = Aws::connect().await;
    serve(|event| handler::handle(&settings, &aws, event, Timestamp::now())).await
}
