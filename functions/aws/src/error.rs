use std::error::Error;
use std::fmt;

use drawbridge_domain::reason::{bounded, cut};
use drawbridge_wire::RunId;
use lambda_runtime::Diagnostic;
use thiserror::Error;

use crate::demolition::Missed;
use crate::{AwsError, Kind};

type Source = Box<dyn Error + Send + Sync>;

/// Why a function failed. The state machine matches the names, see [`FunctionError::name`].
///
/// `Debug` shows the name, the message and every cause, nothing else.
#[derive(Error)]
pub enum FunctionError {
    /// The event isn't one that this function takes, or never can be.
    #[error("the request is not valid")]
    InvalidRequest(#[source] Source),
    /// No execution has this name.
    #[error("there is no run {0}")]
    UnknownRun(String),
    /// The run has ended, so nothing may be made for it any more.
    #[error("the run {run} is over")]
    RunIsOver {
        /// Which.
        run: RunId,
        /// What shows it.
        #[source]
        why: drawbridge_domain::launch::Over,
    },
    /// An execution is open that `start` didn't make.
    #[error("the open execution {0} is none of this stack's runs: let it end or stop it")]
    ForeignExecution(String),
    /// The site's one box is another's.
    #[error("the run {0} is open and has the site's one box")]
    SiteTaken(RunId),
    /// The security group already has a rule for the agent's address that another run left behind.
    #[error("the rule {rule} of another run still admits {cidr}")]
    IngressTaken {
        /// The rule's id.
        rule: String,
        /// Whom it admits.
        cidr: String,
    },
    /// Every type was refused in every zone.
    #[error("no capacity: {}", tried.join("; "))]
    OutOfCapacity {
        /// What was tried, and what EC2 said.
        tried: Vec<String>,
    },
    /// EC2 doesn't show all of the box yet.
    #[error("the instance {instance} isn't ready to be announced: {why}")]
    NotYetVisible {
        /// Which.
        instance: String,
        /// What is not there yet.
        why: &'static str,
    },
    /// The run put no manifest into the vault.
    #[error("the run {0} left no manifest in the vault")]
    ManifestMissing(RunId),
    /// The manifest in the vault isn't the declared one.
    #[error("the manifest in the vault is not the one that was declared")]
    ManifestWrong(#[source] Source),
    /// The gate left no receipt.
    #[error("the gate left no receipt of the run {0} in the vault")]
    ReceiptMissing(RunId),
    /// What the gate says it stored isn't what was declared.
    #[error("the gate's receipt doesn't agree with the manifest")]
    ReceiptWrong(#[source] Source),
    /// Not everything could be looked at in one call. What was seen is kept, and the next call goes on.
    #[error("{looked} objects were looked at in this call, {left} are left for the next")]
    VerificationUnfinished {
        /// How many were looked at.
        looked: usize,
        /// How many were not.
        left: usize,
    },
    /// The vault couldn't be looked at, which is no statement about what it holds.
    #[error("the vault can't be read")]
    VaultUnreadable(#[source] AwsError),
    /// Something that has to go is still there.
    #[error("not everything was destroyed: {}; destroyed: {}; why: {}", whats(left), listed(destroyed), whys(left))]
    DestroyIncomplete {
        /// What, and why.
        left: Vec<Missed>,
        /// What has gone.
        destroyed: Vec<String>,
    },
    /// A run failed and was over, and not all of what had been made for it could be destroyed.
    #[error("{}; of what was made for it, {left}", cut(&why.chain(), MAX_FIRST_FAILURE_BYTES))]
    NotTakenBack {
        /// The first failure, which names this one too.
        why: Box<FunctionError>,
        /// What came after it.
        left: Box<FunctionError>,
    },
    /// Something in the stack isn't as its template made it.
    #[error("the stack is broken")]
    BrokenStack(#[source] Source),
    /// A call to AWS failed.
    #[error(transparent)]
    Aws(#[from] AwsError),
}

/// How much of a reason stands behind an id. AWS's own messages may fill the whole text, and the ids of the others matter more.
const MAX_WHY_BYTES: usize = 150;

/// How much of a first failure stands before what came after it.
const MAX_FIRST_FAILURE_BYTES: usize = 300;

fn whats(left: &[Missed]) -> String {
    left.iter().map(|missed| missed.what.as_str()).collect::<Vec<_>>().join(", ")
}

fn whys(left: &[Missed]) -> String {
    let whys = left.iter().map(|missed| format!("{}: {}", missed.what, cut(&missed.why, MAX_WHY_BYTES)));
    whys.collect::<Vec<_>>().join("; ")
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// The error with which the agent's own failure ends AwaitUpload.
pub const AGENT_FAILED: &str = "AgentFailed";

/// Every error name that leaves the functions. `statemachine/backup.asl.json` may match these and Step Functions' own.
pub const ERROR_NAMES: [&str; 19] = [
    "InvalidRequest",
    "UnknownRun",
    "RunIsOver",
    "ForeignExecution",
    "SiteTaken",
    "IngressTaken",
    "OutOfCapacity",
    "NotYetVisible",
    "ManifestMissing",
    "ManifestWrong",
    "ReceiptMissing",
    "ReceiptWrong",
    "VerificationUnfinished",
    "VaultUnreadable",
    "DestroyIncomplete",
    "BrokenStack",
    "AwsFailed",
    "AwsThrottled",
    AGENT_FAILED,
];

impl FunctionError {
    /// Wraps what made a request invalid.
    pub fn invalid(source: impl Into<Source>) -> Self {
        Self::InvalidRequest(source.into())
    }

    /// Wraps what is wrong with the stack.
    pub fn broken(source: impl Into<Source>) -> Self {
        Self::BrokenStack(source.into())
    }

    /// The stable name; one of [`ERROR_NAMES`]. Throttling has a name of its own wherever it strikes, so that the state
    /// machine can retry it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Aws(error) | Self::VaultUnreadable(error) if error.kind() == Kind::Throttled => "AwsThrottled",
            Self::Aws(_) => "AwsFailed",
            Self::InvalidRequest(_) => "InvalidRequest",
            Self::UnknownRun(_) => "UnknownRun",
            Self::RunIsOver { .. } => "RunIsOver",
            Self::ForeignExecution(_) => "ForeignExecution",
            Self::SiteTaken(_) => "SiteTaken",
            Self::IngressTaken { .. } => "IngressTaken",
            Self::OutOfCapacity { .. } => "OutOfCapacity",
            Self::NotYetVisible { .. } => "NotYetVisible",
            Self::ManifestMissing(_) => "ManifestMissing",
            Self::ManifestWrong(_) => "ManifestWrong",
            Self::ReceiptMissing(_) => "ReceiptMissing",
            Self::ReceiptWrong(_) => "ReceiptWrong",
            Self::VerificationUnfinished { .. } => "VerificationUnfinished",
            Self::VaultUnreadable(_) => "VaultUnreadable",
            Self::DestroyIncomplete { .. } => "DestroyIncomplete",
            Self::NotTakenBack { why, .. } => why.name(),
            Self::BrokenStack(_) => "BrokenStack",
        }
    }

    /// The message and all of its causes, each once.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        bounded(&text)
    }
}

impl fmt::Debug for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name(), self.chain())
    }
}

impl From<FunctionError> for Diagnostic {
    fn from(error: FunctionError) -> Self {
        Self { error_type: error.name().to_owned(), error_message: error.chain() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    fn one_of_each() -> Vec<FunctionError> {
        let run: RunId = "home-20261123T203000Z".parse().unwrap();
        let aws = |kind| AwsError::of_kind("ec2:RunInstances", kind);
        let why = drawbridge_domain::launch::Over::Ended(drawbridge_domain::execution::Status::Aborted);
        vec![
            FunctionError::invalid("no"),
            FunctionError::UnknownRun(run.to_string()),
            FunctionError::RunIsOver { run: run.clone(), why },
            FunctionError::ForeignExecution("x".into()),
            FunctionError::SiteTaken(run.clone()),
            FunctionError::IngressTaken { rule: "sgr-1".into(), cidr: "203.0.113.7/32".into() },
            FunctionError::OutOfCapacity { tried: vec![] },
            FunctionError::NotYetVisible { instance: "i-1".into(), why: "no address" },
            FunctionError::ManifestMissing(run.clone()),
            FunctionError::ManifestWrong("hash".into()),
            FunctionError::ReceiptMissing(run),
            FunctionError::ReceiptWrong("size".into()),
            FunctionError::VerificationUnfinished { looked: 1, left: 1 },
            FunctionError::VaultUnreadable(aws(Kind::Other)),
            FunctionError::DestroyIncomplete { left: vec![], destroyed: vec![] },
            not_taken_back(),
            FunctionError::broken("no"),
            FunctionError::Aws(aws(Kind::Other)),
            FunctionError::Aws(aws(Kind::Throttled)),
        ]
    }

    fn not_taken_back() -> FunctionError {
        let run: RunId = "home-20261123T203000Z".parse().unwrap();
        let why = drawbridge_domain::launch::Over::Ended(drawbridge_domain::execution::Status::Aborted);
        let left = FunctionError::DestroyIncomplete { left: vec![missed("i-1", "denied")], destroyed: vec![] };
        FunctionError::NotTakenBack { why: FunctionError::RunIsOver { run, why }.into(), left: left.into() }
    }

    fn missed(what: &str, why: &str) -> Missed {
        Missed { what: what.into(), why: why.into() }
    }

    #[test]
    fn what_could_not_be_destroyed_is_named_whole_however_much_aws_says() {
        let long = "x".repeat(1024);
        let (one, other) = ("i-0123456789abcdef0", "/drawbridge/home/home-20261123T203000Z/session");
        let left = vec![missed(one, &long), missed(other, &long)];
        let said = FunctionError::DestroyIncomplete { left, destroyed: vec!["sgr-1".into()] }.chain();
        assert!(
            said.starts_with(&format!("not everything was destroyed: {one}, {other}; destroyed: sgr-1; why: {one}: x")),
            "{said}"
        );
        assert!(said.contains(&format!("x; {other}: x")), "each has a reason: {said}");
        assert!(said.len() < 512, "{} bytes", said.len());
    }

    #[test]
    fn the_first_failure_comes_first_when_not_everything_could_be_taken_back() {
        let error = not_taken_back();
        assert_eq!(error.name(), "RunIsOver");
        let said = error.chain();
        let (first, then) = said.split_once("; of what was made for it, ").unwrap();
        assert!(first.contains("is over") && first.contains("Aborted"), "with its own cause: {first}");
        assert!(then.starts_with("not everything was destroyed: i-1;"), "{then}");
    }

    #[test]
    fn every_error_has_its_own_listed_name_and_every_listed_name_is_used() {
        let mut used: BTreeSet<_> = one_of_each().iter().map(FunctionError::name).collect();
        used.insert(AGENT_FAILED);
        assert_eq!(used, BTreeSet::from(ERROR_NAMES));
        assert_eq!(used.len(), ERROR_NAMES.len());
    }

    #[test]
    fn a_diagnostic_names_the_error_and_tells_the_whole_chain_once() {
        let diagnostic: Diagnostic = FunctionError::VaultUnreadable(AwsError::unreadable(
            "s3:ListBucket",
            "HTTP status 500",
            std::io::Error::other("cut off"),
        ))
        .into();
        assert_eq!(diagnostic.error_type, "VaultUnreadable");
        assert_eq!(diagnostic.error_message, "the vault can't be read: s3:ListBucket failed: HTTP status 500: cut off");
    }

    #[test]
    fn throttling_is_named_wherever_it_strikes() {
        let throttled = AwsError::of_kind("s3:HeadObject", Kind::Throttled);
        assert_eq!(FunctionError::VaultUnreadable(throttled).name(), "AwsThrottled");
    }
}
