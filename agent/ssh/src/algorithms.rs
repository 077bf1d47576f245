//! What the two ends negotiate. Both are ours, so the lists are as short as they can be; stock OpenSSH (8.5 and later)
//! finds its match in them as well.

use std::borrow::Cow;

use russh::keys::Algorithm;
use russh::{Preferred, cipher, compression, kex, mac};

/// Key exchanges: the hybrid with ML-KEM, so that recorded traffic stays closed to later quantum computers, and
/// Curve25519 for peers that don't have it.
///
/// The last four are no key exchanges. They announce `ext-info` (RFC 8308) and strict key exchange, the answer to the
/// Terrapin attack (CVE-2023-48795); a list without them silently switches it off.
const KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

/// Ciphers: AES-GCM first, because every machine in question has AES instructions and it is several times faster than
/// ChaCha20 there. Both authenticate, so no MAC is negotiated.
const CIPHERS: &[cipher::Name] = &[cipher::AES_256_GCM, cipher::CHACHA20_POLY1305];

/// Named only because the protocol requires a list: with the ciphers above none is used.
const MACS: &[mac::Name] = &[mac::HMAC_SHA256_ETM];

/// Host and user keys are made per run, so there is no reason for another kind.
const KEYS: &[Algorithm] = &[Algorithm::Ed25519];

/// What crosses is encrypted and incompressible.
const COMPRESSIONS: &[compression::Name] = &[compression::NONE];

/// The algorithms of both ends, in order of preference.
#[must_use]
pub fn preferred() -> Preferred {
    Preferred {
        kex: Cow::Borrowed(KEX),
        key: Cow::Borrowed(KEYS),
        host_key_certificates: Cow::Borrowed(&[]),
        cipher: Cow::Borrowed(CIPHERS),
        mac: Cow::Borrowed(MACS),
        compression: Cow::Borrowed(COMPRESSIONS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aes_gcm_comes_first_and_strict_key_exchange_stays_on() {
        let preferred = preferred();
        assert_eq!(preferred.cipher.first(), Some(&cipher::AES_256_GCM));
        for name in [kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER] {
            assert!(preferred.kex.contains(&name), "{name:?}");
        }
    }

    #[test]
    fn only_two_key_exchanges_and_one_kind_of_key_are_offered() {
        let preferred = preferred();
        let exchanges: Vec<&str> =
            preferred.kex.iter().map(AsRef::as_ref).filter(|name| name.contains("25519")).collect();
        assert_eq!(exchanges, ["mlkem768x25519-sha256", "curve25519-sha256"]);
        assert_eq!(preferred.kex.len(), 2 + 4, "two exchanges and four announcements");
        assert_eq!(&*preferred.key, [Algorithm::Ed25519]);
    }
}
