//! Windows, packets and patience of the link. The numbers were measured, see the constants.

use std::sync::Arc;
use std::time::Duration;

use russh::{MethodKind, MethodSet, client, server};

use crate::KeyPair;
use crate::algorithms::preferred;

/// A channel's receive window, in bytes. It caps throughput at window / round trip: 2 MiB (the library's default) gave
/// 24 MiB/s at 40 ms, 16 MiB gave 184 MiB/s. It is not memory: what is not read yet is bounded by [`CHANNEL_BUFFER`].
pub const WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// The largest packet, in bytes: the size that every SSH implementation must take (RFC 4253, section 6.1).
pub const PACKET_BYTES: u32 = 32 * 1024;

/// How many packets wait in memory for a channel's reader; with the next one the connection stops reading its
/// socket. At [`PACKET_BYTES`] each, 1 MiB a channel.
pub const CHANNEL_BUFFER: usize = 32;

/// After this much silence a keepalive is sent, so that NAT tables on the way don't forget the connection.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// With so many keepalives unanswered the peer is gone.
pub const KEEPALIVE_MAX: usize = 3;

/// A connection on which nothing moves for so long, not even a keepalive, is closed. It also ends a write that the peer
/// doesn't take, so the gate must give up on a stalled S3 sooner than this.
pub const INACTIVITY_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a client may fail to authenticate before it is disconnected. OpenSSH's first request, the method `none`,
/// counts; so this is one wrong key.
pub const MAX_AUTH_ATTEMPTS: usize = 2;

/// The agent's settings.
#[must_use]
pub fn client_config() -> Arc<client::Config> {
    Arc::new(client::Config {
        preferred: preferred(),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_BUFFER,
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(INACTIVITY_TIMEOUT),
        nodelay: true,
        ..client::Config::default()
    })
}

/// The gate's settings: public keys only, and this host key. A login grace time and limits to connections and channels
/// are not the library's business; the gate adds them.
#[must_use]
pub fn server_config(host_key: &KeyPair) -> Arc<server::Config> {
    Arc::new(server::Config {
        methods: MethodSet::from(&[MethodKind::PublicKey][..]),
        keys: vec![host_key.private().as_ref().clone()],
        preferred: preferred(),
        max_auth_attempts: MAX_AUTH_ATTEMPTS,
        // Not for OpenSSH's opening question, which is no guess.
        auth_rejection_time_initial: Some(Duration::ZERO),
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_BUFFER,
        keepalive_interval: Some(KEEPALIVE_INTERVAL),
        keepalive_max: KEEPALIVE_MAX,
        inactivity_timeout: Some(INACTIVITY_TIMEOUT),
        nodelay: true,
        ..server::Config::default()
    })
}
