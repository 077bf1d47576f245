//! Hosts behind other hosts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;

use drawbridge_hosts::{SshError, Target, Trust, connect, shown_key};
use drawbridge_peers::sshd::{Sshd, SshdBuilder};
use support::{PATIENCE, assert_lets_in, failure, run, target};
use tempfile::TempDir;

struct Site {
    dir: TempDir,
    inner: Sshd,
    jump: Sshd,
}

impl Site {
    /// A host, and a jump host that leads there and nowhere else.
    fn new(jump: impl FnOnce(SshdBuilder, &Sshd) -> SshdBuilder) -> Self {
        let inner = Sshd::builder().address(2).start();
        let jump = jump(Sshd::builder().address(3), &inner).start();
        Self { dir: TempDir::new().unwrap(), inner, jump }
    }

    fn usual() -> Self {
        Self::new(|jump, inner| jump.config(&format!("PermitOpen {}", inner.at())))
    }

    /// As administrators write it down.
    fn config(&self, more: &str) -> Target {
        let file = self.dir.path().join("config");
        let host = |name: &str, sshd: &Sshd, more: &str| {
            format!(
                "Host {name}\nHostName {}\nPort {}\nUser {}\nIdentityFile {}\nUserKnownHostsFile {}\nGlobalKnownHostsFile none\n{more}",
                sshd.address(),
                sshd.port(),
                sshd.user(),
                sshd.client_key().display(),
                sshd.known_hosts().display()
            )
        };
        let text = format!("{more}{}{}", host("inner", &self.inner, "ProxyJump jump\n"), host("jump", &self.jump, ""));
        fs::write(&file, text).unwrap();
        Target { ssh_config: Some(file), ..Target::parse("inner").unwrap() }
    }

    /// One key and one known_hosts for both.
    fn explicit(&self, known: &str) -> Target {
        let known_hosts = self.dir.path().join("known_hosts");
        fs::write(&known_hosts, known).unwrap();
        fs::copy(self.inner.authorized_keys(), self.jump.authorized_keys()).unwrap();
        let jump = vec![format!("{}@{}", self.jump.user(), self.jump.at())];
        Target { jump: Some(jump), known_hosts: Some(known_hosts), ..target(&self.inner) }
    }
}

#[tokio::test]
async fn a_host_is_reached_through_its_jump_host_each_with_its_own_key() {
    let site = Site::usual();
    assert_lets_in(&site.config("")).await;
    assert_eq!((site.inner.connections(), site.jump.connections()), (1, 1));
}

#[tokio::test]
async fn without_a_configuration_one_key_and_one_file_do_for_all_hops() {
    let site = Site::usual();
    let known = site.inner.known_hosts_lines() + &site.jump.known_hosts_lines();
    assert_lets_in(&site.explicit(&known)).await;
}

#[tokio::test]
async fn each_hop_is_trusted_for_itself_and_errors_name_it() {
    let site = Site::usual();
    let error = failure(&site.explicit(&site.inner.known_hosts_lines())).await;
    let name = format!("[127.0.0.3]:{}", site.jump.port());
    assert!(matches!(&error, SshError::UnknownHost { name: n, .. } if *n == name), "{error}");
    assert_eq!(site.inner.connections(), 0);
    let error = failure(&site.explicit(&site.jump.known_hosts_lines())).await;
    let name = format!("[127.0.0.2]:{}", site.inner.port());
    assert!(matches!(&error, SshError::UnknownHost { name: n, .. } if *n == name), "{error}");

    fs::write(site.jump.authorized_keys(), "").unwrap();
    let error = failure(&site.config("")).await.to_string();
    assert!(error.starts_with(&format!("jump host {}@127.0.0.3 port", site.jump.user())), "{error}");
}

#[tokio::test]
async fn a_jump_host_that_does_not_lead_there_says_why() {
    let site = Site::new(|jump, _| jump.config("PermitOpen 127.0.0.9:9"));
    let error = failure(&site.config("")).await;
    assert!(matches!(error, SshError::Tunnel { .. }) && !error.may_pass(), "{error}");
    assert!(error.to_string().contains("AllowTcpForwarding and PermitOpen"), "{error}");

    let site = Site::new(|jump, _| jump);
    let error = failure(&site.config("Host inner\nPort 1\n")).await;
    assert!(matches!(error, SshError::Tunnel { .. }) && error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_lost_jump_host_is_a_lost_host() {
    let site = Site::usual();
    let host = connect(&site.config(""), PATIENCE).await.unwrap();
    let mut running = host.run("echo ready; exec sleep 1000").await.unwrap();
    assert!(running.next().await.unwrap().is_some());
    site.jump.cut();
    let error = running.next().await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(host.run("true").await.unwrap_err().may_pass() && host.is_over());
}

#[tokio::test]
async fn dropping_the_host_ends_every_hop_even_while_something_hangs_on_it() {
    let site = Site::usual();
    let host = connect(&site.config(""), PATIENCE).await.unwrap();
    let sftp = host.sftp(1 << 20).await.unwrap();
    assert!(sftp.stat(b"/").await.is_ok());
    drop(host);
    assert!(sftp.stat(b"/").await.unwrap_err().is_fatal());
    for sshd in [&site.inner, &site.jump] {
        // The server's own word; the rig ends with its connections' processes.
        while !sshd.log().contains("Connection closed by") && !sshd.log().contains("Close session") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_key_is_shown_through_trusted_jump_hosts_only() {
    let site = Site::usual();
    let error = shown_key(&site.explicit(""), PATIENCE).await.unwrap_err();
    assert!(matches!(error, SshError::UnknownHost { .. }), "{error}");
    let target = site.explicit(&site.jump.known_hosts_lines());
    let shown = shown_key(&target, PATIENCE).await.unwrap();
    assert_eq!(shown.known(), &Trust::Unknown);
    shown.append_to(&target.known_hosts.clone().unwrap()).unwrap();
    let host = connect(&target, PATIENCE).await.unwrap();
    assert_eq!(run(&host, "echo x").await.0, b"x\n");
}
