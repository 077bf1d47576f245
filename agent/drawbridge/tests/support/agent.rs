//! The real program with a configuration that fits a [`TestStack`].

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use drawbridge_wire::VaultRepository;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::noise;
use super::restic::restic;
use super::stack::TestStack;

pub const PASSWORD: &str = "canary-of-the-repository";

/// An agent with one source, and the stack that it talks to.
pub struct Site {
    pub dir: TempDir,
    pub stack: TestStack,
    pub config: PathBuf,
}

/// How a program ended, and what it said.
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Site {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(source.join("etc")).unwrap();
        fs::write(source.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        for index in 0..4 {
            fs::write(source.join(format!("log-{index}")), noise(index, 400_000)).unwrap();
        }
        let stack = TestStack::up().await;
        let config = stack.configure(dir.path(), &source);
        Self { dir, stack, config }
    }

    pub fn source(&self, path: &str) -> PathBuf {
        self.dir.path().join("source").join(path)
    }

    pub fn state(&self, path: &str) -> PathBuf {
        self.dir.path().join("state").join(path)
    }

    pub fn spawn(&self, arguments: &[&str]) -> Child {
        self.spawn_under(&[], arguments)
    }

    /// The program as the last argument of another one, such as strace.
    pub fn spawn_under(&self, wrapper: &[&str], arguments: &[&str]) -> Child {
        let mut words = wrapper.iter().copied().chain([env!("CARGO_BIN_EXE_drawbridge")]);
        Command::new(words.next().unwrap())
            .args(words)
            .arg("--config")
            .arg(&self.config)
            .args(arguments)
            // A proxy that nobody answers at: the agent must not ask it.
            .env("HTTP_PROXY", "http://127.0.0.1:9")
            .env("http_proxy", "http://127.0.0.1:9")
            .env("RUST_LOG", "drawbridge=trace,aws_config=debug,aws_runtime=debug,russh=info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    pub async fn run(&self) -> Ended {
        self.wait(self.spawn(&["run"])).await
    }

    pub async fn wait(&self, child: Child) -> Ended {
        let output = child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ended { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    pub fn last_run(&self) -> Value {
        serde_json::from_slice(&fs::read(self.state("last-run.json")).unwrap()).unwrap()
    }

    pub fn vault_repository(&self) -> VaultRepository {
        let current: Value = serde_json::from_slice(&fs::read(self.state("current.json")).unwrap()).unwrap();
        current["vault"].as_str().unwrap().parse().unwrap()
    }

    /// Three objects had been stored; two of them certainly acknowledged, or no third one would have come.
    pub async fn assert_the_next_run_carries_the_rest(&self) {
        self.stack.vault.go_on();
        self.stack.vault.forget_arrivals();
        self.run().await.assert(0, "verified");
        let arrived = self.stack.vault.arrived();
        assert!(!arrived.iter().any(|path| path == "config" || path.starts_with("keys/")), "{arrived:?}");
        assert!(self.stack.starts()[1].generation.is_some());
        self.assert_vault_is_whole();
    }

    pub fn assert_vault_is_whole(&self) {
        let copy = tempfile::tempdir().unwrap();
        self.stack.vault.copy_repository(self.vault_repository().as_str(), copy.path());
        restic(copy.path(), PASSWORD, &["check", "--read-data"]);
        let file = self.source("etc/hosts");
        let mirrored = Path::new("/here").join(file.strip_prefix("/").unwrap());
        let dumped = restic(copy.path(), PASSWORD, &["dump", "latest", mirrored.to_str().unwrap()]);
        assert_eq!(dumped, fs::read_to_string(file).unwrap());
        // And one that changes.
        let file = self.source("log-0");
        let target = tempfile::tempdir().unwrap();
        let mirrored = Path::new("/here").join(file.strip_prefix("/").unwrap());
        let only =
            ["restore", "latest", "--include", mirrored.to_str().unwrap(), "--target", target.path().to_str().unwrap()];
        restic(copy.path(), PASSWORD, &only);
        let restored = fs::read(target.path().join(mirrored.strip_prefix("/").unwrap())).unwrap();
        assert!(restored == fs::read(file).unwrap(), "the last snapshot holds another log");
    }
}

impl Ended {
    pub fn assert(&self, code: i32, said: &str) {
        let all = format!("{}{}", self.out, self.err);
        assert_eq!(self.code, Some(code), "{all}");
        assert!(all.contains(said), "{said:?} is not in: {all}");
    }
}
