//! A site to gather from: sources on other hosts in a configuration file, and the real program.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use drawbridge_peers::sshd::Sshd;
use tempfile::TempDir;

/// What every configuration begins with; nothing of it is used by gathering but the state folder. The stack is nobody: port 9 of
/// this machine is closed.
const HEAD: &str = "state_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\n\
                    region = \"eu-central-1\"\nstart = \"a\"\nsession = \"b\"\nreport = \"c\"\n\
                    endpoint_url = \"http://127.0.0.1:9\"\ncredentials_file = \"aws\"\n";

/// Somebody's credentials, as AWS's documentation has them.
pub const CREDENTIALS: &str = "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = example\n";

/// A folder with a configuration and the agent's state.
pub struct AgentSite {
    dir: TempDir,
    config: String,
}

impl AgentSite {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("aws"), CREDENTIALS).unwrap();
        Self { dir, config: HEAD.to_owned() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// Where the mirror has `path` of a source.
    pub fn mirrored(&self, source: &str, path: &Path) -> PathBuf {
        self.state().join("mirror").join(source).join(path.strip_prefix("/").unwrap())
    }

    /// More of the configuration.
    pub fn add(&mut self, text: &str) {
        self.config.push_str(text);
        fs::write(self.path().join("drawbridge.toml"), &self.config).unwrap();
    }

    /// A source on this machine.
    pub fn local(&mut self, name: &str, path: &Path) {
        self.add(&format!("[[source]]\nname = \"{name}\"\npaths = [{path:?}]\n"));
    }

    /// A source on a server that is reached at `at`, with more settings.
    pub fn remote(&mut self, name: &str, sshd: &Sshd, at: SocketAddr, more: &str) {
        let (key, known_hosts) = (format!("{name}.key"), format!("{name}.known_hosts"));
        fs::copy(sshd.client_key(), self.path().join(&key)).unwrap();
        fs::write(self.path().join(&known_hosts), sshd.known_as(at)).unwrap();
        self.add(&format!(
            "[[source]]\nname = \"{name}\"\nhost = \"{}\"\nport = {}\nuser = {:?}\nidentity_file = \"{key}\"\n\
             known_hosts = \"{known_hosts}\"\nssh_config = \"/dev/null\"\nretries = 0\n{more}\n",
            at.ip(),
            at.port(),
            sshd.user()
        ));
    }

    /// `drawbridge gather`
    pub fn gather(&self) -> Command {
        self.drawbridge("gather")
    }

    /// The real program.
    pub fn drawbridge(&self, what: &str) -> Command {
        drawbridge(&self.path().join("drawbridge.toml"), what)
    }
}

/// The real program with the configuration `config`.
pub fn drawbridge(config: &Path, what: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drawbridge"));
    command.arg("--config").arg(config).arg(what);
    command
}

/// Runs a command to its end: its exit code, and everything it said.
pub fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}
