//! The hostile server, by OpenSSH's own client: it speaks SFTP well enough to be believed, and lies as it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::process::{Command, Output};

use drawbridge_peers::hostile::{Attributes, Hostile, Lie, Node, Scenario};
use drawbridge_peers::need;

fn sftp(host: &Hostile, batch: &str) -> Output {
    let sshd = host.sshd();
    fs::write(sshd.folder().join("batch"), batch).unwrap();
    let mut command = Command::new(need("sftp", "openssh-client"));
    command.args(["-F", "none", "-o", "BatchMode=yes", "-i"]).arg(sshd.client_key());
    command.args(["-o", &format!("UserKnownHostsFile={}", sshd.known_hosts().display())]);
    command.args(["-P", &sshd.port().to_string(), "-b"]).arg(sshd.folder().join("batch"));
    command.arg(format!("{}@{}", sshd.user(), sshd.address())).output().unwrap()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn without_a_lie_it_is_an_ordinary_server() {
    let content: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[1]).collect();
    let scenario = Scenario::new()
        .file("/data/long", &content)
        .node("/data/link", Node::link(b"/etc/passwd"))
        .node("/data/folder", Node::folder())
        .file("/data/folder/below", b"x");
    let host = Hostile::start(scenario);
    let to = tempfile::tempdir().unwrap();
    let output = sftp(&host, &format!("ls -1 /data\nget /data/long {}/long\n", to.path().display()));
    assert!(output.status.success(), "{}", said(&output));
    let listed = said(&output);
    assert!(
        ["long", "link", "folder"].iter().all(|name| listed.contains(name)) && !listed.contains("below"),
        "{listed}"
    );
    assert!(fs::read(to.path().join("long")).unwrap() == content);
    assert!(host.asked().contains(&"OPEN /data/long".to_owned()), "{:?}", host.asked());
}

#[test]
fn names_are_listed_as_they_are_given() {
    let host = Hostile::start(Scenario::new().listed("/data", b"../evil", Node::file(b"x")));
    let output = sftp(&host, "ls -1 /data\n");
    assert!(said(&output).contains("../evil"), "{}", said(&output));
}

#[test]
fn a_scenario_can_change_between_two_connections() {
    let host = Hostile::start(Scenario::new().file("/data/first", b""));
    assert!(said(&sftp(&host, "ls /data\n")).contains("first"));
    host.set(Scenario::new().file("/data/second", b""));
    let listed = said(&sftp(&host, "ls /data\n"));
    assert!(listed.contains("second") && !listed.contains("first"), "{listed}");
}

#[test]
fn lies_that_the_stock_client_notices_are_told() {
    let file = Scenario::new().file("/data/file", &[b'x'; 100_000]);
    for lie in [Lie::WrongIds, Lie::GiantPacket, Lie::GiantString, Lie::LongAnswers, Lie::ExitsAt(50_000), Lie::Chatter]
    {
        let host = Hostile::start(file.clone().lying(lie));
        let output = sftp(&host, "get /data/file /dev/null\n");
        assert!(!output.status.success(), "{lie:?}: {}", said(&output));
    }
    let many = Hostile::start(Scenario::new().lying(Lie::Entries(2500)));
    assert_eq!(said(&sftp(&many, "ls -1 /data\n")).lines().filter(|line| line.contains("entry-")).count(), 2500);
    let bare = Scenario::new().node("/data/bare", Node::file(b"").with(|attributes| *attributes = Attributes::NONE));
    let bare = sftp(&Hostile::start(bare), "ls -ln /data\n");
    assert!(said(&bare).contains("bare"), "{}", said(&bare));
}
