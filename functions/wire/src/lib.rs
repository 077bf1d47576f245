//! The types that cross a boundary: between the agent and the functions, between the functions and the state
//! machine, between the cloud and the gate.
//!
//! Everything is parsed once, here, at the edge. Inside, a [`RunId`] is a run id and nobody checks it again. The
//! crate knows serde and nothing of AWS, SSH or files.

mod digest;
mod gate;
mod manifest;
mod names;
mod object;
mod report;
mod session;
mod start;
mod token;
mod vault;
mod verdict;
mod workflow;

pub use digest::Sha256Digest;
pub use gate::{BoxConfig, Check, CheckLine, Ready, Receipt, ReceiptEntry, StoreOutcome};
pub use manifest::{MAX_MANIFEST_BYTES, MAX_MANIFEST_OBJECTS, Manifest, ManifestError, ManifestObject};
pub use names::{Generation, InstanceId, InvalidName, RepositoryId, RunId, Site, VaultRepository};
pub use object::{MAX_PACK_BYTES, ObjectKind, ObjectName};
pub use report::{Report, ReportAnswer, ReportRequest};
pub use session::{Failure, SessionAnswer, SessionRequest};
pub use start::{Ceiling, StartAnswer, StartRequest, Unusual};
pub use token::TaskToken;
pub use vault::{
    artifact_key, defects_key, evidence_key, manifest_key, object_key, parse_manifest_key, parse_ready_key, ready_key,
    receipt_key, verdict_key,
};
pub use verdict::{Defect, DefectKind, Defects, VERDICT_BAD, Verdict, VerdictFile, VerdictSummary};
pub use workflow::{
    BridgeReady, DestroyAnswer, DestroyRequest, ProvisionEvent, ProvisionRecord, Remains, RunInput, SessionRecord,
    VerifyEvent,
};

/// Re-exported so that every crate speaks of the same moments.
pub use ipnet::Ipv4Net;
/// Re-exported so that every crate speaks of the same moments.
pub use jiff::Timestamp;
