//! The program itself, as a box runs it: role credentials from instance metadata, S3 behind an endpoint.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::aws::{FakeAws, INSTANCE, SECRET_CANARY};
use common::machine::{MEMORY_KIB, Machine, free_port, run_path, spawn};
use common::{Cargo, LOOPBACK, Object, SOON, objects};
use drawbridge_gate::limits::{MAX_CHANNELS, MAX_SESSIONS, MAX_UPLOADS};
use drawbridge_ssh::KeyPair;
use drawbridge_wire::{
    BoxConfig, MAX_MANIFEST_OBJECTS, Manifest, ManifestObject, ObjectKind, ObjectName, Receipt, Sha256Digest, Timestamp,
};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

#[tokio::test]
async fn a_box_carries_a_repository_to_s3_and_exits_with_0() {
    let cargo = Cargo::small();
    let mut gate = Machine::boot(&cargo.manifest(), |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    for object in cargo.crossing() {
        assert_eq!(http.post(&object.path(), object.content.clone()).await.status, 200, "{}", gate.log());
    }
    assert_eq!(http.post("/receipt", "").await.status, 200);
    let receipt: Receipt = serde_json::from_slice(&gate.aws.text(&run_path("receipt.json")).unwrap()).unwrap();
    assert_eq!(receipt.objects.len(), cargo.crossing().count());
    session.close().await.unwrap();
    assert_eq!(gate.exit_code().await, 0, "{}", gate.log());

    let puts = gate.aws.puts();
    assert_eq!(puts.len(), cargo.crossing().count() + 3, "manifest, receipt, ready");
    for put in &puts {
        let header = |name: &str| put.headers.get(name).map(String::as_str);
        assert_eq!((put.status, header("if-none-match")), (200, Some("*")), "{put:?}");
        assert_eq!(header("content-length"), Some(put.body_bytes.to_string().as_str()), "{put:?}");
        assert!(header("x-amz-checksum-sha256").is_some_and(|checksum| checksum.len() == 44), "{put:?}");
        for unwanted in ["transfer-encoding", "content-encoding", "x-amz-trailer", "x-amz-checksum-crc32"] {
            assert_eq!(header(unwanted), None, "{put:?}");
        }
        assert_eq!(header("x-amz-security-token"), Some("canary-token"), "the role's credentials");
        let streamed = put.path.contains("/repo/");
        assert_eq!(header("x-amz-content-sha256") == Some("UNSIGNED-PAYLOAD"), streamed, "{put:?}");
    }
    for object in cargo.crossing() {
        let stored = gate.aws.objects()[&format!("/vault/{}", object.key())];
        assert_eq!(stored, (object.content.len() as u64, objects::sha256(&object.content)));
    }
    assert_eq!(gate.aws.others(), Vec::<String>::new(), "nothing but puts and metadata");
    let log = gate.log();
    assert!(log.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{log}");
    assert!(log.contains(objects::RUN) && !log.contains(SECRET_CANARY) && !log.contains("canary-token"), "{log}");
}

#[tokio::test]
async fn what_s3_has_already_counts_as_carried() {
    let cargo = Cargo::small();
    let gate = Machine::boot(&cargo.manifest(), |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    gate.aws.insert(&run_path("manifest.json"));
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    let pack = cargo.of_kind(ObjectKind::Data);
    gate.aws.insert(&format!("/vault/{}", pack.key()));
    assert_eq!(http.post(&pack.path(), pack.content.clone()).await.status, 200, "{}", gate.log());
    assert_eq!(gate.aws.puts().last().unwrap().status, 412);
}

#[tokio::test]
async fn a_wrong_body_reaches_s3_only_in_part() {
    let cargo = Cargo::small();
    let gate = Machine::boot(&cargo.manifest(), |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    for pack in cargo.crossing().filter(|object| object.name.kind() == ObjectKind::Data) {
        assert_eq!(http.post(&pack.path(), pack.forged()).await.status, 400, "{}", gate.log());
        assert!(!gate.aws.objects().contains_key(&format!("/vault/{}", pack.key())));
        assert_eq!(http.post(&pack.path(), pack.content.clone()).await.status, 200, "{}", gate.log());
    }
}

#[tokio::test]
async fn memory_stays_bounded_while_a_gibibyte_crosses() {
    const PACKS: u64 = 64;
    const PACK_BYTES: usize = 16 * 1024 * 1024;
    const STREAMS: usize = 4;
    // Four different packs in the client's memory would do, but names are hashes: each pack is made when it is sent.
    let name = |n| Object::new(ObjectKind::Data, objects::pack(n, PACK_BYTES)).name;
    let names: Vec<ObjectName> = (0..PACKS).map(name).collect();
    let entries = names.iter().map(|name| ManifestObject::hashed(*name, PACK_BYTES as u64, true)).collect();
    let repository = objects::REPOSITORY.parse::<drawbridge_wire::VaultRepository>().unwrap().id();
    let manifest = Manifest::new(repository, entries).unwrap();
    let mut gate = Machine::boot(&manifest, |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    assert_eq!(http.post("/manifest", serde_json::to_vec(&manifest).unwrap()).await.status, 200);
    let mut streams = Vec::new();
    for lane in 0..STREAMS {
        let mut http = gate.http(&session).await;
        let packs: Vec<(u64, ObjectName)> = (0..PACKS).zip(names.clone()).skip(lane).step_by(STREAMS).collect();
        streams.push(tokio::spawn(async move {
            for (n, name) in packs {
                assert_eq!(http.post(&format!("/{name}"), objects::pack(n, PACK_BYTES)).await.status, 200);
            }
        }));
    }
    for stream in streams {
        stream.await.unwrap();
    }
    assert_eq!(http.post("/receipt", "").await.status, 200);
    let peak = gate.high_water_mark();
    eprintln!("a gibibyte crossed with at most {peak} KiB resident");
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    let stored: u64 =
        gate.aws.objects().iter().filter(|(key, _)| key.contains("/repo/")).map(|(_, (size, _))| size).sum();
    assert_eq!(stored, PACKS * PACK_BYTES as u64);
    session.close().await.unwrap();
    assert_eq!(gate.exit_code().await, 0);
}

#[tokio::test]
async fn memory_stays_bounded_when_s3_takes_nothing_and_everybody_sends() {
    const PACK_BYTES: usize = 16 * 1024 * 1024;
    let packs = (0..MAX_CHANNELS as u64).map(|n| Object::new(ObjectKind::Data, objects::pack(n, PACK_BYTES)));
    let cargo = Cargo::of(packs.collect());
    let gate = Machine::boot(&cargo.manifest(), |_| {}).await;
    let first = gate.connect().await;
    let mut http = gate.http(&first).await;
    assert_eq!(http.post("/manifest", cargo.manifest_text()).await.status, 200);
    gate.aws.get_stuck();
    let mut sessions = vec![first];
    while sessions.len() < MAX_SESSIONS {
        sessions.push(gate.connect().await);
    }
    // All streams first: a connection that is full of unread uploads answers nothing any more.
    let mut streams = Vec::new();
    for n in 1..MAX_CHANNELS {
        streams.push(sessions[n % MAX_SESSIONS].open_vault_stream().await.unwrap());
    }
    let mut sending = tokio::task::JoinSet::new();
    for (mut stream, pack) in streams.into_iter().zip(cargo.objects.clone()) {
        sending.spawn(async move {
            let head = format!("POST {} HTTP/1.1\r\nHost: v\r\nContent-Length: {PACK_BYTES}\r\n\r\n", pack.path());
            stream.write_all(head.as_bytes()).await.unwrap();
            // Ends with an error where the gate refuses one upload too many, and not at all where it lets in.
            let _ = stream.write_all(&pack.content).await;
        });
    }
    timeout(SOON, gate.aws.wait_for_stuck(MAX_UPLOADS)).await.unwrap();
    let mut before = 0;
    // Until nothing more gets in.
    while before != gate.high_water_mark() {
        before = gate.high_water_mark();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    eprintln!("{MAX_UPLOADS} stuck uploads held at most {before} KiB resident");
    assert!(before < MEMORY_KIB, "{before} KiB");
}

#[tokio::test]
async fn memory_stays_bounded_with_the_largest_manifest() {
    let entry = |n: usize| {
        let digest = objects::sha256(&n.to_le_bytes());
        ManifestObject::hashed(ObjectName::hashed(ObjectKind::Data, digest).unwrap(), 100_000_000, n == 0)
    };
    let mut entries: Vec<ManifestObject> = (0..MAX_MANIFEST_OBJECTS - 1).map(entry).collect();
    entries.push(ManifestObject::config(Sha256Digest::from_bytes([1; 32]), 155, false));
    let repository = objects::REPOSITORY.parse::<drawbridge_wire::VaultRepository>().unwrap().id();
    let manifest = Manifest::new(repository, entries).unwrap();
    let text = serde_json::to_vec(&manifest).unwrap();
    assert!(text.len() > 10_000_000, "{}", text.len());
    let gate = Machine::boot(&manifest, |_| {}).await;
    let session = gate.connect().await;
    let mut http = gate.http(&session).await;
    for _ in 0..3 {
        assert_eq!(http.post("/manifest", text.clone()).await.status, 200, "{}", gate.log());
    }
    let peak = gate.high_water_mark();
    eprintln!("a manifest of {} bytes was taken with at most {peak} KiB resident", text.len());
    assert!(peak < MEMORY_KIB, "{peak} KiB");
}

#[tokio::test]
async fn the_deadline_is_exit_code_2_and_sigterm_3() {
    let manifest = Cargo::small().manifest();
    let soon = Timestamp::from_millisecond(Timestamp::now().as_millisecond() + 2000).unwrap();
    let mut gate = Machine::boot(&manifest, |config| config.deadline = soon).await;
    assert_eq!(gate.exit_code().await, 2);
    assert!(gate.log().contains("the deadline came before the crossing was complete"), "{}", gate.log());

    let mut gate = Machine::boot(&manifest, |_| {}).await;
    let pid = gate.child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(gate.exit_code().await, 3);
}

#[tokio::test]
async fn a_gate_that_cannot_begin_says_why_and_exits_with_1() {
    let aws = FakeAws::start().await;
    let folder = TempDir::new().unwrap();
    let (file, log) = (folder.path().join("config.json"), folder.path().join("log"));
    let key = KeyPair::generate().unwrap().public().to_string();
    let right = objects::config_for(&Cargo::small().manifest(), &key, free_port().await);
    let taken = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let with_port = BoxConfig { port: taken.local_addr().unwrap().port(), ..right.clone() };
    let announced = run_path(&format!("ready/{INSTANCE}.json"));
    let mut further = serde_json::to_value(&right).unwrap();
    further["forward_to"] = "0.0.0.0".into();
    let cases = [
        (b"{}".to_vec(), "is not a box configuration"),
        (serde_json::to_vec(&further).unwrap(), "unknown field"),
        (serde_json::to_vec(&BoxConfig { public_key: "none".to_owned(), ..right.clone() }).unwrap(), "public key"),
        (serde_json::to_vec(&with_port).unwrap(), "cannot listen"),
        (serde_json::to_vec(&right).unwrap(), "announced a gate already"),
    ];
    aws.insert(&announced);
    for (config, reason) in cases {
        std::fs::write(&file, config).unwrap();
        let mut child = spawn(&aws, &file, &log);
        let code = timeout(SOON + Duration::from_secs(10), child.wait()).await.unwrap().unwrap().code();
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(code == Some(1) && text.contains(reason), "{code:?} {text}");
    }
}
