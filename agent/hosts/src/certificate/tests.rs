#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::time::Duration;

use russh::keys::PrivateKey;
use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::Builder;

use super::*;

const NOW: u64 = 1_800_000_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

struct Wish {
    kind: CertType,
    names: &'static [&'static str],
    from: u64,
    to: u64,
    option: Option<&'static str>,
}

const GOOD: Wish =
    Wish { kind: CertType::Host, names: &["dns.lan", "dns"], from: NOW - 10, to: NOW + 10, option: None };

fn made(wish: &Wish) -> Certificate {
    let [authority, host] = [(); 2].map(|()| PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap());
    let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), host.public_key(), wish.from, wish.to).unwrap();
    builder.cert_type(wish.kind).unwrap();
    for name in wish.names {
        builder.valid_principal(*name).unwrap();
    }
    if wish.names.is_empty() {
        builder.all_principals_valid().unwrap();
    }
    if let Some(option) = wish.option {
        builder.critical_option(option, "").unwrap();
    }
    builder.sign(&authority).unwrap()
}

#[test]
fn a_certificate_stands_for_each_of_its_names() {
    for name in ["dns.lan", "DNS"] {
        assert_eq!(check(&made(&GOOD), name, now()), Ok(()), "{name}");
    }
}

#[test]
fn a_certificate_of_the_wrong_kind_name_time_or_restriction_is_refused() {
    let other = |named: &str| CertificateFault::OtherHost { host: "dns.lan".to_owned(), named: named.to_owned() };
    for (wish, fault) in [
        (Wish { kind: CertType::User, ..GOOD }, CertificateFault::NotForHosts),
        (Wish { names: &["www.lan", "*"], ..GOOD }, other("www.lan, *")),
        (Wish { names: &[], ..GOOD }, other("no named host")),
        (Wish { from: NOW + 1, ..GOOD }, CertificateFault::NotNow),
        (Wish { to: NOW, ..GOOD }, CertificateFault::NotNow),
        (Wish { option: Some("force-command"), ..GOOD }, CertificateFault::Restricted("force-command".to_owned())),
    ] {
        assert_eq!(check(&made(&wish), "dns.lan", now()), Err(fault));
    }
}

#[test]
fn a_certificate_that_was_changed_after_signing_is_refused() {
    let bytes = made(&GOOD).to_bytes().unwrap();
    let at = bytes.windows(7).position(|window| window == b"dns.lan").unwrap();
    let mut forged = bytes.clone();
    forged[at..at + 7].copy_from_slice(b"www.lan");
    let forged = Certificate::from_bytes(&forged).unwrap();
    assert_eq!(check(&forged, "www.lan", now()), Err(CertificateFault::Signature));
    assert_eq!(check(&Certificate::from_bytes(&bytes).unwrap(), "dns.lan", now()), Ok(()));
}
