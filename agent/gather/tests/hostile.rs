//! Hosts that lie: each scenario comes after a good gathering and is followed by another. Whatever the host says, nothing
//! outside of the mirror changes, the last good copy stays, the message says what was wrong, and the host that has come to
//! its senses is gathered completely.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use drawbridge_gather::{Source, SourceOutcome, SourceState, Symlinks, What};
use drawbridge_peers::hostile::{Attributes, Hostile, Lie, Node, Scenario};
use support::{TestSite, failure, problems, source, target};

/// What an honest host has.
fn honest() -> Scenario {
    Scenario::new().file("/data/good", b"good")
}

/// A host that is honest first, and a site that has gathered it.
struct Meeting {
    site: TestSite,
    host: Hostile,
    source: Source,
}

impl Meeting {
    async fn begin() -> Self {
        Self::begin_with(honest()).await
    }

    async fn begin_with(scenario: Scenario) -> Self {
        let (site, host) = (TestSite::new(), Hostile::start(scenario));
        let source = source(target(host.sshd(), host.sshd().at()), Scenario::ROOT);
        let meeting = Self { site, host, source };
        assert_eq!(meeting.site.gather(&meeting.source).await.state, SourceState::Complete);
        meeting
    }

    /// Gathers a scenario; the last good copy has to survive it, and the honest host to be gathered afterwards.
    async fn survive(&self, scenario: Scenario) -> SourceOutcome {
        self.host.set(scenario);
        let outcome = self.site.gather(&self.source).await;
        self.site.assert_unharmed();
        assert_eq!(fs::read(self.site.mirrored("/data/good")).unwrap(), b"good", "{outcome:?}");
        outcome
    }

    async fn recover(&self) {
        self.host.set(honest());
        assert_eq!(self.site.gather(&self.source).await.state, SourceState::Complete);
        let names = fs::read_dir(self.site.mirrored("/data")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), ["good"]);
        self.site.assert_unharmed();
    }

    /// The scenario has to fail the whole source, with one of these words.
    async fn fails(&self, scenario: Scenario, words: &str) {
        let outcome = self.survive(scenario).await;
        assert!(failure(&outcome).contains(words), "{outcome:?}");
        self.recover().await;
    }
}

/// Fails the source with the lie, told about a folder with a file of 100,000 bytes.
async fn lie_fails(lie: Lie, words: &str) {
    let meeting = Meeting::begin().await;
    meeting.fails(honest().file("/data/file", &[b'x'; 100_000]).lying(lie), words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_out_of_its_folder_or_is_none_ends_the_gathering() {
    let meeting = Meeting::begin().await;
    let long = [b'x'; 300];
    let names: [&[u8]; 7] = [b"../evil", b"../../evil", b"/etc/evil", b"a/b", b"a\0b", b"", &long];
    for name in names {
        meeting.fails(honest().listed("/data", name, Node::file(b"evil")), "name").await;
    }
    for name in [&b".."[..], b"."] {
        let outcome = meeting.survive(honest().listed("/data", name, Node::file(b"evil"))).await;
        assert_eq!(outcome.state, SourceState::Complete, "every folder has these, and they are passed over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_and_bytes_that_are_no_utf8_in_names_are_kept_as_they_are() {
    let meeting = Meeting::begin().await;
    let names: [&[u8]; 5] = [b"\x1b[2Jcleared", b"new\nline", b"caf\xe9", b"\xff\xfe", b"-rf"];
    let scenario = names.iter().fold(honest(), |scenario, name| scenario.listed("/data", name, Node::file(name)));
    let outcome = meeting.survive(scenario).await;
    assert_eq!(outcome.state, SourceState::Complete);
    for name in names {
        assert_eq!(fs::read(meeting.site.mirrored("/data").join(OsStr::from_bytes(name))).unwrap(), name);
    }
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_differ_only_in_case_are_two_files() {
    let meeting = Meeting::begin().await;
    let outcome = meeting.survive(honest().file("/data/Good", b"other").file("/data/GOOD", b"third")).await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(fs::read(meeting.site.mirrored("/data/Good")).unwrap(), b"other");
    assert_eq!(fs::read(meeting.site.mirrored("/data/GOOD")).unwrap(), b"third");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_name_that_is_listed_twice_the_first_entry_is_taken_and_the_other_named() {
    let meeting = Meeting::begin().await;
    let twice = honest().listed("/data", b"twice", Node::file(b"x")).listed("/data", b"twice", Node::folder());
    let outcome = meeting.survive(twice).await;
    assert!(problems(&outcome).contains("/data/twice: is listed twice"), "{outcome:?}");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_without_end_and_one_of_a_million_stop_at_the_limit() {
    let mut meeting = Meeting::begin().await;
    meeting.source.limits.entries = 20_000;
    for lie in [Lie::EndlessListing, Lie::Entries(1_000_000)] {
        meeting.fails(honest().lying(lie), "more than 20000 entries").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_without_bottom_stop_at_the_limit_and_the_rest_is_gathered() {
    let meeting = Meeting::begin().await;
    let outcome = meeting.survive(honest().lying(Lie::EndlessDepth)).await;
    let deepest =
        meeting.host.asked().iter().filter(|line| line.starts_with("OPENDIR")).map(String::len).max().unwrap();
    assert!(deepest < 2000, "{deepest}");
    assert!(!matches!(outcome.state, SourceState::Complete), "{outcome:?}");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_out_of_the_mirror_that_becomes_a_folder_is_not_written_through() {
    let meeting = Meeting::begin().await;
    let out = meeting.site.outside();
    let link = honest().node("/data/swap", Node::link(out.as_os_str().as_bytes()));
    assert_eq!(meeting.survive(link.clone()).await.state, SourceState::Complete);
    assert_eq!(fs::read_link(meeting.site.mirrored("/data/swap")).unwrap(), out);
    let folder = honest().node("/data/swap", Node::folder()).file("/data/swap/planted", b"evil");
    let folder = folder.file("/data/swap/sentinel", b"evil");
    assert_eq!(meeting.survive(folder.clone()).await.state, SourceState::Complete);
    assert_eq!(fs::read(meeting.site.mirrored("/data/swap/planted")).unwrap(), b"evil");
    // And back: nothing of what the link leads to is removed.
    assert_eq!(meeting.survive(link).await.state, SourceState::Complete);
    assert!(meeting.site.mirrored("/data/swap").is_symlink());
    // What was a link to a file gets a new file, and not the other's content.
    let to_file = honest().node("/data/swap", Node::link(out.join("sentinel").as_os_str().as_bytes()));
    assert_eq!(meeting.survive(to_file).await.state, SourceState::Complete);
    assert_eq!(meeting.survive(honest().file("/data/swap", b"evil")).await.state, SourceState::Complete);
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_says_otherwise_than_the_entries_themselves_leads_nowhere() {
    let meeting = Meeting::begin().await;
    let scenario = honest()
        .node("/data/folder", Node::folder())
        .node("/data/link", Node::link(b"/etc/passwd"))
        .node("/data/fifo", Node::special(0o010_644))
        .lying(Lie::ListedAsFiles);
    meeting.survive(scenario).await;
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_kept_or_followed_on_their_host_and_never_here() {
    let mut meeting = Meeting::begin().await;
    let What::Files(files) = &mut meeting.source.what else { unreachable!() };
    files.symlinks = Symlinks::Follow;
    // The host's answer to STAT is about the link itself, as if it led to a link.
    let sentinel = meeting.site.outside().join("sentinel");
    let outcome = meeting.survive(honest().node("/data/link", Node::link(sentinel.as_os_str().as_bytes()))).await;
    let mirrored = meeting.site.mirrored("/data/link");
    assert!(!mirrored.exists(), "{outcome:?}: {:?}", fs::read(&mirrored));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_claims_ten_terabytes_is_a_problem_and_the_rest_is_gathered() {
    let mut meeting = Meeting::begin().await;
    let giant = honest().node("/data/giant", Node::sparse(10 << 40)).file("/data/new", b"new");
    let outcome = meeting.survive(giant.clone()).await;
    assert!(problems(&outcome).contains("/data/giant"), "{outcome:?}");
    assert_eq!(fs::read(meeting.site.mirrored("/data/new")).unwrap(), b"new");
    assert!(!meeting.site.mirrored("/data/giant").exists());
    meeting.recover().await;
    // Even when it may be as large: no disk here is.
    meeting.source.limits.file_bytes = u64::MAX;
    meeting.source.limits.total_bytes = u64::MAX;
    let outcome = meeting.survive(giant).await;
    assert!(!matches!(outcome.state, SourceState::Complete), "{outcome:?}");
    assert!(!meeting.site.mirrored("/data/giant").exists());
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_at_the_end_of_the_numbers_do_no_harm() {
    let meeting = Meeting::begin().await;
    for size in [u64::MAX, u64::MAX - 1, i64::MAX as u64] {
        let outcome = meeting.survive(honest().node("/data/giant", Node::sparse(size))).await;
        assert!(!matches!(outcome.state, SourceState::Complete), "{outcome:?}");
        let several = honest().node("/data/a", Node::sparse(size)).node("/data/b", Node::sparse(size));
        assert!(!matches!(meeting.survive(several).await.state, SourceState::Complete));
    }
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_never_ends_is_read_as_far_as_it_was_said_to_go_and_marked() {
    let meeting = Meeting::begin().await;
    // The honest file's size and time are as they were, so that only the new one is read.
    let scenario = honest().file("/data/endless", &[b'x'; 1000]).lying(Lie::EndlessFiles);
    let outcome = meeting.survive(scenario).await;
    assert_eq!(outcome.state, SourceState::Complete);
    assert_eq!(outcome.counts.changed_while_read, 1, "{outcome:?}");
    let length = fs::metadata(meeting.site.mirrored("/data/endless")).unwrap().len();
    assert!((1000..=4_000_000).contains(&length), "{length}");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_whenever_it_is_looked_at_is_marked() {
    let meeting = Meeting::begin().await;
    meeting.host.set(honest().file("/data/changing", &[b'x'; 1000]).lying(Lie::EverChangingFiles));
    let outcome = meeting.site.gather(&meeting.source).await;
    assert_eq!(outcome.state, SourceState::Complete, "{outcome:?}");
    assert_eq!(outcome.counts.changed_while_read, 1, "{outcome:?}");
    assert_eq!(outcome.changed, ["/data/changing"]);
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_answering_in_the_middle_of_a_file_is_left() {
    let mut meeting = Meeting::begin_with(honest().file("/data/file", b"old")).await;
    meeting.source.limits.silence = Duration::from_secs(1);
    let scenario = honest().file("/data/file", &[b'x'; 3_000_000]).lying(Lie::HangsAt(1_000_000));
    let outcome = meeting.survive(scenario).await;
    assert!(failure(&outcome).contains("1 s"), "{outcome:?}");
    assert_eq!(fs::read(meeting.site.mirrored("/data/file")).unwrap(), b"old");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_in_the_middle_of_a_file_leaves_the_old_one() {
    let meeting = Meeting::begin_with(honest().file("/data/file", b"old")).await;
    for offset in [0, 1, 1_000_000] {
        let scenario = honest().file("/data/file", &[b'x'; 3_000_000]).lying(Lie::ExitsAt(offset));
        let outcome = meeting.survive(scenario).await;
        assert!(!failure(&outcome).is_empty());
        assert_eq!(fs::read(meeting.site.mirrored("/data/file")).unwrap(), b"old");
    }
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_answered_with_more_than_was_asked_ends_the_gathering() {
    // Whoever waits must hear the reason however the threads run.
    for _ in 0..5 {
        lie_fails(Lie::LongAnswers, "more than was asked").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_that_is_answered_with_nothing_ends_the_gathering() {
    lie_fails(Lie::EmptyAnswers, "no data and no end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_nothing_that_was_asked_and_answers_twice_end_the_gathering() {
    lie_fails(Lie::WrongIds, "nobody made").await;
    lie_fails(Lie::DoubleAnswers, "twice").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_or_a_string_of_four_gibibytes_is_not_waited_for() {
    lie_fails(Lie::GiantPacket, "bytes is announced").await;
    lie_fails(Lie::GiantString, "longer than its packet").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_of_empty_batches_ends_the_gathering() {
    lie_fails(Lie::EmptyBatches, "without naming anything").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn text_instead_of_a_version_is_named() {
    lie_fails(Lie::Chatter, "text where SFTP should begin").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_fifos_and_sockets_are_counted_and_not_made() {
    let meeting = Meeting::begin().await;
    let kinds = [0o010_000, 0o020_000, 0o060_000, 0o140_000, 0o170_000];
    let scenario = kinds
        .iter()
        .fold(honest(), |scenario, kind| scenario.node(format!("/data/{kind:o}"), Node::special(kind | 0o666)));
    let outcome = meeting.survive(scenario).await;
    assert_eq!((&outcome.state, outcome.counts.skipped_special), (&SourceState::Complete, 5));
    let opened = meeting.host.asked().iter().filter(|line| line.starts_with("OPEN ")).count();
    assert_eq!(opened, 1, "the good file alone was opened, at the first gathering");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_about_its_files_is_not_believed_in_part() {
    let meeting = Meeting::begin().await;
    let silent = |change: fn(&mut Attributes)| honest().node("/data/bare", Node::file(b"x").with(change));
    for scenario in [
        silent(|attributes| *attributes = Attributes::NONE),
        silent(|attributes| attributes.mode = None),
        silent(|attributes| attributes.times = None),
        silent(|attributes| attributes.size = None),
    ] {
        meeting.fails(scenario, "doesn't tell").await;
    }
    let outcome = meeting.survive(silent(|attributes| attributes.owner = None)).await;
    assert_eq!(outcome.state, SourceState::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn times_at_both_ends_of_the_protocol_s_range_are_kept() {
    let meeting = Meeting::begin().await;
    let times = [0, 1, u32::try_from(i32::MAX).unwrap() + 1, u32::MAX];
    let scenario = times
        .iter()
        .fold(honest(), |scenario, time| scenario.node(format!("/data/{time}"), Node::file(b"x").changed_at(*time)));
    assert_eq!(meeting.survive(scenario.clone()).await.state, SourceState::Complete);
    for time in times {
        let mirrored = meeting.site.mirrored(&format!("/data/{time}"));
        assert_eq!(fs::metadata(mirrored).unwrap().mtime(), i64::from(time));
    }
    assert_eq!(meeting.survive(scenario).await.counts.copied_files, 2, "the two from the future might have changed");
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn setuid_and_impossible_owners_get_into_no_mirror() {
    let meeting = Meeting::begin().await;
    let setuid = Node::file(b"x").with(|attributes| attributes.mode = Some(0o106_755));
    assert_eq!(meeting.survive(honest().node("/data/root-shell", setuid)).await.state, SourceState::Complete);
    assert_eq!(fs::metadata(meeting.site.mirrored("/data/root-shell")).unwrap().mode() & 0o7777, 0o755);
    meeting.recover().await;
    let nobody = Node::file(b"x").with(|attributes| attributes.owner = Some((u32::MAX, u32::MAX)));
    let outcome = meeting.survive(honest().node("/data/nobody", nobody)).await;
    // Whoever isn't root keeps no owners, and so can't meet an impossible one.
    if meeting.site.is_roots() {
        assert!(failure(&outcome).contains("impossible owner"), "{outcome:?}");
    }
    meeting.recover().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn link_targets_are_bytes_of_bounded_length() {
    let meeting = Meeting::begin().await;
    let odd = honest().node("/data/odd", Node::link(b"\x1b[2J\xff\n")).node("/data/empty", Node::link(b""));
    let outcome = meeting.survive(odd).await;
    assert_eq!(fs::read_link(meeting.site.mirrored("/data/odd")).unwrap().as_os_str().as_bytes(), b"\x1b[2J\xff\n");
    assert!(problems(&outcome).contains("/data/empty"), "{outcome:?}");
    let longest = meeting.survive(honest().node("/data/long", Node::link(&[b'x'; 4095]))).await;
    assert_eq!(longest.state, SourceState::Complete);
    let longer = meeting.survive(honest().node("/data/long", Node::link(&[b'x'; 4096]))).await;
    assert!(problems(&longer).contains("/data/long"), "{longer:?}");
    for target in [&[b'x'; 100_000][..], b"a\0b"] {
        meeting.fails(honest().node("/data/long", Node::link(target)), "no system allows").await;
    }
    meeting.recover().await;
}
