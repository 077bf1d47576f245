//! The crossing against the real gate, with a vault in memory behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drawbridge::cross::{AttemptError, BridgeEnd, CrossError, Crossing, Patience};
use drawbridge::engine::LocalRepository;
use drawbridge::journal::Journal;
use drawbridge::stock::Stock;
use drawbridge::ui::{Transfer, Ui};
use drawbridge_gate::Ending;
use drawbridge_ssh::{KeyPair, LinkError};
use drawbridge_wire::{BoxConfig, Manifest, Sha256Digest, Timestamp, VaultRepository, object_key};
use sha2::{Digest, Sha256};
use support::restic::restic;
use support::vault::{MemoryVault, TestGate};
use support::{fill, no_origins, noise};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

const PASSWORD: &str = "correct horse";
const QUICK: Patience = Patience {
    first: Duration::from_millis(10),
    most: Duration::from_millis(50),
    total: Duration::from_millis(600),
    stall: Duration::from_secs(20),
};

/// A backed-up repository, its manifest, a vault, and a key for the run.
struct Run {
    dir: TempDir,
    vault: MemoryVault,
    key: KeyPair,
    name: VaultRepository,
    stock: Stock,
    manifest: Manifest,
    patience: Patience,
    progress: Transfer,
}

impl Run {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mirror = dir.path().join("mirror");
        fill(&mirror);
        let repository = LocalRepository::create(&dir.path().join("repository"), PASSWORD).unwrap();
        // Several snapshots, so that there are several objects of every kind.
        for round in 1..=6 {
            fs::write(mirror.join("host/etc/round"), noise(round, 700_000)).unwrap();
            repository.back_up(&mirror, no_origins(), Arc::new(|_| ())).unwrap();
        }
        let name = format!("2026-11-{}", repository.id()).parse().unwrap();
        let stock = Stock::take(&repository).unwrap();
        let manifest = stock.manifest(None).unwrap();
        let progress = Ui::silent().transfer("crossing", None);
        let (vault, key) = (MemoryVault::default(), KeyPair::generate().unwrap());
        Self { dir, vault, key, name, stock, manifest, patience: QUICK, progress }
    }

    fn journal(&self) -> Journal {
        Journal::open(self.dir.path(), &self.name).unwrap()
    }

    /// What a run after this one declares.
    fn declare_again(&mut self) {
        let journal = self.journal();
        self.manifest = self.stock.manifest(Some(&journal)).unwrap();
        self.progress = Ui::silent().transfer("crossing", None);
    }

    fn manifest_bytes(&self) -> Bytes {
        serde_json::to_vec(&self.manifest).unwrap().into()
    }

    async fn gate(&self) -> TestGate {
        let (objects, bytes) = self.manifest.declared();
        let deadline = Timestamp::now() + std::time::Duration::from_secs(300);
        let config = BoxConfig {
            shutdown_at: deadline.as_second(),
            gate_url: "http://127.0.0.1/".to_owned(),
            gate_sha256: Sha256Digest::from_bytes([0; 32]),
            run: "test-20261123T203000Z".parse().unwrap(),
            region: "eu-central-1".to_owned(),
            vault: "vault".to_owned(),
            repository: self.name.clone(),
            public_key: self.key.public().to_string(),
            port: 2222,
            objects,
            bytes,
            manifest_sha256: Sha256Digest::from_bytes(Sha256::digest(self.manifest_bytes()).into()),
            deadline,
            unusual: None,
        };
        TestGate::open(&config, self.vault.clone()).await
    }

    async fn cross(&self, gate: &TestGate) -> Result<(), CrossError> {
        self.cross_to(gate.end(&self.key)).await
    }

    async fn cross_to(&self, end: BridgeEnd) -> Result<(), CrossError> {
        let crossing = Crossing {
            end,
            manifest: &self.manifest,
            manifest_bytes: self.manifest_bytes(),
            stock: &self.stock,
            streams: 4,
            patience: self.patience,
            progress: self.progress.clone(),
        };
        crossing.cross(&mut self.journal()).await
    }

    fn assert_vault_is_whole(&self) {
        let copy = tempfile::tempdir().unwrap();
        self.vault.copy_repository(self.name.as_str(), copy.path());
        let objects = support::files(copy.path());
        assert_eq!(objects.len(), self.manifest.objects().len());
        restic(copy.path(), PASSWORD, &["check", "--read-data"]);
        let journal = self.journal();
        assert!(self.manifest.objects().iter().all(|object| journal.holds(object.name(), object.digest())));
    }
}

fn kind(path: &str) -> usize {
    let folder = path.split('/').next().unwrap();
    ["config", "keys", "data", "index", "snapshots"].iter().position(|known| *known == folder).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_crosses_kind_after_kind_and_restic_accepts_the_vault() {
    let run = Run::new();
    let gate = run.gate().await;
    run.cross(&gate).await.unwrap();
    assert_eq!(gate.ended().await, Ending::Complete);
    let ranks: Vec<usize> = run.vault.arrived().iter().map(|path| kind(path).max(1)).collect();
    assert!(ranks.is_sorted(), "{:?}", run.vault.arrived());
    assert_eq!(run.progress.bytes(), run.manifest.declared().1);
    assert!(run.vault.keys().contains(&"runs/test-20261123T203000Z/receipt.json".to_owned()));
    run.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_fails_for_a_while_only_costs_time() {
    let mut run = Run::new();
    run.patience.total = Duration::from_secs(30);
    run.vault.fail(12);
    let gate = run.gate().await;
    run.cross(&gate).await.unwrap();
    assert_eq!(run.progress.bytes(), run.manifest.declared().1, "what went twice counts once");
    run.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_that_goes_on_failing_ends_the_crossing_with_its_words() {
    let mut run = Run::new();
    run.patience.total = Duration::from_secs(5);
    run.vault.fail(usize::MAX);
    let error = run.cross(&run.gate().await).await.unwrap_err();
    let CrossError::GaveUp { what, attempts, source, .. } = &error else { panic!("{error:?}") };
    let AttemptError::NotNow(reason) = source.as_ref() else { panic!("{error:?}") };
    assert_eq!((what.as_str(), reason.as_str()), ("manifest", "the vault cannot be reached now"));
    assert!(*attempts > 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_gate_that_died_the_next_run_carries_only_the_rest() {
    let mut run = Run::new();
    run.vault.hang_after(5);
    let gate = run.gate().await;
    let error = {
        let crossing = run.cross_to(gate.end(&run.key));
        tokio::pin!(crossing);
        tokio::select! {
            ended = &mut crossing => panic!("{ended:?}"),
            () = run.vault.wait_for(5) => {}
        }
        let (_, ended) = tokio::join!(gate.kill(), crossing);
        ended.unwrap_err()
    };
    assert!(matches!(error, CrossError::GaveUp { .. }), "{error:?}");

    let total = run.manifest.objects().len();
    let first = run.vault.arrived();
    run.declare_again();
    run.vault.go_on();
    run.vault.forget_arrivals();
    let (rest, _) = run.manifest.declared();
    // An object may have been stored without its acknowledgement having arrived; then it crosses again.
    assert!(rest as usize >= total - first.len() && (rest as usize) < total, "{rest} of {total}");
    run.cross(&run.gate().await).await.unwrap();
    assert_eq!(run.vault.arrived().len(), rest as usize);
    run.assert_vault_is_whole();
}

/// Forwards to `port`, but cuts its first connection after `bytes` from the agent.
async fn cutting_proxy(port: u16, bytes: u64) -> u16 {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut cut = Some(bytes);
        while let Ok((mut agent, _)) = listener.accept().await {
            let mut gate = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
            match cut.take() {
                Some(bytes) => {
                    let ((agent_in, mut agent_out), (mut gate_in, mut gate_out)) = (agent.split(), gate.split());
                    let mut limited = agent_in.take(bytes);
                    tokio::select! {
                        _ = tokio::io::copy(&mut limited, &mut gate_out) => {}
                        _ = tokio::io::copy(&mut gate_in, &mut agent_out) => {}
                    }
                }
                None => drop(tokio::spawn(async move { copy_bidirectional(&mut agent, &mut gate).await })),
            }
        }
    });
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_off_is_made_again() {
    let mut run = Run::new();
    run.patience.total = Duration::from_secs(30);
    let gate = run.gate().await;
    let port = cutting_proxy(gate.port, 2_000_000).await;
    run.cross_to(BridgeEnd { port, ..gate.end(&run.key) }).await.unwrap();
    run.assert_vault_is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_key_stops_at_once_and_nothing_crosses() {
    let run = Run::new();
    let gate = run.gate().await;
    let stranger = KeyPair::generate().unwrap().public().clone();
    let error = run.cross_to(BridgeEnd { host_key: stranger, ..gate.end(&run.key) }).await.unwrap_err();
    assert!(matches!(error, CrossError::Untrusted(LinkError::HostKey { .. })), "{error:?}");
    assert!(run.vault.keys().is_empty() && run.journal().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_a_flipped_bit_is_refused_by_the_gate_and_named_as_damage() {
    let run = Run::new();
    let data = run.manifest.objects().iter().find(|object| object.size() > 500_000).unwrap();
    let path = run.stock.path(&data.name());
    let mut content = fs::read(&path).unwrap();
    content[250_000] ^= 1;
    fs::write(&path, content).unwrap();
    let error = run.cross(&run.gate().await).await.unwrap_err();
    let CrossError::Damaged { damage } = &error else { panic!("{error:?}") };
    assert!(damage.contains(path.to_str().unwrap()) && damage.contains("not what was written"), "{error}");
    assert!(run.vault.get(&object_key(&run.name, &data.name())).is_none(), "the gate took nothing of it");
    assert!(!run.journal().holds(data.name(), data.digest()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changed_since_it_was_declared_stops_the_crossing() {
    let run = Run::new();
    let object = run.manifest.objects()[0];
    let path = run.stock.path(&object.name());
    fs::write(&path, "short").unwrap();
    let error = run.cross(&run.gate().await).await.unwrap_err();
    let CrossError::Damaged { damage } = &error else { panic!("{error:?}") };
    assert!(damage.contains(path.to_str().unwrap()) && damage.contains("when it was declared"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_on_which_nothing_moves_is_given_up() {
    let mut run = Run::new();
    run.patience.stall = Duration::from_millis(150);
    run.vault.hang_after(0);
    let error = run.cross(&run.gate().await).await.unwrap_err();
    // Afterwards the gate still holds the object, and says so.
    let CrossError::GaveUp { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, AttemptError::Stalled(_) | AttemptError::NotNow(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_the_gate_takes_are_not_opened() {
    let run = Run::new();
    let gate = run.gate().await;
    let crossing = Crossing {
        end: gate.end(&run.key),
        manifest: &run.manifest,
        manifest_bytes: run.manifest_bytes(),
        stock: &run.stock,
        streams: u8::MAX,
        patience: QUICK,
        progress: run.progress.clone(),
    };
    crossing.cross(&mut run.journal()).await.unwrap();
    run.assert_vault_is_whole();
}

#[test]
fn no_debug_output_shows_the_runs_key() {
    let key = KeyPair::generate().unwrap();
    let end = BridgeEnd { address: Ipv4Addr::LOCALHOST, port: 1, host_key: key.public().clone(), user_key: key };
    let shown = format!("{end:?}");
    assert!(shown.contains("KeyPair") && !shown.contains("private"), "{shown}");
}
