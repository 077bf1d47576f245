//! Host certificates (PROTOCOL.certkeys of OpenSSH): when one stands for its host.

use std::time::{SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};
use thiserror::Error;

/// Why a certificate that a trusted authority is said to have signed doesn't count.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateFault {
    /// Made for users.
    #[error("it is a user's certificate, not a host's")]
    NotForHosts,
    /// Signed by somebody else, or changed since.
    #[error("its signature is not the authority's")]
    Signature,
    /// Signed with SHA-1 or DSA, which can be forged.
    #[error("it is signed with {0}, which can be forged; sign it anew with a current ssh-keygen")]
    Weak(String),
    /// Too early, or too late.
    #[error("it is not valid now; check the host's certificate and this machine's clock")]
    NotNow,
    /// Made for another host.
    #[error("it is for {named}, not for {host}")]
    OtherHost {
        /// The host that was asked for.
        host: String,
        /// The certificate's names.
        named: String,
    },
    /// Restricted in a way that isn't known.
    #[error("it has restrictions that are not known here: {0}")]
    Restricted(String),
}

/// Whether `certificate`, signed by a trusted authority, stands for `host` at `now`.
pub(crate) fn check(certificate: &Certificate, host: &str, now: SystemTime) -> Result<(), CertificateFault> {
    if certificate.cert_type() != CertType::Host {
        return Err(CertificateFault::NotForHosts);
    }
    let signed_with = certificate.signature().algorithm();
    if matches!(signed_with, Algorithm::Rsa { hash: None } | Algorithm::Dsa) {
        return Err(CertificateFault::Weak(signed_with.to_string()));
    }
    let principals = certificate.valid_principals();
    // OpenSSH takes one without names for any host; whoever holds such a key could stand in for all of them.
    if !principals.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        let named = if principals.is_empty() { "no named host".to_owned() } else { principals.join(", ") };
        return Err(CertificateFault::OtherHost { host: host.to_owned(), named });
    }
    if let Some((name, _)) = certificate.critical_options().iter().next() {
        return Err(CertificateFault::Restricted(name.clone()));
    }
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if now < certificate.valid_after() || now >= certificate.valid_before() {
        return Err(CertificateFault::NotNow);
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    certificate.validate_at(now, [&authority]).map_err(|_| CertificateFault::Signature)
}

/// The key of whoever signed it.
pub(crate) fn authority(certificate: &Certificate) -> PublicKey {
    PublicKey::new(certificate.signature_key().clone(), "")
}

#[cfg(test)]
mod tests;
