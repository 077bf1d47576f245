//! Logs that grow, and files whose time says too little.

use std::io::Write;

use super::*;
use crate::catalogue::{CatalogueWriter, Header};

const HALF: usize = 1 << 20;

fn log(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at.wrapping_mul(2_654_435_761) >> 13) & 0xff).unwrap()).collect()
}

fn source(site: &TestSite) -> Source {
    let append = Append { files: site.globs(&["**/*.log"]), except: site.globs(&["**/not-this.log"]) };
    site.with(|files| files.append = append)
}

async fn after_a_first_gathering(name: &str) -> TestSite {
    let site = TestSite::new();
    site.write(name, &log(HALF));
    site.grow_old();
    let outcome = site.gather_source(source(&site)).await;
    assert_eq!((outcome.state, outcome.counts.copied_bytes), (SourceState::Complete, HALF as u64));
    site
}

fn append(site: &TestSite, name: &str, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(site.source(name)).unwrap().write_all(bytes).unwrap();
}

#[tokio::test]
async fn of_a_log_that_grew_only_what_was_appended_comes() {
    let site = after_a_first_gathering("a.log").await;
    append(&site, "a.log", b"one more line\n");
    let outcome = site.gather_source(source(&site)).await;
    assert_eq!((outcome.counts.copied_files, outcome.counts.copied_bytes), (1, 14));
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
    // And again, from what the last time has left.
    append(&site, "a.log", b"and another\n");
    site.gather_source(source(&site)).await;
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
}

#[tokio::test]
async fn a_log_that_was_replaced_by_a_longer_one_comes_as_a_whole() {
    for change in [0, 65_535, HALF - 1] {
        let site = after_a_first_gathering("a.log").await;
        let mut other = log(HALF + 10);
        other[change] ^= 1;
        site.write("a.log", &other);
        let outcome = site.gather_source(source(&site)).await;
        assert_eq!(outcome.counts.copied_bytes, HALF as u64 + 10, "changed at {change}");
        assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
    }
}

#[tokio::test]
async fn a_log_that_is_shorter_now_or_not_one_that_only_grows_comes_as_a_whole() {
    let site = after_a_first_gathering("a.log").await;
    site.write("a.log", &log(HALF - 1));
    assert_eq!(site.gather_source(source(&site)).await.counts.copied_bytes, HALF as u64 - 1);
    for name in ["not-this.log", "database"] {
        let site = after_a_first_gathering(name).await;
        append(&site, name, b"x");
        assert_eq!(site.gather_source(source(&site)).await.counts.copied_bytes, HALF as u64 + 1);
    }
}

#[tokio::test]
async fn a_copy_that_was_tampered_with_is_no_beginning_for_anything() {
    let site = after_a_first_gathering("a.log").await;
    let mut bad = log(HALF);
    bad[HALF / 2] ^= 1;
    let kept = site.mirrored("a.log").metadata().unwrap().modified().unwrap();
    fs::write(site.mirrored("a.log"), &bad).unwrap();
    append(&site, "a.log", b"x");
    let outcome = site.gather_source(source(&site)).await;
    assert_eq!(outcome.counts.copied_bytes, HALF as u64 + 1, "its time isn't the catalogue's: {kept:?}");
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
}

#[tokio::test]
async fn a_copy_that_somebody_changed_in_the_mirror_comes_again() {
    let site = TestSite::new();
    site.write("same-length", b"content");
    site.write("same-time", b"content");
    site.grow_old();
    site.gather().await;
    fs::write(site.mirrored("same-length"), b"CONTENT").unwrap();
    fs::write(site.mirrored("same-time"), b"longer content").unwrap();
    set_mtime(&site.mirrored("same-time"), 1_500_000_000, 0);
    assert_eq!(site.gather().await.counts.copied_files, 2);
    assert_eq!(tree(&site.source("")), tree(&site.mirrored("")));
}

#[tokio::test]
async fn a_file_that_had_just_changed_when_it_was_read_is_read_again() {
    let site = TestSite::new();
    site.write("fresh", b"before");
    let now = SystemTime::now();
    fs::File::open(site.source("fresh")).unwrap().set_modified(now).unwrap();
    site.write("old", b"before");
    set_mtime(&site.source("old"), 1_500_000_000, 0);
    site.gather().await;
    // Changed within the clock's granularity: same length, same time.
    site.write("fresh", b"after!");
    fs::File::open(site.source("fresh")).unwrap().set_modified(now).unwrap();
    let outcome = site.gather().await;
    assert_eq!(outcome.counts.copied_files, 1);
    assert_eq!(fs::read(site.mirrored("fresh")).unwrap(), b"after!");
}

#[tokio::test]
async fn what_may_have_been_lost_with_the_power_comes_again() {
    let site = TestSite::new();
    site.write("file", b"content");
    site.grow_old();
    site.gather().await;
    assert_eq!(site.gather().await.counts.copied_files, 0, "the machine has been up since");
    // The catalogue of another boot: the file's length and time may have survived without its content.
    rewrite_boot(&site);
    assert_eq!(site.gather().await.counts.copied_files, 1);
    // Now it is on the disk.
    site.site().settle().unwrap();
    rewrite_boot(&site);
    assert_eq!(site.gather().await.counts.copied_files, 0);
    // And what came since isn't.
    site.write("file", b"other content");
    site.grow_old();
    assert_eq!(site.gather().await.counts.copied_files, 1);
    rewrite_boot(&site);
    assert_eq!(site.gather().await.counts.copied_files, 1);
}

/// Writes the catalogue as it is, under another header.
fn rewrite(site: &TestSite, change: impl FnOnce(&mut Header)) {
    let old = site.site().catalogue("this-host").unwrap().unwrap();
    let mut header = old.header.clone();
    change(&mut header);
    let mut writer = CatalogueWriter::begin(&site.site().catalogue_path("this-host"), &header).unwrap();
    old.folders().for_each(|folder| writer.add(&folder.unwrap()).unwrap());
    writer.finish().unwrap().take_name().unwrap();
}

fn rewrite_boot(site: &TestSite) {
    rewrite(site, |header| header.boot = "another".to_owned());
}

#[tokio::test]
async fn a_damaged_catalogue_leads_to_a_fresh_copy_and_never_to_a_false_one() {
    let site = TestSite::new();
    site.write("file", b"content");
    site.grow_old();
    site.gather().await;
    fs::write(site.site().catalogue_path("this-host"), b"nonsense").unwrap();
    let outcome = site.gather().await;
    assert_eq!((outcome.state, outcome.counts.copied_files), (SourceState::Complete, 1));
    assert_eq!(site.gather().await.counts.copied_files, 0);
}

#[tokio::test]
async fn another_place_under_the_same_name_is_not_taken_for_the_old_one() {
    let site = TestSite::new();
    site.write("file", b"content");
    site.grow_old();
    site.gather().await;
    let mut elsewhere = site.this_host();
    elsewhere.place = Place::Ssh(drawbridge_hosts::Target {
        host: "127.0.0.1".to_owned(),
        port: Some(1),
        user: Some("x".to_owned()),
        identity_file: None,
        known_hosts: None,
        ssh_config: None,
        jump: None,
    });
    elsewhere.limits.retries = 0;
    assert!(matches!(site.gather_source(elsewhere).await.state, SourceState::Failed { .. }));
    assert!(site.mirrored("file").exists(), "a failed source leaves the last good copy");
    // A file of the same length and time on another machine is another file.
    rewrite(&site, |header| header.place = "other-host as root".to_owned());
    assert_eq!(site.gather().await.counts.copied_files, 1);
}

#[tokio::test]
async fn a_log_that_grew_is_whole_where_it_is_checked_and_where_it_is_kept_aside() {
    use crate::check::ContentTest;
    let site = after_a_first_gathering("a.log").await;
    site.write("other", b"x");
    site.grow_old();
    site.gather_source(source(&site)).await;
    append(&site, "a.log", b"one more line\n");
    let whole = fs::read(site.source("a.log")).unwrap();
    fs::remove_file(site.source("other")).unwrap();
    let mut strict = source(&site);
    strict.rule.max_vanish = Some(0.1);
    let What::Files(files) = &mut strict.what else { unreachable!() };
    files.append.except = GlobSet::empty();
    assert!(failure(&site.gather_source(strict.clone()).await).contains("--accept-vanished"));
    let aside = site.site().aside("this-host").join(site.source("a.log").strip_prefix("/").unwrap());
    assert!(fs::read(aside).unwrap() == whole, "what is kept aside is whole");
    assert_eq!(fs::read(site.mirrored("a.log")).unwrap().len(), HALF);

    // A check sees the beginning, too.
    let What::Files(files) = &mut strict.what else { unreachable!() };
    files.checks = vec![FileRule { files: site.globs(&["a.log"]), tests: vec![ContentTest::MinBytes(HALF as u64)] }];
    let beginning: String = log(16).iter().map(|byte| format!("\\x{byte:02x}")).collect();
    let begins = regex::bytes::Regex::new(&format!("(?s-u)^{beginning}")).unwrap();
    files.checks[0].tests.push(ContentTest::Matches(begins));
    let settings = Settings { accept_vanished: true, ..Settings::default() };
    let outcome = site.gather_all(&[strict], &settings).await.remove(0);
    assert_eq!((outcome.state, outcome.counts.copied_bytes), (SourceState::Complete, 14));
    assert!(fs::read(site.mirrored("a.log")).unwrap() == whole);
}
