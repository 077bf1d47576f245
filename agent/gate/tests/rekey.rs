//! A client that knows the run's key, begins a key exchange and never ends it. Until it does, the gate may not answer it, and
//! what it has to say piles up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::machine::{MEMORY_KIB, Machine};
use common::{Cargo, Http, LOOPBACK};
use drawbridge_gate::limits::MAX_SESSIONS;
use drawbridge_ssh::settings::INACTIVITY_TIMEOUT;
use drawbridge_ssh::{PinnedHostKey, USER, VAULT_HOST, VAULT_PORT, algorithms};
use russh::client::{self, Msg};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use russh::{Channel, ChannelStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The least that a gate's word of a new key exchange has: the names of its algorithms alone are longer.
const KEXINIT_BYTES: usize = 200;

/// Carries one connection to the gate. Once it is deaf, what the gate says from then on is lost on the way; the other
/// direction stays as it is, even when the client is gone.
struct Line {
    port: u16,
    deaf: Arc<AtomicBool>,
    lost: Arc<AtomicUsize>,
    /// Ends when the gate closes the connection.
    closed: JoinHandle<Instant>,
}

impl Line {
    async fn to(gate: u16) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (deaf, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (is_deaf, losing) = (Arc::clone(&deaf), Arc::clone(&lost));
        let closed = tokio::spawn(async move {
            let (mut from_client, mut to_client) = listener.accept().await.unwrap().0.into_split();
            let (mut from_gate, mut to_gate) = TcpStream::connect((LOOPBACK, gate)).await.unwrap().into_split();
            let forward = tokio::spawn(async move {
                // An error means that one of them is gone, which the other direction notices.
                let _ = tokio::io::copy(&mut from_client, &mut to_gate).await;
                std::future::pending::<()>().await;
            });
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(count @ 1..) = from_gate.read(&mut buffer).await {
                if is_deaf.load(Ordering::SeqCst) {
                    losing.fetch_add(count, Ordering::SeqCst);
                } else {
                    to_client.write_all(&buffer[..count]).await.unwrap();
                }
            }
            forward.abort();
            Instant::now()
        });
        Self { port, deaf, lost, closed }
    }

    async fn has_lost(&self, bytes: usize) {
        while self.lost.load(Ordering::SeqCst) < bytes {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// A logged-in connection of a client that never gives up by itself.
async fn log_in(machine: &Machine, port: u16, key: &Arc<PrivateKey>) -> client::Handle<PinnedHostKey> {
    let config = client::Config {
        preferred: algorithms::preferred(),
        keepalive_interval: None,
        inactivity_timeout: None,
        ..client::Config::default()
    };
    let socket = TcpStream::connect((LOOPBACK, port)).await.unwrap();
    let mut connection =
        client::connect_stream(Arc::new(config), socket, PinnedHostKey::new(machine.host_key())).await.unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
    assert!(connection.authenticate_publickey(USER, key).await.unwrap().success());
    connection
}

async fn vault(connection: &client::Handle<PinnedHostKey>) -> ChannelStream<Msg> {
    let channel: Channel<Msg> =
        connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.unwrap();
    channel.into_stream()
}

#[tokio::test]
async fn a_key_exchange_that_is_never_finished_costs_the_gate_little_and_its_client_the_connection() {
    let key = Arc::new(PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap());
    let cargo = Cargo::small();
    let public = key.public_key().to_openssh().unwrap();
    let machine = Machine::boot(&cargo.manifest(), |config| config.public_key = public).await;

    // All connections but one: the first says nothing more, the others had asked for answers that they never take.
    let mut stalled = Vec::new();
    for number in 1..MAX_SESSIONS {
        let line = Line::to(machine.port).await;
        let connection = log_in(&machine, line.port, &key).await;
        let mut stream = vault(&connection).await;
        line.deaf.store(true, Ordering::SeqCst);
        if number > 1 {
            let questions = "POST /locks/00 HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n".repeat(200);
            stream.write_all(questions.as_bytes()).await.unwrap();
        }
        connection.rekey_soon().await.unwrap();
        timeout(common::SOON, line.has_lost(KEXINIT_BYTES)).await.expect("the gate takes part in the key exchange");
        stalled.push((line, connection, stream, Instant::now()));
    }

    let agent = log_in(&machine, machine.port, &key).await;
    let mut http = Http::one(vault(&agent).await).await;
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    let mut objects = cargo.crossing();
    let first = objects.next().unwrap();
    assert_eq!(http.post(&first.path(), first.content.clone()).await.status, 200, "served beside them");

    for (line, _connection, _stream, since) in stalled {
        let closed = timeout(2 * INACTIVITY_TIMEOUT, line.closed).await.expect("the gate gives it up").unwrap();
        eprintln!("given up after {} s", closed.duration_since(since).as_secs());
    }
    let peak = machine.high_water_mark();
    eprintln!("unfinished key exchanges held at most {peak} KiB resident");
    assert!(peak < MEMORY_KIB, "{peak} KiB");

    for object in objects {
        assert_eq!(http.post(&object.path(), object.content.clone()).await.status, 200, "served after them");
    }
    assert_eq!(http.post("/receipt", "").await.status, 200);
}
