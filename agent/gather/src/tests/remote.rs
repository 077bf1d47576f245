//! Another host over SSH: a real sshd on this one.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::process::Command;

use drawbridge_hosts::Target;
use drawbridge_peers::sshd::Sshd;

use super::*;

/// Everything in `source`, as a host's.
fn source(site: &TestSite, sshd: &Sshd) -> Source {
    let target = Target {
        host: sshd.address(),
        port: Some(sshd.port()),
        user: Some(sshd.user().to_owned()),
        identity_file: Some(sshd.client_key()),
        known_hosts: Some(sshd.known_hosts()),
        ssh_config: Some(PathBuf::from("/dev/null")),
        jump: None,
    };
    Source { place: Place::Ssh(target), ..site.this_host() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_on_another_host_arrives_with_contents_modes_times_and_links() {
    let site = TestSite::new();
    // Longer than everything that is asked for at once, and no multiple of anything.
    let long: Vec<u8> =
        (0..17_000_003_u32).map(|number| u8::try_from(number.wrapping_mul(2_654_435_761) >> 24).unwrap()).collect();
    site.write("var/log/messages", &long);
    site.write("etc/hosts", b"127.0.0.1 localhost\n");
    site.write("etc/empty", b"");
    site.write("etc/grüße", b"x");
    fs::write(site.source("etc").join(OsStr::from_bytes(b"latin-\xff")), b"not UTF-8").unwrap();
    symlink("hosts", site.source("etc/link")).unwrap();
    for number in 0..900 {
        site.write(&format!("many/{number}"), number.to_string().as_bytes());
    }
    set_mode(&site.source("etc/hosts"), 0o640);
    // SFTP knows whole seconds only.
    site.grow_old();
    let touched = Command::new("touch").args(["-h", "-d", "@1500000000"]).arg(site.source("etc/link")).status();
    assert!(touched.unwrap().success());

    let sshd = Sshd::start();
    let outcome = site.gather_source(source(&site, &sshd)).await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!((outcome.counts.files, outcome.counts.copied_files), (905, 905));
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));

    let before = change_times(&site.mirrored(""));
    site.write("etc/hosts", b"changed");
    fs::remove_file(site.source("etc/empty")).unwrap();
    let outcome = site.gather_source(source(&site, &sshd)).await;
    assert_eq!((outcome.counts.copied_files, outcome.counts.removed), (1, 1));
    let after = change_times(&site.mirrored(""));
    // Of all entries only the file and its folder were touched.
    assert_eq!(after.iter().filter(|entry| !before.contains(entry)).count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn links_on_another_host_are_followed_when_that_is_wanted() {
    let site = TestSite::new();
    site.write("data/file", b"content");
    symlink("data", site.source("to-folder")).unwrap();
    symlink("data/file", site.source("to-file")).unwrap();
    symlink("..", site.source("data/back")).unwrap();
    let sshd = Sshd::start();
    let followed = site.with(|files| files.symlinks = Symlinks::Follow);
    let outcome = site.gather_source(Source { what: followed.what, ..source(&site, &sshd) }).await;
    assert!(problems(&outcome).contains("leads back"), "{outcome:?}");
    assert_eq!(fs::read(site.mirrored("to-folder/file")).unwrap(), b"content");
    assert_eq!(fs::read(site.mirrored("to-file")).unwrap(), b"content");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_on_the_host() {
    let site = TestSite::new();
    let sshd = Sshd::start();
    let output =
        |run: &str, file: &str| CommandOutput { run: run.to_owned(), file: file.to_owned(), checks: Vec::new() };
    let list = vec![output("echo $SSH_CONNECTION | cut -d' ' -f3", "where"), output("echo no >&2; exit 4", "fails")];
    let outcome = site.gather_source(Source { what: What::Commands(list), ..source(&site, &sshd) }).await;
    assert!(problems(&outcome).contains("/fails: the command ended with exit status 4: no"), "{outcome:?}");
    let said = fs::read_to_string(site.state().join("mirror/this-host/where")).unwrap();
    assert_eq!(said.trim(), sshd.address());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_key_is_not_known_is_refused_and_a_preview_says_so_too() {
    let site = TestSite::new();
    let sshd = Sshd::start();
    let mut unknown = source(&site, &sshd);
    let Place::Ssh(target) = &mut unknown.place else { unreachable!() };
    target.known_hosts = Some(site.dir.path().join("none"));
    let outcome = site.gather_source(unknown.clone()).await;
    assert!(failure(&outcome).contains("SHA256:"), "{outcome:?}");
    let outcome = preview(&site.site(), &unknown, |_| {}).await.unwrap();
    assert!(failure(&outcome).contains("SHA256:"), "{outcome:?}");
    assert!(!site.dir.path().join("none").exists());
}
