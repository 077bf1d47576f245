//! An S3 on this disk: the program `s3s-fs` in a process of its own, so that its work is neither the agent's nor the gate's.
//!
//! It is installed below the target folder once. As a dependency of the workspace it would change features of crates that the AWS
//! SDK is built on, and thereby have everything compiled anew for everybody.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::common::aws::{ACCESS_KEY, SECRET_CANARY};
use crate::common::machine::free_port;
use crate::common::{LOOPBACK, SOON};

/// The vault's name.
pub(crate) const BUCKET: &str = "vault";

/// The newest version that the workspace's Rust compiles.
const VERSION: &str = "=0.14.1";

/// A running server. Dropping it ends it.
pub(crate) struct Vault {
    pub(crate) endpoint: String,
    _server: Child,
}

/// The path of the program, which is installed if need be.
pub(crate) fn installed() -> PathBuf {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("s3s-fs");
    let program = root.join("bin/s3s-fs");
    if !program.is_file() {
        eprintln!("installing s3s-fs {VERSION} in {}", root.display());
        let mut install = std::process::Command::new(env!("CARGO"));
        install.args(["install", "--quiet", "--locked", "--features", "binary", "--version", VERSION, "s3s-fs"]);
        // The workspace's own settings are no business of another program's build.
        let status = install.arg("--root").arg(&root).current_dir(std::env::temp_dir()).status().unwrap();
        assert!(status.success(), "cargo install s3s-fs: {status}");
    }
    program
}

impl Vault {
    /// Serves `root`, which gets one empty bucket.
    pub(crate) async fn serve(root: &Path) -> Self {
        fs::create_dir_all(root.join(BUCKET)).unwrap();
        let port = free_port().await;
        let server = Command::new(installed())
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .args(["--access-key", ACCESS_KEY, "--secret-key", SECRET_CANARY])
            .arg(root)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let listens = async { while TcpStream::connect((LOOPBACK, port)).await.is_err() {} };
        tokio::time::timeout(SOON, listens).await.expect("s3s-fs should listen");
        Self { endpoint: format!("http://127.0.0.1:{port}"), _server: server }
    }
}
