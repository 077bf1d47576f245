//! Between the SDK's values and ours.

use aws_smithy_types::DateTime;
use drawbridge_wire::Timestamp;

use crate::AwsError;

/// A moment as the SDK writes it.
pub(crate) fn timestamp(operation: &'static str, at: &DateTime) -> Result<Timestamp, AwsError> {
    Timestamp::from_nanosecond(at.as_nanos())
        .map_err(|error| AwsError::unreadable(operation, "a time out of range", error))
}

/// A field that AWS always fills.
pub(crate) fn field<T>(operation: &'static str, name: &str, value: Option<T>) -> Result<T, AwsError> {
    value.ok_or_else(|| AwsError::unexpected(operation, format!("the answer has no {name}")))
}
