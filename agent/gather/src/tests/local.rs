//! This machine's own files.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::*;
use crate::local::LocalTree;
use crate::room::Room;
use crate::tree::{Tree, TreeError};

#[tokio::test]
async fn a_tree_arrives_with_contents_modes_times_and_links() {
    let site = TestSite::new();
    site.write("etc/hosts", b"127.0.0.1 localhost\n");
    site.write("etc/shadow", b"root:*:\n");
    site.write("bin/tool", b"#!/bin/sh\n");
    site.write("empty", b"");
    fs::create_dir(site.source("empty-folder")).unwrap();
    fs::write(site.source("").join(OsStr::from_bytes(b"not-utf8-\xff")), b"x").unwrap();
    symlink("hosts", site.source("etc/link")).unwrap();
    symlink("/nonexistent/target", site.source("etc/dangling")).unwrap();
    set_mode(&site.source("etc/shadow"), 0o640);
    set_mode(&site.source("bin/tool"), 0o4755);
    set_mode(&site.source("empty-folder"), 0o1751);
    set_mtime(&site.source("etc/hosts"), 1_000_000_000, 123_456_789);
    set_mtime(&site.source("etc"), 1_100_000_000, 1);

    let outcome = site.gather().await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
    assert_eq!((outcome.counts.files, outcome.counts.copied_files, outcome.counts.bytes), (5, 5, 20 + 8 + 10 + 1));
    assert_eq!(fs::read_dir(site.state().join("mirror.tmp/this-host")).unwrap().count(), 0);
    assert_eq!(site.mirrored("bin/tool").metadata().unwrap().mode() & 0o7777, 0o755);
    assert_eq!(site.entry("bin/tool").meta.mode, 0o4755, "what the mirror must not have, the catalogue has");
}

#[tokio::test]
async fn an_unchanged_source_leaves_every_entry_of_the_mirror_untouched() {
    let site = TestSite::new();
    site.write("a/b/c", b"content");
    site.grow_old();
    symlink("c", site.source("a/b/link")).unwrap();
    site.gather().await;
    let before = change_times(&site.mirrored(""));
    let outcome = site.gather().await;
    assert_eq!((outcome.counts.copied_files, outcome.counts.files, outcome.counts.bytes), (0, 1, 7));
    assert_eq!(change_times(&site.mirrored("")), before);
}

#[tokio::test]
async fn what_changed_is_copied_and_what_only_changed_its_mode_is_not_read() {
    let site = TestSite::new();
    for name in ["content", "same-length", "mode"] {
        site.write(name, b"before");
        set_mtime(&site.source(name), 1_000_000_000, 5);
    }
    site.gather().await;
    site.write("content", b"after, and longer");
    site.write("same-length", b"AFTER!");
    set_mtime(&site.source("same-length"), 1_000_000_000, 6);
    set_mode(&site.source("mode"), 0o600);
    let outcome = site.gather().await;
    assert_eq!(outcome.counts.copied_files, 2);
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
}

#[tokio::test]
async fn what_is_removed_or_excluded_leaves_the_mirror() {
    let site = TestSite::new();
    for name in ["stays/file", "goes/deep/down", "stays/goes", "log/journal/big", "log/small"] {
        site.write(name, b"x");
    }
    site.gather().await;
    fs::remove_dir_all(site.source("goes")).unwrap();
    fs::remove_file(site.source("stays/goes")).unwrap();
    let outcome = site.gather_source(site.with(|files| files.exclude = site.globs(&["log/jour*"]))).await;
    assert_eq!((outcome.state, outcome.counts.removed), (SourceState::Complete, 3));
    assert!(!site.mirrored("log/journal").exists());
    fs::remove_dir_all(site.source("log/journal")).unwrap();
    set_mtime(&site.source("log"), 1_000_000_000, 0);
    site.gather().await;
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")), "removing leaves the folders' times right");
}

#[tokio::test]
async fn an_entry_that_became_another_kind_is_replaced_and_links_in_the_mirror_are_never_followed() {
    let site = TestSite::new();
    site.write("file-to-folder", b"x");
    site.write("folder-to-file/inner", b"x");
    site.write("folder-to-link/inner", b"x");
    site.write("file-to-link", b"x");
    symlink("/etc", site.source("link-to-folder")).unwrap();
    symlink("/etc/hostname", site.source("link-to-file")).unwrap();
    site.gather().await;

    let outside = site.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("inner"), b"must not change").unwrap();
    for name in ["file-to-folder", "file-to-link", "link-to-folder", "link-to-file"] {
        fs::remove_file(site.source(name)).unwrap();
    }
    fs::remove_dir_all(site.source("folder-to-file")).unwrap();
    fs::remove_dir_all(site.source("folder-to-link")).unwrap();
    site.write("file-to-folder/inner", b"y");
    site.write("folder-to-file", b"y");
    site.write("link-to-folder/inner", b"y");
    site.write("link-to-file", b"y");
    symlink(&outside, site.source("folder-to-link")).unwrap();
    symlink(outside.join("inner"), site.source("file-to-link")).unwrap();
    let outcome = site.gather().await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));

    // And back, where the mirror now has links that lead outside.
    fs::remove_file(site.source("folder-to-link")).unwrap();
    fs::remove_file(site.source("file-to-link")).unwrap();
    site.write("folder-to-link/inner", b"z");
    site.write("file-to-link", b"z");
    site.gather().await;
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
    assert_eq!(fs::read(outside.join("inner")).unwrap(), b"must not change");
}

#[tokio::test]
async fn sockets_and_fifos_are_counted_and_not_copied() {
    let site = TestSite::new();
    site.write("was-a-file", b"x");
    site.write("is-a-file", b"x");
    site.gather().await;
    fs::remove_file(site.source("was-a-file")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(site.source("was-a-file")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(site.source("fifo")).status().unwrap().success());
    let outcome = site.gather().await;
    assert_eq!(
        (&outcome.state, outcome.counts.skipped_special, outcome.counts.removed),
        (&SourceState::Complete, 2, 1)
    );
    assert_eq!(fs::read_dir(site.mirrored("")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_sparse_file_stays_sparse() {
    const LENGTH: u64 = 64 * 1024 * 1024;
    let site = TestSite::new();
    let file = fs::File::create(site.source("lastlog")).unwrap();
    file.set_len(LENGTH).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"somebody", LENGTH / 2).unwrap();
    let outcome = site.gather().await;
    assert_eq!(outcome.counts.bytes, LENGTH);
    let mirrored = site.mirrored("lastlog").metadata().unwrap();
    assert!(mirrored.blocks() * 512 < LENGTH / 4, "{} blocks", mirrored.blocks());
    assert!(fs::read(site.source("lastlog")).unwrap() == fs::read(site.mirrored("lastlog")).unwrap());
}

#[tokio::test]
async fn a_configured_path_that_is_gone_is_a_problem_and_its_last_good_copy_stays() {
    let site = TestSite::new();
    site.write("etc/hosts", b"x");
    site.write("log/syslog", b"x");
    let source = site.with(|files| files.paths = vec![site.pattern("etc/hosts"), site.pattern("log")]);
    assert_eq!(site.gather_source(source.clone()).await.state, SourceState::Complete);
    fs::remove_dir_all(site.source("etc")).unwrap();
    fs::remove_file(site.source("log/syslog")).unwrap();
    let outcome = site.gather_source(source.clone()).await;
    assert!(problems(&outcome).contains("source/etc: No such file"), "{}", problems(&outcome));
    assert!(site.mirrored("etc/hosts").exists());
    assert!(site.mirrored("log/syslog").exists(), "nothing leaves the mirror before the source is complete");
    site.write("etc/hosts", b"x");
    assert_eq!(site.gather_source(source.clone()).await.state, SourceState::Complete);
    assert!(!site.mirrored("log/syslog").exists());
}

#[tokio::test]
async fn a_configured_path_through_a_link_is_a_problem_and_not_an_empty_backup() {
    let site = TestSite::new();
    site.write("real/file", b"x");
    symlink("real", site.source("link")).unwrap();
    let outcome = site.gather_source(site.with(|files| files.paths = vec![site.pattern("link/file")])).await;
    assert!(problems(&outcome).contains("symbolic link"), "{}", problems(&outcome));
    // A link that is named itself is wanted as a link.
    let outcome = site.gather_source(site.with(|files| files.paths = vec![site.pattern("link")])).await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(fs::read_link(site.mirrored("link")).unwrap(), Path::new("real"));
}

/// Root can read everything, so this shows itself only to others; `faults.rs` has the same for everybody.
#[tokio::test]
async fn an_unreadable_file_is_named_and_its_last_good_copy_stays() {
    let site = TestSite::new();
    site.write("secret", b"x");
    site.write("other", b"x");
    site.gather().await;
    site.write("secret", b"changed");
    set_mode(&site.source("secret"), 0o000);
    let outcome = site.gather().await;
    if rustix::process::geteuid().is_root() {
        assert_eq!(outcome.state, SourceState::Complete);
    } else {
        assert!(problems(&outcome).contains("secret: Permission denied"), "{}", problems(&outcome));
        assert_eq!(fs::read(site.mirrored("secret")).unwrap(), b"x");
    }
}

#[tokio::test]
async fn the_state_folder_is_not_gathered_into_itself_even_by_another_way() {
    let site = TestSite::new();
    site.write("file", b"x");
    fs::create_dir(site.source("state")).unwrap();
    let deaf: Arc<dyn Listener> = Arc::new(Deaf);
    symlink(site.source("state"), site.dir.path().join("other-way")).unwrap();
    let other_way = Site::new(&site.dir.path().join("other-way"));
    let summary = gather(&other_way, &[site.this_host()], &Settings::default(), &deaf).await.unwrap();
    assert!(problems(&summary.sources[0]).contains("own state folder"), "{summary:?}");
    assert_eq!(summary.sources[0].counts.files, 1);
}

#[tokio::test]
async fn a_source_that_is_configured_no_more_leaves_the_mirror() {
    let site = TestSite::new();
    site.write("file", b"x");
    site.gather().await;
    assert_eq!(site.site().forget_all_but(&["this-host"]).unwrap(), Vec::<String>::new());
    assert!(site.mirrored("file").exists());
    assert_eq!(site.site().forget_all_but(&["renamed"]).unwrap(), ["this-host"]);
    assert!(!site.state().join("mirror/this-host").exists());
    assert!(site.site().catalogue("this-host").unwrap().is_none());
}

#[tokio::test]
async fn what_a_killed_run_left_unfinished_is_taken_away() {
    let site = TestSite::new();
    site.gather().await;
    fs::write(site.state().join("mirror.tmp/this-host/7"), b"half a fi").unwrap();
    fs::write(site.state().join("catalogue/this-host.new"), b"half a catalogue").unwrap();
    assert_eq!(site.gather().await.state, SourceState::Complete);
    assert_eq!(fs::read_dir(site.state().join("mirror.tmp/this-host")).unwrap().count(), 0);
    assert!(!site.state().join("catalogue/this-host.new").exists());
}

/// The folder `source`, open.
async fn open_source(site: &TestSite) -> (LocalTree, <LocalTree as Tree>::Dir) {
    let tree = LocalTree::without(&site.state(), Vec::new()).unwrap();
    let (mut dir, _) = tree.root().await.unwrap();
    for name in site.source("").iter().skip(1) {
        dir = tree.open_dir(&dir, name).await.unwrap();
    }
    (tree, dir)
}

#[tokio::test]
async fn what_became_a_link_or_a_fifo_after_it_was_listed_is_not_opened() {
    let site = TestSite::new();
    site.write("file", b"x");
    fs::create_dir(site.source("folder")).unwrap();
    symlink("file", site.source("to-file")).unwrap();
    symlink("folder", site.source("to-folder")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, site.source("fifo"), rustix::fs::Mode::RUSR).unwrap();
    let (tree, dir) = open_source(&site).await;
    assert!(tree.open_file(&dir, OsStr::new("file")).await.is_ok());
    assert!(tree.open_dir(&dir, OsStr::new("folder")).await.is_ok());
    assert!(tree.open_file(&dir, OsStr::new("to-file")).await.is_err());
    assert!(tree.open_dir(&dir, OsStr::new("to-folder")).await.is_err());
    assert!(tree.open_file(&dir, OsStr::new("fifo")).await.is_err());
}

#[tokio::test]
async fn a_folder_is_listed_to_the_limit_and_no_further() {
    let site = TestSite::new();
    (0..3).for_each(|number| site.write(&number.to_string(), b"x"));
    let (tree, dir) = open_source(&site).await;
    assert_eq!(tree.list(&dir, &mut Room::new(3).hold()).await.unwrap().len(), 3);
    assert!(matches!(tree.list(&dir, &mut Room::new(2).hold()).await, Err(TreeError::TooMany)));
}

#[tokio::test]
async fn what_was_gathered_is_for_the_agent_alone() {
    let site = TestSite::new();
    site.write("file", b"x");
    site.gather().await;
    for folder in ["mirror", "mirror.tmp", "mirror.tmp/this-host", "catalogue"] {
        assert_eq!(site.state().join(folder).metadata().unwrap().mode() & 0o777, 0o700, "{folder}");
    }
    assert_eq!(site.site().catalogue_path("this-host").metadata().unwrap().mode() & 0o777, 0o600);
}
