#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::collections::BTreeMap;

use drawbridge_aws::{
    AwsError, Executions, FunctionError, Inspection, Kind, Listed as ListedRun, Vault, VerifySettings,
};
use drawbridge_domain::execution::{Execution, Status};
use drawbridge_domain::hash::sha256;
use drawbridge_domain::verification::{Evidence, Listed, Seen};
use drawbridge_wire::{
    Defects, Manifest, ManifestObject, ObjectKind, ObjectName, Receipt, ReceiptEntry, RunId, RunInput, StoreOutcome,
    Timestamp, Verdict, VerdictFile, VerdictSummary, manifest_key, object_key, receipt_key,
};
use serde_json::{Value, json};

use crate::handler::{Call, handle};

const RUN: &str = "home-20261123T203000Z";
const EARLIER: &str = "home-20261122T203000Z";
const REPOSITORY: &str = "2026-11-0123456789abcdef";
const NOW: &str = "2026-11-23T20:40:00Z";

/// A vault in memory: each object has its bytes and the number of its version.
#[derive(Default)]
struct Memory {
    objects: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
    executions: BTreeMap<String, RunInput>,
    /// Gone between list and look.
    vanished: Option<String>,
    unreadable: Option<String>,
    looks: RefCell<Vec<String>>,
}

impl Memory {
    fn put(&self, key: &str, content: &[u8]) {
        let mut objects = self.objects.borrow_mut();
        let version = objects.get(key).map_or(1, |(_, version)| version + 1);
        objects.insert(key.to_owned(), (content.to_vec(), version));
    }

    fn remove(&self, key: &str) {
        self.objects.borrow_mut().remove(key).unwrap();
    }

    fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> T {
        serde_json::from_slice(&self.objects.borrow().get(key).unwrap().0).unwrap()
    }

    fn looked_at(&self) -> Vec<String> {
        let mut looks = self.looks.take();
        looks.sort();
        looks
    }
}

impl Vault for Memory {
    async fn list(&self, _: &str, prefix: &str) -> Result<Vec<String>, AwsError> {
        Ok(self.objects.borrow().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }

    async fn read(&self, _: &str, key: &str, _: usize) -> Result<Option<Vec<u8>>, AwsError> {
        Ok(self.objects.borrow().get(key).map(|(content, _)| content.clone()))
    }

    async fn write(&self, _: &str, key: &str, content: Vec<u8>) -> Result<(), AwsError> {
        self.put(key, &content);
        Ok(())
    }
}

impl Inspection for Memory {
    async fn inspect(&self, _: &str, prefix: &str, each: &mut impl FnMut(String, Listed)) -> Result<(), AwsError> {
        for (key, (content, version)) in self.objects.borrow().iter().filter(|(key, _)| key.starts_with(prefix)) {
            each(key.clone(), Listed { version: format!("v{version}"), size: content.len() as u64 });
        }
        Ok(())
    }

    async fn look(&self, _: &str, key: &str, version: &str, now: Timestamp) -> Result<Option<Seen>, AwsError> {
        self.looks.borrow_mut().push(key.to_owned());
        if self.unreadable.as_deref() == Some(key) {
            return Err(AwsError::of_kind("s3:HeadObject", Kind::Other));
        }
        let objects = self.objects.borrow();
        let found = objects.get(key).filter(|_| self.vanished.as_deref() != Some(key));
        Ok(found.map(|(content, number)| {
            assert_eq!(version, format!("v{number}"), "exactly the listed version is looked at");
            let sha256 = Some(sha256(content));
            Seen { version: version.to_owned(), size: content.len() as u64, sha256, locked_until: None, at: now }
        }))
    }

    async fn note(&self, _: &str, key: &str, content: Vec<u8>, until: Timestamp) -> Result<(), AwsError> {
        assert_eq!(until, "2026-11-24T20:40:00Z".parse().unwrap(), "evidence is locked for a day");
        self.put(key, &content);
        Ok(())
    }
}

impl Executions for Memory {
    async fn running(&self, _: &str) -> Result<Vec<ListedRun>, AwsError> {
        unreachable!("verify starts nothing")
    }

    async fn begun(&self, _: &str, _: u32) -> Result<Vec<Timestamp>, AwsError> {
        unreachable!("verify starts nothing")
    }

    async fn succeeded(&self, _: &str, _: u32) -> Result<Vec<ListedRun>, AwsError> {
        unreachable!("verify starts nothing")
    }

    async fn begin(&self, _: &str, _: &RunId, _: &str) -> Result<Timestamp, AwsError> {
        unreachable!("verify starts nothing")
    }

    async fn describe(&self, arn: &str) -> Result<Option<Execution>, AwsError> {
        let input = arn.rsplit(':').next().and_then(|name| self.executions.get(name));
        Ok(input.map(|input| Execution {
            status: Status::Failed,
            started_at: NOW.parse().unwrap(),
            input: Some(serde_json::to_string(input).unwrap()),
            output: None,
            error: None,
            cause: None,
        }))
    }
}

fn pack(content: &str) -> ManifestObject {
    let name = ObjectName::hashed(ObjectKind::Data, sha256(content.as_bytes())).unwrap();
    ManifestObject::hashed(name, content.len() as u64, true)
}

fn key(content: &str) -> String {
    object_key(&REPOSITORY.parse().unwrap(), &pack(content).name())
}

/// What a run puts there before its objects; returns the event that asks about it.
fn declare(vault: &mut Memory, run: &str, contents: &[&str]) -> Value {
    let manifest =
        Manifest::new("0123456789abcdef".parse().unwrap(), contents.iter().map(|content| pack(content)).collect())
            .unwrap();
    let json = serde_json::to_vec(&manifest).unwrap();
    let manifest_sha256 = sha256(&json);
    let run: RunId = run.parse().unwrap();
    let entry = |object: &ManifestObject| ReceiptEntry {
        name: object.name(),
        size: object.size(),
        outcome: StoreOutcome::Stored,
    };
    let receipt = Receipt {
        run: run.clone(),
        repository: REPOSITORY.parse().unwrap(),
        manifest_sha256,
        version: "1".to_owned(),
        opened_at: NOW.parse().unwrap(),
        completed_at: NOW.parse().unwrap(),
        unusual: None,
        checks: Vec::new(),
        objects: manifest.crossing().map(entry).collect(),
    };
    vault.put(&manifest_key(&run), &json);
    vault.put(&receipt_key(&run), &serde_json::to_vec(&receipt).unwrap());
    let input = RunInput {
        repository: REPOSITORY.parse().unwrap(),
        public_key: String::new(),
        source_cidr: "203.0.113.7/32".parse().unwrap(),
        objects: 1,
        bytes: 1,
        manifest_sha256,
        window_seconds: 600,
        unusual: None,
    };
    vault.executions.insert(run.to_string(), input);
    json!({"run": run, "repository": REPOSITORY, "manifest_sha256": manifest_sha256})
}

/// A vault with two packs, and the event that asks about it.
fn vault() -> (Memory, Value) {
    let mut vault = Memory::default();
    let event = declare(&mut vault, RUN, &["one", "two"]);
    vault.put(&key("one"), b"one");
    vault.put(&key("two"), b"two");
    (vault, event)
}

fn call() -> Call {
    // Whether there is time to look goes by the real clock.
    Call { now: NOW.parse().unwrap(), look_until: Timestamp::MAX, most_looks: 100 }
}

async fn verify_within(vault: &Memory, event: &Value, call: Call) -> Result<VerdictSummary, FunctionError> {
    let settings = VerifySettings {
        vault: "vault".into(),
        promised_days: 0,
        state_machine: "arn:aws:states:eu-central-1:000000000000:stateMachine:drawbridge-home".into(),
    };
    handle(&settings, vault, event.clone(), call).await
}

async fn verify(vault: &Memory, event: &Value) -> Result<VerdictSummary, FunctionError> {
    verify_within(vault, event, call()).await
}

const EVIDENCE: &str = "evidence/2026-11-0123456789abcdef.json";
const VERDICT: &str = "runs/home-20261123T203000Z/verdict.json";
const DEFECTS: &str = "runs/home-20261123T203000Z/defects.json";

#[tokio::test]
async fn a_whole_vault_is_good_and_the_verdict_is_kept() {
    let (vault, event) = vault();
    let summary = verify(&vault, &event).await.unwrap();
    assert_eq!((summary.verdict, summary.objects, summary.bytes), (Verdict::Good, 2, 6));
    assert_eq!(vault.get::<VerdictFile>(VERDICT).summary, summary);
}

#[tokio::test]
async fn what_is_not_listed_or_gone_at_the_look_is_missing_and_the_agent_can_learn_it() {
    let (mut vault, event) = vault();
    vault.remove(&key("one"));
    vault.vanished = Some(key("two"));
    let summary = verify(&vault, &event).await.unwrap();
    assert_eq!((summary.verdict, summary.missing), (Verdict::Bad, 2));
    let defects: Defects = vault.get(DEFECTS);
    assert_eq!((defects.missing.len(), defects.all_named, defects.beyond_healing), (2, true, false));
}

#[tokio::test]
async fn what_was_seen_in_one_call_is_not_looked_at_in_the_next() {
    let (vault, event) = vault();
    verify(&vault, &event).await.unwrap();
    let mut both = [key("one"), key("two")];
    both.sort();
    assert_eq!(vault.looked_at(), both);
    assert_eq!(verify(&vault, &event).await.unwrap().verdict, Verdict::Good);
    assert!(vault.looked_at().is_empty());

    // But what is gone, or has another version now, is noticed all the same.
    vault.put(&key("one"), b"another");
    vault.remove(&key("two"));
    let summary = verify(&vault, &event).await.unwrap();
    assert_eq!((vault.looked_at(), summary.wrong, summary.missing), (vec![key("one")], 1, 1));
    assert!(vault.get::<Defects>(DEFECTS).beyond_healing);
}

#[tokio::test]
async fn more_than_a_call_can_look_at_is_carried_on_by_the_next_until_all_is_seen() {
    let (vault, event) = vault();
    let one_look = Call { most_looks: 1, ..call() };
    let error = verify_within(&vault, &event, one_look).await.unwrap_err();
    assert_eq!(error.name(), "VerificationUnfinished");
    assert!(!vault.objects.borrow().contains_key(VERDICT), "half a look is no verdict");
    assert_eq!(verify_within(&vault, &event, one_look).await.unwrap().verdict, Verdict::Good);
    assert_eq!(vault.looked_at().len(), 2, "each was looked at once");
}

#[tokio::test]
async fn a_call_without_time_looks_at_nothing_and_says_so() {
    let (vault, event) = vault();
    let over = Call::within(NOW.parse().unwrap(), "2026-11-23T20:41:00Z".parse().unwrap());
    assert_eq!(over.look_until, "2026-11-23T20:40:45Z".parse().unwrap(), "a quarter is left for writing");
    let error = verify_within(&vault, &event, Call { look_until: Timestamp::UNIX_EPOCH, ..over }).await.unwrap_err();
    assert_eq!((error.name(), vault.looked_at().len()), ("VerificationUnfinished", 0));
}

#[tokio::test]
async fn a_look_that_fails_is_no_verdict_and_what_was_seen_before_it_is_kept() {
    let (mut vault, event) = vault();
    vault.unreadable = Some(key("two"));
    assert_eq!(verify(&vault, &event).await.unwrap_err().name(), "VaultUnreadable");
    assert!(!vault.objects.borrow().contains_key(VERDICT));
    assert!(!vault.get::<Evidence>(EVIDENCE).seen.contains_key(&pack("two").name()));
}

#[tokio::test]
async fn evidence_that_is_broken_or_another_repositorys_is_none() {
    for change in [
        |json: &[u8]| json[..json.len() / 2].to_vec(),
        |json: &[u8]| {
            String::from_utf8(json.to_vec()).unwrap().replace(REPOSITORY, "2026-10-0123456789abcdef").into_bytes()
        },
    ] {
        let (vault, event) = vault();
        verify(&vault, &event).await.unwrap();
        vault.looks.take();
        let changed = change(&vault.objects.borrow().get(EVIDENCE).unwrap().0);
        vault.put(EVIDENCE, &changed);
        assert_eq!(verify(&vault, &event).await.unwrap().verdict, Verdict::Good);
        assert_eq!(vault.looked_at().len(), 2, "everything is looked at again");
    }
}

#[tokio::test]
async fn another_manifest_than_the_declared_one_is_refused_and_none_is_missing() {
    let (vault, event) = vault();
    let manifest = manifest_key(&RUN.parse().unwrap());
    let mut json = vault.objects.borrow().get(&manifest).unwrap().0.clone();
    json.push(b' ');
    vault.put(&manifest, &json);
    assert_eq!(verify(&vault, &event).await.unwrap_err().name(), "ManifestWrong");
    vault.remove(&manifest);
    assert_eq!(verify(&vault, &event).await.unwrap_err().name(), "ManifestMissing");
}

#[tokio::test]
async fn a_receipt_that_is_missing_or_disagrees_is_no_verdict() {
    let (vault, event) = vault();
    let at = receipt_key(&RUN.parse().unwrap());
    let mut receipt: Receipt = vault.get(&at);
    receipt.objects.pop();
    vault.put(&at, &serde_json::to_vec(&receipt).unwrap());
    assert_eq!(verify(&vault, &event).await.unwrap_err().name(), "ReceiptWrong");
    vault.remove(&at);
    assert_eq!(verify(&vault, &event).await.unwrap_err().name(), "ReceiptMissing");
}

#[tokio::test]
async fn what_no_run_declared_is_found_wherever_it_lies_below_the_repository() {
    for stranger in ["index/junk", &format!("index/{}", sha256(b"junk")), &pack("three").name().path()] {
        let (vault, event) = vault();
        vault.put(&format!("repo/{REPOSITORY}/{stranger}"), b"junk");
        let summary = verify(&vault, &event).await.unwrap();
        assert_eq!((summary.verdict, summary.undeclared), (Verdict::Bad, 1), "{stranger}");
        let file: VerdictFile = vault.get(VERDICT);
        assert_eq!(file.defects.first().unwrap().object, stranger);
    }
}

#[tokio::test]
async fn what_an_earlier_run_declared_is_no_stranger_and_is_asked_about_once() {
    let (mut vault, event) = vault();
    declare(&mut vault, EARLIER, &["three"]);
    vault.put(&key("three"), b"three");
    assert_eq!(verify(&vault, &event).await.unwrap().verdict, Verdict::Good);
    vault.remove(&manifest_key(&EARLIER.parse().unwrap()));
    assert_eq!(verify(&vault, &event).await.unwrap().verdict, Verdict::Good, "it is remembered");
}

#[tokio::test]
async fn what_an_earlier_run_brought_must_stay_even_if_this_one_knows_nothing_of_it() {
    let (mut vault, _) = vault();
    let earlier = declare(&mut vault, EARLIER, &["one", "two", "three"]);
    vault.put(&key("three"), b"three");
    assert_eq!(verify(&vault, &earlier).await.unwrap().verdict, Verdict::Good);
    let set_back = declare(&mut vault, RUN, &["one", "two"]);
    assert_eq!(verify(&vault, &set_back).await.unwrap().verdict, Verdict::Good);
    vault.remove(&key("three"));
    for _ in 0..2 {
        assert_eq!(verify(&vault, &set_back).await.unwrap().missing, 1);
        assert!(vault.get::<Defects>(DEFECTS).beyond_healing, "nobody has it any more");
    }
}

#[tokio::test]
async fn a_manifest_that_no_execution_declared_explains_nothing() {
    for forged in ["no execution", "another hash", "another repository"] {
        let (mut vault, event) = vault();
        declare(&mut vault, EARLIER, &["three"]);
        vault.put(&key("three"), b"three");
        let input = vault.executions.get_mut(EARLIER).unwrap();
        match forged {
            "another hash" => input.manifest_sha256 = sha256(b"another"),
            "another repository" => input.repository = "2026-10-0123456789abcdef".parse().unwrap(),
            _ => drop(vault.executions.remove(EARLIER)),
        }
        assert_eq!(verify(&vault, &event).await.unwrap().undeclared, 1, "{forged}");
    }
}

#[tokio::test]
async fn verifying_twice_comes_to_the_same_summary() {
    for missing in [None, Some("one")] {
        let (vault, event) = vault();
        if let Some(content) = missing {
            vault.remove(&key(content));
        }
        let first = verify(&vault, &event).await.unwrap();
        assert_eq!(verify(&vault, &event).await.unwrap(), first);
        assert_eq!(first.verdict == Verdict::Good, missing.is_none());
    }
}
