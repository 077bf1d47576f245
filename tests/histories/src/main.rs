//! `cargo histories`.
#![allow(clippy::print_stdout, reason = "the result is the result")]

use std::process::ExitCode;

use clap::Parser;
use drawbridge_histories::campaign::live;
use drawbridge_tests::rigs_at_once;
use indicatif::ProgressBar;

/// Live through many histories of a site on this machine (files that change, runs that are killed, objects that are lost or spoiled in the
/// vault, a state that is lost or set back), and ask stock restic after each verdict whether it is true.
#[derive(Debug, Parser)]
#[command(name = "cargo histories", bin_name = "cargo histories", version)]
struct Arguments {
    /// How many histories
    #[arg(long, value_name = "N", default_value_t = 300)]
    runs: u64,
    /// What the first one is made of; the others of the numbers after it
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Local stacks at once
    #[arg(long, value_name = "N", default_value_t = rigs_at_once())]
    stacks: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let bar = ProgressBar::new(arguments.runs);
    let result = live(arguments.seed..arguments.seed + arguments.runs, arguments.stacks, &bar).await;
    bar.finish_and_clear();
    println!("{result}");
    if result.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
