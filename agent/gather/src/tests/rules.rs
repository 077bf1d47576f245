//! What must be true of a copy before it replaces the last good one.

use super::*;
use crate::check::ContentTest;

fn rule(site: &TestSite, glob: &str, test: ContentTest) -> FileRule {
    FileRule { files: site.globs(&[glob]), tests: vec![test] }
}

#[tokio::test]
async fn a_file_that_does_not_pass_is_kept_aside_and_the_good_one_stays() {
    let site = TestSite::new();
    let source = site.with(|files| {
        files.checks = vec![rule(&site, "conf/*.xml", ContentTest::Xml { root: Some("opnsense".to_owned()) })];
    });
    site.write("conf/config.xml", b"<opnsense><a/></opnsense>");
    site.write("conf/other", b"x");
    assert_eq!(site.gather_source(source.clone()).await.state, SourceState::Complete);
    site.write("conf/config.xml", b"<opnsense><a>");
    site.write("conf/other", b"new");
    let outcome = site.gather_source(source.clone()).await;
    assert!(problems(&outcome).contains("conf/config.xml") && problems(&outcome).contains("rejected"), "{outcome:?}");
    assert_eq!(outcome.counts.rejected, 1);
    assert_eq!(fs::read(site.mirrored("conf/config.xml")).unwrap(), b"<opnsense><a/></opnsense>");
    assert_eq!(fs::read(site.mirrored("conf/other")).unwrap(), b"new", "the others come");
    let aside = site.site().aside("this-host").join(site.source("conf/config.xml").strip_prefix("/").unwrap());
    assert_eq!(fs::read(&aside).unwrap(), b"<opnsense><a>");
    assert_eq!(site.entry("conf/config.xml").meta.size, 25, "the catalogue speaks of the good one");
    // It is looked at again every time, and nothing is aside when it is well.
    assert_eq!(site.gather_source(source.clone()).await.counts.rejected, 1);
    site.write("conf/config.xml", b"<opnsense><b/></opnsense>");
    assert_eq!(site.gather_source(source).await.state, SourceState::Complete);
    assert!(!aside.exists());
}

#[tokio::test]
async fn a_source_from_which_too_much_vanished_keeps_everything_until_that_is_accepted() {
    let site = TestSite::new();
    (0..10).for_each(|number| site.write(&format!("log/{number}"), b"x"));
    let mut source = site.this_host();
    source.rule.max_vanish = Some(0.2);
    assert_eq!(site.gather_source(source.clone()).await.state, SourceState::Complete);
    (0..3).for_each(|number| fs::remove_file(site.source(&format!("log/{number}"))).unwrap());
    site.write("log/new", b"x");
    let outcome = site.gather_source(source.clone()).await;
    assert!(failure(&outcome).contains("--accept-vanished"), "{outcome:?}");
    assert!(site.mirrored("log/0").exists() && !site.mirrored("log/new").exists());
    let aside = site.site().aside("this-host").join(site.source("log/new").strip_prefix("/").unwrap());
    assert_eq!(fs::read(aside).unwrap(), b"x");
    let settings = Settings { accept_vanished: true, ..Settings::default() };
    assert_eq!(site.gather_all(&[source], &settings).await[0].state, SourceState::Complete);
    assert!(!site.mirrored("log/0").exists() && site.mirrored("log/new").exists());
}

#[tokio::test]
async fn a_source_that_is_suddenly_empty_is_refused_without_any_rule() {
    let site = TestSite::new();
    site.write("share/a", b"x");
    site.write("share/b", b"x");
    site.gather().await;
    fs::remove_dir_all(site.source("share")).unwrap();
    assert!(failure(&site.gather().await).contains("--accept-vanished"));
    assert!(site.mirrored("share/a").exists());
}

#[tokio::test]
async fn too_few_files_or_bytes_are_refused() {
    let site = TestSite::new();
    site.write("a", b"1234");
    let mut source = site.this_host();
    source.rule = SourceRule { min_files: Some(2), ..SourceRule::default() };
    assert!(failure(&site.gather_source(source.clone()).await).contains("min_files"));
    source.rule = SourceRule { min_bytes: Some(5), ..SourceRule::default() };
    assert!(failure(&site.gather_source(source.clone()).await).contains("min_size"));
    assert!(!site.mirrored("a").exists());
    source.rule = SourceRule { min_files: Some(1), min_bytes: Some(4), max_vanish: None };
    assert_eq!(site.gather_source(source).await.state, SourceState::Complete);
}

#[tokio::test]
async fn a_folder_on_which_nothing_is_mounted_is_refused() {
    let site = TestSite::new();
    site.write("share/file", b"x");
    let mounted = |mount| Source { place: Place::Local { require_mount: vec![mount] }, ..site.this_host() };
    for mount in [Mount::At(site.source("share")), Mount::Over(PathBuf::from("/usr/bin"))] {
        let outcome = site.gather_source(mounted(mount)).await;
        assert!(failure(&outcome).contains("nothing is mounted at"), "{outcome:?}");
        assert!(!site.mirrored("share/file").exists());
    }
    for mount in [Mount::At(PathBuf::from("/proc")), Mount::Over(PathBuf::from("/proc/sys"))] {
        assert_eq!(site.gather_source(mounted(mount)).await.state, SourceState::Complete);
    }
    // On something that is mounted, but not mounted itself.
    assert!(
        failure(&site.gather_source(mounted(Mount::At(PathBuf::from("/proc/sys/kernel")))).await).contains("nothing")
    );
    let outcome = site.gather_source(mounted(Mount::At(PathBuf::from("/nonexistent")))).await;
    assert!(failure(&outcome).contains("/nonexistent can't be looked at"));
}
