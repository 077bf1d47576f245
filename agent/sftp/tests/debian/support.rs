//! Debian's own sftp-server over pipes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use drawbridge_sftp::{Attributes, Settings, Sftp, SftpError};
use tokio::process::{Child, Command};

/// The server of Debian's package openssh-sftp-server, which openssh-server brings along.
pub(crate) fn program() -> PathBuf {
    let path = Path::new("/usr/lib/openssh/sftp-server");
    if !path.is_file() {
        drawbridge_peers::need("sshd", "openssh-server");
    }
    path.to_path_buf()
}

/// A server that ends with the test.
pub(crate) struct Server {
    pub(crate) sftp: Sftp,
    pub(crate) child: Child,
}

/// Runs the server as `command`'s shell would.
pub(crate) async fn server_by(mut command: Command, settings: Settings) -> Server {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let stream = tokio::io::join(child.stdout.take().unwrap(), child.stdin.take().unwrap());
    Server { sftp: Sftp::start(stream, settings).await.unwrap(), child }
}

pub(crate) async fn server() -> Server {
    server_by(Command::new(program()), Settings::default()).await
}

/// With so many file descriptors.
pub(crate) async fn server_with_descriptors(count: u32) -> Server {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -n {count}; exec {}", program().display()));
    server_by(command, Settings::default()).await
}

pub(crate) fn bytes(path: &Path) -> &[u8] {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes()
}

/// Open, read, ask after: what gathering does with each file.
pub(crate) async fn fetch(sftp: &Sftp, path: &[u8], size: u64) -> Result<(Vec<u8>, Attributes), SftpError> {
    let file = sftp.open(path).await?;
    let mut reading = file.read(0, size);
    let mut content = Vec::new();
    while let Some(chunk) = reading.next().await? {
        content.extend_from_slice(&chunk);
    }
    Ok((content, reading.after().await?))
}

/// Bytes that don't repeat within any read's length.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2) + 1;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 32) as u32
    });
    words.flat_map(u32::to_le_bytes).take(length).collect()
}
