//! The configuration file: TOML, parsed once, with every mistake named by file, line and column.

mod error;
mod password;
mod preset;
mod read;
mod shape;
mod validate;

use std::path::{Path, PathBuf};

use drawbridge_gather::Source;
use drawbridge_wire::Ipv4Net;

pub use error::{ConfigError, Position};
pub use password::{PasswordError, read as read_password_file};

use crate::secret::Secret;

/// Where the configuration is looked for without `--config`.
pub const DEFAULT_PATH: &str = "/etc/drawbridge/drawbridge.toml";

/// How many streams cross at once unless the configuration says otherwise: as many as the gate takes. Each
/// waits a round trip for each object, which is all that small objects take; and larger ones lose nothing by it.
pub const DEFAULT_STREAMS: u8 = MAX_STREAMS;

/// The most streams that a configuration may ask for; the gate refuses more than that.
pub use drawbridge_ssh::MAX_STREAMS;

/// The most sources that may be gathered at once: each has a connection, a file under way and its buffers.
pub const MAX_PARALLEL: usize = 32;

/// A configuration in which every value has been checked. Whether the files that it names exist is another question,
/// which `drawbridge check` and their users ask.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from, absolute.
    pub path: PathBuf,
    /// The agent's own folder: mirror, repository, journal. Absolute.
    pub state_dir: PathBuf,
    /// The file that holds the repository's password. Absolute.
    pub password_file: PathBuf,
    /// The deployed stack.
    pub stack: Stack,
    /// The vault's bucket, for whoever reads it with credentials of their own.
    pub vault_bucket: Option<String>,
    /// How many streams cross at once, 1 to [`MAX_STREAMS`].
    pub streams: u8,
    /// How all sources together are gathered.
    pub gather: GatherSettings,
    /// What to gather; at least one, names unique.
    pub sources: Vec<Source>,
}

/// What `sam deploy` printed, and how to reach it.
#[derive(Debug, Clone)]
pub struct Stack {
    /// The AWS region.
    pub region: String,
    /// The function `start`, by name or ARN.
    pub start: String,
    /// The function `session`, by name or ARN.
    pub session: String,
    /// The function `report`, by name or ARN.
    pub report: String,
    /// The address or range that the jump box sees the agent come from.
    pub source_cidr: Option<Ipv4Net>,
    /// The AWS profile.
    pub profile: Option<String>,
    /// An AWS shared credentials file. Absolute.
    pub credentials_file: Option<PathBuf>,
    /// Another endpoint than AWS's own; `https`, or `http` on this machine.
    pub endpoint_url: Option<String>,
}

/// How all sources together are gathered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatherSettings {
    /// How many at once, 1 to [`MAX_PARALLEL`].
    pub parallel: usize,
    /// Bytes a second for all of them together; `None` for as fast as it goes.
    pub bandwidth: Option<u64>,
}

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// When it can't be read, isn't TOML, or says something that can't be right; with line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let absolute =
            std::path::absolute(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let text = std::fs::read_to_string(&absolute).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ConfigError::Missing { path: absolute.clone() },
            _ => ConfigError::Read { path: absolute.clone(), source },
        })?;
        Self::parse(&text, &absolute)
    }

    /// Checks the text of a configuration that lies at `path`, which must be absolute.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: read::File = toml::from_str(text).map_err(|error| ConfigError::syntax(path, text, &error))?;
        validate::config(raw, path)
            .map_err(|fault| ConfigError::Value { at: Position::of(path, text, fault.span), problem: fault.problem })
    }

    /// Reads the repository's password.
    ///
    /// # Errors
    /// When the file is missing, unreadable, empty, not text, or open to others.
    pub fn read_password(&self) -> Result<Secret, PasswordError> {
        password::read(&self.password_file)
    }

    /// Reads a password from another file than that of the configuration, by the same rules.
    ///
    /// # Errors
    /// As [`Config::read_password`].
    pub fn read_password_file(path: &Path) -> Result<Secret, PasswordError> {
        password::read(path)
    }

    /// The folder that sources are gathered into, one folder a source.
    #[must_use]
    pub fn mirror_dir(&self) -> PathBuf {
        self.state_dir.join("mirror")
    }

    /// The folder that holds the local repositories.
    #[must_use]
    pub fn repository_dir(&self) -> PathBuf {
        repositories_below(&self.state_dir)
    }
}

/// The folder of a state folder that holds the local repositories.
pub(crate) fn repositories_below(state_dir: &Path) -> PathBuf {
    state_dir.join("repository")
}

#[cfg(test)]
mod tests;
