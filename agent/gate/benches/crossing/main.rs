//! `cargo bench --bench crossing`: the agent's crossing through the gate's program into an S3 on this disk, beside `rclone copy`
//! over sftp and `scp -r` to the same disk, over the same network.
//!
//! Interleaved: each round runs every tool once, in turn another first. A result that lacks a file or a byte fails the benchmark,
//! and so does a gate with more than [`MOST_MEMORY`].
//!
//! | variable | what | default |
//! |---|---|---|
//! | `DRAWBRIDGE_BENCH_WORKS` | which works, of `packs,small` | all |
//! | `DRAWBRIDGE_BENCH_RTT` | added round trips in milliseconds | `0,40` |
//! | `DRAWBRIDGE_BENCH_ROUNDS` | rounds; medians of them are told | 5 |
//! | `DRAWBRIDGE_BENCH_MIB` | how large `packs` is, in MiB | 1024 |
//! | `DRAWBRIDGE_BENCH_OBJECTS` | how many objects `small` has | 20000 |
//! | `DRAWBRIDGE_BENCH_STREAMS` | how many objects cross at once | the agent's default |
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)]

#[path = "../../tests/common/mod.rs"]
mod common;
mod ours;
mod peers;
mod process;
mod vault;
mod works;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use drawbridge_peers::proxy::{Proxy, Weather};
use drawbridge_peers::sshd::{Route, Sshd};
use tempfile::TempDir;

use peers::Peer;
use works::Work;

/// The most memory that the gate may have resident, in MiB.
const MOST_MEMORY: f64 = 64.0;

/// Fewer rounds say nothing about the spread.
const ROUNDS: usize = 5;

/// The three that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tool {
    Ours,
    Peer(Peer),
}

const TOOLS: [Tool; 3] = [Tool::Ours, Tool::Peer(Peer::Rclone), Tool::Peer(Peer::Scp)];

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("a benchmark: cargo bench --bench crossing");
        return;
    }
    let names = setting("WORKS", "packs,small".to_owned());
    let trips = setting("RTT", "0,40".to_owned());
    let rounds = setting("ROUNDS", ROUNDS);
    assert!(rounds > 0, "no rounds, no medians");
    let scratch = TempDir::with_prefix_in("bench-crossing-", env!("CARGO_TARGET_TMPDIR")).unwrap();
    vault::installed();
    let sshd = Sshd::start();
    for name in names.split(',') {
        let work = Work::make(name, scratch.path());
        for trip in trips.split(',').map(|number| number.parse().unwrap()) {
            measure(&work, trip, rounds, scratch.path(), &sshd);
        }
    }
}

/// A variable of the table above.
fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    match std::env::var(format!("DRAWBRIDGE_BENCH_{name}")) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("DRAWBRIDGE_BENCH_{name} can't be {text:?}")),
        Err(_) => default,
    }
}

/// Does one work over one network, and says how long each tool took.
fn measure(work: &Work, trip: u64, rounds: usize, scratch: &Path, sshd: &Sshd) {
    let delay = Duration::from_micros(trip * 500);
    let weather = Weather { delay, ..Weather::default() };
    let proxy = (trip > 0).then(|| Proxy::start(sshd.at(), weather));
    let route = Route::new(scratch, sshd, proxy.as_ref().map_or(sshd.at(), Proxy::at));
    // scp asks for one file after the other: with a round trip and many files that is the better part of an hour.
    let sampled = trip > 0 && work.has_many_files();
    let mut seconds: BTreeMap<Tool, Vec<f64>> = BTreeMap::new();
    let (mut cpu, mut peak) = (Vec::new(), 0_f64);
    for round in 0..rounds {
        for turn in 0..TOOLS.len() {
            let tool = TOOLS[(round + turn) % TOOLS.len()];
            let took = match tool {
                Tool::Ours => {
                    let ran = ours::run(work, scratch, weather);
                    cpu.push(ran.gate_cpu_seconds / (work.bytes as f64 / 1e9));
                    peak = peak.max(ran.gate_peak_mib);
                    ran.seconds
                }
                Tool::Peer(Peer::Scp) if sampled => continue,
                Tool::Peer(peer) => peer.run(&work.source, work.has_many_files(), scratch, &route),
            };
            eprintln!("round {} rtt_ms={trip} {tool:?}: {took:.3}", work.name);
            seconds.entry(tool).or_default().push(took);
        }
    }
    if sampled {
        let (part, times) = work.sample();
        let took = Peer::Scp.run(&part, true, scratch, &route) * times;
        println!("note {} rtt_ms={trip} scp= is {times:.1} times what one of its folders took, once", work.name);
        seconds.insert(Tool::Peer(Peer::Scp), vec![took]);
    }
    let [ours, rclone, scp] = TOOLS.map(|tool| median(&seconds[&tool]));
    println!(
        "crossing {} rtt_ms={trip} ours={ours:.3} rclone={rclone:.3} scp={scp:.3} ratio={:.2} gate_cpu_s_per_gb={:.2} \
         gate_rss_mib={peak:.1}",
        work.name,
        rclone / ours,
        median(&cpu)
    );
    assert!(peak < MOST_MEMORY, "{}: the gate had {peak:.1} MiB resident", work.name);
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) }
}
