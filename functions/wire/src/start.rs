use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Generation, RepositoryId, RunId, Sha256Digest, VaultRepository};

/// What the agent sends to `start`. It names nothing of the box: not its type, image, network or rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    /// The key that may cross in this run and never again, as one line of OpenSSH public key. `start` parses it and
    /// passes on only what it understood.
    pub public_key: String,
    /// The address or range that the agent will come from; without it, the stack's whole allowed range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_cidr: Option<Ipv4Net>,
    /// The repository that the manifest describes.
    pub repository: RepositoryId,
    /// The generation that the manifest counts on when it leaves objects out. Without it, everything crosses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// How many objects will cross.
    pub objects: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// The SHA-256 of the manifest's bytes.
    pub manifest_sha256: Sha256Digest,
}

/// What `start` answers. A refusal is an answer, not an error: the agent asked properly and has to wait or change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub enum StartAnswer {
    /// The run has begun; the same request again in its slot gets this answer again.
    Started {
        /// The execution's name.
        run: RunId,
        /// Where in the vault the objects will lie.
        repository: VaultRepository,
        /// No box of this run outlives this moment.
        deadline: Timestamp,
        /// The longest silence, in seconds, before the run is given up.
        heartbeat_seconds: u32,
        /// Set when it carries far more than the site's runs usually do. It is let through all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unusual: Option<Unusual>,
    },
    /// Another run is open.
    Busy {
        /// Which.
        run: RunId,
        /// When it will be over at the latest.
        until: Timestamp,
    },
    /// This time slot has had its run.
    TooSoon {
        /// When the next slot begins.
        retry_after: Timestamp,
    },
    /// The last 24 hours have had as many runs as the stack allows.
    DailyLimit {
        /// How many these are.
        allowed: u32,
        /// When the first of them leaves the last 24 hours.
        retry_after: Timestamp,
    },
    /// More was declared than the stack carries in one run.
    TooMuch {
        /// Of what.
        ceiling: Ceiling,
        /// What the request declares.
        declared: u64,
        /// What the stack allows.
        allowed: u64,
    },
    /// The generation that the manifest counts on is over; a new repository begins.
    GenerationTurned {
        /// The one that has begun.
        generation: Generation,
    },
}

/// A run that declares far more bytes than is usual for its site, and what is. Not an error: somebody should look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unusual {
    /// The bytes of a usual run: of a repository's first one, those of a whole repository.
    pub usual_bytes: u64,
}

/// What can be too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ceiling {
    /// The number of objects that cross.
    Objects,
    /// Their bytes together.
    Bytes,
}
