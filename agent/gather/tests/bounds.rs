//! What a gathering takes of this machine, whatever the source has: memory and open files. Each is done by a process of its
//! own, which is this test program again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use drawbridge_gather::check::SourceRule;
use drawbridge_gather::{
    Deaf, Files, Listener, Place, Settings, Site, Source, SourceOutcome, SourceState, Symlinks, What, gather,
};
use drawbridge_hosts::Target;
use drawbridge_peers::hostile::{Hostile, Lie, Scenario};
use serde::{Deserialize, Serialize};
use support::{TestSite, describe, failure, target};

/// The most memory that one gathering may have resident, with all limits as they are by default.
const MAX_RESIDENT_MIB: u64 = 150;

/// The environment variable with the child's [`Errand`].
const ERRAND: &str = "DRAWBRIDGE_BOUNDS_ERRAND";

/// What the child gathers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Errand {
    state: PathBuf,
    /// Where it writes what came of it.
    report: PathBuf,
    path: String,
    follow: bool,
    /// It has to have so many files, or nothing gets into the mirror.
    min_files: Option<u64>,
    /// The host; without one, it is this machine.
    host: Option<(String, u16, String, PathBuf, PathBuf)>,
}

/// What it reports.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    outcome: SourceOutcome,
    resident_mib: u64,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "it is the child of the other tests here, which start it"]
async fn child() {
    let errand: Errand = serde_json::from_str(&std::env::var(ERRAND).expect("it is for the other tests")).unwrap();
    let of_host = |(host, port, user, key, known_hosts)| Target {
        host,
        port: Some(port),
        user: Some(user),
        identity_file: Some(key),
        known_hosts: Some(known_hosts),
        ssh_config: Some(PathBuf::from("/dev/null")),
        jump: None,
    };
    let local = Place::Local { require_mount: Vec::new() };
    let place = errand.host.map_or(local, |host| Place::Ssh(of_host(host)));
    let symlinks = if errand.follow { Symlinks::Follow } else { Symlinks::Keep };
    let source = Source {
        name: support::SOURCE.to_owned(),
        place,
        what: What::Files(Files { symlinks, ..support::files(&errand.path) }),
        limits: support::limits(),
        rule: SourceRule { min_files: errand.min_files, ..SourceRule::default() },
        max_age: None,
    };
    let deaf: Arc<dyn Listener> = Arc::new(Deaf);
    let summary = gather(&Site::new(&errand.state), &[source], &Settings::default(), &deaf).await.unwrap();
    let status = fs::read_to_string("/proc/self/status").unwrap();
    // proc_pid_status(5): the peak resident set size, in kB.
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    let report = Report { outcome: summary.sources[0].clone(), resident_mib: kib.div_ceil(1024) };
    fs::write(errand.report, serde_json::to_vec(&report).unwrap()).unwrap();
}

/// Lets a child do it that may have so many files open.
fn in_a_child(errand: &Errand, open_files: u32) -> Report {
    let report = tempfile::NamedTempFile::new().unwrap();
    let errand = Errand { report: report.path().to_owned(), ..errand.clone() };
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("ulimit -n {open_files} && exec \"$0\" \"$@\""));
    command.arg(std::env::current_exe().unwrap()).args(["--exact", "child", "--ignored"]);
    let output = command.env(ERRAND, serde_json::to_string(&errand).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&fs::read(report.path()).unwrap()).unwrap()
}

/// What a hostile host's scenario comes to, and what it takes.
fn meet(lie: Lie) -> SourceOutcome {
    let (site, host) = (TestSite::new(), Hostile::start(Scenario::new().lying(lie)));
    let Target { host: name, port, user, identity_file, known_hosts, .. } = target(host.sshd(), host.sshd().at());
    let reached = (name, port.unwrap(), user.unwrap(), identity_file.unwrap(), known_hosts.unwrap());
    let errand = Errand {
        state: site.state(),
        path: Scenario::ROOT.to_owned(),
        min_files: Some(1),
        host: Some(reached),
        ..Errand::default()
    };
    let report = in_a_child(&errand, 1024);
    eprintln!("{lie:?}: {} MiB, {:?}", report.resident_mib, report.outcome.counts);
    assert!(report.resident_mib <= MAX_RESIDENT_MIB, "{} MiB for {lie:?}", report.resident_mib);
    site.assert_unharmed();
    report.outcome
}

/// The scenario ends in an error that names the limit.
fn is_too_much(lie: Lie) {
    let outcome = meet(lie);
    assert!(failure(&outcome).contains("raise max_entries"), "{outcome:?}");
}

/// The scenario is taken in to its end; there are no files in it, and so it gets no further.
fn is_taken_in(lie: Lie) {
    let outcome = meet(lie);
    assert!(failure(&outcome).contains("min_files"), "{outcome:?}");
}

#[test]
fn a_million_entries_take_little_memory() {
    is_too_much(Lie::Entries(1_000_000));
}

#[test]
fn listings_without_end_take_little_memory_one_or_many_at_once() {
    is_too_much(Lie::EndlessListing);
    is_too_much(Lie::EndlessListings(100));
}

#[test]
fn as_many_links_as_may_be_take_little_memory() {
    is_taken_in(Lie::Links(240_000, 20));
}

#[test]
fn links_with_the_longest_targets_take_little_memory() {
    is_too_much(Lie::Links(240_000, 4095));
}

#[test]
fn a_tree_that_is_deep_and_wide_takes_little_memory() {
    is_taken_in(Lie::Deep(20_000, 20));
    is_taken_in(Lie::DeepAndGone(240_000, 20));
}

#[test]
fn names_as_long_as_can_be_take_little_memory() {
    is_too_much(Lie::DeepAndGone(240_000, 255));
}

#[test]
fn any_number_of_folders_and_links_of_this_machine_is_gathered_with_few_files_open() {
    const MANY: usize = 2000;
    const LINKS: usize = 600;
    let (site, from) = (TestSite::new(), tempfile::tempdir().unwrap());
    for number in 0..MANY {
        let folder = from.path().join(format!("folder-{number}"));
        fs::create_dir(&folder).unwrap();
        (0..2).for_each(|file| fs::write(folder.join(file.to_string()), "x").unwrap());
    }
    let errand = Errand {
        state: site.state(),
        path: from.path().to_str().unwrap().to_owned(),
        follow: true,
        ..Errand::default()
    };
    let outcome = in_a_child(&errand, 256).outcome;
    assert_eq!((&outcome.state, outcome.counts.files), (&SourceState::Complete, 2 * MANY as u64), "{outcome:?}");
    let mirror = site.mirrored(from.path().to_str().unwrap());
    assert_eq!(describe(&mirror), describe(from.path()));
    // And where links lead to them all.
    fs::create_dir(from.path().join("links")).unwrap();
    for number in 0..LINKS {
        let (folder, links) = (from.path().join(format!("folder-{number}")), from.path().join("links"));
        std::os::unix::fs::symlink(folder.join("0"), links.join(format!("to-file-{number}"))).unwrap();
        std::os::unix::fs::symlink(&folder, links.join(format!("to-folder-{number}"))).unwrap();
    }
    let outcome = in_a_child(&errand, 256).outcome;
    let files = (2 * MANY + 3 * LINKS) as u64;
    assert_eq!((&outcome.state, outcome.counts.files), (&SourceState::Complete, files), "{outcome:?}");
    site.assert_unharmed();
}
