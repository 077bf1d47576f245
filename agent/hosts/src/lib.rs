//! SSH to the site's own machines, as their administrators have it: their `~/.ssh/config`, `known_hosts`, keys, agent and jump
//! hosts, without a person to ask.
//!
//! - [`connect`] leads to a [`Host`]: its SFTP, its commands; [`resolve`] only says what would be connected to;
//! - [`shown_key`] is for `drawbridge trust`: what key does the host show, and is it known?
//! - [`public_half`] is for `drawbridge authorize`: what to put into a host's `authorized_keys`.
//!
//! The rules, each with its module:
//! - `config`, `resolve`: the first value in the SSH client's configuration counts, and a [`Target`]'s own values before it;
//!   what can't be honoured (`ProxyCommand`, `Match exec`) is an error that names its line;
//! - `known_hosts`, `certificate`, `gatekeeper`: nothing is said about a user before the host's key is found trusted; nothing is
//!   trusted on first use;
//! - `identity`, `login`: keys only, from files and the SSH agent, a few of them;
//! - `link`, `cut`, `host`: each hop is a connection of its own, and all end when the [`Host`] is dropped.

mod certificate;
mod config;
mod cut;
mod error;
mod gatekeeper;
mod here;
mod host;
mod identity;
mod known_hosts;
mod link;
mod login;
mod pattern;
mod resolve;
mod settings;
mod shown;
mod target;

pub use certificate::CertificateFault;
pub use config::ConfigError;
pub use error::SshError;
pub use host::{Ended, Host, Output, Running, connect};
pub use identity::public_half;
pub use known_hosts::{KnownHostsError, Line, Trust};
pub use resolve::{DEFAULT_PORT, Identities, MAX_JUMPS, Resolved, resolve};
pub use settings::Patience;
pub use shown::{ShownKey, shown_key};
pub use target::{InvalidAddress, Target};

/// A public key, of any kind.
pub use russh::keys::PublicKey;
