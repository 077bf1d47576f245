use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;

use drawbridge_local::Workspace;

/// The path of one of the workspace's programs, as it is now: `cargo test` alone doesn't build them.
pub fn program(name: &str) -> PathBuf {
    static BUILT: Once = Once::new();
    let workspace = Workspace::here();
    BUILT.call_once(|| drawbridge_local::build(&workspace).unwrap());
    workspace.program(name)
}

/// The real program, with a configuration.
#[derive(Debug, Clone)]
pub struct Agent {
    config: PathBuf,
}

/// How a command of the agent's ended.
#[derive(Debug)]
pub struct Finished {
    /// The exit code.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Agent {
    /// With the configuration at `config`.
    pub const fn new(config: PathBuf) -> Self {
        Self { config }
    }

    /// The configuration's path.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Adds lines to the end of the configuration.
    pub fn configure(&self, lines: &str) {
        let text = std::fs::read_to_string(&self.config).unwrap();
        std::fs::write(&self.config, format!("{text}\n{lines}\n")).unwrap();
    }

    /// A command of the agent's, not yet started, with nothing of this machine's AWS settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("drawbridge"));
        command.arg("--config").arg(&self.config).args(arguments).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("AWS_") {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        let mut command = self.command(arguments);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap().into()
    }

    /// Starts a command and leaves it to the caller, who has to end it.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Finished {
    /// Fails, with everything it said, unless it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}
