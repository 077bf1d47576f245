//! Objects that the vault had and has no more, or has with other bytes. The next run says so; what is missing crosses again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_tests::{Execution, Rig};
use serde_json::json;

/// A first good run, and then a file more to back up. Answers a pack of the first run's, which no index forgets.
async fn an_old_pack(rig: &Rig) -> String {
    std::fs::write(rig.source().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    rig.agent().run(&["run"]).await.expect(0);
    assert_eq!(rig.latest_execution().await.status, "SUCCEEDED");
    std::fs::write(rig.source().join("resolv.conf"), "nameserver 127.0.0.1\n").unwrap();
    let stored = rig.versions("repo/").await;
    assert!(stored.iter().any(|(key, _)| key.contains("/index/")), "{stored:?}");
    let (pack, _) = stored.into_iter().find(|(key, _)| key.contains("/data/")).unwrap();
    pack
}

/// Every version of an object goes, as lifecycle does it once the lock is over. Its lock isn't over, so it takes an operator with
/// the right to lift it.
async fn expire(rig: &Rig, key: &str) {
    let (s3, vault) = (&rig.clients().s3, &rig.stack().vault);
    for (_, version) in rig.versions(key).await {
        let delete = || s3.delete_object().bucket(vault).key(key).version_id(&version);
        delete().send().await.expect_err("the lock holds");
        delete().bypass_governance_retention(true).send().await.unwrap();
    }
    assert!(rig.versions(key).await.is_empty());
}

/// The agent's next run, which ends with a bad verdict that counts `defects`.
async fn a_bad_run(rig: &Rig, defects: &str) -> Execution {
    let finished = rig.agent().run(&["run"]).await.expect(1);
    assert!(finished.stderr.contains(defects), "{}", finished.stderr);
    let execution = rig.latest_execution().await;
    assert_eq!(
        (execution.status.as_str(), execution.error.as_deref()),
        ("FAILED", Some("VerdictBad")),
        "{execution:?}"
    );
    assert!(execution.cause.as_ref().unwrap().contains(defects), "{execution:?}");
    let states = execution.states(rig.clients()).await;
    assert_eq!(states.last().unwrap().state, "BackupFailed", "{states:?}");
    rig.nothing_is_left_within(5).await;
    execution
}

#[tokio::test]
async fn a_pack_that_expired_is_missed_by_the_next_run_and_carried_again_by_the_one_after() {
    let rig = Rig::up().await;
    let pack = an_old_pack(&rig).await;
    expire(&rig, &pack).await;

    let bad = a_bad_run(&rig, "1 missing, 0 wrong, 0 unlocked").await;
    let verdict = rig.clients().s3.get_object().bucket(&rig.stack().vault);
    let verdict = verdict.key(format!("runs/{}/verdict.json", bad.name)).send().await.unwrap();
    let verdict = String::from_utf8(verdict.body.collect().await.unwrap().to_vec()).unwrap();
    let name = pack.rsplit('/').next().unwrap();
    assert!(verdict.contains(name), "the verdict names the pack {name}: {verdict}");
    assert!(rig.versions(&pack).await.is_empty(), "nobody knew in time to carry it");

    rig.agent().run(&["run"]).await.expect(0);
    let healed = rig.latest_execution().await;
    assert_eq!(healed.status, "SUCCEEDED", "{healed:?}");
    assert_eq!(healed.output.as_ref().unwrap()["verdict"], "good");
    assert_eq!(rig.versions(&pack).await.len(), 1, "it is there again");
    rig.restores_from_the_vault(&healed, "healed").await;
}

#[tokio::test]
async fn other_bytes_under_a_packs_name_are_never_good_and_never_replaced_and_a_new_repository_begins() {
    let rig = Rig::up().await;
    let pack = an_old_pack(&rig).await;
    let (s3, vault) = (&rig.clients().s3, &rig.stack().vault);
    let object = s3.get_object().bucket(vault).key(&pack).send().await.unwrap();
    let mut bytes = object.body.collect().await.unwrap().to_vec();
    bytes[0] ^= 1;
    rig.overwrite(&pack, bytes).await;
    let planted = rig.versions(&pack).await;
    assert_eq!(planted.len(), 2);

    let bad = a_bad_run(&rig, "0 missing, 1 wrong, 0 unlocked").await;
    assert_eq!(rig.versions(&pack).await, planted, "the right bytes are still there, as an older version");

    // Nothing that crosses mends that.
    rig.agent().run(&["run"]).await.expect(0);
    let anew = rig.latest_execution().await;
    assert_eq!(anew.status, "SUCCEEDED", "{anew:?}");
    assert_ne!(anew.repository(), bad.repository());
    rig.restores_from_the_vault(&anew, "anew").await;
}

#[tokio::test]
async fn a_gate_that_lifecycle_might_hide_while_a_box_boots_is_put_anew_and_any_other_is_left_alone() {
    let rig = Rig::up().await;
    rig.agent().run(&["run"]).await.expect(0);
    rig.agent().run(&["run"]).await.expect(0);
    let gate = rig.versions("artifacts/").await;
    assert_eq!(gate.len(), 1, "the second run uses the first one's: {gate:?}");

    // As if objects were hidden a day after they were put: any gate is about to go.
    let provision = json!({"FunctionName": rig.stack().functions.provision});
    let configuration = rig.call("lambda", "get_function_configuration", provision.clone());
    let mut change = provision;
    change["Environment"] = configuration["Environment"].clone();
    assert_eq!(change["Environment"]["Variables"]["DRAWBRIDGE_EXPIRE_DAYS"], "124", "as for a month and 90 days");
    change["Environment"]["Variables"]["DRAWBRIDGE_EXPIRE_DAYS"] = "1".into();
    rig.call("lambda", "update_function_configuration", change);
    rig.agent().run(&["run"]).await.expect(0);
    let renewed = rig.versions("artifacts/").await;
    assert!(renewed.is_superset(&gate) && renewed.len() == 2, "{renewed:?}");
    let keys: std::collections::BTreeSet<_> = renewed.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 1, "the same program in a new version");
}
