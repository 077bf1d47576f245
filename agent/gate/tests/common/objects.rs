//! What crosses in the tests.

use bytes::Bytes;
use drawbridge_peers::objects::{ciphertext, key};
use drawbridge_wire::{
    BoxConfig, Manifest, ManifestObject, ObjectKind, ObjectName, Sha256Digest, Timestamp, VaultRepository, object_key,
};
use sha2::{Digest, Sha256};

pub const RUN: &str = "home-20261123T203000Z";
pub const REPOSITORY: &str = "2026-11-0123456789abcdef";

pub fn sha256(content: &[u8]) -> Sha256Digest {
    Sha256Digest::from_bytes(Sha256::digest(content).into())
}

#[derive(Debug, Clone)]
pub struct Object {
    pub name: ObjectName,
    pub content: Bytes,
    pub crosses: bool,
}

impl Object {
    pub fn new(kind: ObjectKind, content: impl Into<Bytes>) -> Self {
        let content = content.into();
        let name = ObjectName::hashed(kind, sha256(&content)).unwrap_or(ObjectName::CONFIG);
        Self { name, content, crosses: true }
    }

    pub fn path(&self) -> String {
        format!("/{}", self.name)
    }

    pub fn key(&self) -> String {
        object_key(&REPOSITORY.parse().unwrap(), &self.name)
    }

    /// The same length and another content.
    pub fn forged(&self) -> Bytes {
        let mut content = self.content.to_vec();
        *content.last_mut().unwrap() ^= 1;
        content.into()
    }
}

/// A repository, and which of it crosses.
#[derive(Debug, Clone)]
pub struct Cargo {
    pub objects: Vec<Object>,
}

impl Cargo {
    /// One of each kind, two packs (one of several chunks), and a pack that crossed earlier.
    pub fn small() -> Self {
        let mut objects = vec![
            Object::new(ObjectKind::Config, ciphertext(1, 155)),
            Object::new(ObjectKind::Key, key(2)),
            Object::new(ObjectKind::Data, pack(3, 200)),
            Object::new(ObjectKind::Data, pack(4, 1_500_000)),
            Object::new(ObjectKind::Data, pack(5, 300)),
            Object::new(ObjectKind::Index, ciphertext(6, 400)),
            Object::new(ObjectKind::Snapshot, ciphertext(7, 250)),
        ];
        objects[4].crosses = false;
        Self::of(objects)
    }

    pub fn of(mut objects: Vec<Object>) -> Self {
        objects.sort_by_key(|object| object.name);
        Self { objects }
    }

    pub fn crossing(&self) -> impl Iterator<Item = &Object> {
        self.objects.iter().filter(|object| object.crosses)
    }

    pub fn of_kind(&self, kind: ObjectKind) -> &Object {
        self.crossing().find(|object| object.name.kind() == kind).unwrap()
    }

    pub fn manifest(&self) -> Manifest {
        let entry = |object: &Object| {
            let size = object.content.len() as u64;
            match object.name.kind() {
                ObjectKind::Config => ManifestObject::config(sha256(&object.content), size, object.crosses),
                _ => ManifestObject::hashed(object.name, size, object.crosses),
            }
        };
        let repository: VaultRepository = REPOSITORY.parse().unwrap();
        Manifest::new(repository.id(), self.objects.iter().map(entry).collect()).unwrap()
    }

    pub fn manifest_text(&self) -> Vec<u8> {
        serde_json::to_vec(&self.manifest()).unwrap()
    }

    pub fn config(&self, public_key: &str, port: u16) -> BoxConfig {
        config_for(&self.manifest(), public_key, port)
    }
}

pub fn config_for(manifest: &Manifest, public_key: &str, port: u16) -> BoxConfig {
    let (objects, bytes) = manifest.declared();
    let deadline = Timestamp::from_second(Timestamp::now().as_second() + 3600).unwrap();
    BoxConfig {
        shutdown_at: deadline.as_second(),
        gate_url: "https://example.invalid/gate".to_owned(),
        gate_sha256: sha256(b"the gate"),
        run: RUN.parse().unwrap(),
        region: "eu-central-1".to_owned(),
        vault: "vault".to_owned(),
        repository: REPOSITORY.parse().unwrap(),
        public_key: public_key.to_owned(),
        port,
        objects,
        bytes,
        manifest_sha256: sha256(&serde_json::to_vec(manifest).unwrap()),
        deadline,
        unusual: None,
    }
}

/// A pack of so many bytes; another `seed`, another pack.
pub fn pack(seed: u64, length: usize) -> Bytes {
    drawbridge_peers::objects::pack(seed, length).into()
}
