//! `drawbridge authorize`: the line that lets a source's key in on its host, for that source's work and nothing else
//! (sshd(8), AUTHORIZED_KEYS FILE FORMAT).

use std::fmt;
use std::path::PathBuf;

use drawbridge_gather::{Place, Source, What};
use drawbridge_hosts::{ConfigError, Identities, Resolved, SshError, public_half, resolve};
use serde::Serialize;
use thiserror::Error;

use crate::config::Config;
use crate::exit::Exit;
use crate::ui::Ui;

/// SFTP that only reads: sftp-server(8), `-R`.
const READ_ONLY_SFTP: &str = "internal-sftp -R";

/// Why there is no such line.
#[derive(Debug, Error)]
pub enum AuthorizeError {
    /// No such source.
    #[error("there is no source named {name:?}; there are: {known}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// A source on this machine.
    #[error("{0} is on this machine: it needs no key")]
    Local(String),
    /// One key can be held to one command only.
    #[error(
        "{name} runs {count} commands, and a key can be held to one. Make one source for each, each with an identity_file of its \
         own, and authorize them one by one; or put the key into authorized_keys without command=, which lets it do everything that \
         its user may"
    )]
    SeveralCommands {
        /// The source.
        name: String,
        /// How many commands it has.
        count: usize,
    },
    /// A command that a line can't hold.
    #[error(
        "the command of {0} has a line break or another control character, and authorized_keys has one line a key: put it into a script on the host"
    )]
    ControlCharacter(String),
    /// Nobody knows which key.
    #[error(
        "{name} names no key, and none of the default files is there: set identity_file, or make a key with `ssh-keygen -t ed25519`"
    )]
    NoKey {
        /// The source.
        name: String,
    },
    /// The SSH client's configuration can't be honoured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The key can't be read.
    #[error(transparent)]
    Key(#[from] SshError),
}

/// Prints the line for `authorized_keys` on the host of the source `name`.
///
/// # Errors
/// See [`AuthorizeError`].
pub fn authorize(config: &Config, ui: &Ui, name: &str) -> Result<Exit, AuthorizeError> {
    let source = config.sources.iter().find(|source| source.name == name).ok_or_else(|| {
        let known: Vec<&str> = config.sources.iter().map(|source| source.name.as_str()).collect();
        AuthorizeError::Unknown { name: name.to_owned(), known: known.join(", ") }
    })?;
    let Place::Ssh(target) = &source.place else { return Err(AuthorizeError::Local(name.to_owned())) };
    let host = resolve(target)?;
    let command = only_command(source)?;
    let file = key_file(source, &host)?;
    let key = public_half(&file)?;
    let line = Snippet {
        line: format!("restrict,command=\"{}\" {} {}", quoted(&command), key.algorithm(), blob(&key, &file)?),
        host: host.to_string(),
        user: host.user.clone(),
        key: file,
    };
    ui.note(&format!(
        "For ~{}/.ssh/authorized_keys on {}, in one line; it replaces any other line with the key {}:",
        line.user,
        host.host,
        line.key.display()
    ));
    ui.result("authorize", &line, &line);
    Ok(Exit::Done)
}

/// What the source's key has to be able to run.
fn only_command(source: &Source) -> Result<String, AuthorizeError> {
    let commands = match &source.what {
        What::Files(_) => return Ok(READ_ONLY_SFTP.to_owned()),
        What::Commands(commands) => commands,
    };
    match commands.as_slice() {
        [one] if one.run.chars().any(char::is_control) => Err(AuthorizeError::ControlCharacter(source.name.clone())),
        [one] => Ok(one.run.clone()),
        several => Err(AuthorizeError::SeveralCommands { name: source.name.clone(), count: several.len() }),
    }
}

/// sshd takes `\"` for a quote and every other backslash for itself.
fn quoted(command: &str) -> String {
    command.replace('"', "\\\"")
}

fn key_file(source: &Source, host: &Resolved) -> Result<PathBuf, AuthorizeError> {
    match &host.identities {
        Identities::Only(file) => Some(file),
        Identities::Configured(files) | Identities::Default(files) => files.iter().find(|file| file.exists()),
    }
    .cloned()
    .ok_or_else(|| AuthorizeError::NoKey { name: source.name.clone() })
}

/// The key and the name of what it is for. The key's own comment may be anything.
fn blob(key: &drawbridge_hosts::PublicKey, file: &std::path::Path) -> Result<String, AuthorizeError> {
    let text = key.to_openssh().map_err(|error| SshError::Identity {
        path: file.to_owned(),
        hint: "its public half can't be written as text",
        source: Some(Box::new(error)),
    })?;
    Ok(format!("{} drawbridge", text.split(' ').nth(1).unwrap_or_default()))
}

#[derive(Serialize)]
struct Snippet {
    line: String,
    host: String,
    user: String,
    key: PathBuf,
}

impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::io::Write;
    use std::process::Command;
    use std::sync::{Arc, Mutex};

    use drawbridge_peers::need;
    use drawbridge_peers::sshd::Sshd;
    use tempfile::TempDir;

    use super::*;
    use crate::ui::Form;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What is printed for a source on `sshd` that gathers `what`.
    fn printed(dir: &TempDir, sshd: &Sshd, what: &str) -> Result<String, AuthorizeError> {
        let text = format!(
            "state_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\nstart = \"a\"\nsession = \"b\"\n\
             report = \"c\"\n[[source]]\nname = \"fw\"\nhost = \"127.0.0.1\"\nidentity_file = {:?}\nssh_config = \"/dev/null\"\n{what}\n\
             [[source]]\nname = \"here\"\npaths = [\"/etc\"]\n",
            sshd.client_key()
        );
        let config = Config::parse(&text, &dir.path().join("drawbridge.toml")).unwrap();
        assert!(matches!(authorize(&config, &Ui::silent(), "here"), Err(AuthorizeError::Local(_))));
        let unknown = authorize(&config, &Ui::silent(), "nowhere").unwrap_err().to_string();
        assert!(unknown.contains("fw, here"), "{unknown}");
        let out = Sink::default();
        authorize(&config, &Ui::new(Form::Plain, Box::new(out.clone()), Box::new(std::io::sink())), "fw")?;
        let bytes = out.0.lock().unwrap().clone();
        Ok(String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn the_line_for_files_allows_reading_them_only() {
        let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
        let key = fs::read_to_string(sshd.client_key().with_extension("pub")).unwrap();
        let key: Vec<&str> = key.split(' ').take(2).collect();
        let line = printed(&dir, &sshd, "paths = [\"/etc\"]").unwrap();
        assert_eq!(line, format!("restrict,command=\"internal-sftp -R\" {} drawbridge\n", key.join(" ")));
    }

    #[test]
    fn sshd_runs_the_command_of_the_line_letter_by_letter() {
        let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
        let command = r#"printf '%s\n' "a b" '\"c\' "\"d\\""#;
        let line = printed(&dir, &sshd, &format!("command = [{{ run = '''{command}''', file = \"x\" }}]")).unwrap();
        fs::write(sshd.authorized_keys(), &line).unwrap();
        let here = Command::new("sh").args(["-c", command]).output().unwrap();
        let there = Command::new(need("ssh", "openssh-client"))
            .args(["-F/dev/null", "-oBatchMode=yes", "-p", &sshd.port().to_string(), "-i"])
            .arg(sshd.client_key())
            .arg(format!("-oUserKnownHostsFile={}", sshd.known_hosts().display()))
            .args([format!("{}@127.0.0.1", sshd.user()).as_str(), "something else"])
            .output()
            .unwrap();
        assert!(!here.stdout.is_empty() && here.stdout == there.stdout, "{line} {there:?}");
    }

    #[test]
    fn several_commands_need_several_keys() {
        let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
        let two = "command = [{ run = \"a\", file = \"a\" }, { run = \"b\", file = \"b\" }]";
        let error = printed(&dir, &sshd, two).unwrap_err();
        assert!(matches!(error, AuthorizeError::SeveralCommands { count: 2, .. }), "{error}");
    }
}
