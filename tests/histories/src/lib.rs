//! Histories of a site: days on which files change, runs are killed, objects in the vault are lost or spoiled, and the agent's state is
//! lost or set back. After every run that came to a verdict, stock restic is asked whether the verdict is true.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests stop at the first thing that isn't as it should be"
)]

pub mod campaign;
mod damage;
mod files;
mod oracle;
mod site;
