//! `drawbridge`, the agent: gathers a site's files into a mirror, backs the mirror up into a local repository, and
//! carries what the vault lacks across a bridge that exists only for that.

pub mod archives;
pub mod cli;
pub mod cloud;
pub mod commands;
pub mod config;
pub mod cross;
mod digest;
pub mod disk;
pub mod engine;
pub mod exit;
pub mod gather;
pub mod grades;
pub mod hashes;
pub mod history;
mod interruption;
pub mod journal;
mod lock;
pub mod mask;
pub mod restore;
pub mod retire;
pub mod secret;
pub mod stale;
pub mod state;
pub mod state_file;
pub mod stock;
pub mod ui;
pub mod vault;
pub mod verdicts;
