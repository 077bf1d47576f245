//! What goes wrong before a run is said in one clear message with what to do, and exit code 1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use drawbridge_tests::{Agent, Finished, program};
use tempfile::TempDir;

/// A configuration that is right but for its stack, which isn't there.
struct Setup {
    folder: TempDir,
}

impl Setup {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("drawbridge-messages-").tempdir().unwrap();
        let setup = Self { folder };
        std::fs::create_dir(setup.path("source")).unwrap();
        std::fs::write(setup.path("source/hosts"), "127.0.0.1 localhost\n").unwrap();
        setup.private("password", "correct horse battery staple\n");
        setup.private(
            "credentials",
            "[default]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = none\n",
        );
        setup.configure("");
        setup
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn private(&self, name: &str, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(self.path(name), text).unwrap();
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Writes the configuration, with further lines at its beginning.
    fn configure(&self, lines: &str) {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = format!(
            "{lines}\nstate_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\n\
             endpoint_url = \"http://127.0.0.1:{free}\"\ncredentials_file = \"credentials\"\nstart = \"a\"\nsession = \"b\"\n\
             report = \"c\"\n[[source]]\nname = \"files\"\npaths = [{:?}]\n",
            self.path("source")
        );
        std::fs::write(self.path("drawbridge.toml"), text).unwrap();
    }

    async fn run(&self) -> Finished {
        Agent::new(self.path("drawbridge.toml")).run(&["run"]).await
    }
}

/// Fails unless the message names everything that a person needs.
#[track_caller]
fn says(finished: &Finished, words: &[&str]) {
    assert_eq!(finished.code, 1, "stdout:\n{}\nstderr:\n{}", finished.stdout, finished.stderr);
    for word in words {
        assert!(finished.stderr.contains(word), "{word:?} is missing in:\n{}", finished.stderr);
    }
    assert_eq!(finished.stderr.matches("error:").count(), 1, "one message:\n{}", finished.stderr);
    assert!(!finished.stderr.contains("panicked"), "{}", finished.stderr);
}

#[tokio::test]
async fn an_unknown_key_is_named_with_file_and_line() {
    let setup = Setup::new();
    setup.configure("retention = 5");
    says(&setup.run().await, &["drawbridge.toml", "retention", "1"]);
}

#[tokio::test]
async fn a_missing_configuration_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    says(&Agent::new(folder.path().join("none.toml")).run(&["run"]).await, &["none.toml", "drawbridge init"]);
}

#[tokio::test]
async fn a_missing_or_readable_password_file_is_named_with_the_fix() {
    use std::os::unix::fs::PermissionsExt;
    let setup = Setup::new();
    std::fs::set_permissions(setup.path("password"), std::fs::Permissions::from_mode(0o644)).unwrap();
    says(&setup.run().await, &["password", "chmod"]);
    std::fs::remove_file(setup.path("password")).unwrap();
    says(&setup.run().await, &["password"]);
}

#[tokio::test]
async fn another_password_than_the_repositorys_is_refused_before_anything_crosses() {
    let setup = Setup::new();
    // The first run makes the local repository, and then finds no stack.
    says(&setup.run().await, &["127.0.0.1"]);
    setup.private("password", "another password\n");
    says(&setup.run().await, &["password"]);
}

#[tokio::test]
async fn an_unreachable_stack_is_named_with_what_to_check() {
    let setup = Setup::new();
    says(&setup.run().await, &["http://127.0.0.1:", "endpoint_url"]);
}

/// `cargo local`, as its alias runs it.
async fn local(arguments: &[&str], prepare: impl FnOnce(&mut Command)) -> Finished {
    let mut command = Command::new(program("drawbridge-local"));
    command.args(arguments).stdin(Stdio::null());
    prepare(&mut command);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap().into()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_missing_python_is_named_with_its_package() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let without = |command: &mut Command| {
        // An empty target folder, so that no environment is ready, and a path without Python.
        command.env("CARGO_TARGET_DIR", folder.path()).env("PATH", "/nonexistent");
    };
    let finished = local(&["up", "--state-dir", text(&state)], without).await;
    says(&finished, &["Python 3.11", "apt-get install python3"]);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let state = folder.path().join("state");
    says(&local(&["up", "--state-dir", text(&state), "--port", &port], |_| ()).await, &["port", &port]);
}

#[tokio::test]
async fn a_folder_that_is_not_the_stacks_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("precious"), "data").unwrap();
    says(&local(&["up", "--state-dir", text(folder.path())], |_| ()).await, &["not empty", "--state-dir"]);
    assert!(folder.path().join("precious").exists());
}

#[tokio::test]
async fn the_status_of_no_stack_says_how_to_start_one() {
    let folder = tempfile::tempdir().unwrap();
    says(&local(&["status", "--state-dir", text(folder.path())], |_| ()).await, &["no local stack", "cargo local up"]);
}
