//! An S3 on this disk: the program `s3s-fs` in a process of its own, so that its work is neither the agent's nor the gate's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use drawbridge_peers::crates::Program;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::common::aws::{ACCESS_KEY, SECRET_CANARY};
use crate::common::machine::free_port;
use crate::common::{LOOPBACK, SOON};

/// The vault's name.
pub(crate) const BUCKET: &str = "vault";

/// The newest version that the workspace's Rust compiles.
const S3S_FS: Program =
    Program { name: "s3s-fs", package: "s3s-fs", version: "0.14.1", arguments: &["--features", "binary"] };

/// A running server. Dropping it ends it.
pub(crate) struct Vault {
    pub(crate) endpoint: String,
    _server: Child,
}

/// The path of the program, which is installed if need be.
pub(crate) fn installed() -> PathBuf {
    S3S_FS.below(Path::new(env!("CARGO_TARGET_TMPDIR")))
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
