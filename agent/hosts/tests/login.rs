//! Which keys log in, and what is said when none does: real sshds, and a real ssh-agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use drawbridge_hosts::{SshError, Target, public_half};
use drawbridge_peers::sshd::{Authority, Sshd};
use support::{Agent, assert_lets_in, authorize, configured, failure, key, public, target};
use tempfile::TempDir;

#[tokio::test]
async fn keys_of_every_kind_log_in() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let key = key(dir.path(), kind, kind, "");
        authorize(&sshd, "", &key);
        assert_lets_in(&Target { identity_file: Some(key), ..target(&sshd) }).await;
    }
    let pem = key(dir.path(), "pem", "rsa", "");
    support::tool("ssh-keygen", &["-q", "-p", "-m", "PEM", "-N", "", "-f", pem.to_str().unwrap()]);
    authorize(&sshd, "", &pem);
    assert_lets_in(&Target { identity_file: Some(pem), ..target(&sshd) }).await;
}

#[tokio::test]
async fn the_configurations_keys_come_first_then_the_agents() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let agent = Agent::start(dir.path());
    let (configured_key, agents) =
        (key(dir.path(), "configured", "ed25519", ""), key(dir.path(), "agents", "ecdsa", ""));
    agent.add(&agents, "");
    let lines = format!("{}IdentityFile {}\nIdentityFile /nowhere\n", agent.line(), configured_key.display());
    authorize(&sshd, "", &configured_key);
    assert_lets_in(&configured(&dir, &sshd, &lines)).await;
    authorize(&sshd, "", &agents);
    assert_lets_in(&configured(&dir, &sshd, &lines)).await;
    let only = format!("{lines}IdentitiesOnly yes\n");
    let error = failure(&configured(&dir, &sshd, &only)).await;
    assert!(matches!(error, SshError::Refused { .. }) && error.to_string().contains("configured SHA256:"), "{error}");
    assert!(!error.to_string().contains("agents SHA256:") && !error.may_pass(), "{error}");
}

#[tokio::test]
async fn rsa_keys_of_the_agent_sign_with_sha_2() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let (agent, key) = (Agent::start(dir.path()), key(dir.path(), "rsa", "rsa", ""));
    agent.add(&key, "");
    authorize(&sshd, "", &key);
    assert_lets_in(&configured(&dir, &sshd, &format!("{}IdentityFile none\n", agent.line()))).await;
}

#[tokio::test]
async fn an_encrypted_key_logs_in_through_the_agent_that_holds_it() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let (agent, key) = (Agent::start(dir.path()), key(dir.path(), "locked", "ed25519", "secret words"));
    authorize(&sshd, "", &key);
    let config = dir.path().join("agent_config");
    fs::write(&config, agent.line()).unwrap();
    let target = Target { identity_file: Some(key.clone()), ssh_config: Some(config), ..target(&sshd) };

    let error = failure(&target).await;
    assert!(error.to_string().contains("asks for a passphrase, nobody is there to type it"), "{error}");
    assert!(!format!("{error:?}").contains("secret words"));
    agent.add(&key, "secret words");
    assert_lets_in(&target).await;
    // The private half may even be elsewhere.
    fs::remove_file(&key).unwrap();
    assert_lets_in(&target).await;
    assert_lets_in(&Target { identity_file: Some(format!("{}.pub", key.display()).into()), ..target }).await;
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named_when_no_key_works() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let lines = format!("IdentityAgent {}/gone\nIdentityFile none\n", dir.path().display());
    let error = failure(&configured(&dir, &sshd, &lines)).await.to_string();
    assert!(error.contains("the SSH agent at") && error.contains("gone"), "{error}");
    fs::write(sshd.authorized_keys(), public(&sshd.client_key())).unwrap();
    let lines = format!("{lines}IdentityFile {}\n", sshd.client_key().display());
    assert_lets_in(&configured(&dir, &sshd, &lines)).await;
}

#[tokio::test]
async fn a_certified_key_logs_in_where_only_its_authority_is_trusted() {
    let (authority, dir) = (Authority::new(), TempDir::new().unwrap());
    let sshd = Sshd::start();
    for kind in ["ed25519", "ecdsa"] {
        let key = key(dir.path(), kind, kind, "");
        authority.certify_user(&dir.path().join(format!("{kind}.pub")), sshd.user());
        fs::write(sshd.authorized_keys(), format!("cert-authority {}\n", authority.public_key())).unwrap();
        assert_lets_in(&Target { identity_file: Some(key.clone()), ..target(&sshd) }).await;
        let agent = Agent::start(dir.path());
        agent.add(&key, "");
        assert_lets_in(&configured(&dir, &sshd, &format!("{}IdentityFile none\n", agent.line()))).await;
        // The key itself is no certificate.
        fs::remove_file(dir.path().join(format!("{kind}-cert.pub"))).unwrap();
        let error = failure(&Target { identity_file: Some(key), ..target(&sshd) }).await;
        assert!(matches!(error, SshError::Refused { .. }), "{error}");
    }
}

#[tokio::test]
async fn no_more_keys_are_offered_than_hosts_bear() {
    let dir = TempDir::new().unwrap();
    let keys: Vec<_> = (0..7).map(|n| key(dir.path(), &format!("k{n}"), "ed25519", "")).collect();
    let lines: String = keys.iter().map(|key| format!("IdentityFile {}\n", key.display())).collect();
    let sshd = Sshd::start();
    let error = failure(&configured(&dir, &sshd, &format!("IdentityAgent none\n{lines}"))).await.to_string();
    assert!(
        error.contains("k4 SHA256") && !error.contains("k5 SHA256") && error.contains("2 more not offered"),
        "{error}"
    );
    assert!(!sshd.log().contains("Too many authentication failures"), "{}", sshd.log());
    // A stricter host says so, and that isn't a lost connection.
    let sshd = Sshd::builder().config("MaxAuthTries 2").start();
    let error = failure(&configured(&dir, &sshd, &format!("IdentityAgent none\n{lines}"))).await;
    assert!(matches!(error, SshError::Refused { .. }) && !error.may_pass(), "{error}");
    assert!(error.to_string().contains("Too many authentication failures"), "{error}");
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_refused() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let key = key(dir.path(), "open", "ed25519", "");
    authorize(&sshd, "", &key);
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    for target in [
        Target { identity_file: Some(key.clone()), ..target(&sshd) },
        configured(&dir, &sshd, &format!("IdentityFile {}\n", key.display())),
    ] {
        let error = failure(&target).await.to_string();
        assert!(error.contains("open to other users, run `chmod 600`"), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_key_or_missing_says_what_to_do() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let junk = dir.path().join("junk");
    fs::write(&junk, "-----BEGIN NONSENSE-----\n").unwrap();
    fs::set_permissions(&junk, fs::Permissions::from_mode(0o600)).unwrap();
    for (file, hint) in [
        (junk, "are supported"),
        (dir.path().join("none"), "ssh-keygen -t ed25519"),
        (dir.path().into(), "must be a private key"),
    ] {
        let error = failure(&Target { identity_file: Some(file), ..target(&sshd) }).await;
        assert!(matches!(error, SshError::Identity { .. }) && error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_host_that_asks_for_a_password_gets_none() {
    for line in ["PasswordAuthentication yes", "KbdInteractiveAuthentication yes\nUsePAM yes"] {
        let sshd = Sshd::builder().config(line).config("PubkeyAuthentication no").start();
        let error = failure(&target(&sshd)).await;
        assert!(matches!(error, SshError::AsksPassword { .. }) && !error.may_pass(), "{error}");
        assert!(error.to_string().contains("nobody is there to type it: put the key"), "{error}");
        assert!(!sshd.log().contains("Failed password"), "{}", sshd.log());
    }
}

#[tokio::test]
async fn a_host_that_wants_more_than_a_key_is_told_apart_from_one_that_refuses_it() {
    let sshd =
        Sshd::builder().config("PasswordAuthentication yes").config("AuthenticationMethods publickey,password").start();
    let error = failure(&target(&sshd)).await;
    assert!(matches!(&error, SshError::AsksMore { methods, .. } if methods == "password"), "{error}");
}

#[tokio::test]
async fn a_refused_key_is_named_with_its_file_and_user() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let other = key(dir.path(), "other", "ed25519", "");
    let error = failure(&Target { identity_file: Some(other.clone()), ..target(&sshd) }).await.to_string();
    let expected = format!("~{}/.ssh/authorized_keys", sshd.user());
    assert!(error.contains(&expected) && error.contains(other.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn the_public_half_is_found_in_files_of_every_kind() {
    let dir = TempDir::new().unwrap();
    for (kind, passphrase) in [("ed25519", ""), ("rsa", ""), ("ed25519", "x")] {
        let name = format!("{kind}{passphrase}");
        let key = key(dir.path(), &name, kind, passphrase);
        let beside = public(&key);
        fs::remove_file(format!("{}.pub", key.display())).unwrap();
        let half = public_half(&key).unwrap().to_openssh().unwrap();
        assert_eq!(half.split(' ').nth(1), beside.split(' ').nth(1), "{name}");
    }
}

#[tokio::test]
async fn long_banners_are_passed_over() {
    // What fits into one SSH packet, and any client takes.
    let sshd = Sshd::builder().banner("banner\n".repeat(30_000)).start();
    assert_lets_in(&target(&sshd)).await;
}

#[tokio::test]
async fn a_banner_of_one_mebibyte_ends_in_an_error_and_is_not_taken_into_memory() {
    // The longest that sshd sends. Its packets can't hold it, so that it dies of it itself, with stock ssh as well.
    let sshd = Sshd::builder().banner("b".repeat(1 << 20)).start();
    let error = failure(&target(&sshd)).await;
    assert!(matches!(error, SshError::LoginCut { .. }) && error.to_string().contains("Banner"), "{error} {error:?}");
}
