//! What is negotiated with other people's sshd, and with how much patience.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use russh::client;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher};

use crate::known_hosts::KnownKeys;

/// How long a host may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For TCP, key exchange and login of each hop together.
    pub connect: Duration,
    /// For saying nothing while something is awaited.
    pub silence: Duration,
}

/// A channel's receive window, in bytes: what may be under way. It caps throughput at window / round trip, so 16 MiB is
/// 800 MiB/s at 20 ms. It is not memory: what isn't read yet is bounded by [`CHANNEL_BUFFER`].
const WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// The largest packet, in bytes: the most that russh takes. OpenSSH fills what it is offered, and larger packets cost less each.
const PACKET_BYTES: u32 = 65_535;

/// How many packets wait for a channel's reader; with the next one the connection stops reading its socket. At
/// [`PACKET_BYTES`] each, 2 MiB a channel.
const CHANNEL_BUFFER: usize = 32;

/// A host is asked whether it is still there so often within [`Patience::silence`], and is gone with as many answers missing.
const KEEPALIVES: u32 = 3;

/// Host key algorithms, best first; only those that are not known to be forgeable.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
    Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
    Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
    Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
];

/// Ciphers: AES-GCM first, because it is several times faster than the library's first on any processor with AES instructions.
const CIPHERS: &[cipher::Name] =
    &[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305, cipher::AES_256_CTR];

/// The connection's settings. A certificate is asked for only where one can count: a host that has one would show it
/// instead of its known key.
pub(crate) fn client(known: &KnownKeys, with_certificates: bool, patience: Patience) -> Arc<client::Config> {
    let mut keys = HOST_KEYS.to_vec();
    // The known kinds first, so that the host shows the key that is known. Stable: false sorts before true.
    keys.sort_by_key(|algorithm| !known.has_kind(kind(algorithm)));
    let certificates = if with_certificates && known.has_authority() { HOST_KEYS } else { &[] };
    Arc::new(client::Config {
        window_size: WINDOW_BYTES,
        maximum_packet_size: PACKET_BYTES,
        channel_buffer_size: CHANNEL_BUFFER,
        keepalive_interval: Some(patience.silence / (KEEPALIVES + 1)),
        keepalive_max: KEEPALIVES as usize,
        inactivity_timeout: Some(patience.silence),
        nodelay: true,
        preferred: Preferred {
            key: Cow::Owned(keys),
            host_key_certificates: Cow::Borrowed(certificates),
            cipher: Cow::Borrowed(CIPHERS),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    })
}

/// The name of a key, whatever hash signs with it: what stands in `known_hosts`.
fn kind(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_gcm_comes_first_and_strict_key_exchange_stays_on() {
        let patience = Patience { connect: Duration::from_secs(1), silence: Duration::from_secs(1) };
        let config = client(&KnownKeys::default(), true, patience);
        assert_eq!(config.preferred.cipher.first(), Some(&cipher::AES_256_GCM));
        assert!(config.preferred.kex.contains(&russh::kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT));
        assert!(config.preferred.host_key_certificates.is_empty(), "nobody could vouch for them");
        assert!(!config.preferred.key.contains(&Algorithm::Rsa { hash: None }), "SHA-1");
    }
}
