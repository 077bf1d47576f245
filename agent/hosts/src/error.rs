//! Why a host can't be used.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use russh::ChannelOpenFailure;
use thiserror::Error;

use crate::certificate::CertificateFault;
use crate::config::ConfigError;
use crate::known_hosts::{KnownHostsError, Line};

/// Why a host can't be used. `at` names it with its user, port and jump hosts.
#[derive(Debug, Error)]
pub enum SshError {
    /// The SSH client's configuration can't be honoured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file of known host keys can't be read.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// It doesn't answer.
    #[error("{at} can't be reached")]
    Connect {
        /// The host.
        at: String,
        /// Why.
        source: io::Error,
    },
    /// A jump host doesn't lead there.
    #[error("{at} can't be reached: the jump host {jump} {}", why_closed(why))]
    Tunnel {
        /// The host.
        at: String,
        /// The last jump host.
        jump: String,
        /// What the jump host says.
        why: ChannelOpenFailure,
    },
    /// It answers too slowly.
    #[error("{at}: connecting, key exchange and login took longer than {} s", after.as_secs_f32())]
    TooSlow {
        /// The host.
        at: String,
        /// The limit.
        after: Duration,
    },
    /// It says nothing any more.
    #[error("{at} said nothing for {} s", after.as_secs_f32())]
    Silent {
        /// The host.
        at: String,
        /// The limit.
        after: Duration,
    },
    /// Its key isn't known.
    #[error(
        "the host key of {name} is not known: it showed {key}, and no line for {name} is in {}. `drawbridge trust` shows the key \
         and asks; compare it with what `ssh-keygen -lf` shows on the host itself",
        listed(files)
    )]
    UnknownHost {
        /// The host, as `known_hosts` would name it.
        name: String,
        /// The algorithm and fingerprint that it showed.
        key: String,
        /// Where it was looked for.
        files: Vec<PathBuf>,
    },
    /// Its key is another one than the known one.
    #[error(
        "the host key of {name} has CHANGED: expected {expected} ({at}), but {came} came. Somebody may be in the middle; only if \
         the host was set up anew, remove that line and run `drawbridge trust`"
    )]
    OtherKey {
        /// The host, as `known_hosts` names it.
        name: String,
        /// The known key's algorithm and fingerprint.
        expected: String,
        /// Where it stands.
        at: Line,
        /// The algorithm and fingerprint that the host showed.
        came: String,
    },
    /// Its key, or whoever certified it, has been revoked.
    #[error("the host key of {name} is refused: {key} is revoked by {at}")]
    Revoked {
        /// The host.
        name: String,
        /// The revoked key's algorithm and fingerprint.
        key: String,
        /// Where that stands.
        at: Line,
    },
    /// Its certificate is from a trusted authority ({at}) and doesn't count.
    #[error("the host certificate of {name}, by the authority in {at}, is refused")]
    Certificate {
        /// The host.
        name: String,
        /// The authority's line.
        at: Line,
        /// Why.
        source: CertificateFault,
    },
    /// A private key can't be used.
    #[error("the identity file {} can't be used: {hint}", path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// Why.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// It takes passwords only.
    #[error(
        "{at} asks for a password ({methods}), and nobody is there to type it: put the key's public half into ~{user}/.ssh/authorized_keys \
         there, and allow PubkeyAuthentication in its sshd_config"
    )]
    AsksPassword {
        /// The host.
        at: String,
        /// The user.
        user: String,
        /// What it offers.
        methods: String,
    },
    /// It doesn't want that user with these keys.
    #[error(
        "{at} lets user {user} in with none of the keys: {tried}. Add one's public half to ~{user}/.ssh/authorized_keys there"
    )]
    Refused {
        /// The host.
        at: String,
        /// The user.
        user: String,
        /// What was tried, and what was passed over and why.
        tried: String,
    },
    /// A key was right, and isn't enough.
    #[error("{at} took the key {key} and asks for more ({methods}), which nobody is there to give")]
    AsksMore {
        /// The host.
        at: String,
        /// The key.
        key: String,
        /// What it asks for.
        methods: String,
    },
    /// It does not start what it was asked to start.
    #[error("{at} refuses {what}: {hint}")]
    NotOffered {
        /// The host.
        at: String,
        /// SFTP, a command.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// A command's end was not told, so that nobody knows whether it is complete.
    #[error("{at} ended the command without saying how it ended")]
    NoStatus {
        /// The host.
        at: String,
    },
    /// SFTP didn't start.
    #[error("SFTP with {at} doesn't start; its sshd needs the line `Subsystem sftp internal-sftp`")]
    Sftp {
        /// The host.
        at: String,
        /// Why.
        source: drawbridge_sftp::SftpError,
    },
    /// It talks without end before anything was asked.
    #[error("{at} sends more than {limit} bytes of banners")]
    Chatter {
        /// The host.
        at: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// It was gone in the middle of the login, without a word.
    #[error(
        "{at} broke off in the middle of the login without a word: the log of its sshd says why (a Banner of more than 256 KiB kills it, too)"
    )]
    LoginCut {
        /// The host.
        at: String,
        /// What is known.
        source: russh::Error,
    },
    /// It closed the connection and said why.
    #[error("{at} closed the connection: {}", printable(message))]
    Closed {
        /// The host.
        at: String,
        /// What it said.
        message: String,
    },
    /// SSH itself failed.
    #[error("the SSH connection with {at} failed")]
    Ssh {
        /// The host.
        at: String,
        /// Why.
        source: russh::Error,
    },
}

impl SshError {
    /// Whether it is worth trying again: the host or the network may be back, nothing has to be mended first.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::TooSlow { .. }
            | Self::Silent { .. }
            | Self::NoStatus { .. }
            | Self::LoginCut { .. }
            | Self::Closed { .. } => true,
            Self::Tunnel { why, .. } => {
                matches!(why, ChannelOpenFailure::ConnectFailed | ChannelOpenFailure::ResourceShortage)
            }
            Self::Sftp { source, .. } => matches!(source, drawbridge_sftp::SftpError::Lost(_)),
            Self::Ssh { source, .. } => is_loss(source),
            Self::Config(_)
            | Self::KnownHosts(_)
            | Self::UnknownHost { .. }
            | Self::OtherKey { .. }
            | Self::Revoked { .. }
            | Self::Certificate { .. }
            | Self::Identity { .. }
            | Self::AsksPassword { .. }
            | Self::Refused { .. }
            | Self::AsksMore { .. }
            | Self::NotOffered { .. }
            | Self::Chatter { .. } => false,
        }
    }
}

/// Whether the connection went, as against something that was said on it.
pub(crate) fn is_loss(error: &russh::Error) -> bool {
    use russh::Error as E;
    matches!(
        error,
        E::Disconnect
            | E::HUP
            | E::IO(_)
            | E::ConnectionTimeout
            | E::KeepaliveTimeout
            | E::InactivityTimeout
            | E::SendError
            | E::RecvError
            | E::Elapsed(_)
    )
}

fn why_closed(why: &ChannelOpenFailure) -> String {
    match why {
        ChannelOpenFailure::AdministrativelyProhibited => {
            "doesn't allow it (AllowTcpForwarding and PermitOpen in its sshd_config, and the key's options)".to_owned()
        }
        ChannelOpenFailure::ConnectFailed => "can't connect to it".to_owned(),
        ChannelOpenFailure::UnknownChannelType => "doesn't forward connections".to_owned(),
        ChannelOpenFailure::ResourceShortage => "is too busy".to_owned(),
        ChannelOpenFailure::Other { code, reason } => format!("says {code}: {}", printable(reason)),
    }
}

fn listed(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// What a host says, short and without control characters.
fn printable(text: &str) -> String {
    /// Enough for a sentence.
    const MOST: usize = 200;
    text.chars().take(MOST).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
