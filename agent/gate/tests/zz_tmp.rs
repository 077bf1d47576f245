//! The program itself, as a box runs it: role credentials from instance metadata, S3 behind an endpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use common::aws::{FakeAws, INSTANCE, SECRET_CANARY};
use common::{Cargo, Http, LOOPBACK, Object, SOON, objects};
use drawbridge_gate::limits::{MAX_CHANNELS, MAX_SESSIONS, MAX_UPLOADS};
use drawbridge_ssh::{KeyPair, Session};
use drawbridge_wire::{
    BoxConfig, MAX_MANIFEST_OBJECTS, Manifest, ManifestObject, ObjectKind, ObjectName, Ready, Receipt, Sha256Digest,
    Timestamp,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// What the gate promises, in KiB.
const MEMORY_KIB: u64 = 64 * 1024;

struct Machine {
    aws: FakeAws,
    folder: TempDir,
    user_key: KeyPair,
    port: u16,
    child: Child,
}

async fn free_port() -> u16 {
    TcpListener::bind((LOOPBACK, 0)).await.unwrap().local_addr().unwrap().port()
}

fn spawn(aws: &FakeAws, config: &Path, log: &Path) -> Child {
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

fn run_path(name: &str) -> String {
    format!("/vault/runs/{}/{name}", objects::RUN)
}

impl Machine {
    /// Starts the program for this manifest, and waits until it says that it listens.
    async fn boot(manifest: &Manifest, change: impl FnOnce(&mut BoxConfig)) -> Self {
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

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn connect(&self) -> Session {
        let ready = self.aws.text(&run_path(&format!("ready/{INSTANCE}.json"))).unwrap();
        let ready: Ready = serde_json::from_slice(&ready).unwrap();
        drawbridge_ssh::connect(LOOPBACK, self.port, &ready.host_key.parse().unwrap(), &self.user_key).await.unwrap()
    }

    async fn http(&self, session: &Session) -> Http {
        Http::one(session.open_vault_stream().await.unwrap()).await
    }

    /// The most memory that the process ever had resident, in KiB.
    fn high_water_mark(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id().unwrap())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    async fn exit_code(&mut self) -> i32 {
        timeout(SOON, self.child.wait()).await.expect("the gate should have ended").unwrap().code().unwrap()
    }
}



#[tokio::test(flavor="multi_thread")]
async fn tmp_receipt() {
    let objs: Vec<Object> = (0..MAX_MANIFEST_OBJECTS).map(|n| Object::new(ObjectKind::Data, n.to_le_bytes().to_vec())).collect();
    let cargo = Cargo::of(objs);
    let mut gate = Machine::boot(&cargo.manifest(), |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    println!("after manifest {}", gate.high_water_mark());
    let t = std::time::Instant::now();
    let mut v = vec![];
    for lane in 0..4 {
        let mut http = gate.http(&session).await;
        let packs: Vec<_> = cargo.objects.iter().skip(lane).step_by(4).cloned().collect();
        v.push(tokio::spawn(async move { for p in packs { let a = http.post(&p.path(), p.content.clone()).await; assert_eq!(a.status, 200, "{a:?}"); } }));
    }
    for x in v { x.await.unwrap(); }
    println!("objects in {:?}, {}", t.elapsed(), gate.high_water_mark());
    assert_eq!(http.post("/receipt", "").await.status, 200);
    println!("after receipt {}", gate.high_water_mark());
}
