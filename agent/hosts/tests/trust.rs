//! Which hosts are believed to be who they say: real sshds, keys and files that `ssh-keygen` made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use drawbridge_hosts::{CertificateFault, SshError, Target, Trust, shown_key};
use drawbridge_peers::sshd::{Authority, KeyKind, Sshd};
use support::{PATIENCE, assert_lets_in, failure, target, tool};
use tempfile::TempDir;

/// The same server with other known keys.
fn knowing(sshd: &Sshd, dir: &TempDir, known: &str) -> Target {
    let file = dir.path().join("known_hosts");
    fs::write(&file, known).unwrap();
    Target { known_hosts: Some(file), ..target(sshd) }
}

fn fingerprint(key: &str) -> String {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("key.pub");
    fs::write(&file, key).unwrap();
    tool("ssh-keygen", &["-lf", file.to_str().unwrap()]).split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn a_known_host_lets_in_and_an_unknown_one_is_told_nothing() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    assert_lets_in(&target(&sshd)).await;
    let sshd = Sshd::start();
    let error = failure(&knowing(&sshd, &dir, "")).await;
    assert!(matches!(error, SshError::UnknownHost { .. }) && !error.may_pass(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains(&fingerprint(&sshd.host_key(KeyKind::Ed25519))) && text.contains("drawbridge trust"),
        "{text}"
    );
    assert!(!sshd.log().contains("user"), "{}", sshd.log());
}

#[tokio::test]
async fn a_changed_key_names_the_expected_one_its_line_and_the_one_that_came() {
    let (sshd, other, dir) = (Sshd::start(), Sshd::start(), TempDir::new().unwrap());
    let known = format!("# a comment\n[127.0.0.1]:{} {}\n", sshd.port(), other.host_key(KeyKind::Ed25519));
    let error = failure(&knowing(&sshd, &dir, &known)).await;
    assert!(matches!(error, SshError::OtherKey { .. }) && !error.may_pass(), "{error}");
    let text = error.to_string();
    for part in [
        format!("expected ssh-ed25519 {}", fingerprint(&other.host_key(KeyKind::Ed25519))),
        format!("{}:2", dir.path().join("known_hosts").display()),
        format!("but ssh-ed25519 {} came", fingerprint(&sshd.host_key(KeyKind::Ed25519))),
    ] {
        assert!(text.contains(&part), "{part} is not in {text}");
    }
}

#[tokio::test]
async fn names_that_ssh_keygen_hashed_are_recognised() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let target = knowing(&sshd, &dir, &sshd.known_hosts_lines());
    let file = target.known_hosts.clone().unwrap();
    tool("ssh-keygen", &["-Hf", file.to_str().unwrap()]);
    assert!(fs::read_to_string(&file).unwrap().starts_with("|1|"));
    assert_lets_in(&target).await;
}

#[tokio::test]
async fn every_kind_of_host_key_is_known_and_the_known_kind_is_asked_for() {
    let sshd = Sshd::builder().host_keys(&[KeyKind::Ed25519, KeyKind::Ecdsa, KeyKind::Rsa]).start();
    let dir = TempDir::new().unwrap();
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa, KeyKind::Rsa] {
        let known = format!("[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key(kind));
        assert_lets_in(&knowing(&sshd, &dir, &known)).await;
    }
}

#[tokio::test]
async fn a_host_that_has_only_an_rsa_key_lets_in() {
    assert_lets_in(&target(&Sshd::builder().host_keys(&[KeyKind::Rsa]).start())).await;
}

#[tokio::test]
async fn a_revoked_key_is_refused_whatever_trusts_it() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let known = format!("{}@revoked * {}\n", sshd.known_hosts_lines(), sshd.host_key(KeyKind::Ed25519));
    let error = failure(&knowing(&sshd, &dir, &known)).await;
    assert!(matches!(&error, SshError::Revoked { at, .. } if at.number == 2), "{error}");
}

#[tokio::test]
async fn several_files_are_read_and_an_alias_stands_for_the_name() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let line = format!("the-alias {}\n", sshd.host_key(KeyKind::Ed25519));
    fs::write(dir.path().join("second"), line).unwrap();
    let config = format!(
        "Host server\nHostName 127.0.0.1\nPort {}\nUser {}\nIdentityFile {}\nHostKeyAlias the-alias\n\
         UserKnownHostsFile {d}/missing {d}/second\nGlobalKnownHostsFile none\n",
        sshd.port(),
        sshd.user(),
        sshd.client_key().display(),
        d = dir.path().display()
    );
    let file = dir.path().join("config");
    fs::write(&file, config).unwrap();
    assert_lets_in(&Target { ssh_config: Some(file), ..Target::parse("server").unwrap() }).await;
}

#[tokio::test]
async fn a_certified_host_is_known_by_its_authority() {
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    for kind in [KeyKind::Ed25519, KeyKind::Ecdsa, KeyKind::Rsa] {
        let sshd = Sshd::builder().host_keys(&[kind]).certified(&authority, "other,127.0.0.1").start();
        // With the port and, as OpenSSH takes it too, without.
        for pattern in ["[127.0.0.1]:*", "127.0.0.*"] {
            assert_lets_in(&knowing(&sshd, &dir, &authority.known_hosts_line(pattern))).await;
        }
        let error = failure(&knowing(&sshd, &dir, &authority.known_hosts_line("192.0.2.1"))).await;
        assert!(matches!(error, SshError::UnknownHost { .. }), "{error}");
        let error = failure(&knowing(&sshd, &dir, &Authority::new().known_hosts_line("*"))).await;
        assert!(matches!(error, SshError::UnknownHost { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_or_time_or_of_a_revoked_authority_is_refused() {
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    let sshd = Sshd::builder().certified(&authority, "elsewhere").start();
    let known = authority.known_hosts_line("*");
    let fault = |error: SshError| match error {
        SshError::Certificate { source, .. } => source,
        other => panic!("{other}"),
    };
    let other = CertificateFault::OtherHost { host: "127.0.0.1".to_owned(), named: "elsewhere".to_owned() };
    assert_eq!(fault(failure(&knowing(&sshd, &dir, &known)).await), other);

    let public = sshd.folder().join("host_ed25519.pub");
    authority.sign(&public, &["-h", "-n", "127.0.0.1", "-V", "20200101:20200102"]);
    assert_eq!(fault(failure(&knowing(&sshd, &dir, &known)).await), CertificateFault::NotNow);

    authority.sign(&public, &["-h", "-n", "127.0.0.1"]);
    assert_lets_in(&knowing(&sshd, &dir, &known)).await;
    for revoked in [authority.public_key(), sshd.host_key(KeyKind::Ed25519)] {
        let error = failure(&knowing(&sshd, &dir, &format!("{known}@revoked * {revoked}\n"))).await;
        assert!(matches!(&error, SshError::Revoked { at, .. } if at.number == 2), "{error}");
    }
}

#[tokio::test]
async fn a_certified_host_whose_key_itself_is_known_needs_no_authority() {
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    let sshd = Sshd::builder().certified(&authority, "127.0.0.1").start();
    let other = Authority::new().known_hosts_line("*");
    assert_lets_in(&knowing(&sshd, &dir, &format!("{other}{}", sshd.known_hosts_lines()))).await;
    assert_lets_in(&target(&sshd)).await;
}

#[tokio::test]
async fn what_trust_writes_is_what_connects_and_what_openssh_reads() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    for hash in ["no", "yes"] {
        let config = dir.path().join("config");
        fs::write(&config, format!("HashKnownHosts {hash}\n")).unwrap();
        let file = dir.path().join(hash).join("known_hosts");
        let target = Target { known_hosts: Some(file.clone()), ssh_config: Some(config), ..target(&sshd) };
        let shown = shown_key(&target, PATIENCE).await.unwrap();
        assert_eq!(shown.fingerprint(), fingerprint(&sshd.host_key(KeyKind::Ed25519)));
        assert_eq!((&*shown.algorithm(), shown.known()), ("ssh-ed25519", &Trust::Unknown));
        shown.append_to(&file).unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&file).unwrap().starts_with("|1|"), hash == "yes");
        let found = tool("ssh-keygen", &["-F", &format!("[127.0.0.1]:{}", sshd.port()), "-f", file.to_str().unwrap()]);
        assert!(found.contains(sshd.host_key(KeyKind::Ed25519).split(' ').nth(1).unwrap()), "{found}");
        assert_lets_in(&target).await;
        assert!(matches!(shown_key(&target, PATIENCE).await.unwrap().known(), Trust::Known(line) if line.number == 1));
    }
    assert!(!sshd.log().contains("Invalid user") && sshd.connections() == 6, "{}", sshd.log());
}

#[tokio::test]
async fn trust_changes_no_line_that_is_there_and_completes_an_open_one() {
    let (sshd, other, dir) = (Sshd::start(), Sshd::start(), TempDir::new().unwrap());
    let before = format!("[127.0.0.1]:{} {}", sshd.port(), other.host_key(KeyKind::Ed25519));
    let target = knowing(&sshd, &dir, &before);
    let shown = shown_key(&target, PATIENCE).await.unwrap();
    assert!(matches!(shown.known(), Trust::OtherKey { at, .. } if at.number == 1));
    shown.append_to(&target.known_hosts.unwrap()).unwrap();
    let after = fs::read_to_string(dir.path().join("known_hosts")).unwrap();
    assert_eq!(after, format!("{before}\n[127.0.0.1]:{} {}\n", sshd.port(), sshd.host_key(KeyKind::Ed25519)));
}

#[tokio::test]
async fn an_unreadable_known_hosts_file_is_an_error_and_not_an_unknown_host() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let target = Target { known_hosts: Some(dir.path().to_owned()), ..target(&sshd) };
    assert!(matches!(failure(&target).await, SshError::KnownHosts(_)));
}
