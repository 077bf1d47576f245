//! The tools that are compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use drawbridge_peers::need;
use drawbridge_peers::sshd::Route;

/// How often the memory of a running gathering is read: what it was at most, the kernel keeps.
const LOOK: Duration = Duration::from_millis(10);

/// The configuration of a source that is `path` at the end of `route`.
fn config(route: &Route, state: &Path, path: &Path) -> String {
    format!(
        "state_dir = {state:?}\n[repository]\npassword_file = \"password\"\n\
         [stack]\nregion = \"eu-central-1\"\nstart = \"a\"\nsession = \"b\"\nreport = \"c\"\n\
         [[source]]\nname = \"bench\"\nhost = \"{}\"\nport = {}\nuser = {:?}\nidentity_file = {:?}\n\
         known_hosts = {:?}\npaths = [{path:?}]\n",
        route.at.ip(),
        route.at.port(),
        route.user,
        route.identity,
        route.known_hosts
    )
}

/// What a run took.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// The most memory that the process had resident, in MiB.
    pub peak_mib: u64,
}

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// `drawbridge gather`
    Ours,
    /// `rsync -a`
    Rsync,
    /// `scp -r`
    Scp,
}

impl Tool {
    /// Brings `source`, a folder of the host, into this tool's part of `copies`.
    pub(crate) fn run(self, source: &Path, copies: &Path, route: &Route) -> Ran {
        let home = self.home(copies);
        fs::create_dir_all(&home).unwrap();
        let mut command = match self {
            Self::Ours => {
                fs::write(home.join("drawbridge.toml"), config(route, &home.join("state"), source)).unwrap();
                let mut command = Command::new(env!("CARGO_BIN_EXE_drawbridge"));
                command.arg("--config").arg(home.join("drawbridge.toml")).arg("gather");
                command
            }
            Self::Rsync => {
                let mut command = Command::new(need("rsync", "rsync"));
                command.args(["-a", "-e", &format!("ssh {}", route.options().join(" "))]);
                command.arg(route.remote(source)).arg(&home);
                command
            }
            Self::Scp => {
                let mut command = Command::new(need("scp", "openssh-client"));
                command.arg("-rq").args(route.options()).arg(route.remote(source)).arg(&home);
                command
            }
        };
        // What the one before has left to write is not this one's to wait for.
        rustix::fs::sync();
        let messages = home.with_extension("messages");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&messages).unwrap());
        let since = Instant::now();
        let mut child = command.spawn().unwrap();
        let peak_mib = if self == Self::Ours { watch(&mut child) } else { 0 };
        let status = child.wait().unwrap();
        let seconds = since.elapsed().as_secs_f64();
        assert!(status.success(), "{self:?}: {status}: {}", fs::read_to_string(&messages).unwrap());
        Ran { seconds, peak_mib }
    }

    /// Removes its copy.
    pub(crate) fn forget(self, copies: &Path) {
        if self.home(copies).exists() {
            fs::remove_dir_all(self.home(copies)).unwrap();
        }
    }

    /// Where its copy of `source` is.
    pub(crate) fn copy(self, copies: &Path, source: &Path) -> PathBuf {
        match self {
            Self::Ours => self.home(copies).join("state/mirror/bench").join(source.strip_prefix("/").unwrap()),
            Self::Rsync | Self::Scp => self.home(copies).join(source.file_name().unwrap()),
        }
    }

    /// Whether a copy has the modes and times of the source.
    pub(crate) fn keeps_times(self) -> bool {
        self != Self::Scp
    }

    fn home(self, copies: &Path) -> PathBuf {
        copies.join(format!("{self:?}").to_lowercase())
    }
}

/// Waits for a process to end; the most memory that it had resident, in MiB, rounded up.
fn watch(child: &mut Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        // proc_pid_status(5): the peak resident set size, in kB.
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: Option<u64> = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        most = most.max(kib.unwrap_or(0));
        std::thread::sleep(LOOK);
    }
    most.div_ceil(1024)
}
