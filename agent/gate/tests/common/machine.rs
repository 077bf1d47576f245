//! The gate's program in a process of its own, with the services that a box reaches.

use std::path::Path;
use std::process::Stdio;

use drawbridge_ssh::{KeyPair, PublicKey, Session};
use drawbridge_wire::{BoxConfig, Manifest, Ready};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::aws::{FakeAws, INSTANCE};
use super::{Http, LOOPBACK, SOON, objects};

/// What the gate promises, in KiB.
pub const MEMORY_KIB: u64 = 64 * 1024;

/// A gate in a process of its own.
pub struct Machine {
    pub aws: FakeAws,
    folder: TempDir,
    user_key: KeyPair,
    pub port: u16,
    pub child: Child,
}

pub async fn free_port() -> u16 {
    TcpListener::bind((LOOPBACK, 0)).await.unwrap().local_addr().unwrap().port()
}

pub fn spawn(aws: &FakeAws, config: &Path, log: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_drawbridge-gate"))
        .arg("--config")
        .arg(config)
        .env_clear()
        .env("AWS_ENDPOINT_URL", aws.endpoint())
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", aws.endpoint())
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(log).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub fn run_path(name: &str) -> String {
    format!("/vault/runs/{}/{name}", objects::RUN)
}

impl Machine {
    /// Starts the program for this manifest, and waits until it says that it listens.
    pub async fn boot(manifest: &Manifest, change: impl FnOnce(&mut BoxConfig)) -> Self {
        let user_key = KeyPair::generate().unwrap();
        let port = free_port().await;
        let mut config = objects::config_for(manifest, &user_key.public().to_string(), port);
        change(&mut config);
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("config.json");
        std::fs::write(&file, serde_json::to_vec(&config).unwrap()).unwrap();
        let aws = FakeAws::start().await;
        let child = spawn(&aws, &file, &folder.path().join("log"));
        let this = Self { aws, folder, user_key, port, child };
        let ready = run_path(&format!("ready/{INSTANCE}.json"));
        timeout(SOON, this.aws.wait_for(&ready)).await.unwrap_or_else(|_| panic!("not ready: {}", this.log()));
        this
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The host key that it announced.
    pub fn host_key(&self) -> PublicKey {
        let ready = self.aws.text(&run_path(&format!("ready/{INSTANCE}.json"))).unwrap();
        let ready: Ready = serde_json::from_slice(&ready).unwrap();
        ready.host_key.parse().unwrap()
    }

    pub async fn connect(&self) -> Session {
        drawbridge_ssh::connect(LOOPBACK, self.port, &self.host_key(), &self.user_key).await.unwrap()
    }

    pub async fn http(&self, session: &Session) -> Http {
        Http::one(session.open_vault_stream().await.unwrap()).await
    }

    /// The most memory that the process ever had resident, in KiB.
    pub fn high_water_mark(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub async fn exit_code(&mut self) -> i32 {
        timeout(SOON, self.child.wait()).await.expect("the gate should have ended").unwrap().code().unwrap()
    }
}
