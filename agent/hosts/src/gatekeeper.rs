//! What happens on a connection without being asked for: the host shows its key, sends banners, opens channels, goes.
//!
//! Invariants:
//! - a key passes only by a line of `known_hosts`, or by a certificate of an authority in one;
//! - no channel that the host opens is accepted: we serve nothing;
//! - why the connection ended is known to all that still wait on it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use russh::client::{self, DisconnectReason};
use russh::keys::{Certificate, PublicKey, PublicKeyOrCertificate};
use tokio::sync::watch;

use crate::certificate;
use crate::known_hosts::{KnownKeys, Trust, describe};
use crate::{Resolved, SshError};

/// How many bytes of banners are passed over: four of the longest that OpenSSH's sshd sends (auth2.c, 1 MiB).
pub(crate) const MAX_BANNER_BYTES: usize = 4 << 20;

/// How long a connection that is over may take to say why.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Why a connection ended.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The host isn't who it should be.
    Distrust(Box<SshError>),
    /// Too many banners.
    Chatter,
    /// Its key was all that was wanted.
    Seen,
    /// It said goodbye, with a message.
    Said(String),
    /// SSH itself.
    Ssh(russh::Error),
}

impl From<russh::Error> for Stop {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// A connection's end, once it has come.
#[derive(Debug, Clone)]
pub(crate) struct End {
    why: Arc<Mutex<Option<Stop>>>,
    over: watch::Receiver<bool>,
}

impl End {
    /// Waits until the connection is gone, but not long, and takes the reason if nobody has.
    pub(crate) async fn take(&self) -> Option<Stop> {
        self.wait().await;
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether the connection is gone, or about to say why it goes.
    pub(crate) fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until the connection is gone, but not long.
    pub(crate) async fn wait(&self) {
        let mut over = self.over.clone();
        // Too late or its task gone: both mean that there is nothing to wait for.
        let _over = tokio::time::timeout(LAST_WORDS, over.wait_for(|over| *over)).await;
    }
}

/// What the host's key is held against.
#[derive(Debug)]
pub(crate) enum Check {
    /// It must be known.
    Known(KnownKeys),
    /// It is only looked at; then the connection ends.
    Look(Arc<OnceLock<PublicKey>>),
}

/// Guards one connection.
#[derive(Debug)]
pub(crate) struct Gatekeeper {
    host: Resolved,
    check: Check,
    banner_bytes: usize,
    why: Arc<Mutex<Option<Stop>>>,
    over: watch::Sender<bool>,
}

impl Drop for Gatekeeper {
    fn drop(&mut self) {
        self.over.send_replace(true);
    }
}

impl Gatekeeper {
    pub(crate) fn new(host: &Resolved, check: Check) -> (Self, End) {
        let why = Arc::new(Mutex::new(None));
        let (over, is_over) = watch::channel(false);
        let end = End { why: Arc::clone(&why), over: is_over };
        (Self { host: host.clone(), check, banner_bytes: 0, why, over }, end)
    }

    fn pass_over(&mut self, banner: &str) -> Result<(), Stop> {
        // An empty one costs time, too.
        self.banner_bytes = self.banner_bytes.saturating_add(banner.len().max(1));
        if self.banner_bytes > MAX_BANNER_BYTES { Err(Stop::Chatter) } else { Ok(()) }
    }

    fn judge(&self, known: &KnownKeys, shown: &PublicKeyOrCertificate) -> Result<(), SshError> {
        let key = shown.public_key();
        match shown.certificate() {
            Some(certificate) => self.judge_certificate(known, &key, certificate),
            None => self.judge_key(known, &key),
        }
    }

    fn judge_certificate(&self, known: &KnownKeys, key: &PublicKey, shown: &Certificate) -> Result<(), SshError> {
        let authority = certificate::authority(shown);
        for key in [key, &authority] {
            if let Some(at) = known.revoked(key) {
                let name = self.host.known_as.clone();
                return Err(SshError::Revoked { name, key: describe(key), at: at.clone() });
            }
        }
        // Nobody's certificate: what counts is the key in it, as in OpenSSH.
        let Some(at) = known.authority(&authority) else { return self.judge_key(known, key) };
        let name = self.host.also_known_as.as_ref().unwrap_or(&self.host.known_as);
        certificate::check(shown, name, SystemTime::now()).map_err(|source| SshError::Certificate {
            name: name.clone(),
            at: at.clone(),
            source,
        })
    }

    fn judge_key(&self, known: &KnownKeys, shown: &PublicKey) -> Result<(), SshError> {
        let name = self.host.known_as.clone();
        let key = describe(shown);
        match known.trust(shown) {
            Trust::Known(_) => Ok(()),
            Trust::Unknown => Err(SshError::UnknownHost { name, key, files: self.host.known_hosts.clone() }),
            Trust::OtherKey { expected, at } => Err(SshError::OtherKey { name, expected, at, came: key }),
            Trust::Revoked(at) => Err(SshError::Revoked { name, key, at }),
        }
    }
}

impl client::Handler for Gatekeeper {
    type Error = Stop;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Stop> {
        match &self.check {
            Check::Known(known) => match self.judge(known, shown) {
                Ok(()) => Ok(true),
                Err(error) => Err(Stop::Distrust(Box::new(error))),
            },
            Check::Look(seen) => {
                seen.get_or_init(|| shown.public_key());
                Err(Stop::Seen)
            }
        }
    }

    async fn auth_banner(&mut self, banner: &str, _: &mut client::Session) -> Result<(), Stop> {
        self.pass_over(banner)
    }

    async fn openssh_ext_host_keys_announced(
        &mut self,
        _: Vec<PublicKey>,
        _: &mut client::Session,
    ) -> Result<(), Stop> {
        // Keys are never learnt without somebody being asked.
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Stop>) -> Result<(), Stop> {
        let stop = match reason {
            DisconnectReason::ReceivedDisconnect(said) => Stop::Said(said.message),
            DisconnectReason::Error(stop) => stop,
        };
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(stop);
        Ok(())
    }

    drawbridge_ssh::refuse_server_channels!(Stop);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::here::Here;

    #[test]
    fn banners_are_passed_over_up_to_the_limit_and_empty_ones_count() {
        let here = Here::somebody(std::path::Path::new("/nowhere"));
        let target = crate::Target { ssh_config: Some("/dev/null".into()), ..crate::Target::named("a") };
        let host = crate::resolve::resolve_here(&target, &here).unwrap();
        let (mut gatekeeper, _end) = Gatekeeper::new(&host, Check::Known(KnownKeys::default()));
        let half = "b".repeat(MAX_BANNER_BYTES / 2);
        for banner in [&half, &half] {
            assert!(gatekeeper.pass_over(banner).is_ok());
        }
        assert!(matches!(gatekeeper.pass_over(""), Err(Stop::Chatter)));
    }
}
