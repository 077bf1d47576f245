//! The agent's crossing, through a gate in a process of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use drawbridge::config::DEFAULT_STREAMS;
use drawbridge::cross::{BridgeEnd, Crossing, Patience};
use drawbridge::journal::Journal;
use drawbridge::ui::Ui;
use drawbridge_peers::proxy::{Proxy, Weather};
use drawbridge_ssh::{KeyPair, PublicKey};
use drawbridge_wire::{Ready, VaultRepository, ready_key};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use walkdir::WalkDir;

use crate::common::aws::{FakeAws, INSTANCE};
use crate::common::machine::free_port;
use crate::common::objects::{RUN, config_for};
use crate::common::{LOOPBACK, SOON};
use crate::vault::{BUCKET, Vault};
use crate::works::Work;
use crate::{process, setting};

/// What a run took.
#[derive(Debug)]
pub(crate) struct Ran {
    /// From the first connection to the receipt.
    pub(crate) seconds: f64,
    pub(crate) gate_cpu_seconds: f64,
    pub(crate) gate_peak_mib: f64,
}

/// Carries a whole work into an empty vault.
pub(crate) fn run(work: &Work, scratch: &Path, weather: Weather) -> Ran {
    let folder = TempDir::with_prefix_in("ours-", scratch).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(cross(work, folder.path(), weather))
}

async fn cross(work: &Work, folder: &Path, weather: Weather) -> Ran {
    let root = folder.join("s3");
    let vault = Vault::serve(&root).await;
    let name: VaultRepository = format!("2026-11-{}", work.manifest.repository()).parse().unwrap();
    let user_key = KeyPair::generate().unwrap();
    let port = free_port().await;
    let mut config = config_for(&work.manifest, &user_key.public().to_string(), port);
    config.repository = name.clone();
    fs::write(folder.join("config.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    let metadata = FakeAws::start().await;
    let mut gate = spawn(&vault.endpoint, &metadata.endpoint(), folder);
    let host_key = announced(&root, folder).await;

    let address = SocketAddr::from((LOOPBACK, port));
    let proxy = (!weather.delay.is_zero()).then(|| Proxy::start(address, weather));
    let port = proxy.as_ref().map_or(port, |proxy| proxy.at().port());
    let crossing = Crossing {
        end: BridgeEnd { address: Ipv4Addr::LOCALHOST, port, host_key, user_key },
        manifest: &work.manifest,
        manifest_bytes: Bytes::from(serde_json::to_vec(&work.manifest).unwrap()),
        stock: &work.stock,
        streams: setting("STREAMS", DEFAULT_STREAMS),
        patience: Patience::default(),
        progress: Ui::silent().transfer("crossing", None),
    };
    let mut journal = Journal::open(folder, &name).unwrap();
    let pid = gate.id().unwrap();
    // What the one before has left to write is not this one's to wait for.
    rustix::fs::sync();
    let (before, since) = (process::cpu_seconds(pid), Instant::now());
    crossing.cross(&mut journal).await.unwrap();
    let seconds = since.elapsed().as_secs_f64();
    let ran =
        Ran { seconds, gate_cpu_seconds: process::cpu_seconds(pid) - before, gate_peak_mib: process::peak_mib(pid) };
    is_all_there(work, &root.join(BUCKET).join("repo").join(name.as_str()));
    let status = tokio::time::timeout(SOON, gate.wait()).await.expect("the gate should end").unwrap();
    assert!(status.success(), "{status}: {}", fs::read_to_string(folder.join("log")).unwrap());
    ran
}

fn spawn(endpoint: &str, metadata: &str, folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_drawbridge-gate"))
        .arg("--config")
        .arg(folder.join("config.json"))
        .env_clear()
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", metadata)
        .stderr(fs::File::create(folder.join("log")).unwrap())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The host key that the gate announces in the vault.
async fn announced(root: &Path, folder: &Path) -> PublicKey {
    let path = root.join(BUCKET).join(ready_key(&RUN.parse().unwrap(), &INSTANCE.parse().unwrap()));
    let appears = async {
        loop {
            if let Some(ready) = fs::read(&path).ok().and_then(|text| serde_json::from_slice::<Ready>(&text).ok()) {
                return ready;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    let ready = tokio::time::timeout(SOON, appears).await;
    let ready = ready.unwrap_or_else(|_| panic!("not ready: {}", fs::read_to_string(folder.join("log")).unwrap()));
    ready.host_key.parse().unwrap()
}

/// S3 has every object, of its size. What is in them, the gate and S3 have hashed.
fn is_all_there(work: &Work, repository: &Path) {
    for object in work.manifest.objects() {
        let path = repository.join(object.name().path());
        let size = fs::metadata(&path).map_or_else(|error| panic!("{}: {error}", path.display()), |there| there.len());
        assert_eq!(size, object.size(), "{}", path.display());
    }
    let files = WalkDir::new(repository).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    assert_eq!(files.count(), work.manifest.objects().len(), "nothing else");
}
