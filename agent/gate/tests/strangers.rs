//! What nobody may do over SSH, and how long and how often they may try. For HTTP see `hostile.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use common::{Cargo, Client, Gate, LOOPBACK, Memory, SOON, config};
use drawbridge_gate::limits::{MAX_CHANNELS, MAX_CHANNELS_PER_CONNECTION, MAX_SESSIONS, MAX_STRANGERS, Patience};
use drawbridge_gate::{Ending, build};
use drawbridge_ssh::{KeyPair, LinkError, PinnedHostKey, VAULT_HOST, VAULT_PORT, client_config};
use drawbridge_wire::Timestamp;
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use russh::{ChannelMsg, Sig, client};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

type Raw = client::Handle<PinnedHostKey>;

async fn raw_connection(gate: &Gate) -> Raw {
    let socket = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
    client::connect_stream(client_config(), socket, PinnedHostKey::new(gate.host_key.clone())).await.unwrap()
}

fn private_key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap())
}

async fn log_in(connection: &mut Raw, user: &str, key: &Arc<PrivateKey>) -> bool {
    let key = PrivateKeyWithHashAlg::new(Arc::clone(key), None);
    connection.authenticate_publickey(user, key).await.is_ok_and(|result| result.success())
}

/// A gate, and the user's private key in the library's form.
async fn gate_with_key(store: &Memory, patience: Patience) -> (Gate, Arc<PrivateKey>) {
    let key = private_key();
    let public = key.public_key().to_openssh().unwrap();
    let config = Cargo::small().config(&public, 0);
    // The gate's own field is not used by these tests.
    (Gate::open_config(&config, KeyPair::generate().unwrap(), store, patience).await, key)
}

#[tokio::test]
async fn only_the_run_s_key_and_user_get_in() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    assert!(log_in(&mut raw_connection(&gate).await, "drawbridge", &key).await);
    for (user, key) in [("root", &key), ("", &key), ("Drawbridge", &key), ("drawbridge", &private_key())] {
        assert!(!log_in(&mut raw_connection(&gate).await, user, key).await, "{user}");
    }
    let mut connection = raw_connection(&gate).await;
    assert!(!connection.authenticate_none("drawbridge").await.unwrap().success());
    let mut connection = raw_connection(&gate).await;
    assert!(!connection.authenticate_password("drawbridge", "").await.unwrap().success());
}

#[tokio::test]
async fn after_two_failures_even_the_right_key_is_not_asked_for() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    let mut connection = raw_connection(&gate).await;
    assert!(!log_in(&mut connection, "drawbridge", &private_key()).await);
    assert!(log_in(&mut connection, "drawbridge", &key).await, "one failure is forgiven");
    let mut connection = raw_connection(&gate).await;
    assert!(!log_in(&mut connection, "drawbridge", &private_key()).await);
    assert!(!log_in(&mut connection, "drawbridge", &private_key()).await);
    assert!(!log_in(&mut connection, "drawbridge", &key).await);
}

#[tokio::test]
async fn an_agent_that_meets_another_host_key_says_nothing_and_names_both() {
    let gate = Gate::open(&Cargo::small(), &Memory::default()).await;
    let expected = KeyPair::generate().unwrap();
    let error = drawbridge_ssh::connect(LOOPBACK, gate.port, expected.public(), &gate.user_key).await.unwrap_err();
    assert!(matches!(error, LinkError::HostKey { .. }), "{error:?}");
    let text = error.to_string();
    for fingerprint in [expected.public().fingerprint(), gate.host_key.fingerprint()] {
        assert!(text.contains(&fingerprint.to_string()), "{text}");
    }
}

#[tokio::test]
async fn an_agent_with_another_key_is_told_that_it_is_refused() {
    let gate = Gate::open(&Cargo::small(), &Memory::default()).await;
    let stranger = KeyPair::generate().unwrap();
    let error = drawbridge_ssh::connect(LOOPBACK, gate.port, &gate.host_key, &stranger).await.unwrap_err();
    assert!(matches!(error, LinkError::Refused), "{error:?}");
}

#[tokio::test]
async fn no_channel_opens_but_to_the_vault() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    let connection = raw_connection(&gate).await;
    assert!(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_err(), "a stranger");
    let mut connection = {
        drop(connection);
        raw_connection(&gate).await
    };
    assert!(log_in(&mut connection, "drawbridge", &key).await);
    assert!(connection.channel_open_session().await.is_err());
    assert!(connection.channel_open_x11("127.0.0.1", 1).await.is_err());
    assert!(connection.channel_open_direct_streamlocal("/var/run/docker.sock").await.is_err());
    let port = u32::from(gate.port);
    for (host, port) in [
        ("127.0.0.1", port),
        ("localhost", 80),
        ("169.254.169.254", 80),
        ("0.0.0.0", 80),
        ("", 80),
        (VAULT_HOST, 443),
        (VAULT_HOST, 0),
        (VAULT_HOST, 65536 + 80),
        ("vault.drawbridge.internal.", 80),
        ("VAULT.drawbridge.internal", 80),
    ] {
        let refused = connection.channel_open_direct_tcpip(host, port, "127.0.0.1", 0).await.is_err();
        assert!(refused, "{host}:{port}");
    }
    assert!(connection.tcpip_forward("127.0.0.1", 0).await.is_err());
    assert!(connection.streamlocal_forward("/tmp/never").await.is_err());
    assert!(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_ok());
}

#[tokio::test]
async fn a_vault_channel_grants_no_terminal_shell_or_command() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    let mut connection = raw_connection(&gate).await;
    assert!(log_in(&mut connection, "drawbridge", &key).await);
    for request in 0..7 {
        let mut channel = connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.unwrap();
        match request {
            0 => channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await,
            1 => channel.request_shell(true).await,
            2 => channel.exec(true, "id").await,
            3 => channel.request_subsystem(true, "sftp").await,
            4 => channel.set_env(true, "LD_PRELOAD", "x").await,
            5 => channel.agent_forward(true).await,
            _ => channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await,
        }
        .unwrap();
        let answer = timeout(SOON, channel.wait()).await.unwrap();
        assert!(matches!(answer, Some(ChannelMsg::Failure)), "{request}: {answer:?}");
        channel.signal(Sig::KILL).await.unwrap();
    }
}

#[tokio::test]
async fn one_channel_too_many_is_refused_and_a_closed_one_makes_room() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    let mut connection = raw_connection(&gate).await;
    assert!(log_in(&mut connection, "drawbridge", &key).await);
    let mut channels = Vec::new();
    for _ in 0..MAX_CHANNELS_PER_CONNECTION {
        channels.push(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.unwrap());
    }
    assert!(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_err());
    let mut closing = channels.pop().unwrap();
    closing.eof().await.unwrap();
    while timeout(SOON, closing.wait()).await.unwrap().is_some() {}
    assert!(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_ok());
}

async fn is_closed_soon(mut socket: TcpStream) {
    let mut bytes = Vec::new();
    // A reset closes as well as an end.
    let _ = timeout(SOON, socket.read_to_end(&mut bytes)).await.expect("the gate should have closed it");
}

#[tokio::test]
async fn who_does_not_log_in_is_closed_at_every_stage() {
    let patience = Patience { login: Duration::from_millis(300), ..common::patience() };
    let (gate, key) = gate_with_key(&Memory::default(), patience).await;
    let silent = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
    let mut half_open = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
    half_open.write_all(b"SSH-2.0-half\r\n").await.unwrap();
    let idle = raw_connection(&gate).await;
    let mut agent = raw_connection(&gate).await;
    assert!(log_in(&mut agent, "drawbridge", &key).await);
    is_closed_soon(silent).await;
    is_closed_soon(half_open).await;
    timeout(SOON, async {
        while !idle.is_closed() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(agent.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_ok(), "still served");
}

#[tokio::test]
async fn silent_connections_cannot_keep_the_agent_out() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    // So that it isn't the login grace time that closes the oldest.
    let patience = Patience { login: 10 * SOON, ..common::patience() };
    let gate = Gate::open_with(&cargo, &store, patience).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_STRANGERS + 1 {
        let mut socket = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
        let mut greeting = [0; 8];
        socket.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"SSH-2.0-");
        silent.push(socket);
    }
    is_closed_soon(silent.remove(0)).await;
    gate.client().await.cross(&cargo).await;
}

#[tokio::test]
async fn a_new_login_displaces_the_oldest_one() {
    let (gate, key) = gate_with_key(&Memory::default(), common::patience()).await;
    let mut agents = Vec::new();
    for _ in 0..=MAX_SESSIONS {
        let mut agent = raw_connection(&gate).await;
        assert!(log_in(&mut agent, "drawbridge", &key).await);
        agents.push(agent);
    }
    let oldest = agents.remove(0);
    assert!(oldest.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_err());
    for agent in &agents {
        assert!(agent.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_ok());
    }
}

#[tokio::test]
async fn the_gate_closes_at_its_deadline_with_all_connections() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let user_key = KeyPair::generate().unwrap();
    let mut config = cargo.config(&user_key.public().to_string(), 0);
    config.deadline = Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 1500).unwrap();
    let gate = Gate::open_config(&config, user_key, &store, common::patience()).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let silent = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
    assert_eq!(gate.ended().await, Ending::Deadline);
    is_closed_soon(silent).await;
}

#[tokio::test]
async fn the_gate_closes_when_it_is_told_to() {
    let gate = Gate::open(&Cargo::small(), &Memory::default()).await;
    let Gate { stop, ending, .. } = gate;
    stop.send(()).unwrap();
    assert_eq!(ending.await.unwrap(), Ending::Stopped);
}

#[tokio::test]
async fn a_client_that_stays_after_the_receipt_does_not_keep_the_gate_open() {
    let patience = Patience { linger: Duration::from_millis(300), ..common::patience() };
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open_with(&cargo, &store, patience).await;
    let mut client: Client = gate.client().await;
    client.cross(&cargo).await;
    assert_eq!(gate.ended().await, Ending::Complete);
}

/// A connection whose client stops listening when it is told to, and goes on talking.
struct Deaf {
    socket: TcpStream,
    deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.deaf.load(Ordering::SeqCst) { Poll::Pending } else { Pin::new(&mut self.socket).poll_read(cx, into) }
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn clients_that_ask_and_never_read_the_answers_lose_their_streams() {
    let patience = Patience { stall: Duration::from_millis(300), ..common::patience() };
    let (gate, key) = gate_with_key(&Memory::default(), patience).await;
    // Answers wait in the gate once so many bytes of them are under way.
    let config = client::Config { window_size: 1024, ..Arc::into_inner(client_config()).unwrap() };
    let (config, deaf) = (Arc::new(config), Arc::new(AtomicBool::new(false)));
    let mut rude = Vec::new();
    for _ in 0..MAX_CHANNELS / MAX_CHANNELS_PER_CONNECTION {
        let socket = TcpStream::connect((LOOPBACK, gate.port)).await.unwrap();
        let socket = Deaf { socket, deaf: Arc::clone(&deaf) };
        let known = PinnedHostKey::new(gate.host_key.clone());
        let mut connection = client::connect_stream(Arc::clone(&config), socket, known).await.unwrap();
        assert!(log_in(&mut connection, "drawbridge", &key).await);
        let mut channels = Vec::new();
        for _ in 0..MAX_CHANNELS_PER_CONNECTION {
            channels.push(connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.unwrap());
        }
        rude.push((connection, channels));
    }
    let mut agent = raw_connection(&gate).await;
    assert!(log_in(&mut agent, "drawbridge", &key).await);
    let open = async || agent.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0).await.is_ok();
    assert!(!open().await, "every stream is taken");
    deaf.store(true, Ordering::SeqCst);
    let requests = "POST /nothing HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n".repeat(200);
    for channel in rude.iter().flat_map(|(_, channels)| channels) {
        channel.data(requests.as_bytes()).await.unwrap();
    }
    timeout(SOON, async { while !open().await {} }).await.expect("there should be room again");
    drop(rude);
}

#[tokio::test]
async fn a_configured_key_that_is_none_builds_no_gate() {
    for wrong in ["", "ssh-rsa AAAA", "no-pty ssh-ed25519 AAAA"] {
        let config = config(wrong);
        assert!(build(&config, Memory::default()).is_err(), "{wrong}");
    }
}
