//! Removing what was seen a moment ago, in a cloud that may not see it everywhere yet, or any more.

use drawbridge_wire::InstanceId;

use crate::{AwsError, Ingress, Instances, Kind, Looks};

/// Terminates a box that exists for sure: "not found" means "not yet visible" until the looks run out.
///
/// # Errors
/// Whatever EC2 said last.
pub async fn terminate<A: Instances>(aws: &A, looks: Looks, instance: &InstanceId) -> Result<(), AwsError> {
    let mut look = 0;
    loop {
        let error = match aws.terminate(instance).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        look += 1;
        if error.kind() != Kind::NotFound || !looks.again(look).await {
            return Err(error);
        }
    }
}

/// Revokes a rule that was listed: "not found" means that somebody else was faster.
///
/// # Errors
/// Whatever else EC2 said.
pub async fn revoke<A: Ingress>(aws: &A, group: &str, rule: &str) -> Result<(), AwsError> {
    match aws.revoke(group, rule).await {
        Err(error) if error.kind() == Kind::NotFound => Ok(()),
        other => other,
    }
}
