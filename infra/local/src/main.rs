//! `cargo local` and `cargo demo`.

use std::process::ExitCode;

use clap::Parser;
use drawbridge_local::commands::{Arguments, execute};

#[tokio::main]
async fn main() -> ExitCode {
    match execute(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            let mut source = std::error::Error::source(&problem);
            while let Some(cause) = source {
                eprintln!("  because: {}", cause.to_string().replace('\n', "\n           "));
                source = cause.source();
            }
            ExitCode::FAILURE
        }
    }
}
