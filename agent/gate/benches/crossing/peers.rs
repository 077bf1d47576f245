//! The tools that ours is held against.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use drawbridge_peers::need;
use drawbridge_peers::sshd::Route;
use tempfile::TempDir;
use walkdir::WalkDir;

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// `rclone copy` over sftp, with its own settings: four transfers, each checked by its hash. With many files it checks none: it would run
    /// `md5sum` in a shell of its own for each, which takes far longer than the copying.
    Rclone,
    /// `scp -r`
    Scp,
}

impl Peer {
    /// Copies the folder `source` to the server's end of `route`, which is this disk; the seconds that it took.
    /// `many` says that there are many files.
    pub(crate) fn run(self, source: &Path, many: bool, scratch: &Path, route: &Route) -> f64 {
        let to = TempDir::with_prefix_in("peer-", scratch).unwrap();
        let mut command = match self {
            Self::Rclone => rclone(source, many, to.path(), route),
            Self::Scp => scp(source, to.path(), route),
        };
        let messages = scratch.join("messages");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&messages).unwrap());
        rustix::fs::sync();
        let since = Instant::now();
        let status = command.status().unwrap();
        let seconds = since.elapsed().as_secs_f64();
        assert!(status.success(), "{self:?}: {status}: {}", fs::read_to_string(&messages).unwrap());
        assert_eq!(contents(to.path()), contents(source), "{self:?}: files and bytes");
        seconds
    }
}

fn rclone(source: &Path, many: bool, to: &Path, route: &Route) -> Command {
    let mut command = Command::new(need("rclone", "rclone"));
    command.arg("copy").arg(source).arg(format!(":sftp:{}", to.display()));
    command.args(many.then_some("--sftp-disable-hashcheck"));
    command.args(["--config", "/dev/null", "--sftp-host", &route.at.ip().to_string()]);
    command.args(["--sftp-port", &route.at.port().to_string(), "--sftp-user", &route.user]);
    command.arg("--sftp-key-file").arg(&route.identity).arg("--sftp-known-hosts-file").arg(&route.known_hosts);
    command
}

fn scp(source: &Path, to: &Path, route: &Route) -> Command {
    let mut command = Command::new(need("scp", "openssh-client"));
    command.arg("-rq").args(route.options()).arg(source).arg(route.remote(to));
    command
}

/// How many files there are below a folder, and their bytes together.
fn contents(folder: &Path) -> (usize, u64) {
    let files = WalkDir::new(folder).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files.fold((0, 0), |(files, bytes), file| (files + 1, bytes + file.metadata().unwrap().len()))
}
