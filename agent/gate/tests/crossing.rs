//! What may cross crosses, once, in order, and however often it takes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::store::Mishap;
use common::{Cargo, Gate, Http, Memory, objects};
use drawbridge_gate::limits::{MAX_UPLOADS, Patience};
use drawbridge_gate::{AnnounceError, Ending, build};
use drawbridge_ssh::KeyPair;
use drawbridge_wire::{InstanceId, ObjectKind, Ready, Receipt, StoreOutcome, manifest_key, ready_key, receipt_key};
use tokio::io::AsyncWriteExt as _;

fn receipt(store: &Memory) -> Receipt {
    let text = store.get(&receipt_key(&objects::RUN.parse().unwrap())).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[tokio::test]
async fn a_whole_repository_crosses_and_the_gate_ends() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.cross(&cargo).await;
    assert_eq!(client.post("/receipt", "").await.status, 200, "the receipt may be asked for again");
    client.session.take().unwrap().close().await.unwrap();
    assert_eq!(gate.ended().await, Ending::Complete);

    let receipt = receipt(&store);
    let crossed: Vec<_> = cargo.crossing().map(|object| (object.name, object.content.len() as u64)).collect();
    assert_eq!(receipt.objects.iter().map(|entry| (entry.name, entry.size)).collect::<Vec<_>>(), crossed);
    assert!(receipt.objects.iter().all(|entry| entry.outcome == StoreOutcome::Stored));
    assert!(receipt.opened_at <= receipt.completed_at);
    assert_eq!(receipt.manifest_sha256, objects::sha256(&cargo.manifest_text()));
    for object in cargo.crossing() {
        assert_eq!(store.get(&object.key()).unwrap(), object.content, "{}", object.name);
    }
    assert_eq!(store.get(&manifest_key(&receipt.run)).unwrap(), cargo.manifest_text());
    assert_eq!(store.objects().len(), crossed.len() + 2, "nothing else was written");
}

#[tokio::test]
async fn http_2_crosses_as_well() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let session = gate.connect().await;
    let stream = session.open_vault_stream().await.unwrap();
    let mut client = common::Client { session: Some(session), http: Http::two(stream).await };
    client.cross(&cargo).await;
    drop(client);
    assert_eq!(gate.ended().await, Ending::Complete);
    assert_eq!(receipt(&store).objects.len(), cargo.crossing().count());
}

#[tokio::test]
async fn several_streams_cross_at_once_on_one_connection() {
    let packs = (0..24).map(|n| common::Object::new(ObjectKind::Data, objects::pack(n, 300_000))).collect();
    let (cargo, store) = (Cargo::of(packs), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let session = client.session.as_ref().unwrap();
    let mut streams = Vec::new();
    for lane in 0..4 {
        let mut http = Http::one(session.open_vault_stream().await.unwrap()).await;
        let packs: Vec<_> = cargo.objects.iter().skip(lane).step_by(4).cloned().collect();
        streams.push(tokio::spawn(async move {
            for pack in packs {
                assert_eq!(http.post(&pack.path(), pack.content.clone()).await.status, 200);
            }
        }));
    }
    for stream in streams {
        stream.await.unwrap();
    }
    assert_eq!(client.post("/receipt", "").await.status, 200);
}

#[tokio::test]
async fn objects_cross_in_the_order_of_their_kinds() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    let index = cargo.of_kind(ObjectKind::Index);
    let snapshot = cargo.of_kind(ObjectKind::Snapshot);
    assert_eq!(client.put(index).await.status, 409, "before the manifest");
    client.open(&cargo).await;
    let early = client.put(index).await;
    assert_eq!((early.status, early.text.contains("4 objects")), (409, true), "{early:?}");
    assert_eq!(client.put(snapshot).await.status, 409);
    for object in cargo.crossing().filter(|object| object.name.kind() < ObjectKind::Index) {
        assert_eq!(client.put(object).await.status, 200);
    }
    let early = client.put(snapshot).await;
    assert_eq!((early.status, early.text.contains("1 objects")), (409, true), "{early:?}");
    assert_eq!(client.put(index).await.status, 200);
    let early = client.post("/receipt", "").await;
    assert_eq!((early.status, early.text.contains('1')), (409, true), "{early:?}");
    assert_eq!(client.put(snapshot).await.status, 200);
    assert_eq!(client.post("/receipt", "").await.status, 200);
}

#[tokio::test]
async fn the_same_again_is_a_success_and_other_bytes_are_not() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    client.open(&cargo).await;
    let pack = cargo.of_kind(ObjectKind::Data);
    for _ in 0..3 {
        assert_eq!(client.put(pack).await.status, 200);
    }
    assert_eq!(store.seen(&pack.key()).len(), 1, "only the first reached the store");
    assert_eq!(client.post(&pack.path(), pack.forged()).await.status, 400);
    assert_eq!(store.get(&pack.key()).unwrap(), pack.content);
}

#[tokio::test]
async fn what_the_vault_has_already_is_acknowledged_but_only_with_the_right_bytes() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    for pack in cargo.crossing().filter(|object| object.name.kind() == ObjectKind::Data) {
        store.insert(&pack.key(), &pack.content);
        let forged = client.post(&pack.path(), pack.forged()).await;
        assert_eq!((forged.status, forged.text.contains("wrong hash")), (400, true), "{forged:?}");
        assert_eq!(client.put(pack).await.status, 200, "{} bytes", pack.content.len());
    }
    for object in cargo.crossing() {
        assert_eq!(client.put(object).await.status, 200);
    }
    assert_eq!(client.post("/receipt", "").await.status, 200);
    let there = receipt(&store).objects.iter().filter(|entry| entry.outcome == StoreOutcome::AlreadyThere).count();
    assert_eq!(there, 2);
}

#[tokio::test]
async fn the_store_never_sees_the_end_of_a_wrong_body() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    for object in cargo.crossing().filter(|object| object.name.kind() < ObjectKind::Index) {
        let wrong = client.post(&object.path(), object.forged()).await;
        assert_eq!((wrong.status, wrong.text.contains("wrong hash")), (400, true), "{wrong:?}");
        let seen = store.seen(&object.key());
        assert!(seen.iter().all(|bytes| *bytes < object.content.len() as u64), "{seen:?}");
        assert_eq!(store.get(&object.key()), None);
        assert_eq!(client.put(object).await.status, 200, "the right one is still welcome");
    }
}

#[tokio::test]
async fn what_the_store_does_not_take_may_come_again() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    store.plan([Mishap::Fails; 3]);
    let failed = client.post("/manifest", cargo.manifest_text()).await;
    assert_eq!((failed.status, failed.retry_after.as_deref()), (503, Some("1")));
    client.open(&cargo).await;
    let pack = cargo.of_kind(ObjectKind::Data);
    store.plan([Mishap::Fails, Mishap::LosesAnswer]);
    for expected in [503, 503, 200, 200] {
        assert_eq!(client.put(pack).await.status, expected);
    }
    for object in cargo.crossing() {
        assert_eq!(client.put(object).await.status, 200);
    }
    store.plan([Mishap::Fails, Mishap::LosesAnswer]);
    assert_eq!(client.post("/receipt", "").await.status, 200, "the gate tries its own things again");
    assert_eq!(receipt(&store).objects.len(), cargo.crossing().count());
}

#[tokio::test]
async fn a_gate_announces_itself_once_even_if_the_answer_is_lost() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let config = cargo.config(&KeyPair::generate().unwrap().public().to_string(), 0);
    let instance: InstanceId = "i-0123456789abcdef0".parse().unwrap();
    let first = build(&config, store.clone()).unwrap();
    store.plan([Mishap::LosesAnswer]);
    first.announce(&instance).await.unwrap();
    let ready: Ready = serde_json::from_slice(&store.get(&ready_key(&config.run, &instance)).unwrap()).unwrap();
    assert_eq!(ready.host_key, first.host_key().to_string());
    let second = build(&config, store.clone()).unwrap();
    assert!(matches!(second.announce(&instance).await, Err(AnnounceError::Announced)));
}

#[tokio::test]
async fn an_upload_on_which_nothing_moves_ends_and_may_come_again() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let patience = Patience { stall: Duration::from_millis(300), ..common::patience() };
    let gate = Gate::open_with(&cargo, &store, patience).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let pack = cargo.of_kind(ObjectKind::Data);
    store.plan([Mishap::Hangs]);
    assert_eq!(client.put(pack).await.status, 503, "the store hangs");

    let mut stream = client.session.as_ref().unwrap().open_vault_stream().await.unwrap();
    let length = pack.content.len();
    let beginning = format!("POST {} HTTP/1.1\r\nHost: vault\r\nContent-Length: {length}\r\n\r\n12", pack.path());
    stream.write_all(beginning.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 503", "the agent hangs");

    let mut client = gate.client().await;
    assert_eq!(client.put(pack).await.status, 200);
}

#[tokio::test]
async fn one_name_never_crosses_twice_at_once() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut first = gate.client().await;
    first.open(&cargo).await;
    let mut second = gate.client().await;
    let permits = store.hold();
    let pack = cargo.of_kind(ObjectKind::Data).clone();
    let (key, twin) = (pack.key(), pack.clone());
    let crossing = tokio::spawn(async move { first.put(&twin).await.status });
    store.wait_for(&key, 0).await;
    let again = second.put(&pack).await;
    assert_eq!((again.status, again.retry_after.as_deref()), (503, Some("1")));
    permits.add_permits(1);
    assert_eq!(crossing.await.unwrap(), 200);
    assert_eq!(store.seen(&key).len(), 1);
}

#[tokio::test]
async fn an_agent_that_hangs_up_in_the_middle_may_come_back() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.open(&cargo).await;
    let pack = cargo.objects.iter().find(|object| object.content.len() > 1_000_000).unwrap();
    let session = client.session.take().unwrap();
    let mut stream = session.open_vault_stream().await.unwrap();
    let length = pack.content.len();
    let beginning = format!("POST {} HTTP/1.1\r\nHost: vault\r\nContent-Length: {length}\r\n\r\n", pack.path());
    stream.write_all(beginning.as_bytes()).await.unwrap();
    stream.write_all(&pack.content[..1_000_000]).await.unwrap();
    stream.flush().await.unwrap();
    store.wait_for(&pack.key(), 500_000).await;
    drop((stream, session, client));

    let mut client = gate.client().await;
    let mut status = client.put(pack).await.status;
    // The gate may hear of the new connection before it hears of the old one's end.
    while status == 503 {
        client = gate.client().await;
        status = client.put(pack).await.status;
    }
    assert_eq!(status, 200);
    assert_eq!(store.get(&pack.key()).unwrap(), pack.content);
}

#[tokio::test]
async fn one_upload_too_many_is_told_to_come_back() {
    let packs = (0..=MAX_UPLOADS as u64).map(|n| common::Object::new(ObjectKind::Data, objects::pack(n, 200)));
    let (cargo, store) = (Cargo::of(packs.collect()), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut last = gate.client().await;
    last.open(&cargo).await;
    let permits = store.hold();
    let session = gate.connect().await;
    let mut crossing = Vec::new();
    for pack in cargo.objects.iter().take(MAX_UPLOADS).cloned() {
        let mut http = Http::one(session.open_vault_stream().await.unwrap()).await;
        let key = pack.key();
        crossing.push(tokio::spawn(async move { http.post(&pack.path(), pack.content.clone()).await.status }));
        store.wait_for(&key, 0).await;
    }
    let pack = cargo.objects.last().unwrap();
    assert_eq!(last.put(pack).await.status, 503);
    permits.add_permits(MAX_UPLOADS + 1);
    for upload in crossing {
        assert_eq!(upload.await.unwrap(), 200);
    }
    let mut last = gate.client().await;
    assert_eq!(last.put(pack).await.status, 200);
}

#[tokio::test]
async fn after_the_receipt_the_gate_takes_nothing_more() {
    let (cargo, store) = (Cargo::small(), Memory::default());
    let gate = Gate::open(&cargo, &store).await;
    let mut client = gate.client().await;
    client.cross(&cargo).await;
    let before = store.objects();
    assert_eq!(client.put(cargo.of_kind(ObjectKind::Data)).await.status, 409);
    let mut client = gate.client().await;
    assert_eq!(client.post("/manifest", cargo.manifest_text()).await.status, 409);
    assert_eq!(store.objects(), before);
}
