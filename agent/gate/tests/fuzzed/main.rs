//! Ten thousand hostile requests, made by the rules of HTTP/1.1, HTTP/2 and SSH and against them, at the gate's own program.
//!
//! A seed decides what they are. One that fails is told, and `DRAWBRIDGE_FUZZ_SEED=<seed> cargo test --test fuzzed` makes the
//! same requests again; `DRAWBRIDGE_FUZZ_REQUESTS` changes their number.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;
mod dice;
mod one;
mod plan;
mod two;
mod visitor;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::machine::{MEMORY_KIB, Machine, run_path};
use common::objects::sha256;
use dice::Dice;
use plan::Plan;
use visitor::{Visitor, ask, private_key, say};

const REQUESTS: usize = 10_000;

/// Connections at once. The gate takes four, and the agent needs one.
const LANES: usize = 3;

/// Requests on one channel, one after the other without waiting for an answer.
const PIPELINE: usize = 8;

/// Channels on one connection, before there is a new one.
const CHANNELS: usize = 40;

fn setting(name: &str, default: usize) -> usize {
    let text = std::env::var(format!("DRAWBRIDGE_FUZZ_{name}"));
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("DRAWBRIDGE_FUZZ_{name} is no number: {text}")))
}

/// Tells the seed when something fails.
struct Seed(usize);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to make the same requests again: DRAWBRIDGE_FUZZ_SEED={} cargo test --test fuzzed", self.0);
        }
    }
}

/// One connection after the other, until enough requests were made.
async fn lane(seed: u64, visitor: Visitor, plan: Arc<Plan>, made: Arc<AtomicUsize>, requests: usize) {
    let mut dice = Dice::new(seed);
    while made.load(Ordering::SeqCst) < requests {
        let connection = visitor.log_in().await;
        for _ in 0..CHANNELS {
            let count = 1 + dice.below(PIPELINE);
            match dice.below(20) {
                0 => visitor.knock(&mut dice).await,
                1..=3 => ask(&connection, &mut dice).await,
                4..=7 => {
                    let bytes = two::connection(&mut dice, count, |dice| plan.aim(dice));
                    say(&connection, &mut dice, &bytes).await;
                    made.fetch_add(count - 1, Ordering::SeqCst);
                }
                8 => {
                    let bytes = dice.bytes(100_000);
                    say(&connection, &mut dice, &bytes).await;
                }
                _ => {
                    let mut bytes = Vec::new();
                    for _ in 0..count {
                        let aim = plan.aim(&mut dice);
                        bytes.extend(one::request(&mut dice, &aim));
                    }
                    say(&connection, &mut dice, &bytes).await;
                    made.fetch_add(count - 1, Ordering::SeqCst);
                }
            }
            if made.fetch_add(1, Ordering::SeqCst) >= requests || connection.is_closed() {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_hostile_requests_store_nothing_undeclared_and_leave_the_gate_as_it_was() {
    let (seed, requests) = (setting("SEED", 1), setting("REQUESTS", REQUESTS));
    let _told = Seed(seed);
    let plan = Arc::new(Plan::new());
    let key = private_key();
    let public = key.public_key().to_openssh().unwrap();
    let mut gate = Machine::boot(&plan.cargo.manifest(), |config| config.public_key = public).await;
    let visitor = Visitor { port: gate.port, host_key: gate.host_key(), key };
    let made = Arc::new(AtomicUsize::new(0));
    let lanes = (0..LANES).map(|lane_number| {
        let seed = (seed * LANES + lane_number) as u64;
        tokio::spawn(lane(seed, visitor.clone(), Arc::clone(&plan), Arc::clone(&made), requests))
    });
    for lane in lanes.collect::<Vec<_>>() {
        if let Err(stopped) = lane.await {
            let log = gate.log();
            let last: Vec<&str> = log.lines().rev().take(20).collect();
            panic!("{stopped}; the gate's last words, the last one first: {last:#?}");
        }
    }

    let log = gate.log();
    assert_eq!(gate.child.try_wait().unwrap(), None, "the gate has ended: {log}");
    assert!(!log.contains("panicked"), "{log}");
    let peak = gate.high_water_mark();
    eprintln!("{} hostile requests of seed {seed}, at most {peak} KiB resident", made.load(Ordering::SeqCst));
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    let stored = gate.aws.objects();
    only_what_was_declared(&plan, &stored);
    assert!(stored.len() > plan.cargo.crossing().count() / 2, "hardly anything got in, so hardly anything was tried");
    assert_eq!(gate.aws.others(), Vec::<String>::new(), "nothing but puts and metadata");

    let connection = visitor.log_in().await;
    let channel = connection.channel_open_direct_tcpip(drawbridge_ssh::VAULT_HOST, drawbridge_ssh::VAULT_PORT, "", 0);
    let mut agent = common::Http::one(channel.await.unwrap().into_stream()).await;
    assert_eq!(agent.post("/manifest", plan.cargo.manifest_text()).await.status, 200);
    for object in plan.cargo.crossing() {
        assert_eq!(agent.post(&object.path(), object.content.clone()).await.status, 200, "{}", object.name);
    }
    assert_eq!(agent.post("/receipt", "").await.status, 200);
    drop((agent, connection));
    only_what_was_declared(&plan, &gate.aws.objects());
    assert_eq!(gate.exit_code().await, 0, "{}", gate.log());
}

/// Every object in the vault is one that was declared as crossing, with exactly its bytes.
fn only_what_was_declared(plan: &Plan, stored: &BTreeMap<String, (u64, drawbridge_wire::Sha256Digest)>) {
    let declared: BTreeMap<_, _> = plan
        .cargo
        .crossing()
        .map(|object| (format!("/vault/{}", object.key()), (object.content.len() as u64, sha256(&object.content))))
        .collect();
    for (path, found) in stored.iter().filter(|(path, _)| !path.starts_with(&run_path("ready/"))) {
        if *path == run_path("manifest.json") {
            assert_eq!(found.1, sha256(&plan.cargo.manifest_text()));
        } else if *path != run_path("receipt.json") {
            assert_eq!(declared.get(path), Some(found), "{path}");
        }
    }
}
