use std::error::Error;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use drawbridge_domain::reason::bounded;

type Source = Box<dyn Error + Send + Sync>;

/// A call to AWS that didn't succeed.
///
/// `Debug` shows no more than the message and its causes: the SDK's own would show whole responses.
pub struct AwsError {
    operation: &'static str,
    kind: Kind,
    said: String,
    source: Option<Source>,
}

/// What an error means to the one who called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// There is one already.
    AlreadyExists,
    /// There is none, or none visible yet.
    NotFound,
    /// Too many calls; the same one may succeed later.
    Throttled,
    /// A definite refusal to launch here: no capacity, no address, no such type in this zone, or the quota is full.
    Capacity,
    /// The task token's state has ended: AWS has three codes for it, and which one comes is no use to anybody.
    Closed,
    /// The client token has launched something already, with other words.
    AlreadyLaunched,
    /// Another write of the same object is under way; the same call may succeed at once.
    Conflict,
    /// Anything else.
    Other,
}

impl AwsError {
    /// Makes an error of what the SDK returned for `operation`, named as IAM names it, for example `ec2:RunInstances`.
    pub(crate) fn sdk<E>(operation: &'static str, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let kind = classify(operation, error.code(), status);
        let said = match (error.code(), error.message(), status) {
            (Some(code), Some(message), _) => format!("{code}: {}", bounded(message)),
            (Some(code), None, _) => code.to_owned(),
            (None, _, Some(status)) => format!("HTTP status {status}"),
            (None, _, None) => "no answer".to_owned(),
        };
        Self { operation, kind, said, source: Some(Box::new(error)) }
    }

    /// An answer that AWS shouldn't give.
    pub(crate) fn unexpected(operation: &'static str, said: impl Into<String>) -> Self {
        Self { operation, kind: Kind::Other, said: said.into(), source: None }
    }

    /// An answer that can't be read.
    pub(crate) fn unreadable(operation: &'static str, said: impl Into<String>, source: impl Into<Source>) -> Self {
        Self { operation, kind: Kind::Other, said: said.into(), source: Some(source.into()) }
    }

    /// An error of a kind, for tests with fakes.
    #[must_use]
    pub fn of_kind(operation: &'static str, kind: Kind) -> Self {
        Self { operation, kind, said: format!("{kind:?}"), source: None }
    }

    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.operation, self.said)
    }
}

impl fmt::Debug for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({:?})", self.kind)
    }
}

impl Error for AwsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as &(dyn Error + 'static))
    }
}

/// EC2 has decided against the whole request, so there is no box, and another type or zone may fare better: no hardware,
/// no address left, the quota of this kind of type is full, or the zone doesn't have the type.
pub(crate) fn is_out_of_capacity(code: &str) -> bool {
    let refusals = [
        "InsufficientInstanceCapacity",
        "InsufficientAddressCapacity",
        "InsufficientFreeAddressesInSubnet",
        "InstanceLimitExceeded",
        "VcpuLimitExceeded",
        "Unsupported",
    ];
    refusals.contains(&code)
}

/// Sources: "Error codes for the Amazon EC2 API", "Error Responses" of S3, and the Errors sections of the Step
/// Functions and Systems Manager API references.
fn classify(operation: &str, code: Option<&str>, status: Option<u16>) -> Kind {
    match code.unwrap_or_default() {
        // The same code elsewhere speaks of page tokens and session tokens.
        "InvalidToken" | "TaskTimedOut" | "TaskDoesNotExist" if operation.starts_with("states:SendTask") => {
            Kind::Closed
        }
        "ExecutionAlreadyExists" | "InvalidPermission.Duplicate" | "PreconditionFailed" => Kind::AlreadyExists,
        "IdempotentParameterMismatch" => Kind::AlreadyLaunched,
        "ConditionalRequestConflict" => Kind::Conflict,
        "ExecutionDoesNotExist"
        | "InvalidInstanceID.NotFound"
        | "InvalidSecurityGroupRuleId.NotFound"
        | "InvalidPermission.NotFound"
        | "ParameterNotFound"
        | "NoSuchKey"
        | "NotFound" => Kind::NotFound,
        code if operation == "ec2:RunInstances" && is_out_of_capacity(code) => Kind::Capacity,
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "TooManyUpdates"
        | "KmsThrottlingException"
        | "SlowDown" => Kind::Throttled,
        _ => match status {
            // HEAD has no body, hence no code.
            Some(404) if operation == "s3:HeadObject" => Kind::NotFound,
            Some(412) if operation == "s3:PutObject" => Kind::AlreadyExists,
            Some(429 | 503) => Kind::Throttled,
            _ => Kind::Other,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_token_has_three_codes_and_none_of_them_counts_elsewhere() {
        for code in ["InvalidToken", "TaskTimedOut", "TaskDoesNotExist"] {
            assert_eq!(classify("states:SendTaskHeartbeat", Some(code), Some(400)), Kind::Closed);
        }
        assert_eq!(classify("states:ListExecutions", Some("InvalidToken"), Some(400)), Kind::Other);
    }

    #[test]
    fn codes_and_statuses_are_told_apart() {
        for (operation, code, status, kind) in [
            ("ec2:RunInstances", Some("InsufficientInstanceCapacity"), 500, Kind::Capacity),
            ("ec2:RunInstances", Some("InsufficientAddressCapacity"), 400, Kind::Capacity),
            ("ec2:RunInstances", Some("InsufficientFreeAddressesInSubnet"), 400, Kind::Capacity),
            ("ec2:RunInstances", Some("InstanceLimitExceeded"), 400, Kind::Capacity),
            ("ec2:RunInstances", Some("VcpuLimitExceeded"), 400, Kind::Capacity),
            ("ec2:RunInstances", Some("Unsupported"), 400, Kind::Capacity),
            // Any of these may leave a box, or would be answered the same elsewhere.
            ("ec2:RunInstances", Some("InternalError"), 500, Kind::Other),
            ("ec2:RunInstances", Some("Unavailable"), 503, Kind::Throttled),
            ("ec2:RunInstances", Some("PendingVerification"), 400, Kind::Other),
            ("ec2:RunInstances", Some("UnauthorizedOperation"), 403, Kind::Other),
            ("ec2:RunInstances", None, 504, Kind::Other),
            ("ec2:DescribeInstances", Some("Unsupported"), 400, Kind::Other),
            ("ec2:RunInstances", Some("RequestLimitExceeded"), 503, Kind::Throttled),
            ("ec2:RunInstances", Some("IdempotentParameterMismatch"), 400, Kind::AlreadyLaunched),
            ("s3:HeadObject", None, 404, Kind::NotFound),
            ("s3:HeadObject", None, 403, Kind::Other),
            ("s3:ListBucket", None, 404, Kind::Other),
            ("s3:ListBucket", Some("NoSuchBucket"), 404, Kind::Other),
            ("s3:PutObject", Some("PreconditionFailed"), 412, Kind::AlreadyExists),
            ("ssm:GetParameter", Some("AccessDeniedException"), 400, Kind::Other),
        ] {
            assert_eq!(classify(operation, code, Some(status)), kind, "{operation} {code:?} {status}");
        }
    }
}
