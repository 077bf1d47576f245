//! The keys that may log in: files and the SSH agent's.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::agent::client::AgentClient;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::{Certificate, HashAlg, PrivateKey, PublicKey};
use tokio::net::UnixStream;

use crate::resolve::Identities;
use crate::{Resolved, SshError};

/// The largest key file, in bytes: an RSA key of 16384 bits has 13 KB.
const MAX_KEY_FILE_BYTES: u64 = 64 * 1024;

/// A key that can be offered.
pub(crate) struct Candidate {
    /// For people: the file, or the agent's comment, and the fingerprint.
    pub(crate) label: String,
    pub(crate) key: Key,
}

/// Who signs.
pub(crate) enum Key {
    File(Arc<PrivateKey>),
    CertifiedFile(Arc<PrivateKey>, Box<Certificate>),
    Agent(PublicKey),
    CertifiedAgent(Box<Certificate>),
}

impl Key {
    pub(crate) fn is_rsa(&self) -> bool {
        match self {
            Self::File(key) | Self::CertifiedFile(key, _) => key.algorithm().is_rsa(),
            Self::Agent(key) => key.algorithm().is_rsa(),
            Self::CertifiedAgent(certificate) => certificate.algorithm().is_rsa(),
        }
    }

    fn is_agents(&self, public: &PublicKey) -> bool {
        match self {
            Self::File(_) | Self::CertifiedFile(..) => false,
            Self::Agent(key) => key.key_data() == public.key_data(),
            Self::CertifiedAgent(certificate) => certificate.public_key() == public.key_data(),
        }
    }
}

/// All keys for one host, in the order in which they are offered.
#[derive(Default)]
pub(crate) struct Keyring {
    pub(crate) candidates: Vec<Candidate>,
    /// What wasn't usable, and why, for the case that nothing else works either.
    pub(crate) passed_over: Vec<String>,
    pub(crate) agent: Option<AgentClient<UnixStream>>,
    held: Vec<AgentIdentity>,
}

/// What a file turned out to hold.
enum Loaded {
    Missing,
    Private(Arc<PrivateKey>),
    /// A private key with a passphrase, or a public half alone: the agent may hold the rest.
    Locked(Option<PublicKey>),
}

impl Keyring {
    /// The keys for `host`. `binding` tells the agent which connection they are for.
    pub(crate) async fn gather(host: &Resolved, binding: Option<&AgentSessionBinding>) -> Result<Self, SshError> {
        let mut ring = Self::default();
        if let Some(socket) = &host.agent
            && let Err(error) = ring.ask_agent(socket, binding).await
        {
            ring.passed_over.push(format!("the SSH agent at {} can't be asked: {error}", socket.display()));
        }
        match &host.identities {
            Identities::Only(file) => ring.only(file)?,
            Identities::Configured(files) => {
                for file in files {
                    ring.file(file)?;
                }
                ring.rest_of_agent(host.identities_only);
            }
            Identities::Default(files) => {
                ring.rest_of_agent(host.identities_only);
                for file in files {
                    ring.file(file)?;
                }
            }
        }
        Ok(ring)
    }

    async fn ask_agent(
        &mut self,
        socket: &Path,
        binding: Option<&AgentSessionBinding>,
    ) -> Result<(), russh::keys::Error> {
        let mut agent = AgentClient::connect_uds(socket).await?;
        if let Some(binding) = binding {
            // Agents before OpenSSH 8.9 don't know it, and hold no keys that need it.
            let _unknown = agent.bind_session(binding, false).await;
        }
        self.held = agent.request_identities().await?;
        self.agent = Some(agent);
        Ok(())
    }

    /// The one key that was named: what is wrong with it is an error.
    fn only(&mut self, path: &Path) -> Result<(), SshError> {
        match load(path)? {
            Loaded::Missing => Err(unusable(path, MISSING, Some(io::Error::from(io::ErrorKind::NotFound).into()))),
            Loaded::Private(key) => {
                self.private(path, key);
                Ok(())
            }
            Loaded::Locked(public) if self.through_agent(path, public.as_ref()) => Ok(()),
            Loaded::Locked(_) => Err(unusable(path, LOCKED, None)),
        }
    }

    /// A key that may be there.
    fn file(&mut self, path: &Path) -> Result<(), SshError> {
        match load(path)? {
            Loaded::Missing => {}
            Loaded::Private(key) => self.private(path, key),
            Loaded::Locked(public) => {
                if !self.through_agent(path, public.as_ref()) {
                    self.passed_over.push(format!("{} ({LOCKED})", path.display()));
                }
            }
        }
        Ok(())
    }

    fn private(&mut self, path: &Path, key: Arc<PrivateKey>) {
        let label = format!("{} {}", path.display(), key.fingerprint(HashAlg::Sha256));
        let beside = with_suffix(path, "-cert.pub");
        match Certificate::read_file(&beside) {
            Ok(certificate) if certificate.public_key() == key.public_key().key_data() => {
                let label = format!("{} {}", beside.display(), key.fingerprint(HashAlg::Sha256));
                let key = Key::CertifiedFile(Arc::clone(&key), Box::new(certificate));
                self.candidates.push(Candidate { label, key });
            }
            Ok(_) => self.passed_over.push(format!("{} (it is not for this key)", beside.display())),
            Err(_) if !beside.exists() => {}
            Err(error) => self.passed_over.push(format!("{} ({error})", beside.display())),
        }
        self.candidates.push(Candidate { label, key: Key::File(key) });
    }

    /// Takes a key's secret half from the agent; `false` when it doesn't hold it.
    fn through_agent(&mut self, path: &Path, public: Option<&PublicKey>) -> bool {
        let Some(public) = public else { return false };
        let mut found = self.candidates.iter().any(|candidate| candidate.key.is_agents(public));
        let (wanted, rest) = std::mem::take(&mut self.held)
            .into_iter()
            .partition::<Vec<_>, _>(|held| held.public_key().key_data() == public.key_data());
        self.held = rest;
        for held in wanted {
            found = true;
            self.candidates.push(of_agent(held, &path.display().to_string()));
        }
        found
    }

    /// The agent's keys that no file has named.
    fn rest_of_agent(&mut self, identities_only: bool) {
        if identities_only {
            return;
        }
        self.candidates.extend(std::mem::take(&mut self.held).into_iter().map(|held| {
            let comment = held.comment().to_owned();
            of_agent(held, &comment)
        }));
    }
}

fn of_agent(held: AgentIdentity, name: &str) -> Candidate {
    let fingerprint = held.public_key().fingerprint(HashAlg::Sha256);
    let label = format!("{name} {fingerprint} (SSH agent)");
    let key = match held {
        AgentIdentity::PublicKey { key, .. } => Key::Agent(key),
        AgentIdentity::Certificate { certificate, .. } => Key::CertifiedAgent(Box::new(certificate)),
    };
    Candidate { label, key }
}

const MISSING: &str = "there is none; `ssh-keygen -t ed25519` makes one";
const LOCKED: &str = "it asks for a passphrase, nobody is there to type it, and no SSH agent holds it";

/// The public half of the key in the file `path`: from `path.pub` beside it, or from the private key, even an encrypted one.
///
/// # Errors
/// When there is no such key, or it can't be used.
pub fn public_half(path: &Path) -> Result<PublicKey, SshError> {
    match load(path)? {
        Loaded::Private(key) => Ok(key.public_key().clone()),
        Loaded::Locked(Some(key)) => Ok(key),
        Loaded::Locked(None) => {
            Err(unusable(path, "its public half is not known; `ssh-keygen -y` writes it beside it", None))
        }
        Loaded::Missing => Err(unusable(path, MISSING, Some(io::Error::from(io::ErrorKind::NotFound).into()))),
    }
}

fn load(path: &Path) -> Result<Loaded, SshError> {
    const UNREADABLE: &str =
        "it must be a private key that `ssh-keygen` made, readable to the user that runs drawbridge";
    let text = match read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(beside(path).map_or(Loaded::Missing, |key| Loaded::Locked(Some(key))));
        }
        Err(error) => return Err(unusable(path, UNREADABLE, Some(error.into()))),
    };
    // As with OpenSSH, a public key can stand for one in the agent.
    if !text.contains("-----BEGIN")
        && let Ok(key) = PublicKey::from_openssh(text.trim())
    {
        return Ok(Loaded::Locked(Some(key)));
    }
    let mode =
        std::fs::metadata(path).map_err(|error| unusable(path, UNREADABLE, Some(error.into())))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(unusable(path, "it is open to other users, run `chmod 600` on it", None));
    }
    match russh::keys::decode_secret_key(&text, None) {
        Ok(key) => Ok(Loaded::Private(Arc::new(key))),
        Err(russh::keys::Error::KeyIsEncrypted) => {
            let inside = PrivateKey::from_openssh(&text).ok().map(|key| key.public_key().clone());
            Ok(Loaded::Locked(inside.or_else(|| beside(path))))
        }
        Err(error) => Err(unusable(
            path,
            "ed25519, ECDSA and RSA keys as `ssh-keygen` makes them are supported",
            Some(Box::new(error)),
        )),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_KEY_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn beside(path: &Path) -> Option<PublicKey> {
    PublicKey::from_openssh(read(&with_suffix(path, ".pub")).ok()?.trim()).ok()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn unusable(path: &Path, hint: &'static str, source: Option<Box<dyn std::error::Error + Send + Sync>>) -> SshError {
    SshError::Identity { path: path.to_owned(), hint, source }
}
