//! `drawbridge-gate --config FILE`: the jump box's program, started once by its user data.
//!
//! Exit codes: 0 the crossing is complete, 1 it couldn't begin, 2 the deadline came first, 3 it was told to stop.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use aws_config::{BehaviorVersion, Region};
use clap::Parser;
use drawbridge_gate::machine::Machine;
use drawbridge_gate::storage::S3Vault;
use drawbridge_gate::{Ending, build};
use drawbridge_wire::{BoxConfig, Unusual};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{Instrument as _, error, info, info_span, warn};
use tracing_subscriber::EnvFilter;

/// Fixed, not read from the environment: below `info` the libraries print headers and packets.
const LOG_FILTER: &str = "info,russh=warn";

/// The SSH gate in front of a Drawbridge vault. Serves one run and exits.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The box's configuration, JSON.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .json()
        .with_env_filter(EnvFilter::new(LOG_FILTER))
        .with_writer(std::io::stderr)
        .with_current_span(true)
        .with_span_list(false)
        .init();
    match serve(&arguments.config).await {
        Ok(Ending::Complete) => ExitCode::SUCCESS,
        Ok(Ending::Deadline) => {
            error!("the deadline came before the crossing was complete");
            ExitCode::from(2)
        }
        Ok(Ending::Stopped) => {
            error!("told to stop before the crossing was complete");
            ExitCode::from(3)
        }
        Err(error) => {
            error!("the gate cannot open: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Path) -> anyhow::Result<Ending> {
    let text = std::fs::read(config).with_context(|| format!("cannot read {}", config.display()))?;
    let config: BoxConfig =
        serde_json::from_slice(&text).with_context(|| format!("{} is not a box configuration", config.display()))?;
    let span = info_span!("gate", run = %config.run);
    open(&config).instrument(span).await
}

async fn open(config: &BoxConfig) -> anyhow::Result<Ending> {
    // Before anything that takes time, so that no signal is missed.
    let mut terminate = signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?;
    let machine = Machine::discover().await?;
    let sdk = aws_config::defaults(BehaviorVersion::latest()).region(Region::new(config.region.clone())).load().await;
    let application = build(config, S3Vault::new(&sdk, &config.vault))?;

    let address = (machine.address, config.port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address:?}"))?;
    application.announce(&machine.instance).await?;
    info!(
        address = %machine.address, port = config.port, instance = %machine.instance,
        host_key = %application.host_key().fingerprint(), deadline = %config.deadline, "gate is open"
    );
    if let Some(Unusual { usual_bytes }) = config.unusual {
        warn!(declared_bytes = config.bytes, usual_bytes, "this run carries far more than the site's runs usually do");
    }
    let shutdown = async {
        terminate.recv().await;
    };
    Ok(application.run(listener, shutdown).await)
}
