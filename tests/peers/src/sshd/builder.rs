//! What a server is to be like, and its start.

use std::fs::{self, Permissions};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::servers::{MARK, Servers};
use super::{Authority, Sshd, keygen, mark, output};
use crate::need;

/// Where ChrootDirectory may lie: every folder on its way belongs to root and is writable by nobody else, which
/// sshd insists on and /tmp is not.
const CHROOTS: &str = "/run";

/// A kind of host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// ssh-ed25519
    Ed25519,
    /// ecdsa-sha2-nistp256
    Ecdsa,
    /// ssh-rsa, 2048 bits
    Rsa,
}

impl KeyKind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// A server to be.
#[derive(Debug)]
pub struct SshdBuilder {
    address: IpAddr,
    host_keys: Vec<KeyKind>,
    certificate: Option<(Authority, String)>,
    key_options: String,
    user: Option<String>,
    config: String,
    match_blocks: String,
    subsystem: String,
    banner: Option<Vec<u8>>,
    chroot: bool,
    sftp_only: bool,
}

impl SshdBuilder {
    /// Listens on this address of the loopback network instead of 127.0.0.1.
    #[must_use]
    pub fn address(mut self, last: u8) -> Self {
        self.address = IpAddr::V4(Ipv4Addr::new(127, 0, 0, last));
        self
    }

    /// Has these host keys instead of an ed25519 key.
    #[must_use]
    pub fn host_keys(mut self, kinds: &[KeyKind]) -> Self {
        self.host_keys = kinds.to_vec();
        self
    }

    /// Its host keys are certified for these names, separated by commas.
    #[must_use]
    pub fn certified(mut self, authority: &Authority, names: &str) -> Self {
        self.certificate = Some((authority.clone(), names.to_owned()));
        self
    }

    /// Options in front of the client's key in `authorized_keys`, such as `restrict,command="internal-sftp -R"`.
    #[must_use]
    pub fn key_options(mut self, options: &str) -> Self {
        self.key_options = format!("{options} ");
        self
    }

    /// Who logs in, if not the user that runs the tests. Needs root.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.user = Some(name.to_owned());
        self
    }

    /// A line of `sshd_config`; it goes before the rig's own, and sshd takes the first.
    #[must_use]
    pub fn config(mut self, line: &str) -> Self {
        self.config.push_str(line);
        self.config.push('\n');
        self
    }

    /// A `Match` block; it goes to the end.
    #[must_use]
    pub fn match_block(mut self, lines: &str) -> Self {
        self.match_blocks.push_str(lines);
        self.match_blocks.push('\n');
        self
    }

    /// Another program than sshd's own for SFTP.
    #[must_use]
    pub fn subsystem(mut self, command: &str) -> Self {
        command.clone_into(&mut self.subsystem);
        self
    }

    /// What it says before anybody has logged in.
    #[must_use]
    pub fn banner(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.banner = Some(text.into());
        self
    }

    /// Nothing but SFTP, and only below [`Sshd::chroot`]. Needs root.
    #[must_use]
    pub fn chrooted(mut self) -> Self {
        self.sftp_only = true;
        self.own_root()
    }

    /// Whoever logs in sees only what lies below [`Sshd::chroot`], as if that were another machine. Needs root.
    #[must_use]
    pub fn own_root(mut self) -> Self {
        self.chroot = true;
        self
    }

    /// On 127.0.0.1, an ed25519 host key, the login only with the client's key.
    pub(super) fn new() -> Self {
        Self {
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host_keys: vec![KeyKind::Ed25519],
            certificate: None,
            key_options: String::new(),
            user: None,
            config: String::new(),
            match_blocks: String::new(),
            subsystem: "internal-sftp".to_owned(),
            banner: None,
            chroot: false,
            sftp_only: false,
        }
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it can't be started.
    #[must_use]
    pub fn start(self) -> Sshd {
        let folder = tempfile::Builder::new().prefix("drawbridge-sshd-").tempdir().unwrap();
        // Another user's authorized_keys are read as that user.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        if rustix::process::geteuid().is_root() {
            // Where sshd locks itself up before the login; Debian's service makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let chroot = self.chroot.then(|| {
            let chroot = tempfile::Builder::new().prefix("drawbridge-chroot-").tempdir_in(CHROOTS).unwrap();
            fs::set_permissions(chroot.path(), Permissions::from_mode(0o755)).unwrap();
            chroot
        });
        self.make_keys(folder.path());
        let listener = TcpListener::bind((self.address, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let mark = mark();
        self.write_config(folder.path(), chroot.as_ref().map(TempDir::path), &mark);
        let servers = Arc::new(Servers::new(folder.path(), mark));
        let accepting = std::thread::spawn({
            let servers = Arc::clone(&servers);
            move || servers.accept(&listener)
        });
        let sshd = Sshd {
            at,
            user: self.user.unwrap_or_else(|| output(Command::new("id").arg("-un")).trim().to_owned()),
            kinds: self.host_keys,
            chroot,
            servers,
            accepting: Some(accepting),
            folder,
        };
        fs::write(sshd.known_hosts(), sshd.known_hosts_lines()).unwrap();
        sshd
    }

    fn make_keys(&self, folder: &Path) {
        keygen(folder, "user_key", "ed25519");
        let public = fs::read_to_string(folder.join("user_key.pub")).unwrap();
        fs::write(folder.join("authorized_keys"), format!("{}{public}", self.key_options)).unwrap();
        for kind in &self.host_keys {
            let name = format!("host_{}", kind.name());
            keygen(folder, &name, kind.name());
            if let Some((authority, names)) = &self.certificate {
                authority.certify_host(&folder.join(format!("{name}.pub")), names);
            }
        }
    }

    fn write_config(&self, folder: &Path, chroot: Option<&Path>, mark: &str) {
        let shown = folder.display();
        let mut config = self.config.clone();
        for kind in &self.host_keys {
            let name = kind.name();
            config.push_str(&format!("HostKey {shown}/host_{name}\n"));
            if self.certificate.is_some() {
                config.push_str(&format!("HostCertificate {shown}/host_{name}-cert.pub\n"));
            }
        }
        if let Some(banner) = &self.banner {
            fs::write(folder.join("banner"), banner).unwrap();
            config.push_str(&format!("Banner {shown}/banner\n"));
        }
        if let Some(chroot) = chroot {
            config.push_str(&format!("ChrootDirectory {}\n", chroot.display()));
        }
        if self.sftp_only {
            config.push_str("ForceCommand internal-sftp\n");
        }
        let subsystem = &self.subsystem;
        config.push_str(&format!(
            "AuthorizedKeysFile {shown}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nLogLevel VERBOSE\n\
             PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             Subsystem sftp {subsystem}\nSetEnv {MARK}={mark}\n{}",
            self.match_blocks
        ));
        fs::write(folder.join("sshd_config"), config).unwrap();
        // A mistake shows here, once, and not as a connection that breaks off.
        output(Command::new(need("sshd", "openssh-server")).args(["-t", "-f"]).arg(folder.join("sshd_config")));
    }
}
