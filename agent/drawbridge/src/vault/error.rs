use aws_sdk_s3::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use thiserror::Error;

use super::Vault;

/// Why the vault can't be read.
#[derive(Debug, Error)]
pub enum VaultError {
    /// No region is known.
    #[error("no AWS region is named: add --region, or set it in your AWS profile")]
    NoRegion,
    /// S3 refused, or nobody answered.
    #[error("cannot {action}{} in the bucket {bucket}: {said}{}", key.as_ref().map(|key| format!(" {key}")).unwrap_or_default(), hint(code.as_deref()))]
    Call {
        /// What was tried.
        action: &'static str,
        /// With which object, if with one.
        key: Option<String>,
        /// In which bucket.
        bucket: String,
        /// S3's word for it, if it had one.
        code: Option<String>,
        /// What came back, in words.
        said: String,
    },
    /// The answer broke off, again and again.
    #[error("the content of {key} broke off")]
    BrokeOff {
        /// The object.
        key: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Fewer bytes than were asked for, or others.
    #[error("S3 gave {found} bytes of {key} where {expected} should be")]
    Short {
        /// The object.
        key: String,
        /// Bytes.
        expected: u64,
        /// Bytes.
        found: u64,
    },
    /// There is none.
    #[error("the vault has no {0}")]
    Missing(String),
    /// No version of an object is what its name says.
    #[error("{key} holds other bytes than its name says{}", if *versions > 1 { format!(", in each of its {versions} versions") } else { String::new() })]
    OtherBytes {
        /// The object.
        key: String,
        /// How many versions there are.
        versions: usize,
    },
    /// The vault is only read.
    #[error("the vault is never written to from here")]
    ReadOnly,
}

impl Vault {
    pub(super) fn failed<E>(&self, action: &'static str, error: SdkError<E>) -> VaultError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.code().map(str::to_owned);
        let said = match (&code, error.message()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.clone(),
            (None, _) => DisplayErrorContext(&error).to_string(),
        };
        VaultError::Call { action, key: None, bucket: self.bucket.clone(), code, said }
    }
}

impl VaultError {
    /// The same error, of this object.
    pub(super) fn of(self, name: &str) -> Self {
        match self {
            Self::Call { action, bucket, code, said, .. } => {
                Self::Call { action, key: Some(name.to_owned()), bucket, code, said }
            }
            other => other,
        }
    }

    pub(super) fn is_denied(&self) -> bool {
        matches!(self, Self::Call { code: Some(code), .. } if code == "AccessDenied")
    }
}

/// What to do about an answer of S3's, as its API reference explains them ("List of error codes").
fn hint(code: Option<&str>) -> &'static str {
    match code {
        Some("AccessDenied") => {
            " (these credentials may not: an operator's own are needed, the agent's can't read the vault)"
        }
        Some("NoSuchBucket") => " (the stack's outputs name the vault's bucket)",
        Some("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException") => {
            " (the bucket lies in another region: name it with --region)"
        }
        Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken" | "InvalidToken") => {
            " (AWS does not know these credentials: `aws sts get-caller-identity` tells whose they are)"
        }
        _ => "",
    }
}
