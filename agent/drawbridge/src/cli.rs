//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use drawbridge_wire::Timestamp;

use crate::archives::From;
use crate::commands;
use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::disk;
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

const EXIT_CODES: &str = "Exit codes: 0 done, for `run` verified at rest; 1 failed, or verified at rest with a source older than its \
                          max_age; 2 wrong usage; 3 verified at rest, but some source was incomplete or failed; 75 busy or too \
                          soon, try again later";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented configuration and a new password
    Init {
        /// The folder to write them into
        #[arg(long, value_name = "DIR", default_value = "/etc/drawbridge")]
        dir: PathBuf,
    },
    /// Show a host's key and ask whether it may be trusted from now on
    Trust(commands::trust::TrustArgs),
    /// Print the line for a host's authorized_keys that allows what the source needs and nothing else
    Authorize {
        /// The source
        #[arg(value_name = "SOURCE")]
        source: String,
    },
    /// Try every setting, source and permission, and say how to mend what fails
    Check,
    /// Gather, back up, cross, and have it verified
    Run,
    /// Bring the mirror up to date, without backing it up
    Gather(commands::gather::GatherArgs),
    /// Show what changed in the mirror since the last snapshot; secrets are masked
    Diff {
        /// These sources only
        #[arg(value_name = "SOURCE")]
        sources: Vec<String>,
    },
    /// List what can be restored
    Snapshots(crate::archives::From),
    /// Restore a snapshot, or a part of it, into a folder
    Restore(commands::restore::RestoreArgs),
    /// List what a snapshot holds
    Ls(commands::ls::LsArgs),
    /// Find which snapshots hold something, the newest first
    Find(commands::find::FindArgs),
    /// Restore some files drawn at random, and compare them with what was gathered
    Drill(commands::drill::DrillArgs),
    /// Add, list, remove or rotate the passwords that open the backups
    Key(commands::key::KeyArgs),
    /// Tell how the last run went and how old each source is
    Status,
}

/// Does what the command line asks for.
///
/// # Errors
/// When it can't be done; whoever calls says so.
pub async fn run(cli: &Cli, ui: &Ui) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Init { dir } => return Ok(commands::init::init(dir, ui)?),
        // A host can be trusted before there is a configuration.
        Command::Trust(args) => {
            let config = if cli.config.exists() { Some(Config::load(&cli.config)?) } else { None };
            return Ok(commands::trust::trust(config.as_ref(), ui, args).await?);
        }
        // The vault is read when this machine's configuration is gone, too.
        Command::Snapshots(from) => {
            return Ok(commands::snapshots::snapshots(config_for(cli, from)?.as_ref(), ui, from).await?);
        }
        Command::Restore(args) => {
            return Ok(commands::restore::restore(config_for(cli, &args.from)?.as_ref(), ui, args).await?);
        }
        Command::Ls(args) => return Ok(commands::ls::ls(config_for(cli, &args.from)?.as_ref(), ui, args).await?),
        Command::Find(args) => return Ok(commands::find::find(config_for(cli, &args.from)?.as_ref(), ui, args).await?),
        _ => {}
    }
    let config = Config::load(&cli.config)?;
    configured(cli, &config, ui).await.map_err(|error| disk::explain(error, &config.state_dir))
}

async fn configured(cli: &Cli, config: &Config, ui: &Ui) -> anyhow::Result<Exit> {
    Ok(match &cli.command {
        Command::Drill(args) => commands::drill::drill(config, ui, args).await?,
        // Dealt with above.
        Command::Init { .. }
        | Command::Trust(_)
        | Command::Snapshots(_)
        | Command::Restore(_)
        | Command::Ls(_)
        | Command::Find(_) => Exit::Done,
        Command::Authorize { source } => commands::authorize::authorize(config, ui, source)?,
        Command::Check => commands::check::check(config, ui).await?,
        Command::Run => commands::run::run(config, ui).await?,
        Command::Gather(args) => commands::gather::gather(config, ui, args).await?,
        Command::Diff { sources } => commands::diff::diff(config, ui, sources).await?,
        Command::Key(args) => commands::key::key(config, ui, args).await?,
        Command::Status => commands::status::status(config, ui, Timestamp::now())?,
    })
}

/// The configuration, as far as it is needed to read `from`.
fn config_for(cli: &Cli, from: &From) -> Result<Option<Config>, ConfigError> {
    match Config::load(&cli.config) {
        Err(ConfigError::Missing { .. }) if from.from_vault => Ok(None),
        loaded => loaded.map(Some),
    }
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
