//! Doing what was decided, each deed by itself.

use std::fmt::Display;

use drawbridge_aws::{DestroySettings, Ingress, Instances, Looks, Parameters, removal};
use drawbridge_domain::destruction::Condemned;
use drawbridge_wire::DestroyAnswer;

/// The value, or a line about what is left because of the error.
pub(crate) fn keep<T, E: Display>(result: Result<T, E>, of: &str, left: &mut Vec<String>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            left.push(format!("{of}: {error}"));
            None
        }
    }
}

/// Destroys what is condemned. Boxes go first, because they cost.
pub(crate) async fn carry_out<A: Ingress + Instances + Parameters>(
    settings: &DestroySettings,
    aws: &A,
    looks: Looks,
    condemned: Condemned,
    left: &mut Vec<String>,
) -> DestroyAnswer {
    let mut answer = DestroyAnswer { instances: condemned.going, ..DestroyAnswer::default() };
    for instance in condemned.instances {
        if keep(removal::terminate(aws, looks, &instance).await, instance.as_str(), left).is_some() {
            answer.instances.push(instance);
        }
    }
    for rule in condemned.rules {
        if keep(removal::revoke(aws, &settings.security_group, &rule).await, &rule, left).is_some() {
            answer.rules.push(rule);
        }
    }
    for parameter in condemned.parameters {
        if keep(aws.delete(&parameter).await, &parameter, left).is_some() {
            answer.parameters.push(parameter);
        }
    }
    answer
}
