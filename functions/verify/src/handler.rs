use drawbridge_aws::{Executions, FunctionError, Inspection, Vault, VerifySettings, parse};
use drawbridge_domain::verification::{Evidence, Rules, Subject, defects, judge, promised_until};
use drawbridge_wire::{
    Defects, Timestamp, VerdictFile, VerdictSummary, VerifyEvent, defects_key, evidence_key, verdict_key,
};
use jiff::SignedDuration;
use serde_json::Value;

use crate::declared;
use crate::inspect::{self, There};

/// The most objects that one call looks at. What is left is looked at in the next.
const MAX_LOOKS: usize = 100_000;

/// How much of a call's time goes into looking; the rest is for writing down what was seen.
const LOOKING: f64 = 0.75;

/// The most bytes of evidence that are read: 120,000 objects take about 30 MB.
const MAX_EVIDENCE_BYTES: usize = 48 * 1024 * 1024;

/// How long a copy of the evidence is locked. The next run replaces it, and a repository's objects are locked by themselves.
const EVIDENCE_LOCK: SignedDuration = SignedDuration::from_hours(24);

/// One call: when it began, and how far it may go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) now: Timestamp,
    pub(crate) look_until: Timestamp,
    pub(crate) most_looks: usize,
}

impl Call {
    /// A call that begins `now` and that Lambda ends at `until`.
    pub(crate) fn within(now: Timestamp, until: Timestamp) -> Self {
        let looking = until.duration_since(now).as_secs_f64() * LOOKING;
        let looking = SignedDuration::try_from_secs_f64(looking).unwrap_or_default();
        Self { now, look_until: now.checked_add(looking).unwrap_or(now), most_looks: MAX_LOOKS }
    }
}

pub(crate) async fn handle<A: Vault + Inspection + Executions>(
    settings: &VerifySettings,
    aws: &A,
    event: Value,
    call: Call,
) -> Result<VerdictSummary, FunctionError> {
    let VerifyEvent { run, repository, manifest_sha256 } = parse(event)?;
    let subject = Subject { run, repository, manifest_sha256 };
    let manifest = declared::manifest(&settings.vault, aws, &subject).await?;
    declared::receipt(&settings.vault, aws, &subject, &manifest).await?;

    let promised = promised_until(call.now, settings.promised_days).map_err(FunctionError::broken)?;
    let mut evidence = read_evidence(settings, aws, &subject).await?;
    evidence.owe(&manifest);
    let There { listed, strangers } =
        inspect::list(&settings.vault, aws, &subject).await.map_err(FunctionError::VaultUnreadable)?;
    let undeclared = declared::undeclared(settings, aws, &subject, &manifest, &mut evidence, &listed).await?;

    let rules = Rules { run: &subject.run, now: call.now, promised_until: promised };
    let looks = inspect::look(&settings.vault, aws, &mut evidence, &manifest, &listed, rules, call).await;
    // Even when a look has failed: what was seen until then needn't be looked at again.
    let kept = write_evidence(settings, aws, &subject, &evidence, call.now).await;
    let looks = looks.map_err(FunctionError::VaultUnreadable)?;
    kept?;
    if looks.left > 0 {
        return Err(FunctionError::VerificationUnfinished { looked: looks.looked, left: looks.left });
    }
    let strangers: Vec<String> = undeclared.iter().map(drawbridge_wire::ObjectName::path).chain(strangers).collect();
    let file = judge(subject, &manifest, &listed, &evidence, &strangers, promised);
    tell(settings, aws, &file, &defects(&file, &evidence), looks.looked).await?;
    Ok(file.summary)
}

/// What earlier runs have seen. Evidence that can't be understood is none: everything is looked at again.
async fn read_evidence<A: Vault>(
    settings: &VerifySettings,
    aws: &A,
    subject: &Subject,
) -> Result<Evidence, FunctionError> {
    let json = aws.read(&settings.vault, &evidence_key(&subject.repository), MAX_EVIDENCE_BYTES).await;
    let Some(json) = json.map_err(FunctionError::VaultUnreadable)? else {
        return Ok(Evidence::none(subject.repository.clone()));
    };
    Ok(match serde_json::from_slice::<Evidence>(&json) {
        Ok(evidence) if evidence.repository == subject.repository => evidence,
        other => {
            let why = other.err().map(|error| error.to_string());
            tracing::warn!(run = %subject.run, why, "the evidence is unreadable, so everything is looked at");
            Evidence::none(subject.repository.clone())
        }
    })
}

async fn write_evidence<A: Inspection>(
    settings: &VerifySettings,
    aws: &A,
    subject: &Subject,
    evidence: &Evidence,
    now: Timestamp,
) -> Result<(), FunctionError> {
    let json = serde_json::to_vec(evidence).map_err(FunctionError::broken)?;
    let until = now.checked_add(EVIDENCE_LOCK).map_err(FunctionError::broken)?;
    Ok(aws.note(&settings.vault, &evidence_key(&subject.repository), json, until).await?)
}

/// Writes the verdict for people, and what it means for the agent.
async fn tell<A: Vault>(
    settings: &VerifySettings,
    aws: &A,
    file: &VerdictFile,
    defects: &Defects,
    looked: usize,
) -> Result<(), FunctionError> {
    let write = async |key: String, json: Result<Vec<u8>, serde_json::Error>| {
        aws.write(&settings.vault, &key, json.map_err(FunctionError::broken)?).await.map_err(FunctionError::from)
    };
    write(defects_key(&file.run), serde_json::to_vec(defects)).await?;
    write(verdict_key(&file.run), serde_json::to_vec_pretty(file)).await?;
    tracing::info!(run = %file.run, summary = ?file.summary, looked, "verified");
    Ok(())
}
