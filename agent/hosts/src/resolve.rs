//! From a [`Target`] to everything that a connection needs to know.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Target;
use crate::config::{self, ConfigError, Route, Settings};
use crate::here::Here;

/// SSH's port.
pub const DEFAULT_PORT: u16 = 22;

/// The most jump hosts on the way to a host. Real networks have one or two; more is a circle in the configuration.
pub const MAX_JUMPS: usize = 8;

/// The keys that are tried when nothing names any, as in OpenSSH without the kinds that need a person's touch.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Which private keys may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identities {
    /// This one and no other; it must be usable.
    Only(PathBuf),
    /// Those that the SSH client's configuration names, as far as they are there, then the SSH agent's.
    Configured(Vec<PathBuf>),
    /// The SSH agent's, then the default files as far as they are there.
    Default(Vec<PathBuf>),
}

/// A host, with all that the SSH client's configuration makes of it. `Display` is `user@host port 22 via jump`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Its name or address on the network.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Who logs in.
    pub user: String,
    /// Which keys may log in.
    pub identities: Identities,
    /// The SSH agent's socket.
    pub agent: Option<PathBuf>,
    /// Of the agent's keys, only those whose public half lies beside a file of `identities` are used.
    pub identities_only: bool,
    /// The files of trusted host keys, the user's first.
    pub known_hosts: Vec<PathBuf>,
    /// What the host is called in them: its alias, its name, or `[name]:port`.
    pub known_as: String,
    /// Another name under which a known key counts too: without the port, as in OpenSSH.
    pub also_known_as: Option<String>,
    /// Whether names are hashed before they are written into a file of trusted host keys.
    pub hash_known_hosts: bool,
    /// The jump hosts on the way, first one first; theirs are empty.
    pub jumps: Vec<Resolved>,
}

impl fmt::Display for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} port {}", self.user, self.host, self.port)?;
        for (index, jump) in self.jumps.iter().enumerate() {
            write!(f, "{}{}", if index == 0 { " via " } else { ", " }, jump.short())?;
        }
        Ok(())
    }
}

impl Resolved {
    /// The host, and its port unless it is the usual one.
    pub(crate) fn short(&self) -> String {
        if self.port == DEFAULT_PORT { self.host.clone() } else { with_port(&self.host, self.port) }
    }
}

/// What the SSH client's configuration makes of `target`. Reads files; asks no network.
///
/// # Errors
/// When a file can't be read, or says what can't be honoured.
pub fn resolve(target: &Target) -> Result<Resolved, ConfigError> {
    resolve_here(target, &Here::real())
}

pub(crate) fn resolve_here(target: &Target, here: &Here) -> Result<Resolved, ConfigError> {
    let mut way = way(target, target.identity_file.as_deref(), here, &mut Vec::new())?;
    match way.pop() {
        Some(last) => Ok(Resolved { jumps: way, ..last }),
        // A way has at least its end.
        None => Err(ConfigError::Value { host: target.host.clone(), problem: "it leads nowhere".to_owned() }),
    }
}

/// All hosts from the first jump to `target`. `identity` is for those that the configuration names none for; `names` are the
/// hosts that this one is on the way to.
fn way(
    target: &Target,
    identity: Option<&Path>,
    here: &Here,
    names: &mut Vec<String>,
) -> Result<Vec<Resolved>, ConfigError> {
    names.push(target.host.clone());
    if names.len() > MAX_JUMPS + 1 {
        let host = names.first().cloned().unwrap_or_default();
        return Err(ConfigError::TooManyJumps { host, most: MAX_JUMPS, way: names.join(" via ") });
    }
    let given = Settings { port: target.port, user: target.user.clone(), ..Settings::default() };
    let settings = config::read(target.ssh_config.as_deref(), &target.host, given, here)?;
    let this = one(target, &settings, identity, here)?;
    let mut jumps = match (&target.jump, &settings.route) {
        (Some(jumps), _) => jumps.clone(),
        (None, Some(Route::Jumps(jumps))) => {
            jumps.iter().map(|jump| Tokens::of(target, &this, here).fill(jump)).collect::<Result<_, _>>()?
        }
        (None, Some(Route::Direct) | None) => Vec::new(),
    };
    let Some(last) = jumps.pop() else { return Ok(vec![this]) };
    let parsed = Target::parse(&last);
    let last = parsed.map_err(|source| ConfigError::Jump { host: target.host.clone(), source })?;
    // As `ssh -J`: what is left of the list leads to the last jump; without, its own configuration does.
    let jump = Target {
        known_hosts: target.known_hosts.clone(),
        ssh_config: target.ssh_config.clone(),
        jump: (!jumps.is_empty()).then_some(jumps),
        ..last
    };
    let mut way = way(&jump, identity, here, names)?;
    way.push(this);
    Ok(way)
}

fn one(target: &Target, settings: &Settings, identity: Option<&Path>, here: &Here) -> Result<Resolved, ConfigError> {
    let host = match &settings.host_name {
        Some(name) => Tokens { host: &target.host, values: vec![('h', target.host.clone())] }.fill(name)?,
        None => target.host.clone(),
    };
    let port = settings.port.unwrap_or(DEFAULT_PORT);
    let lower = host.to_ascii_lowercase();
    let (known_as, also_known_as) = match &settings.host_key_alias {
        Some(alias) => (alias.clone(), None),
        None if port == DEFAULT_PORT => (lower, None),
        None => (with_port(&lower, port), Some(lower)),
    };
    let mut resolved = Resolved {
        host,
        port,
        user: settings.user.clone().unwrap_or_else(|| here.user.clone()),
        identities: Identities::Default(Vec::new()),
        agent: None,
        identities_only: settings.identities_only.unwrap_or(false),
        known_hosts: Vec::new(),
        known_as,
        also_known_as,
        hash_known_hosts: settings.hash_known_hosts.unwrap_or(false),
        jumps: Vec::new(),
    };
    let tokens = Tokens::of(target, &resolved, here);
    let (identities, agent) = (identities(target, settings, identity, &tokens, here)?, agent(settings, &tokens, here)?);
    let known_hosts = match &target.known_hosts {
        Some(file) => vec![file.clone()],
        None => known_hosts(settings, &tokens, here)?,
    };
    (resolved.identities, resolved.agent, resolved.known_hosts) = (identities, agent, known_hosts);
    Ok(resolved)
}

fn identities(
    target: &Target,
    settings: &Settings,
    identity: Option<&Path>,
    tokens: &Tokens<'_>,
    here: &Here,
) -> Result<Identities, ConfigError> {
    if let Some(file) = &target.identity_file {
        return Ok(Identities::Only(file.clone()));
    }
    if settings.identity_files.is_empty() {
        let defaults = DEFAULT_IDENTITIES.map(|name| here.ssh_folder().join(name)).to_vec();
        return Ok(identity.map_or(Identities::Default(defaults), |file| Identities::Only(file.to_owned())));
    }
    // `none` keeps the default files away and is no file itself.
    let files = settings.identity_files.iter().filter(|file| !file.eq_ignore_ascii_case("none"));
    Ok(Identities::Configured(files.map(|file| tokens.path(file, here)).collect::<Result<_, _>>()?))
}

fn agent(settings: &Settings, tokens: &Tokens<'_>, here: &Here) -> Result<Option<PathBuf>, ConfigError> {
    let from_environment = |name: &str| here.environment.get(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    match settings.identity_agent.as_deref() {
        None | Some("SSH_AUTH_SOCK") => Ok(from_environment("SSH_AUTH_SOCK")),
        Some(none) if none.eq_ignore_ascii_case("none") => Ok(None),
        Some(text) => match text.strip_prefix('$').filter(|name| !name.starts_with('{')) {
            Some(name) => Ok(from_environment(name)),
            None => tokens.path(text, here).map(Some),
        },
    }
}

fn known_hosts(settings: &Settings, tokens: &Tokens<'_>, here: &Here) -> Result<Vec<PathBuf>, ConfigError> {
    let or = |files: &Option<Vec<String>>, defaults: [&str; 2]| match files {
        Some(files) => files.clone(),
        None => defaults.map(str::to_owned).to_vec(),
    };
    let user = or(&settings.user_known_hosts, ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]);
    let global = or(&settings.global_known_hosts, ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]);
    user.iter().map(|file| tokens.path(file, here)).chain(global.iter().map(|file| Ok(PathBuf::from(file)))).collect()
}

/// `[host]:port`.
pub(crate) fn with_port(host: &str, port: u16) -> String {
    format!("[{host}]:{port}")
}

/// What the `%` tokens of ssh_config(5) stand for.
struct Tokens<'a> {
    host: &'a str,
    values: Vec<(char, String)>,
}

impl<'a> Tokens<'a> {
    fn of(target: &'a Target, resolved: &Resolved, here: &Here) -> Self {
        let alias = if resolved.also_known_as.is_none() && resolved.known_as != resolved.host.to_ascii_lowercase() {
            resolved.known_as.clone()
        } else {
            target.host.clone()
        };
        let values = vec![
            ('h', resolved.host.clone()),
            ('n', target.host.clone()),
            ('p', resolved.port.to_string()),
            ('r', resolved.user.clone()),
            ('d', here.home.to_string_lossy().into_owned()),
            ('u', here.user.clone()),
            ('i', here.uid.to_string()),
            ('k', alias),
        ];
        Self { host: &target.host, values }
    }

    fn fill(&self, text: &str) -> Result<String, ConfigError> {
        let mut filled = String::new();
        let mut characters = text.chars();
        while let Some(c) = characters.next() {
            if c != '%' {
                filled.push(c);
                continue;
            }
            let token = characters.next();
            match token.and_then(|token| self.values.iter().find(|(name, _)| *name == token)) {
                Some((_, value)) => filled.push_str(value),
                None if token == Some('%') => filled.push('%'),
                None => {
                    let token = token.map(String::from).unwrap_or_default();
                    return Err(self.wrong(format!("{text:?} has %{token}, which is not supported there")));
                }
            }
        }
        Ok(filled)
    }

    /// A file name with `~`, tokens and `${VARIABLES}` filled in.
    fn path(&self, text: &str, here: &Here) -> Result<PathBuf, ConfigError> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(self.wrong(format!("{text:?} has a ${{ without }}")));
            };
            let value = here.environment.get(name);
            let value =
                value.ok_or_else(|| self.wrong(format!("{text:?} needs the variable {name}, which is not set")))?;
            filled.push_str(&self.fill(before)?);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(&self.fill(rest)?);
        Ok(here.tilde(&filled))
    }

    fn wrong(&self, problem: String) -> ConfigError {
        ConfigError::Value { host: self.host.to_owned(), problem }
    }
}

#[cfg(test)]
mod tests;
