//! Stock `ssh` and `curl` against an open gate: nothing but declared puts, and nothing of a shell.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

use drawbridge_tests::{OpenRun, Rig, digest};
use drawbridge_wire::ObjectKind;

/// Runs a command that must be refused, and answers what it said.
fn refused(mut command: Command, what: &str) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{what} was allowed");
    assert!(output.stdout.is_empty(), "{what} answered {:?}", String::from_utf8_lossy(&output.stdout));
    said
}

#[tokio::test]
async fn stock_ssh_gets_the_one_forward_and_nothing_else() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "120")]).await;
    let open = OpenRun::begin(&rig).await;
    let with = |options: &[&str], command: &[&str]| {
        let mut ssh = open.ssh(options);
        ssh.args(command);
        ssh
    };
    refused(with(&["-T"], &[]), "a shell");
    refused(with(&["-tt"], &[]), "a pty");
    refused(with(&[], &["id"]), "exec");
    refused(with(&["-s"], &["sftp"]), "sftp");
    refused(with(&["-A"], &["ssh-add", "-l"]), "agent forwarding");
    refused(with(&["-N", "-o", "ExitOnForwardFailure=yes", "-R", "127.0.0.1:0:127.0.0.1:22"], &[]), "a remote forward");
    for elsewhere in ["127.0.0.1:22", "169.254.169.254:80", "localhost:80", "vault.drawbridge.internal:81"] {
        refused(with(&["-W", elsewhere], &[]), elsewhere);
    }
    let said = refused(open.ssh_with_another_key(&["-N"]), "another key");
    assert!(said.contains("Permission denied"), "{said}");
    let user = open.ssh(&["-N", "-l", "root"]);
    assert!(refused(user, "another user").contains("Permission denied"));
    // And the gate still serves the one who may.
    let (status, _) = open.forward().await.post("/manifest", &open.file("manifest", &open.manifest));
    assert_eq!(status, 200);
}

#[tokio::test]
async fn stock_curl_through_the_tunnel_can_only_do_what_was_declared() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "120")]).await;
    let open = OpenRun::begin(&rig).await;
    let gate = open.forward().await;
    let before = rig.versions("").await;
    let path = |kind: ObjectKind| format!("/{}", open.object(kind).0);
    let contents = |kind: ObjectKind| open.object(kind).1.clone();
    let file = |name: &str, contents: &[u8]| open.file(name, contents);

    let key_file = file("key-object", &contents(ObjectKind::Key));
    assert_eq!(gate.post(&path(ObjectKind::Key), &key_file).0, 409, "an object before the manifest");
    assert_eq!(gate.post("/manifest", &file("m", b"{}")).0, 400, "another manifest");
    assert_eq!(rig.versions("").await, before, "nothing was stored");
    assert_eq!(gate.post("/manifest", &file("m", &open.manifest)).0, 200);
    assert_eq!(gate.post("/manifest", &file("m", &open.manifest)).0, 200, "again");
    let declared = rig.versions("").await;
    assert_eq!(declared.len(), before.len() + 1, "the manifest and nothing else");

    // Whatever is not a declared put is refused with its status, and the vault stays as it is.
    let undeclared = b"undeclared".to_vec();
    let undeclared_path = format!("/data/{}", digest(&undeclared));
    let mut flipped = contents(ObjectKind::Data);
    flipped[500] ^= 1;
    let mut longer = contents(ObjectKind::Data);
    longer.push(0);
    let data = path(ObjectKind::Data);
    let hostile: Vec<(u16, String, &str, Vec<u8>)> = vec![
        (403, undeclared_path, "an undeclared name", undeclared),
        (400, data.clone(), "a flipped bit", flipped),
        (507, data.clone(), "one byte more", longer),
        (400, data.clone(), "nothing", Vec::new()),
        (409, path(ObjectKind::Index), "an index before its packs", contents(ObjectKind::Index)),
        (409, path(ObjectKind::Snapshot), "a snapshot before its index", contents(ObjectKind::Snapshot)),
        (403, "/data/../config".to_owned(), "dots in the path", contents(ObjectKind::Config)),
        (403, format!("{data}?version=1"), "a query", contents(ObjectKind::Data)),
        (403, data.replace("/data/", "/data%2f"), "an encoded slash", contents(ObjectKind::Data)),
        (403, "/locks/00".to_owned(), "a kind that doesn't cross", b"x".to_vec()),
        (403, "/".to_owned(), "the root", b"x".to_vec()),
        (409, "/receipt".to_owned(), "a receipt for nothing", Vec::new()),
    ];
    for (expected, path, what, body) in hostile {
        let (status, said) = gate.post(&path, &file("body", &body));
        assert_eq!(status, expected, "{what}: {said}");
    }
    for verb in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let (status, said) = gate.curl(&data, &["--request", verb]);
        assert_eq!(status, 403, "{verb}: {said}");
    }
    assert_eq!(gate.curl(&data, &["--head"]).0, 403, "HEAD");
    assert_eq!(rig.versions("").await, declared, "the vault is unchanged");

    // The declared objects cross, once; the same again is a success and changes nothing; other bytes are refused.
    for (name, contents) in &open.objects {
        assert_eq!(gate.post(&format!("/{name}"), &file("body", contents)).0, 200, "{name}");
    }
    let full = rig.versions("").await;
    assert_eq!(full.len(), declared.len() + open.objects.len());
    let (name, contents) = open.object(ObjectKind::Data);
    assert_eq!(gate.post(&format!("/{name}"), &file("body", contents)).0, 200, "again");
    let mut other = contents.clone();
    other[0] ^= 1;
    let (status, said) = gate.post(&format!("/{name}"), &file("body", &other));
    assert_eq!(status, 400, "other bytes under a stored name: {said}");
    assert_eq!(rig.versions("").await, full, "an overwrite changes nothing");
    assert_eq!(gate.post("/receipt", &file("body", b"")).0, 200);
}
