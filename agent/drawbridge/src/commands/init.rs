//! `drawbridge init`: a commented configuration and a new password, neither of which replaces anything.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use serde::Serialize;
use thiserror::Error;

use crate::exit::Exit;
use crate::ui::Ui;

/// The password's strength: 256 bits of the system's randomness. Nobody types it, and the vault is for years.
const PASSWORD_BYTES: usize = 32;

const CONFIG_NAME: &str = "drawbridge.toml";
const PASSWORD_NAME: &str = "password";
const TEMPLATE: &str = include_str!("init.toml");

/// Why nothing, or not all, was written.
#[derive(Debug, Error)]
pub enum InitError {
    /// There is one already.
    #[error("{} exists, and init replaces nothing: edit it, or choose another folder with --dir", .0.display())]
    Exists(PathBuf),
    /// It can't be written.
    #[error("{} can't be written: run as a user that may, or choose another folder with --dir", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes for a password")]
    Random(#[source] rand::rngs::SysError),
}

#[derive(Serialize)]
struct Written<'a> {
    config: &'a Path,
    password_file: &'a Path,
}

/// Writes both files into `dir`, making it if need be, and says what to do with them.
///
/// # Errors
/// When a file is there already, or can't be written.
pub fn init(dir: &Path, ui: &Ui) -> Result<Exit, InitError> {
    let written = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Write { path, source }
    };
    let dir = std::path::absolute(dir).map_err(written(dir))?;
    let (config, password) = (dir.join(CONFIG_NAME), dir.join(PASSWORD_NAME));
    for path in [&config, &password] {
        // A dangling link exists, too.
        if path.symlink_metadata().is_ok() {
            return Err(InitError::Exists(path.clone()));
        }
    }
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(written(&dir))?;
    write_new(&password, format!("{}\n", new_password()?).as_bytes()).map_err(written(&password))?;
    if let Err(error) = write_new(&config, TEMPLATE.as_bytes()) {
        // Half an installation would be refused by the next init.
        std::fs::remove_file(&password).map_err(written(&password))?;
        return Err(written(&config)(error));
    }
    ui.result("initialised", &Written { config: &config, password_file: &password }, &next_steps(&config, &password));
    Ok(Exit::Done)
}

/// A password of printable characters that need no quoting anywhere.
///
/// # Errors
/// When the system has no randomness.
pub(crate) fn new_password() -> Result<String, InitError> {
    let mut bytes = [0; PASSWORD_BYTES];
    SysRng.try_fill_bytes(&mut bytes).map_err(InitError::Random)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file: File = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

fn next_steps(config: &Path, password: &Path) -> String {
    let (config, password) = (config.display(), password.display());
    format!(
        "Wrote {config}\n\
         Wrote {password}\n\
         \n\
         KEEP THE PASSWORD SOMEWHERE ELSE, TOO. Everything is encrypted with it; if this machine is lost and the password\n\
         with it, no backup can be restored, by anybody. Print it, or put it into a password manager, now:\n\
         \n\
         \x20   cat {password}\n\
         \n\
         Next:\n\
         \x20 1. edit {config}: the stack (what `sam deploy` printed) and the sources\n\
         \x20 2. drawbridge --config {config} check\n\
         \x20 3. drawbridge --config {config} run"
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::Config;

    #[test]
    fn what_init_writes_is_a_valid_configuration_and_a_good_password() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().join("etc/drawbridge");
        init(&dir, &Ui::silent()).unwrap();
        let config = Config::load(&dir.join(CONFIG_NAME)).unwrap();
        assert_eq!(config.password_file, dir.join(PASSWORD_NAME));
        let password = config.read_password().unwrap();
        assert_eq!(URL_SAFE_NO_PAD.decode(password.reveal()).unwrap().len(), PASSWORD_BYTES);
        for path in [&config.path, &config.password_file] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
        }
    }

    #[test]
    fn every_commented_setting_of_the_template_is_valid_too() {
        let all: String =
            TEMPLATE.lines().map(|line| format!("{}\n", line.strip_prefix("#| ").unwrap_or(line))).collect();
        let config = Config::parse(&all, Path::new("/etc/drawbridge/drawbridge.toml")).unwrap();
        assert!(config.stack.source_cidr.is_some() && config.stack.profile.is_some());
        assert_eq!(config.gather.bandwidth, Some(50 << 20));
        let names: Vec<_> = config.sources.iter().map(|source| source.name.as_str()).collect();
        assert_eq!(names, ["this-host", "firewall", "dns", "logs", "ad", "desk1", "firewall-rules"]);
        assert_ne!(all, TEMPLATE);
    }

    #[test]
    fn init_replaces_nothing_and_leaves_no_half() {
        for name in [CONFIG_NAME, PASSWORD_NAME] {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join(name), "mine").unwrap();
            assert!(matches!(init(dir.path(), &Ui::silent()), Err(InitError::Exists(_))));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
            assert_eq!(std::fs::read(dir.path().join(name)).unwrap(), b"mine");
        }
    }

    #[test]
    fn two_passwords_differ() {
        assert_ne!(new_password().unwrap(), new_password().unwrap());
    }
}
