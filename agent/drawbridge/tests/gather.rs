//! Gathering from several hosts at once with the real program, and what stock restic restores of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/site.rs"]
mod site;
mod support;

use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use drawbridge::engine::LocalRepository;
use drawbridge::gather::Origins;
use drawbridge_gather::Site;
use drawbridge_peers::sshd::Sshd;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use site::{AgentSite, run};
use support::describe;
use support::restic::restic;
use tempfile::TempDir;

const PASSWORD: &str = "correct horse";

/// Who gathers when root shall not: Debian's nobody.
const NOBODY: u32 = 65534;

/// A tree with everything that a snapshot keeps of a host, its owners included where the test may give files away.
fn plant(tree: &Path) {
    fs::create_dir_all(tree.join("etc/conf.d")).unwrap();
    fs::create_dir_all(tree.join("var/empty")).unwrap();
    fs::write(tree.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    fs::write(tree.join("etc/shadow"), "root:*:19000::\n").unwrap();
    fs::write(tree.join("etc/nothing"), "").unwrap();
    fs::write(tree.join(std::ffi::OsStr::from_bytes(b"etc/caf\xe9")), "latin-1").unwrap();
    fs::write(tree.join("var/su"), "#!\n").unwrap();
    fs::write(tree.join("var/long"), support::noise(5, 3_000_001)).unwrap();
    symlink("../etc/hosts", tree.join("var/link")).unwrap();
    symlink("/nowhere", tree.join("var/dangling")).unwrap();
    let own = |path: &str, user, group| {
        if rustix::process::geteuid().is_root() {
            lchown(tree.join(path), Some(user), Some(group)).unwrap();
        }
    };
    own("etc/hosts", 1001, 1002);
    own("etc/shadow", 0, 42);
    own("var", 33, 33);
    own("var/link", 1003, 1004);
    let mode = |path: &str, mode| fs::set_permissions(tree.join(path), Permissions::from_mode(mode)).unwrap();
    mode("etc/shadow", 0o640);
    // What nobody may read, root reads.
    mode("etc/nothing", if rustix::process::geteuid().is_root() { 0o000 } else { 0o400 });
    mode("var/su", 0o4755);
    mode("var/empty", 0o1777);
    grow_old(tree);
}

/// Gives everything times of long ago, in whole seconds: SFTP knows no others.
fn grow_old(tree: &Path) {
    let entries = walkdir::WalkDir::new(tree).contents_first(true).into_iter().map(Result::unwrap);
    for (seconds, entry) in (1_500_000_000..).zip(entries) {
        let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, entry.path(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn planted() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    plant(&tree);
    (folder, tree)
}

/// Backs the mirror up, and has stock restic restore it.
fn restored(site: &AgentSite) -> TempDir {
    let repository = LocalRepository::create(&site.path().join("repository"), PASSWORD).unwrap();
    let gathered = Site::new(&site.state());
    repository.back_up(&gathered.mirror(), Origins::new(&gathered), Arc::new(|_| ())).unwrap();
    restic(repository.path(), PASSWORD, &["check", "--read-data"]);
    let target = tempfile::tempdir().unwrap();
    restic(repository.path(), PASSWORD, &["restore", "latest", "--target", target.path().to_str().unwrap()]);
    target
}

/// Where a restored snapshot has `path` of a source.
fn copy_of(restored: &TempDir, source: &str, path: &Path) -> PathBuf {
    restored.path().join(source).join(path.strip_prefix("/").unwrap())
}

fn paths(path: &Path) -> String {
    format!("paths = [{path:?}]")
}

#[test]
fn several_hosts_at_once_one_behind_a_jump_host_are_restored_as_they_were() {
    let mut site = AgentSite::new();
    let (_web_tree, web_tree) = planted();
    let (_inner_tree, inner_tree) = planted();
    let (web, inner, jump) =
        (Sshd::builder().address(2).start(), Sshd::builder().address(4).start(), Sshd::builder().address(5).start());
    // Both hops know the key of the source.
    fs::copy(inner.authorized_keys(), jump.authorized_keys()).unwrap();

    site.remote("web", &web, web.at(), &paths(&web_tree));
    let through = format!("jump = \"{}@{}\"\n{}", jump.user(), jump.at(), paths(&inner_tree));
    site.remote("inner", &inner, inner.at(), &through);
    let known_hosts = site.path().join("inner.known_hosts");
    fs::write(&known_hosts, inner.known_hosts_lines() + &jump.known_hosts_lines()).unwrap();
    let command = "[[source.command]]\nrun = \"echo $SSH_CONNECTION | cut -d' ' -f3\"\nfile = \"where\"";
    site.remote("said", &web, web.at(), command);
    site.local("here", &web_tree);

    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((jump.connections(), inner.connections()), (1, 1));
    let restored = restored(&site);
    for (source, tree) in [("web", &web_tree), ("inner", &inner_tree), ("here", &web_tree)] {
        assert_eq!(describe(&copy_of(&restored, source, tree)), describe(tree), "{source}");
    }
    let said = fs::read_to_string(copy_of(&restored, "said", Path::new("/where"))).unwrap();
    assert_eq!(said.trim(), "127.0.0.2");
}

#[test]
fn a_host_that_locks_everybody_into_a_chroot_is_restored_as_it_was() {
    drawbridge_peers::need_root("only root may have sshd chroot, and give files away");
    let mut site = AgentSite::new();
    let caged = Sshd::builder().address(3).user("nobody").chrooted().start();
    let srv = caged.chroot().join("srv");
    plant(&srv);
    // Who logs in there is nobody.
    fs::set_permissions(srv.join("etc/nothing"), Permissions::from_mode(0o604)).unwrap();
    fs::set_permissions(srv.join("etc/shadow"), Permissions::from_mode(0o644)).unwrap();
    site.remote("caged", &caged, caged.at(), "paths = [\"/srv\"]");
    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(describe(&copy_of(&restored(&site), "caged", Path::new("/srv"))), describe(&srv));
}

#[test]
fn an_agent_without_rights_keeps_owners_modes_times_and_links_of_the_host() {
    drawbridge_peers::need_root("only root may become somebody else, and give files away");
    let mut site = AgentSite::new();
    let (_tree, tree) = planted();
    let host = Sshd::start();
    site.remote("host", &host, host.at(), &paths(&tree));
    // The program's own folder may be closed to others.
    let program = site.path().join("drawbridge");
    fs::copy(env!("CARGO_BIN_EXE_drawbridge"), &program).unwrap();
    for entry in walkdir::WalkDir::new(site.path()).into_iter().map(Result::unwrap) {
        lchown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    let mut command = Command::new(drawbridge_peers::need("setpriv", "util-linux"));
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
    let (code, said) = run(command.arg("--config").arg(site.path().join("drawbridge.toml")).arg("gather"));
    assert_eq!(code, Some(0), "{said}");
    let mirrored = fs::metadata(site.mirrored("host", &tree.join("etc/shadow"))).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&mirrored), NOBODY, "the program has run with rights");
    assert_eq!(describe(&copy_of(&restored(&site), "host", &tree)), describe(&tree));
}

#[test]
fn one_host_s_trouble_is_its_own_and_its_last_good_copy_stays() {
    let mut site = AgentSite::new();
    let (_tree, tree) = planted();
    let (good, dying, changed) = (Sshd::start(), Sshd::start(), Sshd::start());
    for (name, sshd) in [("good", &good), ("dying", &dying), ("changed", &changed)] {
        site.remote(name, sshd, sshd.at(), &paths(&tree));
    }
    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(0), "{said}");
    drop(dying);
    fs::write(site.path().join("changed.known_hosts"), good.known_as(changed.at())).unwrap();
    fs::write(tree.join("etc/new"), "new").unwrap();
    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("dying") && said.contains("changed") && said.contains("SHA256:"), "{said}");
    assert!(site.mirrored("good", &tree.join("etc/new")).exists());
    let (code, status) = run(&mut site.drawbridge("status"));
    assert_eq!(code, Some(0), "{status}");
    for name in ["dying", "changed"] {
        // Why, and how old: in the summary, and in what is written down.
        let told = said.lines().find(|line| line.contains(&format!("{name} failed: "))).unwrap();
        assert!(told.contains("(the last complete copy is ") && told.ends_with(" old)"), "{told}");
        let told = status.split_once(&format!("source      {name}: complete ")).unwrap().1;
        let told: Vec<&str> = told.lines().take(2).collect();
        assert!(told[1].trim_start().starts_with("because ") && told[1].contains("(tried "), "{status}");
        let copy = fs::read_to_string(site.mirrored(name, &tree.join("etc/hosts"))).unwrap();
        assert_eq!(copy, "127.0.0.1 localhost\n");
        assert!(!site.mirrored(name, &tree.join("etc/new")).exists());
    }
}

#[test]
fn a_host_that_asks_for_a_password_or_greets_with_a_megabyte_holds_nobody_up() {
    let mut site = AgentSite::new();
    let (_tree, tree) = planted();
    let greeting = |bytes: usize| "All access is logged.\n".bytes().cycle().take(bytes).collect::<Vec<u8>>();
    // More than sshd's packets hold, so that it dies of it; a longer one it wouldn't even try to send (auth2.c).
    let talker = Sshd::builder().banner(greeting(1 << 20)).start();
    let greeter = Sshd::builder().banner(greeting(200_000)).start();
    let asker = Sshd::builder().config("PasswordAuthentication yes\nPubkeyAuthentication no").start();
    for (name, sshd) in [("talker", &talker), ("greeter", &greeter), ("asker", &asker)] {
        site.remote(name, sshd, sshd.at(), &paths(&tree));
    }
    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("asks for a password"), "{said}");
    let broke_off = format!("port {} broke off in the middle of the login", talker.port());
    assert!(said.contains("talker failed: ") && said.contains(&broke_off) && said.contains("Banner"), "{said}");
    assert!(said.len() < 10_000, "a greeting is repeated: {} bytes", said.len());
    assert!(site.mirrored("greeter", &tree.join("etc/hosts")).exists());
    for name in ["talker", "asker"] {
        assert!(!site.mirrored(name, &tree).exists(), "{name}");
    }
}

#[test]
fn a_dry_run_says_what_would_come_with_sizes_and_brings_nothing() {
    let mut site = AgentSite::new();
    let (_tree, tree) = planted();
    let host = Sshd::start();
    site.remote("host", &host, host.at(), &paths(&tree));
    let (code, said) = run(site.gather().arg("--dry-run"));
    assert_eq!(code, Some(0), "{said}");
    for (file, size) in [("etc/hosts", "20 B"), ("etc/nothing", "0 B"), ("var/long", "2.86 MiB")] {
        let line = format!("{:<8} {size:>12}  host: {}", "new", tree.join(file).display());
        assert!(said.lines().any(|said| said == line), "{line:?} is not in {said}");
    }
    assert!(!site.mirrored("host", &tree).exists());
}

#[test]
fn a_name_with_a_line_feed_forges_no_line() {
    let mut site = AgentSite::new();
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("x\nok    source firewall"), "small").unwrap();
    fs::write(tree.path().join("y\nok    source firewall"), "too large").unwrap();
    let host = Sshd::start();
    site.remote("host", &host, host.at(), &format!("{}\nmax_file_size = 5", paths(tree.path())));
    for (what, more, name) in [
        ("gather", Some("--dry-run"), "/x\u{fffd}ok"),
        ("gather", Some("--dry-run"), "/y\u{fffd}ok"),
        ("check", None, "/y\u{fffd}ok"),
        ("gather", None, "/y\u{fffd}ok"),
        ("status", None, "/y\u{fffd}ok"),
    ] {
        let (_, said) = run(site.drawbridge(what).args(more));
        assert!(said.contains(name), "{what} {more:?}: {said}");
        assert!(!said.contains("\nok    source firewall"), "{what} {more:?}: {said}");
    }
}
