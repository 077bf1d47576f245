//! What an agent must not be able to do over HTTP. For SSH see `strangers.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::collections::BTreeMap;

use common::{Cargo, Gate, Memory, SOON, objects};
use drawbridge_gate::limits::DISMISSED_BODY_BYTES;
use drawbridge_ssh::{KeyPair, VaultStream};
use drawbridge_wire::{MAX_MANIFEST_BYTES, Manifest, ManifestObject, ObjectKind};
use hyper::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
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
    let length = key.content.len();
    let (shorter, longer) = (length - 1, length + 1);
    for (headers, expected) in [
        (String::new(), 411),
        ("Transfer-Encoding: chunked\r\n".to_owned(), 411),
        (format!("Content-Length: {shorter}\r\n"), 400),
        ("Content-Length: 0\r\n".to_owned(), 400),
        (format!("Content-Length: {longer}\r\n"), 507),
        ("Content-Length: 150994945\r\n".to_owned(), 507),
        ("Content-Length: 18446744073709551615\r\n".to_owned(), 431),
        ("Content-Length: -1\r\n".to_owned(), 400),
        (format!("Content-Length: {length}\r\nContent-Length: {longer}\r\n"), 400),
    ] {
        let status = raw(&gate, &format!("POST {} HTTP/1.1\r\nHost: v\r\n{headers}\r\n", key.path())).await;
        assert_eq!(status, expected, "{headers}");
    }
    let short = format!("POST {} HTTP/1.1\r\nHost: v\r\nContent-Length: {length}\r\n\r\n{{\"cr", key.path());
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
        assert_eq!(client.post("/config", objects::pack(1, DISMISSED_BODY_BYTES as usize)).await.status, 409);
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
async fn an_empty_object_is_none_of_any_kind() {
    let empty = ManifestObject::config(objects::sha256(b"not empty"), 0, true);
    let repository = objects::REPOSITORY.parse::<drawbridge_wire::VaultRepository>().unwrap().id();
    let manifest = Manifest::new(repository, vec![empty]).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    let store = Memory::default();
    let gate = gate_for(&text, (1, 0), &store).await;
    let mut client = gate.client().await;
    assert_eq!(client.post("/manifest", text).await.status, 200);
    assert_eq!(raw(&gate, "POST /config HTTP/1.1\r\nHost: v\r\nContent-Length: 0\r\n\r\n").await, 422);
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
