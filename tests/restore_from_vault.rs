//! The worst day: the backup machine is gone, and what is left is the AWS account and the repository's password.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use drawbridge_local::Credentials;
use drawbridge_local::compare::compare_mirror;
use drawbridge_tests::{Dice, Finished, Rig, program};

/// A run, after which nothing of the backup machine is left but a copy of the password.
struct Disaster {
    rig: Rig,
    /// What had been gathered, kept to compare with.
    mirror: PathBuf,
    password: PathBuf,
}

impl Disaster {
    async fn strike() -> Self {
        let rig = Rig::up().await;
        plant(&rig.source());
        rig.agent().run(&["run"]).await.expect(0);
        let (mirror, password) = (rig.folder().join("gathered"), rig.folder().join("copy-of-the-password"));
        fs::rename(rig.mirror(), &mirror).unwrap();
        fs::copy(rig.files().password_file(), &password).unwrap();
        fs::remove_dir_all(rig.folder().join("stack/agent")).unwrap();
        Self { rig, mirror, password }
    }

    /// The program on another machine, with these credentials and no configuration.
    async fn with(&self, key: &Credentials, arguments: &[&str]) -> Finished {
        let mut command = elsewhere(&self.rig, key);
        command.args(arguments).args(["--from-vault", "--bucket", &self.rig.stack().vault]);
        command.arg("--config").arg(self.rig.folder().join("no-configuration.toml"));
        command.arg("--password-file").arg(&self.password);
        tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap().into()
    }

    async fn says(&self, arguments: &[&str]) -> Finished {
        self.with(&self.rig.stack().admin, arguments).await
    }

    async fn restore(&self, target: &str) -> (Finished, PathBuf) {
        let target = self.rig.folder().join(target);
        (self.says(&["restore", "--target", target.to_str().unwrap()]).await, target)
    }
}

/// The program with this key in its environment and nothing else of AWS.
fn elsewhere(rig: &Rig, key: &Credentials) -> Command {
    let mut command = Command::new(program("drawbridge"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .env("AWS_ENDPOINT_URL", &rig.stack().endpoint_url)
        .env("AWS_REGION", &rig.stack().region)
        .env("AWS_ACCESS_KEY_ID", &key.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &key.secret_access_key);
    command
}

fn plant(source: &Path) {
    fs::create_dir_all(source.join("etc/empty")).unwrap();
    fs::write(source.join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    std::os::unix::fs::symlink("hosts", source.join("etc/link")).unwrap();
    for number in 0..40_u32 {
        fs::write(source.join(format!("etc/small-{number}")), number.to_string()).unwrap();
    }
    fs::write(source.join("noise"), Dice::new(1).bytes(9_000_000)).unwrap();
}

#[tokio::test]
async fn the_vault_alone_gives_everything_back_to_an_operator_with_the_password() {
    let disaster = Disaster::strike().await;
    let listed = disaster.says(&["snapshots", "--json"]).await.expect(0).stdout;
    assert_eq!(listed.matches("\"id\"").count(), 1, "{listed}");
    let (done, target) = disaster.restore("restored").await;
    let done = done.expect(0);
    compare_mirror(&disaster.mirror, &target).unwrap().verdict().unwrap();
    assert!(done.stdout.contains("each read back and compared"), "{}", done.stdout);

    let found = disaster.says(&["find", "hosts"]).await.expect(0).stdout;
    assert!(found.contains("etc/hosts") && found.lines().count() == 2, "{found}");
    let root = disaster.says(&["ls", "--json"]).await.expect(0).stdout;
    assert!(root.contains("\"path\":\"files\""), "{root}");

    // Stock restic reads the bucket itself, when it writes no locks.
    let repository = disaster.rig.versions("repo/").await.into_iter().next().unwrap().0;
    let repository: Vec<&str> = repository.split('/').take(2).collect();
    let stack = disaster.rig.stack();
    let location = format!("s3:{}/{}/{}", stack.endpoint_url, stack.vault, repository.join("/"));
    let target = disaster.rig.folder().join("by-restic");
    let mut restic = Command::new("restic");
    restic.args(["--no-lock", "--no-cache", "-r", &location, "--password-file"]).arg(&disaster.password);
    restic.args(["restore", "latest", "--target"]).arg(&target);
    restic.env("AWS_ACCESS_KEY_ID", &stack.admin.access_key_id).env("AWS_DEFAULT_REGION", &stack.region);
    restic.env("AWS_SECRET_ACCESS_KEY", &stack.admin.secret_access_key);
    let restored = restic.output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    compare_mirror(&disaster.mirror, &target).unwrap().verdict().unwrap();

    // The agent's own key opens nothing.
    let refused = disaster.with(&disaster.rig.stack().agent.credentials, &["snapshots"]).await.expect(1);
    assert!(
        refused.stderr.contains("AccessDenied") && refused.stderr.contains("an operator's own"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn what_was_hidden_or_covered_in_the_vault_is_found_again_and_what_is_gone_is_named() {
    let disaster = Disaster::strike().await;
    let (s3, vault) = (&disaster.rig.clients().s3, &disaster.rig.stack().vault);
    let stored = disaster.rig.versions("repo/").await;
    let keys =
        |part: &str| stored.iter().map(|(key, _)| key.clone()).filter(|key| key.contains(part)).collect::<Vec<_>>();
    // All packs are covered by rubbish; what else there is is hidden by delete markers.
    for pack in keys("/data/") {
        s3.put_object().bucket(vault).key(pack).body(b"rubbish".to_vec().into()).send().await.unwrap();
    }
    for other in keys("repo/").iter().filter(|key| !key.contains("/data/")) {
        s3.delete_object().bucket(vault).key(other).send().await.unwrap();
    }
    let (done, target) = disaster.restore("restored").await;
    let done = done.expect(0);
    compare_mirror(&disaster.mirror, &target).unwrap().verdict().unwrap();
    for said in ["was covered by another version", "is hidden by a delete marker"] {
        assert!(done.stderr.contains(said), "{said}: {}", done.stderr);
    }
    // Now everything is hidden, and who lists the bucket sees none of it.
    for pack in keys("/data/") {
        s3.delete_object().bucket(vault).key(pack).send().await.unwrap();
    }
    let listed = s3.list_objects_v2().bucket(vault).prefix("repo/").send().await.unwrap();
    assert!(listed.contents().is_empty());
    let (done, target) = disaster.restore("restored-from-nothing").await;
    done.expect(0);
    compare_mirror(&disaster.mirror, &target).unwrap().verdict().unwrap();

    // The largest pack goes for good, with every version: what it held is lacking, and named.
    let mut sizes = Vec::new();
    for (key, version) in stored.iter().filter(|(key, _)| key.contains("/data/")) {
        let head = s3.head_object().bucket(vault).key(key).version_id(version).send().await.unwrap();
        sizes.push((head.content_length().unwrap(), key.clone()));
    }
    let (_, pack) = sizes.into_iter().max().unwrap();
    let versions = s3.list_object_versions().bucket(vault).prefix(&pack).send().await.unwrap();
    for version in versions.versions() {
        let delete = s3.delete_object().bucket(vault).key(&pack).version_id(version.version_id().unwrap());
        delete.bypass_governance_retention(true).send().await.unwrap();
    }
    let (done, target) = disaster.restore("restored-in-part").await;
    let done = done.expect(1);
    let differences = compare_mirror(&disaster.mirror, &target).unwrap().differences;
    let missing: Vec<_> = differences.iter().filter_map(|line| line.strip_suffix(" is missing")).collect();
    assert!(!missing.is_empty(), "{differences:?}");
    for path in missing {
        assert!(done.stderr.contains(&format!("not restored: {path}: ")), "{path} in {}", done.stderr);
    }
}

#[tokio::test]
async fn a_drill_from_the_vault_is_the_third_grade() {
    let rig = Rig::up().await;
    plant(&rig.source());
    rig.agent().run(&["run"]).await.expect(0);
    let status = rig.agent().run(&["status"]).await.expect(0).stdout;
    assert!(status.contains("vault: never restore-tested") && !status.contains("uploaded    never"), "{status}");
    let mut command = elsewhere(&rig, &rig.stack().admin);
    command.arg("--config").arg(rig.agent().config());
    command.args(["drill", "--files", "10", "--from-vault", "--bucket", &rig.stack().vault]);
    let drill: Finished = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap().into();
    let said = drill.expect(0).stdout;
    assert!(said.contains("Restore-tested: 10 of 10 files") && said.contains("from the vault"), "{said}");
    let status = rig.agent().run(&["status"]).await.expect(0).stdout;
    assert!(status.contains("tested      vault: ") && status.contains(": 10 files restored"), "{status}");
    assert!(status.contains("verified    at rest: ") && !status.contains("at rest: never"), "{status}");
}
