//! What travels through the state machine. `statemachine/backup.asl.json` is the other end of each of these; a
//! contract test holds the two together.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{InstanceId, RunId, Sha256Digest, TaskToken, Unusual, VaultRepository};

/// The input of an execution, made by `start`. The same request in the same slot makes the same input, but for
/// `unusual`, which hangs on what other runs have ended by then: `start` recognises its own open run by the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInput {
    /// Where in the vault the objects will lie.
    pub repository: VaultRepository,
    /// The agent's one-run key, parsed and written anew.
    pub public_key: String,
    /// Who may reach the gate's port.
    pub source_cidr: Ipv4Net,
    /// How many objects will cross.
    pub objects: u64,
    /// How many bytes they have together.
    pub bytes: u64,
    /// The SHA-256 of the manifest.
    pub manifest_sha256: Sha256Digest,
    /// How long the bridge may be down for the upload, in seconds; computed from `bytes`.
    pub window_seconds: u32,
    /// Set when `bytes` are far more than usual. The operator hears of it: a rule of the template looks for this field's
    /// `usual_bytes` in the input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unusual: Option<Unusual>,
}

/// What the state ProvisionJumpBox hands to `provision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionEvent {
    /// The execution's name.
    pub run: RunId,
    /// The execution's ARN, to look at it again around the launch.
    pub execution_arn: String,
    /// When the execution began; every deadline counts from here.
    pub started_at: Timestamp,
    /// Ends ProvisionJumpBox when `ready` returns it.
    pub task_token: TaskToken,
    /// The execution's input.
    pub input: RunInput,
}

/// What `provision` keeps for `ready`, in the parameter `<run>/provision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvisionRecord {
    /// Ends ProvisionJumpBox.
    pub task_token: TaskToken,
    /// No box of this run outlives this moment.
    pub deadline: Timestamp,
}

/// The output of ProvisionJumpBox, sent by `ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BridgeReady {
    /// The jump box.
    pub instance: InstanceId,
    /// Its public address, from EC2.
    pub address: Ipv4Addr,
    /// The gate's TCP port.
    pub port: u16,
    /// The gate's SSH host key, one line of OpenSSH public key.
    pub host_key: String,
    /// The gate exits at this moment.
    pub deadline: Timestamp,
}

/// What AwaitUpload publishes in the parameter `<run>/session`; `session` shows all but the token, `report` uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionRecord {
    /// Ends AwaitUpload.
    pub task_token: TaskToken,
    /// Where to connect and whom to expect.
    pub bridge: BridgeReady,
}

/// What VerifyBackup hands to `verify`, which answers a [`crate::VerdictSummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerifyEvent {
    /// The execution's name.
    pub run: RunId,
    /// Where in the vault the objects should lie.
    pub repository: VaultRepository,
    /// The manifest to hold the vault against.
    pub manifest_sha256: Sha256Digest,
}

/// What DestroyJumpBox, or the sweeper's schedule, hands to `destroy`. The third caller, the event rule, sends EventBridge's own
/// envelope.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DestroyRequest {
    /// Everything of this run.
    Run(RunId),
    /// Everything of every run that is over or past its deadline.
    Sweep {},
}

/// What `destroy` found and did. When something could not be destroyed, it fails instead, and its error names what, why,
/// and what it did destroy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyAnswer {
    /// What had to go.
    pub found: Remains,
    /// What it destroyed of that. Boxes that were shutting down already needn't be.
    pub destroyed: Remains,
    /// What the operator should hear of it, if anything: a rule carries it to the topic. The state machine, which tells the end
    /// of its run itself, gets none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
}

impl DestroyAnswer {
    /// Both together; without a notice, which is written of the whole.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { found: self.found.and(other.found), destroyed: self.destroyed.and(other.destroyed), notice: None }
    }
}

/// What a run makes and leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remains {
    /// Boxes.
    pub instances: Vec<InstanceId>,
    /// Rules of the security group.
    pub rules: Vec<String>,
    /// Parameters.
    pub parameters: Vec<String>,
}

impl Remains {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names().next().is_none()
    }

    /// What is in this and in the other.
    #[must_use]
    pub fn among(mut self, other: &Self) -> Self {
        self.instances.retain(|instance| other.instances.contains(instance));
        self.rules.retain(|rule| other.rules.contains(rule));
        self.parameters.retain(|name| other.parameters.contains(name));
        self
    }

    /// What is in this and not in the other.
    #[must_use]
    pub fn except(mut self, other: &Self) -> Self {
        self.instances.retain(|instance| !other.instances.contains(instance));
        self.rules.retain(|rule| !other.rules.contains(rule));
        self.parameters.retain(|name| !other.parameters.contains(name));
        self
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.instances.extend(other.instances);
        self.rules.extend(other.rules);
        self.parameters.extend(other.parameters);
        self
    }

    /// The name of each.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let others = self.rules.iter().chain(&self.parameters).map(String::as_str);
        self.instances.iter().map(InstanceId::as_str).chain(others)
    }
}
