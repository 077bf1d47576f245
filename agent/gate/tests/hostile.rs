//! What a client must not be able to do, over HTTP and over SSH.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{Cargo, Client, Gate, LOOPBACK, Memory, SOON, config, objects};
use drawbridge_gate::limits::{
    DISMISSED_BODY_BYTES, MAX_CHANNELS_PER_CONNECTION, MAX_SESSIONS, MAX_STRANGERS, Patience,
};
use drawbridge_gate::{Ending, build};
use drawbridge_ssh::{KeyPair, LinkError, PinnedHostKey, VAULT_HOST, VAULT_PORT, VaultStream, client_config};
use drawbridge_wire::{MAX_MANIFEST_BYTES, Manifest, ManifestObject, ObjectKind, Timestamp};
use hyper::{Method, Request};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use russh::{ChannelMsg, Sig, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Sends bytes as they are on a connection of their own, and returns the status code of the answer, or 0 if the stream
/// ends without one.
async fn raw(gate: &Gate, request: &str) -> u16 {
    let session = gate.connect().await;
    let mut stream = session.open_vault_stream().await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let status = read_status(&mut stream).await;
    session.close().await.unwrap();
    status
}

/// As [`raw`], and then nothing more comes.
async fn raw_and_end(gate: &Gate, request: &str) -> u16 {
    let session = gate.connect().await;
    let mut stream = session.open_vault_stream().await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    read_status(&mut stream).await
}

async fn read_status(stream: &mut VaultStream) -> u16 {
    let mut answer = [0; "HTTP/1.1 200".len()];
    match timeout(SOON, stream.read_exact(&mut answer)).await.expect("the gate should answer or hang up") {
        Ok(_) => std::str::from_utf8(&answer).ok().and_then(|text| text[9..].parse().ok()).unwrap_or(0),
        Err(_) => 0,
    }
}

#[tokio::test]
async fn anything_but_a_declared_put_is_forbidden() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let pack = cargo.of_kind(ObjectKind::Data);
    assert_eq!(client.put(pack).await.status, 200);
    let before = store.objects();
    let hex = pack.name.digest().unwrap().to_string();
    let upper = hex.to_uppercase();
    let paths = [
        "/",
        "//",
        "/data",
        "/data/",
        "/config/",
        "//config",
        "/Config",
        "/keys",
        "/locks/",
        "/?create=true",
        "/manifest/",
        "/manifest?",
        "/receipt?x",
        "/receipt/",
        "/config?x=y",
        "/data/..",
        "/data/../config",
        "/./config",
        "/%63onfig",
        "/data%2f",
        "/runs/home-20261123T203000Z/verdict.json",
        "/repo/2026-11-0123456789abcdef/config",
        "*",
        "http://vault.drawbridge.internal/config",
        "http://169.254.169.254/latest/meta-data/",
    ];
    let mut requests: Vec<String> = paths.iter().map(|path| format!("POST {path}")).collect();
    for path in [
        format!("/locks/{hex}"),
        format!("/data/{upper}"),
        format!("/data/{hex}/"),
        format!("/data/{hex}x"),
        format!("/data/{}/{hex}", &hex[..2]),
        format!("/data/{hex}?x"),
        format!("/x/data/{hex}"),
        format!("/data/%{:x}{}", hex.as_bytes()[0], &hex[1..]),
        format!("/data/..%2fdata/{hex}"),
    ] {
        requests.push(format!("POST {path}"));
    }
    for verb in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        requests.extend([format!("{verb} {}", pack.path()), format!("{verb} /manifest"), format!("{verb} /config")]);
    }
    requests.push("CONNECT 169.254.169.254:80".to_owned());
    for request in requests {
        let status = raw(&gate, &format!("{request} HTTP/1.1\r\nHost: vault\r\nContent-Length: 0\r\n\r\n")).await;
        assert_eq!(status, 403, "{request}");
    }
    let mut client = gate.client().await;
    let undeclared = objects::Object::new(ObjectKind::Data, "undeclared");
    assert_eq!(client.put(&undeclared).await.status, 403);
    let old = cargo.objects.iter().find(|object| !object.crosses).unwrap();
    assert_eq!(client.put(old).await.status, 403, "declared, but not as crossing");
    assert_eq!(store.objects(), before);
}

#[tokio::test]
async fn a_refused_head_request_has_no_body_in_http_2_either() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let session = gate.connect().await;
    let mut http = common::Http::two(session.open_vault_stream().await.unwrap()).await;
    let request = |method: Method| Request::builder().method(method).uri("http://vault/config").body(<_>::default());
    let answer = http.send(request(Method::HEAD).unwrap()).await;
    assert_eq!((answer.status, answer.text.as_str()), (403, ""));
    assert_eq!(http.send(request(Method::GET).unwrap()).await.status, 403);
}

#[tokio::test]
async fn a_manifest_that_is_not_the_declared_one_opens_nothing() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    let mut other = cargo.manifest_text();
    other.push(b' ');
    assert_eq!(client.post("/manifest", other).await.status, 400);
    assert_eq!(raw(&gate, "POST /manifest HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n").await, 400);
    let chunked = "POST /manifest HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
    assert_eq!(raw(&gate, chunked).await, 411);
    assert_eq!(raw(&gate, "POST /manifest HTTP/1.1\r\nHost: v\r\n\r\n").await, 411);
    let excessive = format!("POST /manifest HTTP/1.1\r\nHost: v\r\nContent-Length: {}\r\n\r\n", MAX_MANIFEST_BYTES + 1);
    assert_eq!(raw(&gate, &excessive).await, 413);
    let mut client = gate.client().await;
    assert_eq!(client.put(cargo.of_kind(ObjectKind::Key)).await.status, 409);
    assert_eq!(client.post("/receipt", "").await.status, 409);
    assert_eq!(store.objects(), BTreeMap::new());
}

/// A gate whose run declared exactly this text, and these totals.
async fn gate_for(text: &[u8], totals: (u64, u64), store: &Memory) -> Gate {
    let user_key = KeyPair::generate().unwrap();
    let mut config = Cargo::small().config(&user_key.public().to_string(), 0);
    config.manifest_sha256 = objects::sha256(text);
    (config.objects, config.bytes) = totals;
    Gate::open_config(&config, user_key, store, common::patience()).await
}

#[tokio::test]
async fn a_manifest_that_contradicts_its_run_is_not_processed() {
    let cargo = Cargo::small();
    let right = cargo.manifest();
    let foreign = Manifest::new("ffffffffffffffff".parse().unwrap(), right.objects().to_vec()).unwrap();
    let foreign = serde_json::to_vec(&foreign).unwrap();
    let (objects, bytes) = right.declared();
    for (text, totals) in [
        (b"not JSON".to_vec(), (0, 0)),
        (foreign, (objects, bytes)),
        (cargo.manifest_text(), (objects + 1, bytes)),
        (cargo.manifest_text(), (objects, bytes - 1)),
    ] {
        let store = Memory::default();
        let gate = gate_for(&text, totals, &store).await;
        let answer = gate.client().await.post("/manifest", text).await;
        assert_eq!(answer.status, 422, "{answer:?}");
        assert_eq!(store.objects(), BTreeMap::new());
    }
}

#[tokio::test]
async fn an_object_of_another_size_is_refused_unread() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    gate.client().await.open(&cargo).await;
    let key = cargo.of_kind(ObjectKind::Key);
    for (headers, expected) in [
        ("", 411),
        ("Transfer-Encoding: chunked\r\n", 411),
        ("Content-Length: 4\r\n", 400),
        ("Content-Length: 0\r\n", 400),
        ("Content-Length: 6\r\n", 507),
        ("Content-Length: 150994945\r\n", 507),
        ("Content-Length: 18446744073709551615\r\n", 431),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", 400),
    ] {
        let status = raw(&gate, &format!("POST {} HTTP/1.1\r\nHost: v\r\n{headers}\r\n", key.path())).await;
        assert_eq!(status, expected, "{headers}");
    }
    let short = format!("POST {} HTTP/1.1\r\nHost: v\r\nContent-Length: 5\r\n\r\na ke", key.path());
    assert_ne!(raw_and_end(&gate, &short).await, 200, "cut off");
    assert_eq!(store.get(&key.key()), None);
    assert_eq!(gate.client().await.put(key).await.status, 200);
}

#[tokio::test]
async fn a_small_refused_body_does_not_cost_the_stream() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    for _ in 0..20 {
        assert_eq!(client.post("/config", objects::bytes_of(DISMISSED_BODY_BYTES as usize, 1)).await.status, 409);
    }
    client.cross(&cargo).await;
}

#[tokio::test]
async fn a_receipt_request_has_no_body() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    assert_eq!(gate.client().await.post("/receipt", "x").await.status, 400);
}

#[tokio::test]
async fn an_empty_object_is_judged_like_any_other() {
    let empty = ManifestObject::config(objects::sha256(b"not empty"), 0, true);
    let repository = objects::REPOSITORY.parse::<drawbridge_wire::VaultRepository>().unwrap().id();
    let manifest = Manifest::new(repository, vec![empty]).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    let store = Memory::default();
    let gate = gate_for(&text, (1, 0), &store).await;
    let mut client = gate.client().await;
    assert_eq!(client.post("/manifest", text).await.status, 200);
    assert_eq!(raw(&gate, "POST /config HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n").await, 400);
    assert_eq!(store.objects().len(), 1, "the manifest alone");
}

#[tokio::test]
async fn what_is_not_http_ends_its_stream_and_nothing_else() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let long = format!("POST /config HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(200_000));
    for (garbage, expected) in [
        ("\0\0\0\0\0\0\r\n\r\n", 400),
        ("SSH-2.0-again\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ngarbage that is no frame", 0),
        ("PRI * HTTP/2.0\r\n", 0),
        ("P", 0),
        ("", 0),
        (&long, 431),
    ] {
        let status = raw_and_end(&gate, garbage).await;
        assert!(status == expected || status == 400, "{:?}: {status}", garbage.get(..20));
    }
    gate.client().await.cross(&cargo).await;
}

// ---- SSH ----

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
    let gate = Gate::open(&cargo, &store).await;
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

#[tokio::test]
async fn a_configured_key_that_is_none_builds_no_gate() {
    for wrong in ["", "ssh-rsa AAAA", "no-pty ssh-ed25519 AAAA"] {
        let config = config(wrong);
        assert!(build(&config, Memory::default()).is_err(), "{wrong}");
    }
}
