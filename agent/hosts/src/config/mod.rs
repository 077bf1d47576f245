//! The SSH client's configuration, as far as a connection without a person needs it: ssh_config(5).
//!
//! Not with the crate `ssh2-config`: it gives the lines of a `Match` block to the `Host` block above it, expands no `%` tokens
//! and knows no `IgnoreUnknown` by default, so that what it says of a host can differ from what `ssh` does. The tests hold this
//! module against `ssh -G`.
//!
//! Invariants:
//! - the first value that is found for a setting stays;
//! - a line that would change how a host is reached and can't be honoured is an error that names it; all others are skipped.

mod include;
mod matching;
mod words;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::here::Here;

/// How deep files may include files, as in OpenSSH (readconf.h, READCONF_MAX_DEPTH).
const MAX_DEPTH: usize = 16;

/// Why the SSH client's configuration says nothing usable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file can't be read.
    #[error("the SSH client's configuration {} can't be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others could change the file.
    #[error("{} can be written by other users, so it is not used: run `chmod go-w` on it", .0.display())]
    OpenToOthers(PathBuf),
    /// A line can't be honoured.
    #[error("{} line {line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A value has something that can't be filled in.
    #[error("the SSH client's configuration for {host}: {problem}")]
    Value {
        /// The host.
        host: String,
        /// What is wrong.
        problem: String,
    },
    /// A jump host isn't written as one.
    #[error("the way to {host} is not clear")]
    Jump {
        /// The host.
        host: String,
        /// Why.
        source: crate::InvalidAddress,
    },
    /// Jump hosts lead to jump hosts without end.
    #[error("the way to {host} has more than {most} jump hosts, or goes in a circle: {way}")]
    TooManyJumps {
        /// The host.
        host: String,
        /// The limit.
        most: usize,
        /// The hosts so far, last one first.
        way: String,
    },
}

/// How a host is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    Direct,
    /// Through these, first one first.
    Jumps(Vec<String>),
}

/// What the files say of one host; values as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) host_name: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) identity_files: Vec<String>,
    pub(crate) identities_only: Option<bool>,
    pub(crate) identity_agent: Option<String>,
    pub(crate) user_known_hosts: Option<Vec<String>>,
    pub(crate) global_known_hosts: Option<Vec<String>>,
    pub(crate) host_key_alias: Option<String>,
    pub(crate) hash_known_hosts: Option<bool>,
    pub(crate) route: Option<Route>,
}

/// What the files say of `host`, with what is `given` beforehand staying as it is. With `file`, that one only.
pub(crate) fn read(file: Option<&Path>, host: &str, given: Settings, here: &Here) -> Result<Settings, ConfigError> {
    let mut reader = Reader { host, here, settings: given };
    match file {
        Some(file) => reader.file(file, &here.ssh_folder(), true, 0)?,
        None => {
            let own = here.ssh_folder().join("config");
            if let Some(text) = include::read_if_there(&own)? {
                include::only_ours(&own)?;
                reader.text(&text, &own, &here.ssh_folder(), true, 0)?;
            }
            if let Some(text) = include::read_if_there(&here.system_config)? {
                let folder = here.system_config.parent().unwrap_or(Path::new("/")).to_owned();
                reader.text(&text, &here.system_config, &folder, true, 0)?;
            }
        }
    }
    Ok(reader.settings)
}

struct Reader<'a> {
    /// As it was asked for: what `Host` lines are held against.
    host: &'a str,
    here: &'a Here,
    settings: Settings,
}

/// Where a line stands, for what is said of it.
#[derive(Clone, Copy)]
struct At<'a> {
    path: &'a Path,
    line: usize,
}

impl At<'_> {
    fn wrong(self, problem: impl Into<String>) -> ConfigError {
        ConfigError::Line { path: self.path.to_owned(), line: self.line, problem: problem.into() }
    }
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, base: &Path, active: bool, depth: usize) -> Result<(), ConfigError> {
        let text = std::fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        self.text(&String::from_utf8_lossy(&text), path, base, active, depth)
    }

    /// Takes what lines in `text` say; `active` is whether they concern the host until a `Host` or `Match` line says otherwise.
    fn text(
        &mut self,
        text: &str,
        path: &Path,
        base: &Path,
        mut active: bool,
        depth: usize,
    ) -> Result<(), ConfigError> {
        for (index, line) in text.lines().enumerate() {
            let at = At { path, line: index + 1 };
            let split = words::split(line).map_err(|words::UnbalancedQuotes| at.wrong("a quote isn't closed"))?;
            let Some((keyword, arguments)) = split else { continue };
            match keyword.as_str() {
                "host" => active = crate::pattern::matches_any(self.host, arguments.iter().map(String::as_str)),
                "match" => active = self.matches(&arguments, at)?,
                _ if !active => {}
                "include" if depth == MAX_DEPTH => return Err(at.wrong("files include files without end")),
                "include" => {
                    for pattern in &arguments {
                        for file in include::files(&self.here.tilde(pattern), base, at)? {
                            self.file(&file, base, active, depth + 1)?;
                        }
                    }
                }
                keyword => self.set(keyword, &arguments, at)?,
            }
        }
        Ok(())
    }

    fn set(&mut self, keyword: &str, arguments: &[String], at: At<'_>) -> Result<(), ConfigError> {
        let settings = &mut self.settings;
        let one = || arguments.first().filter(|a| !a.is_empty()).cloned().ok_or_else(|| at.wrong("a value is missing"));
        match keyword {
            "hostname" => first(&mut settings.host_name, one()?),
            "user" => first(&mut settings.user, one()?),
            "port" => first(&mut settings.port, port(&one()?, at)?),
            "identityfile" => settings.add_identity(one()?),
            "identitiesonly" => first(&mut settings.identities_only, yes_or_no(&one()?, at)?),
            "identityagent" => first(&mut settings.identity_agent, one()?),
            "userknownhostsfile" => first(&mut settings.user_known_hosts, files(arguments, &one()?)),
            "globalknownhostsfile" => first(&mut settings.global_known_hosts, files(arguments, &one()?)),
            "hostkeyalias" => first(&mut settings.host_key_alias, one()?),
            "hashknownhosts" => first(&mut settings.hash_known_hosts, yes_or_no(&one()?, at)?),
            "proxyjump" => first(&mut settings.route, jumps(&one()?)),
            // It takes the rest of the line, and the first of the two settings wins.
            "proxycommand" if settings.route.is_some() => {}
            "proxycommand" if arguments.first().is_some_and(|a| a.eq_ignore_ascii_case("none")) => {
                settings.route = Some(Route::Direct);
            }
            "proxycommand" => {
                return Err(at.wrong("ProxyCommand is not supported; for a way through another SSH host use ProxyJump"));
            }
            "canonicalizehostname" if !arguments.first().is_some_and(|a| a.eq_ignore_ascii_case("no")) => {
                return Err(at.wrong("CanonicalizeHostname is not supported; write the whole name as HostName"));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Settings {
    fn add_identity(&mut self, file: String) {
        if !self.identity_files.contains(&file) {
            self.identity_files.push(file);
        }
    }
}

fn first<T>(setting: &mut Option<T>, value: T) {
    setting.get_or_insert(value);
}

fn port(text: &str, at: At<'_>) -> Result<u16, ConfigError> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| at.wrong("Port must be a number from 1 to 65535"))
}

fn yes_or_no(text: &str, at: At<'_>) -> Result<bool, ConfigError> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(at.wrong("the value must be yes or no")),
    }
}

fn files(arguments: &[String], first: &str) -> Vec<String> {
    if first.eq_ignore_ascii_case("none") { Vec::new() } else { arguments.to_vec() }
}

fn jumps(text: &str) -> Route {
    if text.eq_ignore_ascii_case("none") {
        return Route::Direct;
    }
    Route::Jumps(text.split(',').map(|jump| jump.strip_prefix("ssh://").unwrap_or(jump).to_owned()).collect())
}

#[cfg(test)]
mod tests;
