//! What the SDK would ask again although the answer won't change.

use aws_sdk_ec2::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::operation::run_instances::RunInstancesError;
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;

use crate::aws_error::is_out_of_capacity;

/// EC2 answers a want of capacity with the status 500, which the SDK takes for a hiccup. Every type in every zone would
/// be asked four times, with pauses, while the run's time to boot runs out.
#[derive(Debug)]
pub(crate) struct CapacityIsFinal;

impl ClassifyRetry for CapacityIsFinal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let refused = match context.output_or_error() {
            Some(Err(error)) => error.as_operation_error().and_then(|error| error.downcast_ref::<RunInstancesError>()),
            _ => None,
        };
        match refused.and_then(RunInstancesError::code) {
            Some(code) if is_out_of_capacity(code) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "capacity is final"
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_ec2::error::ErrorMetadata;
    use aws_smithy_runtime_api::client::interceptors::context::{Error, Input};
    use aws_smithy_runtime_api::client::orchestrator::OrchestratorError;

    use super::*;

    fn classified(code: &str) -> RetryAction {
        let mut context = InterceptorContext::new(Input::doesnt_matter());
        let refused = RunInstancesError::generic(ErrorMetadata::builder().code(code).build());
        context.set_output_or_error(Err(OrchestratorError::operation(Error::erase(refused))));
        CapacityIsFinal.classify_retry(&context)
    }

    #[test]
    fn only_a_refusal_for_want_of_capacity_is_not_asked_again() {
        assert_eq!(classified("InsufficientInstanceCapacity"), RetryAction::RetryForbidden);
        assert_eq!(classified("InternalError"), RetryAction::NoActionIndicated);
        assert_eq!(classified("RequestLimitExceeded"), RetryAction::NoActionIndicated);
    }
}
