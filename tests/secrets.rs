//! Secrets are planted, everything runs, everything that was written down is searched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;

use drawbridge_local::timeline::task_tokens;
use drawbridge_tests::Rig;
use walkdir::WalkDir;

/// Where a secret belongs: the agent's own files, and what tells the operator how to log in.
const ITS_PLACE: [&str; 5] =
    ["agent/password", "agent/aws-credentials", "stack.json", "deployment.json", "agent/state"];

fn search(folder: &Path, secrets: &[(&str, String)]) -> (usize, Vec<String>) {
    let (mut searched, mut found) = (0, Vec::new());
    for entry in WalkDir::new(folder).into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
        let name = entry.path().strip_prefix(folder).unwrap().to_str().unwrap();
        if ITS_PLACE.iter().any(|place| name.starts_with(place)) || name.starts_with("packages/") {
            continue;
        }
        searched += 1;
        let contents = std::fs::read(entry.path()).unwrap();
        found.extend(holds(&contents, secrets).into_iter().map(|secret| format!("{secret} in {name}")));
    }
    (searched, found)
}

fn holds<'a>(contents: &[u8], secrets: &[(&'a str, String)]) -> Vec<&'a str> {
    let text = String::from_utf8_lossy(contents);
    secrets.iter().filter(|(_, secret)| text.contains(secret)).map(|(what, _)| *what).collect()
}

#[tokio::test]
async fn no_log_output_or_record_holds_a_secret() {
    let rig = Rig::up().await;
    std::fs::write(rig.source().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    let finished = rig.agent().run(&["--json", "run"]).await.expect(0);
    let execution = rig.latest_execution().await;
    let tokens = task_tokens(&rig.clients().sfn, &execution.arn).await.unwrap();
    assert!(!tokens.is_empty(), "the history shows what to look for");

    let password = std::fs::read_to_string(rig.files().password_file()).unwrap().trim().to_owned();
    let mut secrets = vec![
        ("the repository's password", password),
        ("the agent's secret key", rig.stack().agent.credentials.secret_access_key.clone()),
        ("the operator's secret key", rig.stack().admin.secret_access_key.clone()),
    ];
    secrets.extend(tokens.into_iter().map(|token| ("a task token", token)));
    assert!(secrets.iter().all(|(_, secret)| secret.len() > 10), "a short one would be found anywhere");

    let there = std::fs::read(rig.files().password_file()).unwrap();
    assert_eq!(holds(&there, &secrets), ["the repository's password"], "the search finds what is there");

    assert_eq!(holds((finished.stdout + &finished.stderr).as_bytes(), &secrets), [""; 0], "what the agent says");
    let logs = rig.function_logs();
    for function in ["start", "provision", "ready", "session", "report", "verify", "destroy"] {
        assert!(logs.contains(&format!("/drawbridge/home/{function}")), "{function} logged nothing:\n{logs}");
    }
    assert!(logs.contains(&execution.name), "logs carry the run id");
    assert_eq!(holds(logs.as_bytes(), &secrets), [""; 0], "what the functions log");
    let (searched, found) = search(&rig.folder().join("stack"), &secrets);
    assert!(searched > 3, "the box's console and the local AWS's logs are among the {searched} files");
    assert_eq!(found, [""; 0]);
    // What the run left in the vault, and the user data that anyone may read.
    for (key, _) in rig.versions("runs/").await {
        let object = rig.clients().s3.get_object().bucket(&rig.stack().vault).key(&key).send().await.unwrap();
        let contents = object.body.collect().await.unwrap().into_bytes();
        assert_eq!(holds(&contents, &secrets), [""; 0], "{key}");
    }
    let user_data = rig.user_data(&execution.name).await;
    assert!(user_data.starts_with("#!/bin/bash"), "{user_data}");
    assert_eq!(holds(user_data.as_bytes(), &secrets), [""; 0], "user data");
}
