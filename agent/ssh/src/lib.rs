//! The SSH link of a bridge, as both ends know it: the agent on the VM and the gate on the jump box.
//!
//! The link carries nothing but `direct-tcpip` channels to one virtual name, [`VAULT_HOST`], that exists only inside
//! the gate. The agent knows the gate by exactly one host key and says nothing to anybody else; the gate lets in
//! exactly one user key. Both keys are made for one run.
//!
//! - [`algorithms`]: what is negotiated, and nothing else is offered
//! - [`key`]: the ed25519 keys and their one-line text form
//! - [`link`]: the agent's end: [`connect`], [`Session`], [`VaultStream`]
//! - [`settings`]: windows, packets, keepalives

pub mod algorithms;
pub mod key;
pub mod link;
mod refuse;
pub mod settings;

pub use key::{Fingerprint, InvalidKey, KeyGenerationFailed, KeyPair, PublicKey};
pub use link::{LinkError, PinnedHostKey, Session, VaultStream, connect};
pub use settings::{client_config, server_config};

/// The only user that the gate knows.
pub const USER: &str = "drawbridge";

/// The only name that the gate forwards to: itself. `.internal` is reserved for private use, so no resolver that leaks
/// it can reach anybody.
pub const VAULT_HOST: &str = "vault.drawbridge.internal";

/// The port that belongs to [`VAULT_HOST`]; 32 bits wide because the SSH protocol has it so.
pub const VAULT_PORT: u32 = 80;

/// The most vault streams on one connection, and the most uploads at once: the gate refuses more, the agent opens no more.
pub const MAX_STREAMS: u8 = 8;
