//! Commands and SFTP on real hosts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::process::{Command, Stdio};

use drawbridge_hosts::{Ended, Patience, SshError, Target, connect};
use drawbridge_peers::need;
use drawbridge_peers::sshd::Sshd;
use support::{PATIENCE, SHORT, run, target};
use tempfile::TempDir;

/// What `drawbridge authorize` prints in front of the key, for files.
const FILES_ONLY: &str = "restrict,command=\"internal-sftp -R\"";

#[tokio::test]
async fn a_commands_output_errors_and_status_are_told_apart() {
    let sshd = Sshd::start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let (out, err, ended) = run(&host, "echo out; echo err >&2; exit 7").await;
    assert_eq!((&*out, &*err, ended.unwrap()), (&b"out\n"[..], &b"err\n"[..], Ended::Exit(7)));
    let (_, _, ended) = run(&host, "kill -KILL $$").await;
    assert_eq!(ended.unwrap(), Ended::Signal("KILL".to_owned()));
    let (_, _, ended) = run(&host, "no-such-command-anywhere").await;
    assert_eq!(ended.unwrap(), Ended::Exit(127));
    host.close().await;
}

#[tokio::test]
async fn a_command_has_no_terminal_and_nothing_to_read() {
    let sshd = Sshd::start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let (out, _, ended) = run(&host, "tty; cat; echo end").await;
    assert_eq!((String::from_utf8(out).unwrap().as_str(), ended.unwrap()), ("not a tty\nend\n", Ended::Exit(0)));
}

#[tokio::test]
async fn a_long_output_arrives_whole_and_in_order() {
    let sshd = Sshd::start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let (out, _, ended) = run(&host, "seq 1 1000000").await;
    assert_eq!(ended.unwrap(), Ended::Exit(0));
    let expected: String = (1..=1_000_000).map(|n| format!("{n}\n")).collect();
    assert!(out == expected.as_bytes(), "{} bytes", out.len());
}

#[tokio::test]
async fn a_connection_that_is_cut_is_never_a_success() {
    let sshd = Sshd::start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let mut running = host.run("echo begun; exec sleep 1000").await.unwrap();
    assert!(running.next().await.unwrap().is_some());
    sshd.cut();
    let error = running.end().await.unwrap_err();
    assert!(error.may_pass(), "{error}");
    assert!(host.sftp(1 << 20).await.unwrap_err().may_pass());
    assert!(host.is_over());
}

#[tokio::test]
async fn a_command_that_says_nothing_for_too_long_is_given_up() {
    let sshd = Sshd::start();
    let patience = Patience { silence: SHORT.silence, ..PATIENCE };
    let host = connect(&target(&sshd), patience).await.unwrap();
    let mut running = host.run("exec sleep 1000").await.unwrap();
    let error = running.next().await.unwrap_err();
    assert!(matches!(error, SshError::Silent { .. }) && error.may_pass(), "{error}");
}

#[tokio::test]
async fn a_command_that_is_dropped_leaves_the_connection_usable() {
    let sshd = Sshd::start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let mut running = host.run("yes").await.unwrap();
    assert!(running.next().await.unwrap().is_some());
    drop(running);
    let (out, _, _) = run(&host, "echo still here").await;
    assert_eq!(out, b"still here\n");
}

#[tokio::test]
async fn sftp_reads_and_a_host_without_it_says_so() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let path = dir.path().join("file");
    fs::write(&path, "content").unwrap();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let sftp = host.sftp(1 << 20).await.unwrap();
    let file = sftp.open(path.to_str().unwrap().as_bytes()).await.unwrap();
    assert_eq!(&file.read(0, 7).next().await.unwrap().unwrap()[..], b"content");

    for subsystem in ["/bin/false", "/nowhere/sftp-server"] {
        let sshd = Sshd::builder().subsystem(subsystem).start();
        let host = connect(&target(&sshd), PATIENCE).await.unwrap();
        let error = host.sftp(1 << 20).await.unwrap_err();
        assert!(error.to_string().contains("Subsystem sftp internal-sftp"), "{error}");
        assert!(!error.may_pass(), "{error:?}");
    }
}

#[tokio::test]
async fn the_key_for_files_reads_and_does_nothing_else() {
    let (sshd, dir) = (Sshd::builder().key_options(FILES_ONLY).start(), TempDir::new().unwrap());
    let path = dir.path().join("file");
    fs::write(&path, "content").unwrap();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let sftp = host.sftp(1 << 20).await.unwrap();
    assert_eq!(sftp.stat(path.to_str().unwrap().as_bytes()).await.unwrap().size, Some(7));

    // As anybody would try it who has stolen the key.
    let options = [
        "-F/dev/null",
        "-oBatchMode=yes",
        "-oIdentitiesOnly=yes",
        "-oPort",
        "-oIdentityFile",
        "-oUserKnownHostsFile",
        "-oUser",
    ];
    let with = [
        String::new(),
        String::new(),
        String::new(),
        sshd.port().to_string(),
        sshd.client_key().display().to_string(),
        sshd.known_hosts().display().to_string(),
        sshd.user().to_owned(),
    ];
    let options: Vec<String> = options
        .iter()
        .zip(with)
        .map(|(o, v)| if v.is_empty() { (*o).to_owned() } else { format!("{o}={v}") })
        .collect();
    let try_out = |program: &str, more: &[&str]| {
        Command::new(need(program, "openssh-client")).args(&options).args(more).stdin(Stdio::null()).output().unwrap()
    };
    let canary = dir.path().join("canary");
    let shell = try_out("ssh", &["127.0.0.1", &format!("touch {}", canary.display())]);
    assert!(!canary.exists(), "{shell:?}");
    let batch = dir.path().join("batch");
    let (path, canary_name) = (path.display(), canary.display());
    fs::write(&batch, format!("get {path} {}/got\n", dir.path().display())).unwrap();
    assert!(try_out("sftp", &["-b", batch.to_str().unwrap(), "127.0.0.1"]).status.success());
    assert_eq!(fs::read(dir.path().join("got")).unwrap(), b"content");
    for order in [
        format!("put {path} {canary_name}"),
        format!("rm {path}"),
        format!("rename {path} {canary_name}"),
        format!("chmod 777 {path}"),
        format!("mkdir {canary_name}"),
        format!("ln -s {path} {canary_name}"),
    ] {
        fs::write(&batch, format!("{order}\n")).unwrap();
        let output = try_out("sftp", &["-b", batch.to_str().unwrap(), "127.0.0.1"]);
        assert!(!output.status.success() && !canary.exists(), "{order}: {output:?}");
    }
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    let forward = try_out("ssh", &["-W", &sshd.at().to_string(), "127.0.0.1"]);
    assert!(
        !forward.status.success() && String::from_utf8_lossy(&forward.stderr).contains("administratively prohibited"),
        "{forward:?}"
    );
    let remote = try_out("ssh", &["-oExitOnForwardFailure=yes", "-NR", "127.0.0.1:0:127.0.0.1:9", "127.0.0.1"]);
    assert!(!remote.status.success(), "{remote:?}");
}

#[tokio::test]
async fn a_key_for_one_command_runs_that_one_whatever_is_asked() {
    let sshd = Sshd::builder().key_options("restrict,command=\"echo forced\"").start();
    let host = connect(&target(&sshd), PATIENCE).await.unwrap();
    let (out, _, ended) = run(&host, "echo something else").await;
    assert_eq!((&*out, ended.unwrap()), (&b"forced\n"[..], Ended::Exit(0)));
}

#[tokio::test]
async fn an_address_that_nobody_answers_on_may_answer_later() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let sshd = Sshd::start();
    let error = support::failure(&Target { port: Some(port), ..target(&sshd) }).await;
    assert!(matches!(error, SshError::Connect { .. }) && error.may_pass(), "{error}");
}
