//! The configuration of one box, as it goes into its user data.

use drawbridge_wire::{BoxConfig, ProvisionEvent, Sha256Digest, Timestamp};

/// What the stack adds to an event to configure its box.
#[derive(Debug, Clone)]
pub struct Place<'a> {
    /// Where the gate's program is.
    pub gate_url: String,
    /// Its SHA-256.
    pub gate_sha256: Sha256Digest,
    /// The AWS region.
    pub region: &'a str,
    /// The vault's bucket.
    pub vault: &'a str,
    /// The gate's TCP port.
    pub port: u16,
}

/// The box of `event`'s run.
#[must_use]
pub fn of_run(event: &ProvisionEvent, place: Place<'_>, deadline: Timestamp) -> BoxConfig {
    BoxConfig {
        shutdown_at: deadline.as_second(),
        gate_url: place.gate_url,
        gate_sha256: place.gate_sha256,
        run: event.run.clone(),
        region: place.region.to_owned(),
        vault: place.vault.to_owned(),
        repository: event.input.repository.clone(),
        public_key: event.input.public_key.clone(),
        port: place.port,
        objects: event.input.objects,
        bytes: event.input.bytes,
        manifest_sha256: event.input.manifest_sha256,
        deadline,
        unusual: event.input.unusual,
    }
}
