//! Each of the gate's checks refuses in its own words, keeps what it refuses out of the vault, and has its line in the receipt.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use bytes::Bytes;
use common::{Cargo, Client, Gate, Memory, Object, objects};
use drawbridge_peers::objects::{ciphertext, key, pack};
use drawbridge_wire::{Check, ObjectKind, Receipt, receipt_key};

/// A log, long enough for several chunks.
fn log() -> Vec<u8> {
    let line = |n: u32| format!("Nov 26 03:14:15 fw filterlog[{}]: block,in,4,tcp\n", n.wrapping_mul(2_654_435_761));
    (0..20_000).flat_map(|n| line(n).into_bytes()).collect()
}

/// Declares an object that is what it is declared to be, and no repository's.
async fn refused(kind: ObjectKind, content: Vec<u8>, status: u16, words: &str) {
    let object = Object::new(kind, content);
    let (cargo, store) = (Cargo::of(vec![object.clone()]), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let answer = client.put(&object).await;
    assert!(answer.status == status && answer.text.contains(words), "{kind:?}: {answer:?}");
    assert_eq!(store.get(&object.key()), None, "{kind:?}");
    let seen = store.seen(&object.key());
    assert!(seen.iter().all(|bytes| *bytes < object.content.len() as u64), "{kind:?}: the store saw {seen:?}");
    let mut client = gate.client().await;
    assert_eq!(client.post("/receipt", "").await.status, 409, "{kind:?}");
}

#[tokio::test]
async fn plaintext_is_refused_before_the_store_has_all_of_it() {
    for kind in [ObjectKind::Data, ObjectKind::Index, ObjectKind::Snapshot] {
        refused(kind, log(), 422, "not encrypted: one bit is nearly always the same").await;
    }
    refused(ObjectKind::Config, log()[..155].to_vec(), 422, "not encrypted").await;
    let gzip = [&b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"[..], &ciphertext(1, 500)].concat();
    refused(ObjectKind::Snapshot, gzip, 422, "not encrypted: it begins like gzip").await;
}

#[tokio::test]
async fn a_pack_without_a_header_is_refused() {
    refused(ObjectKind::Data, ciphertext(1, 1_000_000), 422, "not a pack as restic writes it").await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    refused(ObjectKind::Key, ciphertext(1, 450), 422, "not a key as restic writes it").await;
    let spoken = String::from_utf8(key(1)).unwrap().replace('{', "{\"note\":\"hello\",");
    refused(ObjectKind::Key, spoken.into_bytes(), 422, "no others").await;
}

#[tokio::test]
async fn an_object_of_an_impossible_size_is_refused_unread() {
    for (kind, size) in [
        (ObjectKind::Config, 5000),
        (ObjectKind::Key, 5000),
        (ObjectKind::Data, 100),
        (ObjectKind::Index, 40),
        (ObjectKind::Snapshot, 60),
    ] {
        refused(kind, ciphertext(1, size), 422, "not as restic writes").await;
    }
}

async fn is(expected: u16, client: &mut Client, path: &str, body: impl Into<Bytes>) {
    let answer = client.post(path, body).await;
    assert_eq!(answer.status, expected, "{path}: {answer:?}");
}

#[tokio::test]
async fn the_receipt_has_a_line_for_each_check_with_what_passed_and_what_it_refused() {
    // Of what was declared and is no repository's there is never a receipt, so the checks of shapes have refused nothing here.
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    is(400, &mut client, "/manifest", "{}").await;
    is(409, &mut client, &cargo.of_kind(ObjectKind::Key).path(), cargo.of_kind(ObjectKind::Key).content.clone()).await;
    client.open(&cargo).await;
    is(403, &mut client, "/locks/00", "x").await;
    is(400, &mut client, "/receipt", "x").await;
    is(403, &mut client, &Object::new(ObjectKind::Data, pack(9, 200)).path(), "x").await;
    let data = cargo.of_kind(ObjectKind::Data);
    is(400, &mut client, &data.path(), "x").await;
    is(507, &mut client, &data.path(), objects::pack(1, data.content.len() + 1)).await;
    is(400, &mut client, &data.path(), data.forged()).await;
    let mut client = gate.client().await;
    is(409, &mut client, &cargo.of_kind(ObjectKind::Index).path(), cargo.of_kind(ObjectKind::Index).content.clone())
        .await;
    is(
        409,
        &mut client,
        &cargo.of_kind(ObjectKind::Snapshot).path(),
        cargo.of_kind(ObjectKind::Snapshot).content.clone(),
    )
    .await;
    is(409, &mut client, "/receipt", "").await;
    client.cross(&cargo).await;

    let text = store.get(&receipt_key(&objects::RUN.parse().unwrap())).unwrap();
    let receipt: Receipt = serde_json::from_slice(&text).unwrap();
    let lines: Vec<_> = receipt.checks.iter().map(|line| (line.check, line.passed, line.refused)).collect();
    let all = cargo.crossing().count() as u64;
    let expected = [
        (Check::Request, all, 2),
        (Check::Declared, all, 1),
        (Check::Size, all, 2),
        (Check::Order, all, 4),
        (Check::Sha256, all, 2),
        (Check::Key, 1, 0),
        (Check::Config, 1, 0),
        (Check::Pack, 2, 0),
        (Check::Ciphertext, all, 0),
    ];
    assert_eq!(lines, expected);
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert!(text.contains(r#"{"check":"sha256","passed":6,"refused":2}"#), "{text}");
}

#[tokio::test]
async fn what_the_vault_has_already_is_inspected_before_it_is_acknowledged() {
    let object = Object::new(ObjectKind::Index, log());
    let (cargo, store) = (Cargo::of(vec![object.clone()]), Memory::default());
    store.insert(&object.key(), &object.content);
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let answer = client.put(&object).await;
    assert!(answer.status == 422 && answer.text.contains("not encrypted"), "{answer:?}");
    assert_eq!(store.objects().keys().filter(|key| key.contains("receipt")).count(), 0);
}
