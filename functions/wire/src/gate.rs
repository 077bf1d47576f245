use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ObjectKind, ObjectName, RunId, Sha256Digest, Unusual, VaultRepository};

/// The one value in a box's user data. Anyone with DescribeInstanceAttribute can read it; it holds no secret and no
/// task token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoxConfig {
    /// The box powers itself off at this moment: Unix time in seconds, because a shell reads it.
    pub shutdown_at: i64,
    /// Where the gate's program is: a presigned GET through the S3 endpoint.
    pub gate_url: String,
    /// The SHA-256 that the program must have.
    pub gate_sha256: Sha256Digest,
    /// The run that this box belongs to.
    pub run: RunId,
    /// The AWS region.
    pub region: String,
    /// The vault's bucket.
    pub vault: String,
    /// The only repository that the gate puts anything into.
    pub repository: VaultRepository,
    /// The only key that may log in.
    pub public_key: String,
    /// The gate's TCP port.
    pub port: u16,
    /// How many objects may cross.
    pub objects: u64,
    /// How many bytes they may have together.
    pub bytes: u64,
    /// The only manifest that is taken.
    pub manifest_sha256: Sha256Digest,
    /// The gate exits at this moment.
    pub deadline: Timestamp,
    /// Set when `bytes` are far more than usual; the gate says so in its log and in the receipt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusual: Option<Unusual>,
}

/// `runs/<run>/ready/<instance>.json`: the gate listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The host key that the gate made for this boot, one line of OpenSSH public key.
    pub host_key: String,
    /// The gate's version.
    pub version: String,
}

/// `runs/<run>/receipt.json`: what the gate stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Whose.
    pub run: RunId,
    /// Where the objects lie.
    pub repository: VaultRepository,
    /// The manifest that admitted them.
    pub manifest_sha256: Sha256Digest,
    /// The gate's version.
    pub version: String,
    /// When the gate began to listen.
    pub opened_at: Timestamp,
    /// When the last declared object was stored.
    pub completed_at: Timestamp,
    /// Set when the run declared far more bytes than is usual for its site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusual: Option<Unusual>,
    /// What was checked, one line each, in the order of [`Check::ALL`].
    pub checks: Vec<CheckLine>,
    /// Every declared object, sorted by name.
    pub objects: Vec<ReceiptEntry>,
}

/// What the gate checks before S3 has all of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A request that the gate knows: `POST`, and a path of restic's REST protocol.
    Request,
    /// In the manifest, and there as crossing; and the manifest is the run's.
    Declared,
    /// As long as declared.
    Size,
    /// In its turn: keys and data before the index, the index before snapshots.
    Order,
    /// The declared SHA-256.
    Sha256,
    /// A key file as restic writes it.
    Key,
    /// A `config` that is as large as one is.
    Config,
    /// A pack as restic writes it.
    Pack,
    /// Whatever should be encrypted looks like it.
    Ciphertext,
}

impl Check {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::Request,
        Self::Declared,
        Self::Size,
        Self::Order,
        Self::Sha256,
        Self::Key,
        Self::Config,
        Self::Pack,
        Self::Ciphertext,
    ];

    /// Whether an object of this kind must pass it.
    #[must_use]
    pub const fn applies_to(self, kind: ObjectKind) -> bool {
        match self {
            // Of a key file, the master keys in it are encrypted.
            Self::Request | Self::Declared | Self::Size | Self::Order | Self::Sha256 | Self::Ciphertext => true,
            Self::Key => matches!(kind, ObjectKind::Key),
            Self::Config => matches!(kind, ObjectKind::Config),
            Self::Pack => matches!(kind, ObjectKind::Data),
        }
    }
}

/// One check in a [`Receipt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckLine {
    /// Which.
    pub check: Check,
    /// How many objects of the receipt have passed it.
    pub passed: u64,
    /// How many requests it has refused. What was refused may have come again and passed.
    pub refused: u64,
}

/// One object in a [`Receipt`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEntry {
    /// Which.
    pub name: ObjectName,
    /// Its length in bytes.
    pub size: u64,
    /// What became of it.
    pub outcome: StoreOutcome,
}

/// What became of an object that crossed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreOutcome {
    /// S3 took it.
    Stored,
    /// The vault had an object of that name already, and S3 refused to replace it. `verify` says whether it is right.
    AlreadyThere,
}
