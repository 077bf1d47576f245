//! Sources beside each other, and sources that never come to an end.

use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::time::Instant;

use super::*;

fn command(site: &TestSite, name: &str, run: &str) -> Source {
    let what = What::Commands(vec![CommandOutput { run: run.to_owned(), file: "said".to_owned(), checks: Vec::new() }]);
    Source { name: name.to_owned(), what, ..site.this_host() }
}

/// Takes down who ended in which order, and how many were under way at once. When so many have ended, it makes a file.
struct Watching {
    now: AtomicUsize,
    most: AtomicUsize,
    ended: Mutex<Vec<String>>,
    makes: (usize, PathBuf),
}

impl Listener for Watching {
    fn begins(&self, _: &str) -> Arc<dyn Progress> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        Arc::new(Deaf)
    }

    fn ended(&self, outcome: &SourceOutcome) {
        self.now.fetch_sub(1, Ordering::SeqCst);
        let mut ended = self.ended.lock().unwrap();
        ended.push(outcome.name.clone());
        if ended.len() == self.makes.0 {
            fs::write(&self.makes.1, "").unwrap();
        }
    }
}

#[tokio::test]
async fn while_one_source_takes_its_time_all_others_have_their_turn_and_never_more_than_so_many_at_once() {
    let site = TestSite::new();
    let done = site.dir.path().join("the-quick-are-done");
    let mut slow = command(&site, "slow", &format!("until [ -e {} ]; do sleep 0.02; done", done.display()));
    slow.limits.time = Duration::from_secs(20);
    let mut sources = vec![slow];
    sources.extend((1..=5).map(|number| command(&site, &format!("quick-{number}"), "echo done")));
    let watching = Arc::new(Watching {
        now: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        ended: Mutex::default(),
        makes: (5, done),
    });
    let listener: Arc<dyn Listener> = Arc::<Watching>::clone(&watching);
    let settings = Settings { parallel: 2, ..Settings::default() };
    let summary = gather(&site.site(), &sources, &settings, &listener).await.unwrap();
    // The slow one ends because the others did.
    assert!(summary.is_complete(), "{summary:?}");
    assert_eq!(watching.ended.lock().unwrap().last().unwrap(), "slow");
    assert_eq!(watching.most.load(Ordering::SeqCst), 2);
    let names = summary.sources.iter().map(|outcome| outcome.name.as_str());
    assert!(names.eq(sources.iter().map(|source| source.name.as_str())), "in the configuration's order");
}

#[tokio::test]
async fn a_preview_of_a_source_that_hangs_ends_after_its_time_and_says_so() {
    let site = TestSite::new();
    site.write("file", b"x");
    let mut source = site.this_host();
    source.limits.time = Duration::from_millis(100);
    // As a dead mount does: the source's thread doesn't come back from a call.
    let (end, hang) = mpsc::channel::<()>();
    let tell = move |_: Coming| assert!(hang.recv().is_err());
    let state = site.site();
    let previewing = preview_within(Duration::from_millis(100), &state, &source, tell);
    let outcome = tokio::time::timeout(Duration::from_secs(20), previewing).await;
    drop(end);
    let outcome = outcome.expect("it hangs").unwrap();
    assert!(failure(&outcome).contains("is a mounted folder's server gone"), "{outcome:?}");
}

/// At least so long: sleeping may take longer, never less.
const AT_LEAST: Duration = Duration::from_millis(1500);

const MIB: u64 = 1 << 20;

async fn took(site: &TestSite, sources: &[Source], bandwidth: Option<u64>) -> Duration {
    let began = Instant::now();
    let outcomes = site.gather_all(sources, &Settings { bandwidth, ..Settings::default() }).await;
    assert!(outcomes.iter().all(|outcome| outcome.state == SourceState::Complete), "{outcomes:?}");
    began.elapsed()
}

#[tokio::test]
async fn files_come_no_faster_than_their_source_may() {
    let site = TestSite::new();
    site.write("file", &[b'x'; 2 << 20]);
    let mut source = site.this_host();
    source.limits.bandwidth = Some(MIB);
    assert!(took(&site, &[source], None).await >= AT_LEAST);
}

#[tokio::test]
async fn the_output_of_a_command_comes_no_faster_than_its_source_may() {
    let site = TestSite::new();
    let mut source = command(&site, "command", "head -c 2097152 /dev/zero");
    source.limits.bandwidth = Some(MIB);
    assert!(took(&site, &[source], None).await >= AT_LEAST);
}

#[tokio::test]
async fn all_sources_together_come_no_faster_than_all_may() {
    let site = TestSite::new();
    site.write("file", &[b'x'; 1 << 20]);
    let sources = [site.this_host(), command(&site, "command", "head -c 1048576 /dev/zero")];
    assert!(took(&site, &sources, Some(MIB)).await >= AT_LEAST);
}
