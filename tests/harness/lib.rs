//! What the end-to-end tests share: a whole local stack, an agent in it, and the peers from Debian's packages.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first thing that isn't as it should be"
)]

mod agent;
mod audit;
mod dice;
mod open_run;
mod operator;
mod restic;
mod rig;
mod run;

pub use agent::{Agent, Finished, program};
pub use audit::{Key, Tried, WholeVault};
pub use dice::Dice;
pub use drawbridge_peers::need;
pub use open_run::{Forward, OpenRun, digest, invoke};
pub use operator::{GateProcess, Held, Inbox};
pub use restic::restic;
pub use rig::{Rig, rigs_at_once, user_data_of};
pub use run::{Execution, wait_until};
