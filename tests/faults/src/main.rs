//! `cargo faults`.
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use drawbridge_faults::campaign::{Tell, play, record};
use drawbridge_faults::fault::Case;
use drawbridge_faults::matrix::singles;
use drawbridge_faults::random::{pairs, random};
use drawbridge_faults::site::Site;
use drawbridge_faults::tell::Progress;
use drawbridge_tests::rigs_at_once;

/// Put faults into runs of the whole system on this machine, and see that no jump box outlives its run, that no run ends
/// in silence, and that no verdict is good that shouldn't be.
#[derive(Debug, Parser)]
#[command(name = "cargo faults", bin_name = "cargo faults", version)]
struct Arguments {
    /// Every single fault: every call of a clean run, times everything that can go wrong there. What is done unless
    /// something else is asked for
    #[arg(long)]
    singles: bool,
    /// Only singles whose name contains this
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
    /// List the singles instead of playing them
    #[arg(long)]
    list: bool,
    /// Each of them so many times, to find what breaks seldom
    #[arg(long, value_name = "N", default_value_t = 1)]
    times: usize,
    /// N runs with the faults of two singles each
    #[arg(long, value_name = "N")]
    pairs: Option<u64>,
    /// N runs with one to four faults each
    #[arg(long, value_name = "N")]
    random: Option<u64>,
    /// What random runs and pairs are chosen by
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// One case, from the file that its failure wrote
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// Local stacks at once; most cases wait more than they work
    #[arg(long, value_name = "N", default_value_t = rigs_at_once())]
    stacks: usize,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let progress = Progress::default();
    let table = match replayed(&arguments) {
        Some(Ok(case)) => {
            progress.begin(1);
            play(None, vec![case], 1, &progress).await
        }
        Some(Err(problem)) => {
            eprintln!("error: {problem}");
            return ExitCode::FAILURE;
        }
        None => {
            let mut site = Site::up().await;
            let recording = record(&mut site).await;
            let singles = singles(&recording.seen, &recording.states);
            let cases = chosen(&arguments, &singles, &recording);
            if arguments.list {
                cases.iter().for_each(|case| println!("{}", case.name));
                return ExitCode::SUCCESS;
            }
            let cases = cases.iter().flat_map(|case| std::iter::repeat_n(case.clone(), arguments.times)).collect();
            play(Some(site), cases, arguments.stacks, &progress).await
        }
    };
    println!("\n{table}");
    if table.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn chosen(arguments: &Arguments, singles: &[Case], recording: &drawbridge_faults::campaign::Recording) -> Vec<Case> {
    let mut cases = Vec::new();
    if arguments.singles || (arguments.pairs.is_none() && arguments.random.is_none()) {
        let only = arguments.only.as_deref().unwrap_or_default();
        cases.extend(singles.iter().filter(|case| case.name.contains(only)).cloned());
    }
    cases.extend(arguments.pairs.map(|count| pairs(singles, count, arguments.seed)).unwrap_or_default());
    cases.extend(arguments.random.map(|count| random(&recording.seen, count, arguments.seed)).unwrap_or_default());
    cases
}

fn replayed(arguments: &Arguments) -> Option<Result<Case, String>> {
    let file = arguments.replay.as_ref()?;
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()));
    Some(text.and_then(|text| {
        serde_json::from_str(&text).map_err(|error| format!("{} is no case: {error}", file.display()))
    }))
}
