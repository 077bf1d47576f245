use std::error::Error;

use aws_sdk_lambda::config::http::HttpResponse;
use aws_sdk_lambda::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_lambda::operation::invoke::InvokeError;
use serde::Deserialize;
use thiserror::Error;

/// Whatever the SDK said, kept as a cause.
type Cause = Box<dyn Error + Send + Sync>;

/// Why the stack gave no answer.
#[derive(Debug, Error)]
pub enum CloudError {
    /// There are no credentials, or they can't be loaded.
    #[error(
        "no AWS credentials for the agent: set profile or credentials_file in [stack] to where the agent's access key is"
    )]
    NoCredentials(#[source] Cause),
    /// AWS doesn't know these credentials.
    #[error(
        "AWS does not accept the agent's credentials ({code}): check the access key behind profile or credentials_file in \
         [stack], and whether it has expired"
    )]
    BadCredentials {
        /// The error's code.
        code: String,
        /// What AWS said.
        source: Cause,
    },
    /// AWS knows them, and they may not do this.
    #[error(
        "access denied to the function {function}: the agent's user or role needs the policy that the stack made for it \
         (output AgentPolicyArn)"
    )]
    Denied {
        /// The function.
        function: String,
        /// What AWS said.
        source: Cause,
    },
    /// No function of this name.
    #[error(
        "there is no function {function} in {region}: copy region, start, session and report in [stack] from what \
         `sam deploy` printed"
    )]
    NoSuchFunction {
        /// The function.
        function: String,
        /// The region.
        region: String,
        /// What AWS said.
        source: Cause,
    },
    /// No answer.
    #[error(
        "cannot reach the stack at {endpoint}: check this machine's network and name service, and region and endpoint_url in [stack]"
    )]
    Unreachable {
        /// Where the stack should be.
        endpoint: String,
        /// What failed.
        source: Cause,
    },
    /// Too many requests, even after waiting.
    #[error("the function {function} is throttled: too many requests in this account; the next run tries again")]
    Throttled {
        /// The function.
        function: String,
        /// What AWS said.
        source: Cause,
    },
    /// The function ran and reported an error of its own.
    #[error("the function {function} failed with {error_type}: {message}")]
    Function {
        /// The function.
        function: String,
        /// The error's name, for example `UnknownRun` or `InvalidRequest`.
        error_type: String,
        /// What it says about itself.
        message: String,
    },
    /// The function's answer is none that this version knows.
    #[error(
        "the function {function} gave an answer that this version of drawbridge does not understand: are stack and agent of the same release?"
    )]
    Unintelligible {
        /// The function.
        function: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A request couldn't be written down.
    #[error("cannot write the request to {function} as JSON")]
    Request {
        /// The function.
        function: String,
        /// Why not.
        source: serde_json::Error,
    },
    /// Anything else.
    #[error("cannot invoke the function {function}")]
    Invoke {
        /// The function.
        function: String,
        /// What AWS said.
        source: Cause,
    },
}

/// What a Lambda function answers when it fails.
/// Source: docs.aws.amazon.com/lambda/latest/dg/rust-error-handling.html.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionFailure {
    pub(super) error_type: String,
    #[serde(default)]
    pub(super) error_message: String,
}

impl CloudError {
    /// The name of the function's own error, if it is one.
    #[must_use]
    pub fn function_error(&self) -> Option<&str> {
        match self {
            Self::Function { error_type, .. } => Some(error_type),
            _ => None,
        }
    }

    /// Whether the same request may succeed a little later without anybody doing anything.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Throttled { .. } | Self::Invoke { .. } => true,
            Self::Function { error_type, .. } => error_type == "AwsThrottled" || error_type == "AwsFailed",
            Self::NoCredentials(_)
            | Self::BadCredentials { .. }
            | Self::Denied { .. }
            | Self::NoSuchFunction { .. }
            | Self::Unintelligible { .. }
            | Self::Request { .. } => false,
        }
    }

    /// Sorts an SDK error by what a person has to do about it.
    pub(super) fn from_sdk(
        error: SdkError<InvokeError, HttpResponse>,
        function: &str,
        region: &str,
        endpoint: &str,
    ) -> Self {
        let function = function.to_owned();
        if mentions_credentials(&error) {
            return Self::NoCredentials(error.into());
        }
        let code = error.code().map(str::to_owned);
        match (code.as_deref(), &error) {
            (Some("AccessDeniedException" | "AccessDenied"), _) => Self::Denied { function, source: error.into() },
            (Some("ResourceNotFoundException"), _) => {
                Self::NoSuchFunction { function, region: region.to_owned(), source: error.into() }
            }
            (
                Some(
                    code @ ("UnrecognizedClientException"
                    | "InvalidClientTokenId"
                    | "InvalidSignatureException"
                    | "SignatureDoesNotMatch"
                    | "ExpiredTokenException"
                    | "ExpiredToken"
                    | "MissingAuthenticationTokenException"
                    | "IncompleteSignature"
                    | "InvalidAccessKeyId"),
                ),
                _,
            ) => Self::BadCredentials { code: code.to_owned(), source: error.into() },
            (Some("TooManyRequestsException" | "ThrottlingException"), _) => {
                Self::Throttled { function, source: error.into() }
            }
            (_, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_)) => {
                Self::Unreachable { endpoint: endpoint.to_owned(), source: error.into() }
            }
            _ => Self::Invoke { function, source: error.into() },
        }
    }
}

/// The SDK reports missing credentials as a failure to send the request; only a cause further down tells.
fn mentions_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        if cause.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        next = cause.source();
    }
    false
}
