//! One hop: a stream, the host's key checked, logged in.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::Disconnect;
use russh::client::{self, Handle};
use russh::keys::PublicKey;
use tokio::net::TcpStream;

use crate::cut::{Cut, Owner, Stream};
use crate::gatekeeper::{Check, End, Gatekeeper, MAX_BANNER_BYTES, Stop};
use crate::known_hosts::KnownKeys;
use crate::login::log_in;
use crate::{Patience, Resolved, SshError, settings};

/// A host that is logged in on. Dropping it ends the connection at once.
pub(crate) struct Link {
    pub(crate) handle: Handle<Gatekeeper>,
    pub(crate) end: End,
    /// The host, for messages.
    pub(crate) at: String,
    _owner: Owner,
}

impl Link {
    /// Connects to `host`, directly or through `jump`, and logs in.
    pub(crate) async fn open(
        host: &Resolved,
        at: String,
        jump: Option<&Link>,
        patience: Patience,
    ) -> Result<Self, SshError> {
        in_time(&at, patience.connect, async {
            let known = known_keys(host)?;
            let config = settings::client(&known, true, patience);
            let (owner, stream) = Cut::new(stream_to(host, &at, jump).await?);
            let (gatekeeper, end) = Gatekeeper::new(host, Check::Known(known));
            let mut handle = match client::connect_stream(config, stream, gatekeeper).await {
                Ok(handle) => handle,
                Err(stop) => return Err(explain(end.take().await.unwrap_or(stop), &at, Some(patience.silence))),
            };
            log_in(&mut handle, &end, host, &at).await?;
            Ok(Self { handle, end, at: at.clone(), _owner: owner })
        })
        .await
    }

    /// The key that `host` shows, which nobody has checked. Nothing is said to it but what a key exchange needs.
    pub(crate) async fn look(
        host: &Resolved,
        at: &str,
        jump: Option<&Link>,
        patience: Patience,
    ) -> Result<PublicKey, SshError> {
        in_time(at, patience.connect, async {
            let config = settings::client(&known_keys(host)?, false, patience);
            let (_owner, stream) = Cut::new(stream_to(host, at, jump).await?);
            let seen = Arc::new(OnceLock::new());
            let (gatekeeper, end) = Gatekeeper::new(host, Check::Look(Arc::clone(&seen)));
            let stop = match client::connect_stream(config, stream, gatekeeper).await {
                Ok(_) => Stop::Ssh(russh::Error::Inconsistent),
                Err(stop) => stop,
            };
            match seen.get() {
                Some(key) => Ok(key.clone()),
                None => Err(explain(end.take().await.unwrap_or(stop), at, Some(patience.silence))),
            }
        })
        .await
    }

    /// What an error of the library's means here.
    pub(crate) async fn lost(&self, error: russh::Error, silence: Duration) -> SshError {
        let stop = if self.handle.is_closed() { self.end.take().await } else { None };
        explain(stop.unwrap_or(Stop::Ssh(error)), &self.at, Some(silence))
    }

    /// Says goodbye.
    pub(crate) async fn close(self) {
        // When it is gone already there is nobody to say it to.
        let _gone = self.handle.disconnect(Disconnect::ByApplication, "", "").await;
        self.end.wait().await;
    }
}

fn known_keys(host: &Resolved) -> Result<KnownKeys, SshError> {
    Ok(KnownKeys::load(&host.known_hosts, &host.known_as, host.also_known_as.as_deref())?)
}

async fn in_time<T>(at: &str, after: Duration, work: impl Future<Output = Result<T, SshError>>) -> Result<T, SshError> {
    match tokio::time::timeout(after, work).await {
        Ok(result) => result,
        Err(_) => Err(SshError::TooSlow { at: at.to_owned(), after }),
    }
}

async fn stream_to(host: &Resolved, at: &str, jump: Option<&Link>) -> Result<Box<dyn Stream>, SshError> {
    let Some(jump) = jump else {
        let unreachable = |source| SshError::Connect { at: at.to_owned(), source };
        let socket = TcpStream::connect((host.host.as_str(), host.port)).await.map_err(unreachable)?;
        socket.set_nodelay(true).map_err(unreachable)?;
        return Ok(Box::new(socket));
    };
    match jump.handle.channel_open_direct_tcpip(&*host.host, host.port.into(), "127.0.0.1", 0).await {
        Ok(channel) => Ok(Box::new(channel.into_stream())),
        Err(russh::Error::ChannelOpenFailure(why)) => {
            Err(SshError::Tunnel { at: at.to_owned(), jump: jump.at.clone(), why })
        }
        Err(error) => Err(explain(jump.end.take().await.unwrap_or(Stop::Ssh(error)), &jump.at, None)),
    }
}

/// A connection's end as an error. `silence` is how long nothing may come, where that is what can have ended it.
pub(crate) fn explain(stop: Stop, at: &str, silence: Option<Duration>) -> SshError {
    let at = at.to_owned();
    match (stop, silence) {
        (Stop::Distrust(error), _) => *error,
        (Stop::Chatter, _) => SshError::Chatter { at, limit: MAX_BANNER_BYTES },
        (Stop::Said(message), _) => SshError::Closed { at, message },
        (Stop::Ssh(russh::Error::KeepaliveTimeout | russh::Error::InactivityTimeout), Some(after)) => {
            SshError::Silent { at, after }
        }
        (Stop::Ssh(source), _) => SshError::Ssh { at, source },
        (Stop::Seen, _) => SshError::Ssh { at, source: russh::Error::Disconnect },
    }
}
