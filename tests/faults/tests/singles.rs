//! Every single fault, on the real binaries: the bridge comes down, and nothing is lost in silence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_faults::campaign::{never_entered, play, record};
use drawbridge_faults::matrix::singles;
use drawbridge_faults::site::Site;
use drawbridge_faults::tell::Progress;
use drawbridge_tests::rigs_at_once;

#[tokio::test(flavor = "multi_thread")]
async fn no_single_fault_leaves_a_box_loses_a_run_or_makes_a_false_good() {
    let mut site = Site::up().await;
    let recording = record(&mut site).await;
    let cases = singles(&recording.seen, &recording.states);
    let table = play(Some(site), cases, rigs_at_once(), &Progress::of_what_breaks()).await;
    let missed = never_entered(&recording.states, &table.entered);
    assert!(table.is_clean(), "{table}");
    assert!(missed.is_empty(), "no fault led into {missed:?}");
}
