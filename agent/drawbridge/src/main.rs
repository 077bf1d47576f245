//! `drawbridge`, the program on the site's backup machine.

use std::process::ExitCode;

use clap::Parser;
use drawbridge::cli::{self, Cli};
use drawbridge::exit::Exit;
use drawbridge::ui::Ui;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Libraries speak only when somebody asks them to, with RUST_LOG.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let ui = Ui::on_stdio(cli.json);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            ui.error(&error);
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(cli::run(&cli, &ui)).unwrap_or_else(|error| {
        ui.error(error.as_ref());
        Exit::Failed
    });
    // A thread that still waits for a disk or a host must not keep a run that is over from ending.
    runtime.shutdown_background();
    exit.into()
}
