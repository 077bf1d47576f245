//! Proving to a host who we are: with keys only.
//!
//! Invariants:
//! - never a password, never an answer to a question: nobody is there to give one;
//! - at most [`MAX_TRIES`] keys are offered.

use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};
use tokio::net::UnixStream;

use crate::error::is_loss;
use crate::gatekeeper::{End, Gatekeeper, Stop};
use crate::identity::{Candidate, Key, Keyring};
use crate::link::explain;
use crate::{Resolved, SshError};

/// The most keys that are offered to a host: sshd ends the connection with the sixth refusal (MaxAuthTries).
pub(crate) const MAX_TRIES: usize = 5;

/// Logs in as `host` says, on a connection whose host key has been checked.
pub(crate) async fn log_in(
    handle: &mut Handle<Gatekeeper>,
    end: &End,
    host: &Resolved,
    at: &str,
) -> Result<(), SshError> {
    // OpenSSH asks so, too: the answer says what the host takes.
    let asked = handle.authenticate_none(&host.user).await;
    let methods = match settle(handle, end, at, asked).await? {
        AuthResult::Success => return Ok(()),
        AuthResult::Failure { remaining_methods, .. } => remaining_methods,
    };
    if !methods.is_empty() && !methods.contains(&MethodKind::PublicKey) {
        return Err(SshError::AsksPassword { at: at.to_owned(), user: host.user.clone(), methods: listed(&methods) });
    }
    let mut ring = Keyring::gather(host, handle.agent_session_binding()).await?;
    let candidates = std::mem::take(&mut ring.candidates);
    let hash = match candidates.iter().any(|candidate| candidate.key.is_rsa()) {
        true => rsa_hash(handle, end, at).await?,
        false => None,
    };
    let mut tried = Vec::new();
    let mut rest = candidates.into_iter();
    for candidate in rest.by_ref().take(MAX_TRIES) {
        if candidate.key.is_rsa() && hash.is_none() {
            ring.passed_over.push(format!("{} (the host takes RSA keys with SHA-1 only)", candidate.label));
            continue;
        }
        let label = candidate.label.clone();
        match offer(handle, &host.user, candidate, hash, ring.agent.as_mut()).await {
            Ok(answer) => match settle(handle, end, at, Ok(answer)).await {
                Ok(AuthResult::Success) => return Ok(()),
                Ok(AuthResult::Failure { remaining_methods, partial_success: true }) => {
                    return Err(SshError::AsksMore {
                        at: at.to_owned(),
                        key: label,
                        methods: listed(&remaining_methods),
                    });
                }
                Ok(AuthResult::Failure { .. }) => tried.push(label),
                // "Too many authentication failures": the keys are what to mend, not the network.
                Err(SshError::Closed { message, .. }) => {
                    tried.push(format!("{label} (then the host said: {message})"));
                    break;
                }
                Err(error) => return Err(error),
            },
            Err(why) => ring.passed_over.push(format!("{label} ({why})")),
        }
    }
    tried.extend(ring.passed_over);
    if rest.len() > 0 {
        tried.push(format!("{} more not offered, since hosts give up on too many", rest.len()));
    }
    let tried = if tried.is_empty() { "none was found".to_owned() } else { tried.join(", ") };
    Err(SshError::Refused { at: at.to_owned(), user: host.user.clone(), tried })
}

/// Offers one key. The error is why it couldn't be offered.
async fn offer(
    handle: &mut Handle<Gatekeeper>,
    user: &str,
    candidate: Candidate,
    hash: Option<HashAlg>,
    agent: Option<&mut AgentClient<UnixStream>>,
) -> Result<AuthResult, String> {
    let hash = hash.filter(|_| candidate.key.is_rsa());
    match (candidate.key, agent) {
        (Key::File(key), _) => {
            let key = PrivateKeyWithHashAlg::new(key, hash);
            handle.authenticate_publickey(user, key).await.map_err(|error| error.to_string())
        }
        (Key::CertifiedFile(key, certificate), _) => handle
            .authenticate_openssh_cert(user, Arc::clone(&key), *certificate)
            .await
            .map_err(|error| error.to_string()),
        (Key::Agent(key), Some(agent)) => {
            handle.authenticate_publickey_with(user, key, hash, agent).await.map_err(|error| error.to_string())
        }
        (Key::CertifiedAgent(certificate), Some(agent)) => handle
            .authenticate_certificate_with(user, *certificate, hash, agent)
            .await
            .map_err(|error| error.to_string()),
        (Key::Agent(_) | Key::CertifiedAgent(_), None) => Err("the SSH agent has gone".to_owned()),
    }
}

/// The library tells a lost connection as a refusal; this tells them apart.
async fn settle(
    handle: &Handle<Gatekeeper>,
    end: &End,
    at: &str,
    answer: Result<AuthResult, russh::Error>,
) -> Result<AuthResult, SshError> {
    match answer {
        Ok(AuthResult::Failure { remaining_methods, .. }) if remaining_methods.is_empty() && handle.is_closed() => {
            Err(cut_off(end.take().await.unwrap_or(Stop::Ssh(russh::Error::Disconnect)), at))
        }
        Ok(answer) => Ok(answer),
        Err(error) => Err(cut_off(end.take().await.unwrap_or(Stop::Ssh(error)), at)),
    }
}

/// The end of a connection that was to log in. A host that only goes has something against us that its log tells.
fn cut_off(stop: Stop, at: &str) -> SshError {
    match stop {
        Stop::Ssh(source) if is_loss(&source) => SshError::LoginCut { at: at.to_owned(), source },
        stop => explain(stop, at, None),
    }
}

/// The hash that RSA keys sign with; `None` when the host knows SHA-1 only. Hosts that don't say get SHA-512: all that don't
/// know it are older than OpenSSH 7.2.
async fn rsa_hash(handle: &Handle<Gatekeeper>, end: &End, at: &str) -> Result<Option<HashAlg>, SshError> {
    match handle.best_supported_rsa_hash().await {
        Ok(Some(hash)) => Ok(hash),
        Ok(None) => Ok(Some(HashAlg::Sha512)),
        Err(error) => Err(explain(end.take().await.unwrap_or(Stop::Ssh(error)), at, None)),
    }
}

fn listed(methods: &MethodSet) -> String {
    methods.iter().map(String::from).collect::<Vec<_>>().join(", ")
}
