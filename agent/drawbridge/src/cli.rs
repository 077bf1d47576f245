//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use drawbridge_wire::Timestamp;

use crate::commands;
use crate::config::{Config, DEFAULT_PATH};
use crate::exit::Exit;
use crate::ui::Ui;

/// Backs up a network's key configuration and logs to S3, over a bridge that exists only while it is crossed.
#[derive(Debug, Parser)]
#[command(name = "drawbridge", version, about, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = DEFAULT_PATH, env = "DRAWBRIDGE_CONFIG")]
    pub config: PathBuf,
    /// One JSON object a line on standard output, for machines
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, for `run` verified at rest; 1 failed; 2 wrong usage; 3 verified at rest, but some \
                          source was incomplete or failed; 75 busy or too soon, try again later";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented configuration and a new password
    Init {
        /// The folder to write them into
        #[arg(long, value_name = "DIR", default_value = "/etc/drawbridge")]
        dir: PathBuf,
    },
    /// Try every setting, source and permission, and say how to mend what fails
    Check,
    /// Gather, back up, cross, and have it verified
    Run,
    /// List what can be restored from the local repository
    Snapshots,
    /// Tell how the last run went and how old each source is
    Status,
}

/// Does what the command line asks for.
///
/// # Errors
/// When it can't be done; whoever calls says so.
pub async fn run(cli: &Cli, ui: &Ui) -> anyhow::Result<Exit> {
    if let Command::Init { dir } = &cli.command {
        return Ok(commands::init::init(dir, ui)?);
    }
    let config = Config::load(&cli.config)?;
    Ok(match &cli.command {
        Command::Init { .. } => Exit::Done,
        Command::Check => commands::check::check(&config, ui).await?,
        Command::Run => commands::run::run(&config, ui).await?,
        Command::Snapshots => commands::snapshots::snapshots(&config, ui).await?,
        Command::Status => commands::status::status(&config, ui, Timestamp::now())?,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
