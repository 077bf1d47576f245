use serde::{Deserialize, Serialize};

use crate::{ObjectName, RunId, Sha256Digest, VaultRepository};

/// Whether the vault holds the whole repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every object of the manifest is there, right and locked, and nothing is there that was never declared.
    Good,
    /// Something is missing, wrong, unlocked or undeclared; the verdict file names it.
    Bad,
}

/// The error with which the state machine ends a run whose verdict is bad: the agent then sends everything again.
pub const VERDICT_BAD: &str = "VerdictBad";

/// The few hundred bytes of a verdict that travel through the state machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictSummary {
    /// The outcome.
    pub verdict: Verdict,
    /// How many objects the manifest names.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
    /// How many of them the vault doesn't have.
    pub missing: u64,
    /// How many it has with another size or SHA-256.
    pub wrong: u64,
    /// How many could be deleted before the promised retention ends.
    pub unlocked: u64,
    /// How many objects lie in the repository that no manifest of any run ever declared.
    #[serde(default)]
    pub undeclared: u64,
}

/// `runs/<run>/verdict.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerdictFile {
    /// Whose.
    pub run: RunId,
    /// The repository that was looked at.
    pub repository: VaultRepository,
    /// The manifest that it was held against.
    pub manifest_sha256: Sha256Digest,
    /// The counts.
    pub summary: VerdictSummary,
    /// Every object that isn't as declared.
    pub defects: Vec<Defect>,
}

/// One object that isn't as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defect {
    /// The object's key below the repository's folder, for example `data/ab/ab01...`.
    pub object: String,
    /// What is the matter with it.
    pub kind: DefectKind,
    /// In words: what was expected and what was found.
    pub detail: String,
}

/// What can be the matter with an object. Missing heals by crossing again; wrong doesn't.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DefectKind {
    /// Not in the vault.
    Missing,
    /// There, with another size or SHA-256.
    Wrong,
    /// There and right, but free to be deleted too early.
    Unlocked,
    /// There, and no manifest of any run ever declared it.
    Undeclared,
}

/// What a bad verdict means for the agent: by next step, not by object. Told by `session`, taken from the verdict file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defects {
    /// To carry across again.
    pub missing: Vec<ObjectName>,
    /// Whether `missing` names all that is missing. Otherwise there are too many to be named, and everything has to cross again.
    pub all_named: bool,
    /// Whether the vault's repository can't be healed by anything that crosses: something in it is wrong, or was never declared.
    pub beyond_healing: bool,
}
