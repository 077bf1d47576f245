//! The stack's three functions, as far as the agent may invoke them.

mod error;
mod probe;

use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region, SdkConfig};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};
use aws_sdk_lambda::Client;
use aws_sdk_lambda::primitives::Blob;
use aws_smithy_http_client::tls;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use drawbridge_wire::{
    Report, ReportAnswer, ReportRequest, RunId, SessionAnswer, SessionRequest, StartAnswer, StartRequest,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Stack;
use error::FunctionFailure;

pub use error::CloudError;
pub use probe::Probed;

/// How long the TCP and TLS connection to AWS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long one invocation may take; a cold start with its AWS calls takes a few seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long an invocation may take with all its retries.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(90);

/// How often an invocation is tried. All three functions may be asked the same again.
const ATTEMPTS: u32 = 5;

/// The wait before the second attempt; doubled for each further one.
const FIRST_BACKOFF: Duration = Duration::from_millis(500);

/// The error that `session` and `report` answer for a run that never was.
const UNKNOWN_RUN: &str = "UnknownRun";

/// The agent's way to its stack.
#[derive(Debug, Clone)]
pub struct Cloud {
    client: Client,
    stack: Stack,
    endpoint: String,
}

impl Cloud {
    /// Prepares to invoke the functions of `stack`. Nothing is sent yet. Proxy settings of the environment are
    /// not followed: what a run says is between the agent and AWS.
    pub async fn connect(stack: &Stack) -> Self {
        let config = sdk_config(stack).await;
        let endpoint =
            stack.endpoint_url.clone().unwrap_or_else(|| format!("https://lambda.{}.amazonaws.com", stack.region));
        Self { client: Client::new(&config), stack: stack.clone(), endpoint }
    }

    /// Asks for a run. The same request in the same time slot gets the same answer, so a lost answer may be asked for again.
    ///
    /// # Errors
    /// See [`CloudError`]. A refusal is an answer.
    pub async fn start(&self, request: &StartRequest) -> Result<StartAnswer, CloudError> {
        self.invoke(&self.stack.start, request).await
    }

    /// Asks where a run stands.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn session(&self, run: &RunId) -> Result<SessionAnswer, CloudError> {
        self.invoke(&self.stack.session, &SessionRequest { run: run.clone() }).await
    }

    /// Says how the crossing goes.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn report(&self, run: &RunId, report: Report) -> Result<ReportAnswer, CloudError> {
        self.invoke(&self.stack.report, &ReportRequest { run: run.clone(), report }).await
    }

    /// Whether the functions can be reached and invoked: asks `session` for a run that can't be.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn probe(&self) -> Result<(), CloudError> {
        let never = serde_json::json!({ "run": "check-19700101T000000Z" });
        match self.invoke::<_, SessionAnswer>(&self.stack.session, &never).await {
            // Both mean that the agent was let in.
            Ok(_) => Ok(()),
            Err(error) if error.function_error() == Some(UNKNOWN_RUN) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn invoke<Q: Serialize, A: DeserializeOwned>(&self, function: &str, request: &Q) -> Result<A, CloudError> {
        let mut backoff = FIRST_BACKOFF;
        for _ in 1..ATTEMPTS {
            match self.invoke_once(function, request).await {
                // What the SDK can see it has retried itself; a function's own "try again" only shows in the payload.
                Err(error) if error.function_error().is_some() && error.may_pass() => {
                    tokio::time::sleep(backoff).await;
                    backoff *= 2;
                }
                answer => return answer,
            }
        }
        self.invoke_once(function, request).await
    }

    async fn invoke_once<Q: Serialize, A: DeserializeOwned>(
        &self,
        function: &str,
        request: &Q,
    ) -> Result<A, CloudError> {
        let payload = serde_json::to_vec(request)
            .map_err(|source| CloudError::Request { function: function.to_owned(), source })?;
        let answer = self
            .client
            .invoke()
            .function_name(function)
            .payload(Blob::new(payload))
            .send()
            .await
            .map_err(|error| CloudError::from_sdk(error, function, &self.stack.region, &self.endpoint))?;
        let payload = answer.payload().map(Blob::as_ref).unwrap_or_default();
        let unintelligible = |source| CloudError::Unintelligible { function: function.to_owned(), source };
        if answer.function_error().is_some() {
            let failure: FunctionFailure = serde_json::from_slice(payload).map_err(unintelligible)?;
            return Err(CloudError::Function {
                function: function.to_owned(),
                error_type: failure.error_type,
                message: failure.error_message,
            });
        }
        serde_json::from_slice(payload).map_err(unintelligible)
    }
}

async fn sdk_config(stack: &Stack) -> SdkConfig {
    let http =
        aws_smithy_http_client::Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).build_https();
    let region = Region::new(stack.region.clone());
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .http_client(http.clone())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_initial_backoff(FIRST_BACKOFF))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        );
    if let Ok(name) = AppName::new("drawbridge") {
        loader = loader.app_name(name);
    }
    if let Some(url) = &stack.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if stack.profile.is_some() || stack.credentials_file.is_some() {
        let provider = ProviderConfig::without_region().with_region(Some(region)).with_http_client(http);
        loader = loader.credentials_provider(profile(stack, &provider));
    }
    loader.load().await
}

/// What the configuration names goes before what the environment happens to hold.
fn profile(stack: &Stack, provider: &ProviderConfig) -> ProfileFileCredentialsProvider {
    let mut builder = ProfileFileCredentialsProvider::builder()
        .configure(provider)
        .profile_name(stack.profile.as_deref().unwrap_or("default"));
    if let Some(path) = &stack.credentials_file {
        let files = EnvConfigFiles::builder()
            .include_default_config_file(true)
            .with_file(EnvConfigFileKind::Credentials, path)
            .build();
        builder = builder.profile_files(files);
    }
    builder.build()
}
