use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;

/// The longest that a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);

/// The longest that one attempt of a call may take. The gate's program, some 10 MB, has to fit.
const ATTEMPT: Duration = Duration::from_secs(20);

/// The longest that a call may take with all of its attempts; shorter than any function's own timeout.
const OPERATION: Duration = Duration::from_secs(45);

/// Attempts at a call, the first one included.
const ATTEMPTS: u32 = 4;

/// The AWS clients; implements every capability.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(crate) ec2: aws_sdk_ec2::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) sfn: aws_sdk_sfn::Client,
    pub(crate) ssm: aws_sdk_ssm::Client,
}

impl Aws {
    /// Clients with the credentials, region and endpoints of the environment.
    pub async fn connect() -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT)
            .operation_attempt_timeout(ATTEMPT)
            .operation_timeout(OPERATION)
            .build();
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .load()
            .await;
        Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            s3: aws_sdk_s3::Client::new(&config),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
        }
    }
}
