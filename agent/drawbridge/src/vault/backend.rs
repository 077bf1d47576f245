//! The vault as a backend of the engine's.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use drawbridge_wire::{ObjectKind, ObjectName, Sha256Digest, VaultRepository, object_key};
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};
use tokio::runtime::Handle;

use super::inventory::{Held, Inventory, Version};
use super::{Vault, VaultError, Warn};
use crate::digest::sha256;

/// How much is read ahead of somebody who reads a pack from one piece to the next, in bytes: what a backup wrote together is read
/// together, and asking S3 for each small file would take a round trip for each.
const AHEAD_BYTES: u64 = 4 * 1024 * 1024;

/// How many such stretches are kept.
const KEPT: usize = 4;

pub(super) struct VaultBackend {
    vault: Vault,
    repository: VaultRepository,
    inventory: Inventory,
    runtime: Handle,
    warn: Warn,
    /// Which version of an object is the right one, where there was a question.
    settled: Mutex<HashMap<ObjectName, Version>>,
    /// What was read last.
    stretches: Mutex<VecDeque<Stretch>>,
}

#[derive(Clone)]
struct Stretch {
    name: ObjectName,
    from: u64,
    bytes: Bytes,
}

impl fmt::Debug for VaultBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VaultBackend").field("repository", &self.repository).finish_non_exhaustive()
    }
}

impl VaultBackend {
    pub(super) fn new(vault: Vault, repository: &VaultRepository, inventory: Inventory, warn: Warn) -> Self {
        Self {
            vault,
            repository: repository.clone(),
            inventory,
            runtime: Handle::current(),
            warn,
            settled: Mutex::default(),
            stretches: Mutex::default(),
        }
    }

    fn key(&self, name: &ObjectName) -> String {
        object_key(&self.repository, name)
    }

    fn held(&self, name: &ObjectName) -> Result<&Held, VaultError> {
        self.inventory.get(name).ok_or_else(|| VaultError::Missing(self.key(name)))
    }

    fn get(&self, name: &ObjectName, version: &Version, range: Option<(u64, u64)>) -> Result<Bytes, VaultError> {
        self.runtime.block_on(self.vault.get(&self.key(name), version.asked_for(), range))
    }

    /// A whole object, whose SHA-256 is its name.
    fn whole(&self, name: &ObjectName) -> Result<Bytes, VaultError> {
        let held = self.held(name)?;
        let Some(digest) = name.digest() else {
            // Nothing says what `config` should be. It is put once, so the first version is the one that the gate has put.
            let first = held.versions.last().ok_or_else(|| VaultError::Missing(self.key(name)))?;
            self.say(name, held, held.versions.len().saturating_sub(1));
            return self.get(name, first, None);
        };
        self.rightful(name, held, digest).map(|(_, bytes)| bytes)
    }

    /// The first version whose content has the digest, and that content.
    fn rightful(&self, name: &ObjectName, held: &Held, digest: Sha256Digest) -> Result<(Version, Bytes), VaultError> {
        for (turn, version) in held.versions.iter().enumerate() {
            let bytes = self.get(name, version, None)?;
            if sha256(&bytes) == digest {
                self.say(name, held, turn);
                return Ok((version.clone(), bytes));
            }
        }
        Err(VaultError::OtherBytes { key: self.key(name), versions: held.versions.len() })
    }

    /// The version of an object of which parts are read. One that is as it was put needs no look: its parts are checked by the engine.
    fn version(&self, name: &ObjectName) -> Result<Version, VaultError> {
        let held = self.held(name)?;
        if let ([only], false) = (held.versions.as_slice(), held.hidden) {
            return Ok(only.clone());
        }
        let mut settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = settled.get(name) {
            return Ok(version.clone());
        }
        let unnamed = || VaultError::OtherBytes { key: self.key(name), versions: held.versions.len() };
        let (version, _) = self.rightful(name, held, name.digest().ok_or_else(unnamed)?)?;
        settled.insert(*name, version.clone());
        Ok(version)
    }

    fn say(&self, name: &ObjectName, held: &Held, turn: usize) {
        let key = self.key(name);
        if turn > 0 {
            (self.warn)(&format!(
                "{key} was covered by another version: version {} of {} is read",
                turn + 1,
                held.versions.len()
            ));
        } else if held.hidden {
            (self.warn)(&format!("{key} is hidden by a delete marker: its last version is read"));
        }
    }

    fn part(&self, name: &ObjectName, from: u64, length: u64) -> Result<Bytes, VaultError> {
        let to = from.saturating_add(length);
        let mut goes_on = false;
        {
            let stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
            for stretch in stretches.iter().filter(|stretch| stretch.name == *name) {
                if let Some(part) = stretch.part(from, to) {
                    return Ok(part);
                }
                goes_on |= (stretch.from..=stretch.end()).contains(&from);
            }
        }
        let version = self.version(name)?;
        let ahead = if goes_on { from.saturating_add(AHEAD_BYTES).min(version.size) } else { to };
        let bytes = self.get(name, &version, Some((from, ahead.max(to))))?;
        let stretch = Stretch { name: *name, from, bytes };
        let part = stretch.part(from, to).unwrap_or_default();
        let mut stretches = self.stretches.lock().unwrap_or_else(PoisonError::into_inner);
        stretches.push_front(stretch);
        stretches.truncate(KEPT);
        Ok(part)
    }
}

impl Stretch {
    fn end(&self) -> u64 {
        self.from.saturating_add(self.bytes.len() as u64)
    }

    fn part(&self, from: u64, to: u64) -> Option<Bytes> {
        let begin = usize::try_from(from.checked_sub(self.from)?).ok()?;
        let end = usize::try_from(to.checked_sub(self.from)?).ok()?;
        (begin <= end && end <= self.bytes.len()).then(|| self.bytes.slice(begin..end))
    }
}

impl ReadBackend for VaultBackend {
    fn location(&self) -> String {
        self.vault.place(&self.repository)
    }

    fn list_with_size(&self, tpe: FileType) -> RusticResult<Vec<(Id, u32)>> {
        let objects = self.inventory.of_kind(kind(tpe));
        objects
            .map(|(name, held)| {
                let id = match name.digest() {
                    Some(digest) => digest.to_string().parse()?,
                    None => Id::default(),
                };
                let size = held.versions.first().map_or(0, |version| version.size);
                Ok((id, u32::try_from(size).unwrap_or(u32::MAX)))
            })
            .collect()
    }

    fn read_full(&self, tpe: FileType, id: &Id) -> RusticResult<Bytes> {
        self.whole(&name(tpe, id)?).map_err(refused)
    }

    fn read_partial(&self, tpe: FileType, id: &Id, _: bool, offset: u32, length: u32) -> RusticResult<Bytes> {
        self.part(&name(tpe, id)?, offset.into(), length.into()).map_err(refused)
    }

    fn warmup_path(&self, tpe: FileType, id: &Id) -> String {
        name(tpe, id).map_or_else(|_| id.to_hex().as_str().to_owned(), |name| self.key(&name))
    }
}

impl WriteBackend for VaultBackend {
    fn create(&self) -> RusticResult<()> {
        Err(refused(VaultError::ReadOnly))
    }

    fn write_bytes(&self, _: FileType, _: &Id, _: bool, _: BytesList) -> RusticResult<()> {
        Err(refused(VaultError::ReadOnly))
    }

    fn remove(&self, _: FileType, _: &Id, _: bool) -> RusticResult<()> {
        Err(refused(VaultError::ReadOnly))
    }
}

fn refused(error: VaultError) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "The vault could not be read.", error)
}

const fn kind(tpe: FileType) -> ObjectKind {
    match tpe {
        FileType::Config => ObjectKind::Config,
        FileType::Index => ObjectKind::Index,
        FileType::Key => ObjectKind::Key,
        FileType::Snapshot => ObjectKind::Snapshot,
        FileType::Pack => ObjectKind::Data,
    }
}

fn name(tpe: FileType, id: &Id) -> RusticResult<ObjectName> {
    let kind = kind(tpe);
    let digest = id.to_hex().as_str().parse::<Sha256Digest>();
    let digest = digest.map_err(|error| RusticError::with_source(ErrorKind::Backend, "An impossible name.", error))?;
    Ok(ObjectName::hashed(kind, digest).unwrap_or(ObjectName::CONFIG))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_stretch_gives_what_lies_within_it_and_nothing_else() {
        let name = ObjectName::CONFIG;
        let stretch = Stretch { name, from: 10, bytes: Bytes::from_static(b"abcdef") };
        assert_eq!(stretch.part(10, 16).unwrap(), "abcdef");
        assert_eq!(stretch.part(12, 14).unwrap(), "cd");
        for (from, to) in [(9, 12), (12, 17), (16, 20), (0, 5)] {
            assert_eq!(stretch.part(from, to), None, "{from}..{to}");
        }
    }
}
