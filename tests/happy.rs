//! A backup crosses, is verified, and restores with tools that aren't ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use aws_sdk_ec2::types::Filter;
use drawbridge_local::compare::compare;
use drawbridge_tests::{Dice, Rig, digest};
use serde_json::Value;

/// A tree with everything that a restore may get wrong.
fn plant(source: &Path) {
    let write = |name: &str, contents: &[u8], mode: u32| {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("etc/hosts", b"127.0.0.1 localhost\n", 0o644);
    write("etc/secret", b"only for its owner\n", 0o600);
    write("etc/script with spaces.sh", b"#!/bin/sh\n", 0o755);
    write("etc/n\u{e4}me", b"not ASCII\n", 0o640);
    write("log/empty", b"", 0o644);
    write("log/sparse-looking", &vec![0; 300_000], 0o644);
    write("log/noise", &Dice::new(1).bytes(3_000_000), 0o644);
    fs::create_dir(source.join("empty folder")).unwrap();
    symlink("hosts", source.join("etc/link")).unwrap();
    symlink("/nowhere/at/all", source.join("etc/dangling")).unwrap();
    let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789);
    fs::File::open(source.join("etc/hosts")).unwrap().set_modified(old).unwrap();
    fs::set_permissions(source.join("log"), fs::Permissions::from_mode(0o750)).unwrap();
}

#[tokio::test]
async fn a_backup_crosses_is_verified_and_restores_with_stock_restic() {
    let rig = Rig::up().await;
    plant(&rig.source());
    let agent = rig.agent();

    agent.run(&["run"]).await.expect(0);

    let execution = rig.latest_execution().await;
    assert_eq!(execution.status, "SUCCEEDED", "{execution:?}");
    assert_eq!(execution.output.as_ref().unwrap()["verdict"], "good");
    let states: Vec<String> = execution.states(rig.clients()).await.into_iter().map(|passage| passage.state).collect();
    assert_eq!(
        states,
        ["ProvisionJumpBox", "AwaitUpload", "VerifyBackup", "DestroyJumpBox", "JudgeRun", "BackupVerified"]
    );
    rig.nothing_is_left_within(5).await;

    let gathered = rig.restores_from_the_vault(&execution, "copy").await;
    assert_eq!(gathered.links, 2, "{gathered:?}");
    // And the mirror is what the source is.
    let in_mirror = rig.mirror().join("files").join(rig.source().strip_prefix("/").unwrap());
    compare(&rig.source(), &in_mirror).unwrap().verdict().unwrap();

    // Nothing changed: one more snapshot, and hardly an object crosses.
    let before = rig.versions("repo/").await;
    agent.run(&["run"]).await.expect(0);
    let second = rig.latest_execution().await;
    assert_ne!(second.name, execution.name);
    assert_eq!(second.status, "SUCCEEDED");
    assert!(second.declared_objects() <= 4, "{} objects crossed", second.declared_objects());
    let after = rig.versions("repo/").await;
    assert!(after.is_superset(&before), "nothing in the vault was replaced");
    assert_eq!((after.len() - before.len()) as u64, second.declared_objects());
    let snapshots = agent.run(&["snapshots", "--json"]).await.expect(0).stdout;
    assert_eq!(snapshots.matches("\"id\"").count(), 2, "{snapshots}");
    rig.nothing_is_left_within(5).await;
}

#[tokio::test]
async fn what_the_run_left_on_record_agrees() {
    let rig = Rig::up().await;
    plant(&rig.source());
    rig.agent().run(&["run"]).await.expect(0);
    let execution = rig.latest_execution().await;
    let record = async |name: &str| -> Value {
        let key = format!("runs/{}/{name}", execution.name);
        let object = rig.clients().s3.get_object().bucket(&rig.stack().vault).key(key).send().await.unwrap();
        serde_json::from_slice(&object.body.collect().await.unwrap().into_bytes()).unwrap()
    };
    let (manifest, receipt, verdict) =
        (record("manifest.json").await, record("receipt.json").await, record("verdict.json").await);
    assert_eq!(manifest["objects"].as_array().unwrap().len() as u64, execution.declared_objects());
    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&manifest["objects"]), names(&receipt["objects"]));
    assert_eq!(verdict["summary"]["verdict"], "good");
    assert_eq!(verdict["summary"]["objects"].as_u64().unwrap(), execution.declared_objects());
    // The box was launched with the token that makes a repeated launch of this run the same launch.
    let box_of_run = Filter::builder().name("tag:drawbridge:run").values(&execution.name).build();
    let boxes = rig.clients().ec2.describe_instances().filters(box_of_run).send().await.unwrap();
    let launched = &boxes.reservations()[0].instances()[0];
    let zone = launched.placement().unwrap().availability_zone().unwrap();
    let kind = launched.instance_type().unwrap();
    let token = digest(format!("{}\n{zone}\n{kind}\n0", execution.name).as_bytes()).to_string();
    assert_eq!(launched.client_token(), Some(token.as_str()));
    let text = execution.input.to_string() + &receipt.to_string() + &verdict.to_string();
    assert!(!text.contains("task_token"), "the token stays between the state machine and the functions");
}
