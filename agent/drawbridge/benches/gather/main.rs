//! `cargo bench --bench gather`: gathering beside `rsync -a` and `scp -r`, over the same sshd and the same network.
//!
//! Interleaved: each round runs every tool once, in turn another first, from the same starting state. A result that
//! differs from the source fails the benchmark, and so does gathering with more than [`MOST_MEMORY`]. Copies of many files
//! stay until the end: ext4 makes new files slowly for a minute after many were removed.
//!
//! | variable | what | default |
//! |---|---|---|
//! | `DRAWBRIDGE_BENCH_WORKS` | which works, of `logs,small,unchanged,grown` | all |
//! | `DRAWBRIDGE_BENCH_RTT` | added round trips in milliseconds | `0,20` |
//! | `DRAWBRIDGE_BENCH_ROUNDS` | rounds; medians of them are told | 5 |
//! | `DRAWBRIDGE_BENCH_CIPHER` | the cipher of rsync's and scp's ssh | ssh's own choice |
#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

mod compare;
mod content;
mod tools;
mod works;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use drawbridge_peers::proxy::{Proxy, Weather};
use drawbridge_peers::sshd::{Route, Sshd};
use tempfile::TempDir;

use tools::Tool;
use works::Work;

/// The most memory that gathering may have resident, in MiB.
const MOST_MEMORY: u64 = 150;

/// Fewer rounds say nothing about the spread.
const ROUNDS: usize = 5;

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark: cargo bench --bench gather");
        return;
    }
    let works = setting("WORKS", "logs,small,unchanged,grown");
    let works: Vec<Work> = works.split(',').map(|name| Work::named(name).expect("an unknown work")).collect();
    let trips: Vec<u64> = setting("RTT", "0,20").split(',').map(|number| number.parse().unwrap()).collect();
    let rounds: usize = setting("ROUNDS", &ROUNDS.to_string()).parse().unwrap();
    assert!(rounds > 0, "no rounds, no medians");
    let scratch = TempDir::with_prefix_in("bench-gather-", env!("CARGO_TARGET_TMPDIR")).unwrap();
    let sshd = Sshd::start();
    for work in works {
        let source = scratch.path().join(work.name()).join(content::TREE);
        work.fill(&source);
        for trip in &trips {
            let delay = Duration::from_micros(trip * 500);
            let proxy = (*trip > 0).then(|| Proxy::start(sshd.at(), Weather { delay, ..Weather::default() }));
            let route = Route::new(scratch.path(), &sshd, proxy.as_ref().map_or(sshd.at(), Proxy::at));
            measure(work, &source, *trip, rounds, &route);
        }
    }
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(format!("DRAWBRIDGE_BENCH_{name}")).unwrap_or_else(|_| default.to_owned())
}

/// Does one work over one network, and says how long each tool took.
fn measure(work: Work, source: &Path, trip: u64, rounds: usize, route: &Route) {
    let copies = |round: usize| {
        let round = if work.starts_with_a_copy() { 0 } else { round };
        source.parent().unwrap().join(format!("copies-{trip}-{round}"))
    };
    let mut seconds: BTreeMap<Tool, Vec<f64>> = BTreeMap::new();
    let mut peak = 0;
    // scp asks for one file after the other: with a round trip and many files that is the better part of an hour.
    let sampled = trip > 0 && work.has_many_files();
    let tools: &[Tool] = if sampled { &[Tool::Ours, Tool::Rsync] } else { &[Tool::Ours, Tool::Rsync, Tool::Scp] };
    if work.starts_with_a_copy() {
        tools.iter().for_each(|tool| {
            tool.run(source, &copies(0), route);
        });
    }
    for round in 0..rounds {
        work.change(source);
        for turn in 0..tools.len() {
            let tool = tools[(round + turn) % tools.len()];
            let ran = tool.run(source, &copies(round), route);
            seconds.entry(tool).or_default().push(ran.seconds);
            if tool == Tool::Ours {
                peak = peak.max(ran.peak_mib);
            }
            if tool == Tool::Ours || round == 0 {
                compare::same(source, &tool.copy(&copies(round), source), tool.keeps_times());
            }
            if !work.starts_with_a_copy() && !work.has_many_files() {
                tool.forget(&copies(round));
            }
        }
    }
    if work.starts_with_a_copy() && !work.has_many_files() {
        tools.iter().for_each(|tool| tool.forget(&copies(0)));
    }
    if sampled {
        let (parts, all) = content::SAMPLE;
        let scp = works::sample(source, parts, |part| Tool::Scp.run(part, &copies(0), route).seconds);
        println!(
            "note {} rtt_ms={trip} scp= is {} times what {parts} of {all} folders took, once",
            work.name(),
            all / parts
        );
        seconds.insert(Tool::Scp, vec![scp * (all / parts) as f64]);
    }
    tell(work, trip, &seconds, peak);
}

fn tell(work: Work, trip: u64, seconds: &BTreeMap<Tool, Vec<f64>>, peak: u64) {
    let [ours, rsync, scp] = [Tool::Ours, Tool::Rsync, Tool::Scp].map(|tool| median(&seconds[&tool]));
    let (name, ratio) = (work.name(), rsync / ours);
    println!("gather {name} rtt_ms={trip} ours={ours:.3} rsync={rsync:.3} scp={scp:.3} ratio={ratio:.2}");
    println!("memory {name} peak_mib={peak}");
    for (tool, all) in seconds {
        let all: Vec<String> = all.iter().map(|seconds| format!("{seconds:.3}")).collect();
        eprintln!("rounds {name} rtt_ms={trip} {tool:?}: {}", all.join(" "));
    }
    assert!(peak <= MOST_MEMORY, "{name}: {peak} MiB resident, at most {MOST_MEMORY} are allowed");
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
