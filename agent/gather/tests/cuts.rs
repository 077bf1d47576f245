//! Connections that break: whatever the moment, the mirror has whole files only, and the next gathering mends everything.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use drawbridge_gather::{Source, SourceState};
use drawbridge_peers::proxy::{Fate, Proxy, Weather};
use drawbridge_peers::sshd::Sshd;
use support::{TestSite, describe, failure, source, target};

/// Cuts at this many places of the connection.
const CUTS: u64 = 40;

/// Numbers that are the same at every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// A tree on another host, every file of which tells its version in each of its bytes.
struct Changing {
    folder: tempfile::TempDir,
    version: u8,
}

impl Changing {
    fn new() -> Self {
        let changing = Self { folder: tempfile::tempdir().unwrap(), version: 0 };
        fs::create_dir_all(changing.path().join("deep/er")).unwrap();
        changing
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// Writes every file anew, larger than before.
    fn change(&mut self) {
        self.version += 1;
        let base = usize::from(self.version);
        let mut files = vec![("long.bin", 2_000_000 + base), ("deep/er/log.txt", 300_000 + base)];
        let names: Vec<String> = (0..40).map(|number| format!("deep/small-{number}")).collect();
        files.extend(names.iter().enumerate().map(|(number, name)| (name.as_str(), 100 * number + base)));
        for (name, length) in files {
            let path = self.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![self.version; length]).unwrap();
            // Long ago, so that only what has changed is fetched.
            let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + 60 * base as u64);
            fs::File::options().append(true).open(&path).unwrap().set_modified(time).unwrap();
        }
    }
}

/// Every file below `root` has the same byte throughout, and a length that its version may have.
fn assert_whole(root: &Path) -> BTreeMap<PathBuf, u8> {
    let entries =
        walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    entries
        .map(|entry| {
            let content = fs::read(entry.path()).unwrap();
            let version = *content.first().unwrap_or_else(|| panic!("{} is empty", entry.path().display()));
            assert!(content.iter().all(|byte| *byte == version), "{} is of two versions", entry.path().display());
            assert_eq!(content.len() % 100, usize::from(version) % 100, "{} is cut off", entry.path().display());
            (entry.path().to_owned(), version)
        })
        .collect()
}

fn cut(after: u64) -> Weather {
    Weather { to_client: Fate::CutAfter(after), ..Weather::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_at_random_points_leaves_whole_files_and_a_clean_gathering_the_rest() {
    let (site, sshd, mut tree) = (TestSite::new(), Sshd::start(), Changing::new());
    let proxy = Proxy::start(sshd.at(), Weather::default());
    let source = source(target(&sshd, proxy.at()), tree.path().to_str().unwrap());
    tree.change();
    assert_eq!(site.gather(&source).await.state, SourceState::Complete);
    let mirror = site.mirrored(tree.path().to_str().unwrap());
    let whole = proxy.bytes_to_client();
    let mut numbers = Numbers(3);
    let mut failed = 0;
    for _ in 0..CUTS {
        tree.change();
        proxy.set(cut(numbers.below(whole)));
        let outcome = site.gather(&source).await;
        failed += u32::from(matches!(outcome.state, SourceState::Failed { .. }));
        assert_eq!(assert_whole(&mirror).len(), 42);
    }
    assert!(failed > 30, "only {failed} gatherings met their cut");
    proxy.set(Weather::default());
    assert_eq!(site.gather(&source).await.state, SourceState::Complete);
    assert_eq!(describe(&mirror), describe(&tree.path()));
    site.assert_unharmed();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_tried_again_and_what_came_before_is_not_fetched_twice() {
    let (site, sshd, mut tree) = (TestSite::new(), Sshd::start(), Changing::new());
    tree.change();
    let proxy = Proxy::start(sshd.at(), cut(1_500_000));
    let mut source = source(target(&sshd, proxy.at()), tree.path().to_str().unwrap());
    source.limits.retries = 1;
    let clearing = async {
        while proxy.connections() == 0 {
            tokio::task::yield_now().await;
        }
        proxy.set(Weather::default());
    };
    let (outcome, ()) = tokio::join!(site.gather(&source), clearing);
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(proxy.connections(), 2);
    assert_eq!(describe(&site.mirrored(tree.path().to_str().unwrap())), describe(&tree.path()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_falls_silent_in_the_middle_of_a_file_is_left_and_the_old_copy_stays() {
    let (site, sshd, mut tree) = (TestSite::new(), Sshd::start(), Changing::new());
    tree.change();
    let proxy = Proxy::start(sshd.at(), Weather::default());
    let mut source: Source = source(target(&sshd, proxy.at()), tree.path().to_str().unwrap());
    source.limits.silence = Duration::from_secs(1);
    source.limits.time = Duration::from_secs(30);
    assert_eq!(site.gather(&source).await.state, SourceState::Complete);
    let mirror = site.mirrored(tree.path().to_str().unwrap());
    let before = describe(&mirror);
    tree.change();
    proxy.set(Weather { to_client: Fate::StallAfter(1_000_000), ..Weather::default() });
    let outcome = site.gather(&source).await;
    // SSH or SFTP, whichever notices first; long before the source's own time is up.
    assert!(failure(&outcome).contains("connection to the source was lost"), "{outcome:?}");
    assert_eq!(describe(&mirror), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_unchanged_source_and_of_a_log_that_grew_only_little_crosses_the_network() {
    let (site, sshd, tree) = (TestSite::new(), Sshd::start(), Changing::new());
    let log = tree.path().join("messages.log");
    let line = b"2024-07-01T03:00:00+02:00 gateway sshd[200]: Accepted publickey\n";
    fs::write(&log, line.repeat(100_000)).unwrap();
    let old = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fs::File::options().append(true).open(&log).unwrap().set_modified(old).unwrap();
    let proxy = Proxy::start(sshd.at(), Weather::default());
    let mut source = source(target(&sshd, proxy.at()), tree.path().to_str().unwrap());
    let drawbridge_gather::What::Files(files) = &mut source.what else { unreachable!() };
    files.append.files = globset::GlobSet::builder().add(globset::Glob::new("**/*.log").unwrap()).build().unwrap();
    assert_eq!(site.gather(&source).await.state, SourceState::Complete);
    let first = proxy.bytes_to_client();
    assert!(first > 6_000_000, "{first}");
    site.gather(&source).await;
    let second = proxy.bytes_to_client() - first;
    assert!(second < 100_000, "{second} bytes for nothing");
    let mut content = fs::read(&log).unwrap();
    content.extend(line.repeat(1000));
    fs::write(&log, &content).unwrap();
    fs::File::options().append(true).open(&log).unwrap().set_modified(old + Duration::from_secs(60)).unwrap();
    let outcome = site.gather(&source).await;
    let third = proxy.bytes_to_client() - first - second;
    assert!((64_000..1_000_000).contains(&third), "{third} bytes for 64,000 new ones: {outcome:?}");
    assert!(fs::read(site.mirrored(log.to_str().unwrap())).unwrap() == content);
}
