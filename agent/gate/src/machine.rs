//! Which machine the gate runs on, from the instance metadata service.

use std::net::Ipv4Addr;

use aws_config::imds;
use drawbridge_wire::InstanceId;
use thiserror::Error;

/// The machine doesn't know itself.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The service doesn't answer.
    #[error("the instance metadata service doesn't tell {what}")]
    Unavailable {
        /// What was asked.
        what: &'static str,
        /// Why not.
        source: Box<imds::client::error::ImdsError>,
    },
    /// The service answers something else.
    #[error("the instance metadata service tells a {what} that isn't one: {text:?}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What came.
        text: String,
    },
}

/// What the gate needs to know of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Its instance id.
    pub instance: InstanceId,
    /// The private address of its network interface; the gate listens there and nowhere else.
    pub address: Ipv4Addr,
}

impl Machine {
    /// Asks the metadata service (version 2, with its session token).
    ///
    /// # Errors
    /// See [`MachineError`].
    pub async fn discover() -> Result<Self, MachineError> {
        let imds = imds::Client::builder().build();
        let instance = ask(&imds, "instance-id", |text| text.parse().ok()).await?;
        let address = ask(&imds, "local-ipv4", |text| text.parse().ok().filter(is_an_interface)).await?;
        Ok(Self { instance, address })
    }
}

/// `0.0.0.0` would listen everywhere.
fn is_an_interface(address: &Ipv4Addr) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
}

async fn ask<T>(imds: &imds::Client, what: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<T, MachineError> {
    let answer = imds.get(format!("/latest/meta-data/{what}")).await;
    let answer = answer.map_err(|source| MachineError::Unavailable { what, source: Box::new(source) })?;
    let text = answer.as_ref();
    parse(text).ok_or_else(|| MachineError::Malformed { what, text: text.chars().take(80).collect() })
}
