//! Whatever fails, the bridge comes down: faults put between the real parts of a local stack, and what must be true
//! after each.
//!
//! | module | what |
//! |---|---|
//! | [`fault`] | faults and cases, as data |
//! | [`proxy`], [`call`], [`board`], [`hands`] | where they strike: every call of every part passes here |
//! | [`definition`], [`matrix`], [`random`] | which ones: from the state machine file and from what a clean run called |
//! | [`site`], [`run`] | one stack, one run on it |
//! | `judge`, `vault`, `canary`, [`planted`], [`watch`] | the seven invariants |
//! | [`campaign`], [`tell`], [`table`], [`report`] | many cases, and what they came to |
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what the rig itself can't do stops the case, and the campaign says so"
)]

pub mod answer;
pub mod board;
mod box_clock;
pub mod call;
pub mod campaign;
mod canary;
pub mod definition;
pub mod fault;
pub mod hands;
mod judge;
pub mod matrix;
pub mod planted;
pub mod process;
pub mod proxy;
pub mod random;
pub mod report;
pub mod root;
pub mod run;
pub mod site;
pub mod table;
pub mod tell;
mod vault;
pub mod watch;
