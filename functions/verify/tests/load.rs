//! The real function with 100,000 objects, in one call: within its time, and in the memory that the template gives it.
//!
//! Lambda's runtime API and S3 are one small server here. It makes each answer from the object's number: the local AWS would need minutes
//! to take so many objects, and what is measured is the function.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::time::Instant;

use support::{Function, OBJECTS, World};

/// The template's MemorySize of verify, in KiB.
const MEMORY_KIB: u64 = 256 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_objects_fit_one_call_and_its_memory_and_the_next_run_looks_at_a_share() {
    let world = World::begin().await;
    let began = Instant::now();
    let mut function = Function::begin(&world);
    let answer = world.invoke().await;
    assert_eq!(answer["verdict"], "good", "{answer}");
    assert_eq!(answer["objects"], OBJECTS as u64);
    assert_eq!(world.looks(), OBJECTS, "each object is looked at once");
    eprintln!("{OBJECTS} objects in {:.0?}", began.elapsed());

    // The next run, with the first one's evidence.
    let answer = world.invoke().await;
    assert_eq!(answer["verdict"], "good", "{answer}");
    let share = world.looks() - OBJECTS;
    assert!((OBJECTS / 32..OBJECTS / 8).contains(&share), "{share} objects were looked at again");
    let peak = function.peak_kib();
    assert!(peak < MEMORY_KIB, "{peak} KiB were resident");
    eprintln!("{peak} KiB at most");
}
