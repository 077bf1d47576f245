//! Against Debian's own sftp-server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

mod support;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use drawbridge_sftp::{Settings, Sftp, SftpError};
use futures::stream::{FuturesUnordered, StreamExt};
use support::{bytes, fetch, noise, program, server, server_by, server_with_descriptors};
use tokio::process::Command;

const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const KIND: u32 = 0o170_000;

async fn names(sftp: &Sftp, path: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut listing = sftp.open_dir(path).await.unwrap();
    let mut names = BTreeSet::new();
    while let Some(entries) = listing.next().await.unwrap() {
        for entry in entries {
            assert!(names.insert(entry.name), "listed twice");
        }
    }
    assert!(listing.next().await.unwrap().is_none(), "the end is the end");
    names
}

#[tokio::test]
async fn a_folder_of_five_thousand_lists_each_name_once_whatever_its_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected: BTreeSet<Vec<u8>> = (0..5000).map(|number| format!("entry {number}").into_bytes()).collect();
    expected.extend([b"caf\xe9".to_vec(), b"\xff\xfe".to_vec(), b"line\nbreak".to_vec(), vec![b'n'; 255]]);
    for name in &expected {
        fs::write(folder.path().join(OsStr::from_bytes(name)), name).unwrap();
    }
    expected.extend([b".".to_vec(), b"..".to_vec()]);
    let server = server().await;
    assert_eq!(names(&server.sftp, bytes(folder.path())).await, expected);
    let odd = folder.path().join(OsStr::from_bytes(b"caf\xe9"));
    assert_eq!(fetch(&server.sftp, bytes(&odd), 4).await.unwrap().0, b"caf\xe9");
}

#[tokio::test]
async fn a_listing_tells_what_stat_tells() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "twelve bytes").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4750)).unwrap();
    symlink("file", folder.path().join("link")).unwrap();
    let server = server().await;
    let mut listing = server.sftp.open_dir(bytes(folder.path())).await.unwrap();
    let entries = listing.next().await.unwrap().unwrap();
    let of = |name: &[u8]| entries.iter().find(|entry| entry.name == name).unwrap().attributes.clone();
    let here = fs::metadata(&path).unwrap();
    let told = of(b"file");
    assert_eq!(told, server.sftp.lstat(bytes(&path)).await.unwrap());
    assert_eq!(told.size, Some(12));
    assert_eq!(told.permissions, Some(REGULAR | 0o4750));
    assert_eq!(told.uid_gid, Some((here.uid(), here.gid())));
    assert_eq!(told.times, Some((here.atime() as u32, here.mtime() as u32)));
    assert_eq!(of(b"link").permissions.unwrap() & KIND, LINK);
}

#[tokio::test]
async fn links_are_told_apart_from_what_they_lead_to() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    let target = OsStr::from_bytes(b"no where\xff/../x");
    symlink(target, &link).unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    symlink("file", folder.path().join("good")).unwrap();
    let server = server().await;
    let sftp = &server.sftp;
    assert_eq!(sftp.read_link(bytes(&link)).await.unwrap(), target.as_bytes());
    assert_eq!(sftp.lstat(bytes(&link)).await.unwrap().permissions.unwrap() & KIND, LINK);
    assert!(matches!(sftp.stat(bytes(&link)).await, Err(SftpError::NotFound)));
    let good = folder.path().join("good");
    assert_eq!(sftp.stat(bytes(&good)).await.unwrap().permissions.unwrap() & KIND, REGULAR);
    let real = sftp.real_path(bytes(&good)).await.unwrap();
    assert_eq!(real, bytes(&folder.path().canonicalize().unwrap().join("file")));
    let refused = sftp.read_link(bytes(&folder.path().join("file"))).await.unwrap_err();
    assert!(!refused.is_fatal(), "{refused}");
}

#[tokio::test]
async fn what_is_missing_or_forbidden_is_refused_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "s").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = Command::new(program());
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let server = server_by(command, Settings::default()).await;
    let missing = folder.path().join("missing");
    assert!(matches!(server.sftp.open(bytes(&missing)).await, Err(SftpError::NotFound)));
    assert!(matches!(server.sftp.open_dir(bytes(&missing)).await, Err(SftpError::NotFound)));
    assert!(matches!(server.sftp.lstat(bytes(&missing)).await, Err(SftpError::NotFound)));
    assert!(matches!(server.sftp.open(bytes(&secret)).await, Err(SftpError::PermissionDenied)));
    assert!(matches!(server.sftp.lstat(b"a\0b").await, Err(SftpError::Path)));
    let long = vec![b'a'; drawbridge_sftp::MAX_PATH_BYTES + 1];
    assert!(matches!(server.sftp.lstat(&long).await, Err(SftpError::Path)));
    assert!(matches!(server.sftp.lstat(&long[1..]).await, Err(SftpError::Refused { .. })));
    // OpenSSH opens a folder, and fails to read it.
    let opened = server.sftp.open(bytes(folder.path())).await.unwrap();
    let mut reading = opened.read(0, 10);
    assert!(!reading.next().await.unwrap_err().is_fatal());
    assert!(!reading.next().await.unwrap_err().is_fatal(), "a failed reading has no end that looks like success");
    assert!(server.sftp.lstat(bytes(&secret)).await.is_ok());
}

#[tokio::test]
async fn files_of_every_size_arrive_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = server().await;
    let read = 261_120;
    for size in [0, 1, 32767, 32768, 32769, read - 1, read, read + 1, 3 * read, 10_000_000] {
        let path = folder.path().join("file");
        let content = noise(size, size as u64);
        fs::write(&path, &content).unwrap();
        let (came, after) = fetch(&server.sftp, bytes(&path), size as u64).await.unwrap();
        assert!(came == content, "{size} bytes differ");
        assert_eq!(after.size, Some(size as u64));
    }
}

#[tokio::test]
async fn a_range_is_read_and_nothing_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = noise(1_000_000, 7);
    fs::write(&path, &content).unwrap();
    let server = server().await;
    let file = server.sftp.open(bytes(&path)).await.unwrap();
    for (from, to) in [(1, 2), (999_999, 1_000_000), (123, 700_123), (5, 5), (9, 3)] {
        let mut reading = file.read(from, to);
        let mut came = Vec::new();
        while let Some(chunk) = reading.next().await.unwrap() {
            came.extend_from_slice(&chunk);
        }
        assert!(came == content[from as usize..to.max(from) as usize], "{from}..{to} differs");
        assert_eq!(reading.after().await.unwrap(), file.attributes().await.unwrap());
    }
}

#[tokio::test]
async fn a_file_that_shrinks_ends_early_and_says_its_new_size() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let content = noise(40_000_000, 3);
    fs::write(&path, &content).unwrap();
    let server = server().await;
    let file = server.sftp.open(bytes(&path)).await.unwrap();
    let mut reading = file.read(0, 40_000_000);
    let mut came = reading.next().await.unwrap().unwrap().to_vec();
    // More than is asked for ahead is still to come.
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(30_000_001).unwrap();
    while let Some(chunk) = reading.next().await.unwrap() {
        came.extend_from_slice(&chunk);
    }
    assert!(reading.next().await.unwrap().is_none());
    assert!(came == content[..30_000_001]);
    assert_eq!(reading.after().await.unwrap().size, Some(30_000_001));
}

#[tokio::test]
async fn a_file_that_grows_is_read_as_far_as_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, noise(100, 1)).unwrap();
    let server = server().await;
    let file = server.sftp.open(bytes(&path)).await.unwrap();
    fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(&[0; 50]).unwrap();
    let mut reading = file.read(0, 100);
    assert_eq!(reading.next().await.unwrap().unwrap(), noise(100, 1));
    assert!(reading.next().await.unwrap().is_none());
    assert_eq!(reading.after().await.unwrap().size, Some(150));
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_files_come_at_once_through_few_descriptors() {
    let folder = tempfile::tempdir().unwrap();
    let size = |number: usize| (number * 7919) % 40_000;
    for number in 0..1000 {
        fs::write(folder.path().join(number.to_string()), noise(size(number), number as u64)).unwrap();
    }
    let server = server_with_descriptors(64).await;
    assert!(server.sftp.max_open_files() < 64, "{}", server.sftp.max_open_files());
    let mut fetching: FuturesUnordered<_> = (0..1000)
        .map(|number| {
            let path = folder.path().join(number.to_string());
            let sftp = &server.sftp;
            async move { (number, fetch(sftp, bytes(&path), size(number) as u64).await.unwrap()) }
        })
        .collect();
    while let Some((number, (content, after))) = fetching.next().await {
        assert!(content == noise(size(number), number as u64));
        assert_eq!(after.size, Some(size(number) as u64));
    }
}

#[tokio::test]
async fn handles_are_given_back_by_files_and_folders_and_by_those_who_stopped_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "x").unwrap();
    let server = server_with_descriptors(40).await;
    let sftp = &server.sftp;
    let limit = sftp.max_open_files();
    for _ in 0..3 * limit {
        drop(sftp.open(bytes(&path)).await.unwrap());
        drop(sftp.open_dir(bytes(folder.path())).await.unwrap());
    }
    for _ in 0..3 * limit {
        // Sent, and given up before the answer can have come.
        assert!(futures::poll!(Box::pin(sftp.open(bytes(&path)))).is_pending());
        assert!(futures::poll!(Box::pin(sftp.open_dir(bytes(folder.path())))).is_pending());
        sftp.lstat(b"/").await.unwrap();
    }
    let mut open = Vec::new();
    for _ in 0..limit {
        open.push(sftp.open(bytes(&path)).await.unwrap());
    }
    let next = sftp.open(bytes(&path));
    tokio::pin!(next);
    assert!(futures::poll!(&mut next).is_pending());
    sftp.lstat(b"/").await.unwrap();
    assert!(futures::poll!(&mut next).is_pending(), "there is no place for one more");
    open.pop();
    next.await.unwrap();
}

#[tokio::test]
async fn the_server_ends_when_the_last_of_the_session_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "content").unwrap();
    let support::Server { sftp, mut child } = server().await;
    let file = sftp.open(bytes(&path)).await.unwrap();
    let other = sftp.clone();
    drop((sftp, other));
    let mut reading = file.read(0, 7);
    drop(file);
    assert_eq!(reading.next().await.unwrap().unwrap(), "content");
    drop(reading);
    assert!(child.wait().await.unwrap().success());
}
