//! A second host: Debian's OpenSSH server on a loopback port, with its own configuration and keys.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::agent_config::Host;
use crate::error::Context;
use crate::{Problem, Process, Result};

const PROGRAM: &str = "/usr/sbin/sshd";
/// How long the server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Sshd {
    process: Process,
    port: u16,
    folder: PathBuf,
}

impl Sshd {
    /// Whether this machine has the program.
    #[must_use]
    pub fn is_installed() -> bool {
        Path::new(PROGRAM).exists()
    }

    /// Starts a server with new keys, all of it in `folder`.
    ///
    /// # Errors
    /// When the program isn't there, or doesn't answer.
    pub fn start(folder: &Path) -> Result<Self> {
        if !Self::is_installed() {
            return Err(Problem::new("sshd is not here; on Debian: apt-get install openssh-server"));
        }
        fs::create_dir_all(folder).context(|| format!("cannot create {}", folder.display()))?;
        for key in ["host_key", "user_key"] {
            generate_key(&folder.join(key))?;
        }
        let port = free_port()?;
        let configuration = folder.join("sshd_config");
        let f = folder.display();
        let text = format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {f}/host_key\nAuthorizedKeysFile {f}/user_key.pub\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        );
        fs::write(&configuration, text).context(|| format!("cannot write {}", configuration.display()))?;
        if rustix::process::geteuid().is_root() {
            // Where Debian's sshd separates its privileges; its service unit would make it.
            fs::create_dir_all("/run/sshd").context(|| "cannot create /run/sshd".to_owned())?;
        }
        let mut command = Command::new(PROGRAM);
        command.args(["-D", "-e", "-f"]).arg(&configuration);
        let process = Process::start("sshd", &mut command, &folder.join("sshd.log"))?;
        let mut server = Self { process, port, folder: folder.to_path_buf() };
        server.wait()?;
        server.write_known_hosts()?;
        Ok(server)
    }

    /// How an agent reaches it.
    #[must_use]
    pub fn host(&self) -> Host {
        Host {
            address: "127.0.0.1".to_owned(),
            port: self.port,
            user: std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
            identity_file: self.folder.join("user_key"),
            known_hosts: self.folder.join("known_hosts"),
        }
    }

    fn wait(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            self.process.check()?;
            if Instant::now() > until {
                return Err(Problem::new(format!("sshd does not answer on port {}", self.port)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn write_known_hosts(&self) -> Result<()> {
        let key = self.folder.join("host_key.pub");
        let key = fs::read_to_string(&key).context(|| format!("cannot read {}", key.display()))?;
        let path = self.folder.join("known_hosts");
        fs::write(&path, format!("[127.0.0.1]:{} {key}", self.port))
            .context(|| format!("cannot write {}", path.display()))
    }
}

fn generate_key(path: &Path) -> Result<()> {
    let output = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"])
        .arg(path)
        .output()
        .context(|| "cannot run ssh-keygen; on Debian: apt-get install openssh-client".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Problem::because("ssh-keygen failed", String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// A TCP port of 127.0.0.1 that nobody listens on now.
///
/// # Errors
/// When there is none.
pub fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context(|| "no free TCP port on 127.0.0.1".to_owned())?;
    Ok(listener.local_addr().context(|| "a socket without address".to_owned())?.port())
}
