//! What a source may ask of this machine.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use super::*;

async fn limited(site: &TestSite, change: impl FnOnce(&mut Limits)) -> SourceOutcome {
    let mut source = site.this_host();
    change(&mut source.limits);
    site.gather_source(source).await
}

#[tokio::test]
async fn folders_are_followed_to_the_limit_and_no_deeper() {
    let site = TestSite::new();
    site.write("a/b/c/file", b"x");
    let depth = site.source("a/b/c").components().count() - 1;
    assert!(problems(&limited(&site, |limits| limits.depth = depth - 1).await).contains("deeper"));
    assert_eq!(limited(&site, |limits| limits.depth = depth).await.state, SourceState::Complete);
}

#[tokio::test]
async fn more_entries_than_the_limit_fail_the_source_and_keep_the_last_good_copy() {
    let site = TestSite::new();
    site.write("a/b/c/file", b"x");
    let entries = u64::try_from(site.source("a/b/c/file").components().count() - 1).unwrap();
    assert_eq!(limited(&site, |limits| limits.entries = entries).await.state, SourceState::Complete);
    site.write("a/b/c/one-more", b"x");
    let outcome = limited(&site, |limits| limits.entries = entries).await;
    assert!(failure(&outcome).contains("max_entries"), "{outcome:?}");
    assert!(site.mirrored("a/b/c/file").exists() && !site.mirrored("a/b/c/one-more").exists());
}

#[tokio::test]
async fn a_file_beyond_the_limit_is_named_and_the_others_come() {
    let site = TestSite::new();
    site.write("large", b"12345");
    site.write("small", b"1234");
    let outcome = limited(&site, |limits| limits.file_bytes = 4).await;
    assert!(problems(&outcome).contains("large: has 5 bytes, and max_file_size is 4"), "{outcome:?}");
    assert!(!site.mirrored("large").exists() && site.mirrored("small").exists());
}

#[tokio::test]
async fn a_path_that_the_mirror_cannot_hold_is_named_and_the_others_come() {
    let site = TestSite::new();
    site.write("short", b"x");
    // As long as a path may be on this machine; in the mirror there are folders before it.
    let mut path = "n".repeat(200);
    let left = |path: &str| 4090 - "//file".len() - site.source(path).as_os_str().len();
    while left(&path) > 250 {
        path += &format!("/{}", "n".repeat(200));
    }
    let last = "n".repeat(left(&path));
    site.write(&format!("{path}/{last}/file"), b"x");
    let outcome = limited(&site, |_| ()).await;
    assert!(problems(&outcome).contains("which the mirror can't hold: exclude it"), "{outcome:?}");
    assert!(site.mirrored("short").exists());
}

#[tokio::test]
async fn more_bytes_than_the_limit_fail_the_source() {
    let site = TestSite::new();
    site.write("a", b"1234");
    site.write("b", b"1234");
    assert!(failure(&limited(&site, |limits| limits.total_bytes = 7).await).contains("max_size"));
    assert_eq!(limited(&site, |limits| limits.total_bytes = 8).await.state, SourceState::Complete);
}

#[tokio::test]
async fn a_file_that_would_fill_the_disk_is_not_fetched() {
    let site = TestSite::new();
    // It says that it is larger than any disk, and on this one it takes no room; a host's file doesn't say what it takes.
    let file = fs::File::create(site.source("giant")).unwrap();
    file.set_len(1 << 43).unwrap();
    let meta = Meta { allocated: None, ..local_meta(&site.source("giant")) };
    let refused = collect::check_room(Ok(1 << 30), Path::new("/giant"), &meta).unwrap().unwrap_err();
    assert!(in_one_line(&refused).contains("make room"), "{refused}");
    assert!(collect::check_room(Ok(1 << 44), Path::new("/giant"), &meta).unwrap().is_ok());
    // Some room stays for everybody else.
    let small = Meta { size: 1, ..meta };
    assert!(collect::check_room(Ok(200 << 20), Path::new("/small"), &small).unwrap().is_err());
}

fn local_meta(path: &Path) -> Meta {
    crate::local::meta(&rustix::fs::lstat(path).unwrap())
}

#[tokio::test]
async fn a_source_that_takes_too_long_fails_and_the_next_one_goes_on() {
    let site = TestSite::new();
    site.write("file", b"x");
    let mut slow = site.this_host();
    slow.name = "slow".to_owned();
    slow.limits.time = Duration::from_millis(300);
    slow.what = What::Commands(vec![CommandOutput {
        run: "while :; do echo; sleep 0.1; done".to_owned(),
        file: "never".to_owned(),
        checks: Vec::new(),
    }]);
    let outcomes = site.gather_all(&[slow, site.this_host()], &Settings::default()).await;
    assert!(failure(&outcomes[0]).contains("took longer"), "{outcomes:?}");
    assert_eq!(outcomes[1].state, SourceState::Complete);
}

#[tokio::test]
async fn a_gathering_that_nobody_waits_for_any_more_ends() {
    let site = TestSite::new();
    let marker = site.dir.path().join("goes-on");
    let mut source = site.this_host();
    source.what = What::Commands(vec![CommandOutput {
        run: format!("while :; do echo; touch {}; sleep 0.05; done", marker.display()),
        file: "never".to_owned(),
        checks: Vec::new(),
    }]);
    let gathering = tokio::time::timeout(Duration::from_secs(1), site.gather_source(source)).await;
    assert!(gathering.is_err());
    // The command ends with it: within some seconds the marker stays as it is.
    let ended = async {
        loop {
            let _gone = fs::remove_file(&marker);
            tokio::time::sleep(Duration::from_millis(300)).await;
            if !marker.exists() {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the command still runs");
}

/// Calls the gathering off when the first bytes have come.
struct CallsOff {
    shared: Arc<one::Shared>,
    bytes: AtomicU64,
}

impl Progress for CallsOff {
    fn bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.shared.called_off.store(true, Ordering::Relaxed);
    }
    fn file(&self) {}
    fn note(&self, _: &str) {}
}

#[tokio::test]
async fn a_gathering_that_is_called_off_in_the_middle_of_a_file_ends_there() {
    let site = TestSite::new();
    site.write("long", &vec![b'x'; 4 << 20]);
    site.site().prepare().unwrap();
    let shared = Arc::new(one::Shared {
        site: site.site(),
        settings: Settings::default(),
        throttle: Throttle::new(None),
        called_off: AtomicBool::new(false),
        was_settled: true,
        boot: "this".to_owned(),
    });
    let progress = CallsOff { shared: Arc::clone(&shared), bytes: AtomicU64::new(0) };
    let outcome = one::gather(&shared, &site.this_host(), &progress).await;
    assert!(failure(&outcome).contains("called off"), "{outcome:?}");
    let came = progress.bytes.load(Ordering::Relaxed);
    assert!(came < 4 << 20, "{came} bytes came");
}

/// What is allowed at once is a quarter of a second's worth; the rest takes its time.
const RATE: u64 = 400_000;

#[tokio::test]
async fn a_source_s_files_come_no_faster_than_it_may_send() {
    let site = TestSite::new();
    site.write("file", &vec![b'x'; 500_000]);
    let begun = Instant::now();
    assert_eq!(limited(&site, |limits| limits.bandwidth = Some(RATE)).await.state, SourceState::Complete);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_commands_say_comes_no_faster_than_all_together_may() {
    let site = TestSite::new();
    let run = "head -c 500000 /dev/zero".to_owned();
    let command = CommandOutput { run, file: "zeros".to_owned(), checks: Vec::new() };
    let source = Source { what: What::Commands(vec![command]), ..site.this_host() };
    let settings = Settings { bandwidth: Some(RATE), ..Settings::default() };
    let begun = Instant::now();
    assert_eq!(site.gather_all(&[source], &settings).await[0].state, SourceState::Complete);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}
