//! A host that is logged in on, and what can be asked of it.
//!
//! Invariants:
//! - dropping a [`Host`] ends its connection and those of its jump hosts, whatever still hangs on them;
//! - a command whose end isn't known never counts as ended well.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use drawbridge_sftp::Sftp;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, Sig};

use crate::gatekeeper::{End, Stop};
use crate::link::{Link, explain};
use crate::{Patience, SshError, Target, resolve};

/// Connects to `target`, through its jump hosts, and logs in on each.
///
/// # Errors
/// See [`SshError`]. Nothing is said about the user to a host whose key isn't known.
pub async fn connect(target: &Target, patience: Patience) -> Result<Host, SshError> {
    let resolved = resolve(target)?;
    let mut links = open_jumps(&resolved, patience).await?;
    links.push(Link::open(&resolved, resolved.to_string(), links.last(), patience).await?);
    Ok(Host { links, at: resolved.to_string(), silence: patience.silence })
}

/// Connections to all jump hosts of `host`, first one first.
pub(crate) async fn open_jumps(host: &crate::Resolved, patience: Patience) -> Result<Vec<Link>, SshError> {
    let mut links = Vec::new();
    for jump in &host.jumps {
        let at = format!("jump host {jump}");
        links.push(Link::open(jump, at, links.last(), patience).await?);
    }
    Ok(links)
}

/// A host that is logged in on. Dropping it ends the connection.
pub struct Host {
    /// The way to it, first hop first; never empty.
    links: Vec<Link>,
    at: String,
    silence: Duration,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("at", &self.at).field("over", &self.is_over()).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts SFTP, with at most `bytes_ahead` bytes of files asked for and not yet taken.
    ///
    /// # Errors
    /// When the host doesn't offer it, or is gone.
    pub async fn sftp(&self, bytes_ahead: usize) -> Result<Sftp, SshError> {
        const NEEDS: &str = "its sshd needs the line `Subsystem sftp internal-sftp`";
        let (mut channel, link) = self.open_session().await?;
        let asked = self.in_time(link, channel.request_subsystem(true, "sftp")).await?;
        asked_for(asked, link, self.silence).await?;
        self.granted(&mut channel, link, "SFTP", NEEDS).await?;
        let settings = drawbridge_sftp::Settings { silence: self.silence, bytes_ahead };
        let started = Sftp::start(channel.into_stream(), settings).await;
        started.map_err(|source| SshError::Sftp { at: self.at.clone(), source })
    }

    /// Runs `command` with the user's shell there: no terminal, nothing to read.
    ///
    /// # Errors
    /// When the host doesn't allow it, or is gone.
    pub async fn run(&self, command: &str) -> Result<Running, SshError> {
        const NEEDS: &str = "the user's shell, or a command= in its authorized_keys, doesn't let this key run commands";
        let (mut channel, link) = self.open_session().await?;
        let asked = self.in_time(link, channel.exec(true, command)).await?;
        asked_for(asked, link, self.silence).await?;
        self.granted(&mut channel, link, "to run a command", NEEDS).await?;
        let closed = self.in_time(link, channel.eof()).await?;
        asked_for(closed, link, self.silence).await?;
        let (at, end) = (self.at.clone(), link.end.clone());
        Ok(Running { channel: Some(channel), end, at, silence: self.silence, ended: None })
    }

    /// Whether the connection has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.links.iter().any(|link| link.handle.is_closed())
    }

    /// Says goodbye to the host and its jump hosts.
    pub async fn close(mut self) {
        while let Some(link) = self.links.pop() {
            link.close().await;
        }
    }

    async fn open_session(&self) -> Result<(Channel<Msg>, &Link), SshError> {
        let Some(link) = self.links.last() else {
            return Err(SshError::Ssh { at: self.at.clone(), source: russh::Error::Disconnect });
        };
        match self.in_time(link, link.handle.channel_open_session()).await? {
            Ok(channel) => Ok((channel, link)),
            Err(russh::Error::ChannelOpenFailure(_)) => Err(SshError::NotOffered {
                at: self.at.clone(),
                what: "another session",
                hint: "MaxSessions in its sshd_config says how many there may be on a connection",
            }),
            Err(error) => Err(link.lost(error, self.silence).await),
        }
    }

    /// Waits until the host has said yes.
    async fn granted(
        &self,
        channel: &mut Channel<Msg>,
        link: &Link,
        what: &'static str,
        hint: &'static str,
    ) -> Result<(), SshError> {
        loop {
            match self.in_time(link, channel.wait()).await? {
                Some(ChannelMsg::Success) => return Ok(()),
                // A host that closes without a word refuses as well, unless all of it is gone.
                None if link.handle.is_closed() => return Err(link.lost(russh::Error::Disconnect, self.silence).await),
                Some(ChannelMsg::Failure | ChannelMsg::Close) | None => {
                    return Err(SshError::NotOffered { at: self.at.clone(), what, hint });
                }
                Some(_) => {}
            }
        }
    }

    async fn in_time<T>(&self, link: &Link, work: impl Future<Output = T>) -> Result<T, SshError> {
        let result = tokio::time::timeout(self.silence, work).await;
        result.map_err(|_| SshError::Silent { at: link.at.clone(), after: self.silence })
    }
}

async fn asked_for(sent: Result<(), russh::Error>, link: &Link, silence: Duration) -> Result<(), SshError> {
    match sent {
        Ok(()) => Ok(()),
        Err(error) => Err(link.lost(error, silence).await),
    }
}

/// What a command says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// On its standard output; not empty.
    Stdout(Bytes),
    /// On its standard error; not empty.
    Stderr(Bytes),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit status.
    Exit(u32),
    /// By this signal, without `SIG`; the host's word, control characters removed.
    Signal(String),
}

/// The number that SSH has for standard error (RFC 4254, section 5.2).
const STDERR: u32 = 1;

/// The longest name of a signal that is kept, in characters; the longest of RFC 4254 has four.
const MAX_SIGNAL_CHARS: usize = 32;

/// A command that runs on a host. Dropping it closes its channel; whether the command ends then is the command's affair.
pub struct Running {
    /// Gone when it is closed.
    channel: Option<Channel<Msg>>,
    end: End,
    at: String,
    silence: Duration,
    ended: Option<Ended>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("at", &self.at).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl Running {
    /// What it says next; `None` when it has ended and said all.
    ///
    /// # Errors
    /// When it is silent for too long, or the connection or the channel ends before the host has said how the command ended.
    pub async fn next(&mut self) -> Result<Option<Output>, SshError> {
        while let Some(channel) = &mut self.channel {
            let Ok(message) = tokio::time::timeout(self.silence, channel.wait()).await else {
                return Err(SshError::Silent { at: self.at.clone(), after: self.silence });
            };
            match message {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => return Ok(Some(Output::Stdout(data))),
                Some(ChannelMsg::ExtendedData { data, ext: STDERR }) if !data.is_empty() => {
                    return Ok(Some(Output::Stderr(data)));
                }
                // The first word counts.
                Some(ChannelMsg::ExitStatus { exit_status }) => {
                    self.ended.get_or_insert(Ended::Exit(exit_status));
                }
                Some(ChannelMsg::ExitSignal { signal_name, .. }) => {
                    self.ended.get_or_insert_with(|| Ended::Signal(name(&signal_name)));
                }
                Some(ChannelMsg::Close) | None => self.channel = None,
                Some(_) => {}
            }
        }
        if self.ended.is_some() { Ok(None) } else { Err(self.why_no_status().await) }
    }

    /// Waits for its end, passing over what it still says, and tells how it ended.
    ///
    /// # Errors
    /// As [`Running::next`].
    pub async fn end(mut self) -> Result<Ended, SshError> {
        while self.next().await?.is_some() {}
        self.ended.take().ok_or_else(|| SshError::NoStatus { at: self.at.clone() })
    }

    async fn why_no_status(&self) -> SshError {
        let no_status = || SshError::NoStatus { at: self.at.clone() };
        if !self.end.is_over() {
            return no_status();
        }
        match self.end.take().await {
            None | Some(Stop::Ssh(russh::Error::Disconnect)) => no_status(),
            Some(stop) => explain(stop, &self.at, Some(self.silence)),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The channel's own drop tells the host nothing, and the command could run and talk for ever.
        if let (Some(channel), Ok(runtime)) = (self.channel.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                // The connection may be gone, and the channel with it.
                let _gone = channel.close().await;
            });
        }
    }
}

fn name(signal: &Sig) -> String {
    let name = match signal {
        Sig::Custom(name) => name.clone(),
        known => format!("{known:?}"),
    };
    name.chars().filter(|c| !c.is_control()).take(MAX_SIGNAL_CHARS).collect()
}
