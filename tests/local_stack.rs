//! `cargo local` as a user meets it: up, status, down, and nothing left even when it is killed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::{Child, Command, Stdio};

use drawbridge_local::StackDescription;
use drawbridge_tests::{Agent, Finished, program, wait_until};

/// `cargo local up` in a folder of its own; killed, at the latest, when the test ends.
struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        // Ended by itself already, or ended now.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn local(arguments: &[&str], state_dir: &Path) -> Command {
    let mut command = Command::new(program("drawbridge-local"));
    command.args(arguments).arg("--state-dir").arg(state_dir).stdin(Stdio::null());
    command
}

async fn up(state_dir: &Path, source: &Path) -> (Up, StackDescription) {
    let mut command = local(&["up", "--set", "HeartbeatSeconds=6", "--source", source.to_str().unwrap()], state_dir);
    let child = Up(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    wait_until(120, "stack.json is there", async || {
        StackDescription::read(state_dir).map(drop).map_err(|problem| problem.to_string())
    })
    .await;
    (child, StackDescription::read(state_dir).unwrap())
}

async fn finished(mut command: Command) -> Finished {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap().into()
}

/// The processes whose command line names a folder.
fn processes_of(state_dir: &Path) -> Vec<String> {
    let name = state_dir.to_str().unwrap();
    let commands = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let line = std::fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    commands.filter(|line| line.contains(name)).collect()
}

async fn nothing_runs_in(state_dir: &Path) {
    wait_until(30, "no process of the stack is left", async || {
        let left = processes_of(state_dir);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test]
async fn up_then_status_then_a_run_with_the_ready_made_configuration_then_down() {
    let folder = tempfile::tempdir().unwrap();
    let (state, source) = (folder.path().join("stack"), folder.path().join("source"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("hosts"), "127.0.0.1 localhost\n").unwrap();
    let (mut child, stack) = up(&state, &source).await;

    let told = finished(local(&["status"], &state)).await.expect(0).stdout;
    assert!(told.contains(&stack.endpoint_url), "{told}");
    let written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(state.join("stack.json")).unwrap()).unwrap();
    for pointer in [
        "/endpoint_url",
        "/region",
        "/account",
        "/site",
        "/vault",
        "/state_machine_arn",
        "/functions/start",
        "/functions/destroy",
        "/agent/access_key_id",
        "/agent/secret_access_key",
        "/agent/config",
        "/admin/access_key_id",
        "/admin/secret_access_key",
    ] {
        assert!(written.pointer(pointer).is_some_and(serde_json::Value::is_string), "{pointer} in {written}");
    }
    Agent::new(stack.agent.config.clone()).run(&["check"]).await.expect(0);
    Agent::new(stack.agent.config).run(&["run"]).await.expect(0);

    finished(local(&["down"], &state)).await.expect(0);
    assert!(child.0.wait().unwrap().success());
    nothing_runs_in(&state).await;
    assert!(!state.join("stack.json").exists());
}

#[tokio::test]
async fn a_killed_stack_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("stack");
    let (mut child, _) = up(&state, Path::new("/etc/hostname")).await;
    assert!(processes_of(&state).len() >= 3, "{:?}", processes_of(&state));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    nothing_runs_in(&state).await;
    // The description stays, and status doesn't believe it.
    let told = finished(local(&["status"], &state)).await.expect(1).stderr;
    assert!(told.contains("was killed"), "{told}");
}
