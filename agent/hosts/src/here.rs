//! This machine and the user that runs the program, as far as the SSH client's configuration asks for them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Where the user's name is looked up, as OpenSSH does, so that a wrong `$USER` after `sudo` doesn't matter.
const PASSWD: &str = "/etc/passwd";

/// The surroundings of a look-up, so that tests can have their own.
#[derive(Debug, Clone)]
pub(crate) struct Here {
    pub(crate) user: String,
    pub(crate) uid: u32,
    pub(crate) home: PathBuf,
    pub(crate) environment: HashMap<String, String>,
    pub(crate) system_config: PathBuf,
}

impl Here {
    /// The real ones.
    pub(crate) fn real() -> Self {
        let uid = rustix::process::getuid().as_raw();
        let environment: HashMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        // Unreadable or without the user, as with a directory service: the environment and the uid have to do.
        let passwd = std::fs::read_to_string(PASSWD).unwrap_or_default();
        let entry = entry_of(&passwd, uid);
        let user = entry.map(|(name, _)| name.to_owned());
        let user = user.or_else(|| environment.get("USER").cloned()).unwrap_or_else(|| uid.to_string());
        let home = std::env::home_dir().filter(|home| home.is_absolute());
        let home = home.or_else(|| entry.map(|(_, home)| PathBuf::from(home))).unwrap_or_else(|| PathBuf::from("/"));
        Self { user, uid, home, environment, system_config: PathBuf::from("/etc/ssh/ssh_config") }
    }

    /// `~/.ssh`.
    pub(crate) fn ssh_folder(&self) -> PathBuf {
        self.home.join(".ssh")
    }

    /// `path` with its leading `~/` made the user's home.
    pub(crate) fn tilde(&self, path: &str) -> PathBuf {
        match path.strip_prefix('~') {
            Some("") => self.home.clone(),
            Some(rest) if rest.starts_with('/') => self.home.join(rest.trim_start_matches('/')),
            _ => Path::new(path).to_owned(),
        }
    }
}

/// Name and home folder of a uid in the text of passwd(5).
fn entry_of(passwd: &str, uid: u32) -> Option<(&str, &str)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        let home = fields.nth(2)?;
        (number == uid).then_some((name, home))
    })
}

#[cfg(test)]
impl Here {
    /// Somebody with this home folder and no environment.
    pub(crate) fn somebody(home: &Path) -> Self {
        Self {
            user: "somebody".to_owned(),
            uid: 1000,
            home: home.to_owned(),
            environment: HashMap::new(),
            system_config: home.join("no-system-config"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_uid() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\nbroken\nbackup:x:34:35:b,a:/var/backups:/bin/sh\n";
        assert_eq!(entry_of(passwd, 34), Some(("backup", "/var/backups")));
        assert_eq!(entry_of(passwd, 35), None);
    }

    #[test]
    fn a_tilde_is_the_home_folder() {
        let here = Here::somebody(Path::new("/home/x"));
        for (path, expected) in [("~/a", "/home/x/a"), ("~", "/home/x"), ("/a/~", "/a/~"), ("~other/a", "~other/a")] {
            assert_eq!(here.tilde(path), Path::new(expected), "{path}");
        }
    }
}
