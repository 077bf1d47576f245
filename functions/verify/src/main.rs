//! `verify`: what the vault really holds, against what the run declared.

mod declared;
mod handler;
mod inspect;
#[cfg(test)]
mod tests;

use drawbridge_aws::{Aws, VerifySettings, init_logging, serve_until};
use drawbridge_wire::Timestamp;

use crate::handler::Call;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    init_logging();
    let settings = VerifySettings::from_env()?;
    let aws = Aws::connect().await;
    serve_until(|event, until| handler::handle(&settings, &aws, event, Call::within(Timestamp::now(), until))).await
}
