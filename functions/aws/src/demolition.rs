//! Doing what was decided about remains, each deed by itself: one that fails is named at the end and stops none of the others.

use std::fmt::Display;

use drawbridge_domain::destruction::Condemned;
use drawbridge_wire::{DestroyAnswer, Remains};

use crate::{FunctionError, Ingress, Instances, Looks, Parameters, removal};

/// Something that couldn't be looked at or destroyed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its id, or what was looked for.
    pub what: String,
    /// What went wrong.
    pub why: String,
}

/// Everything that couldn't be looked at or destroyed.
#[derive(Debug, Default)]
pub struct Left(Vec<Missed>);

impl Left {
    /// The value; or nothing, and a word about what is left because of the error.
    pub fn keep<T, E: Display>(&mut self, result: Result<T, E>, of: &str) -> Option<T> {
        result.map_err(|error| self.0.push(Missed { what: of.to_owned(), why: error.to_string() })).ok()
    }

    /// The answer, if nothing is left.
    ///
    /// # Errors
    /// [`FunctionError::DestroyIncomplete`] when something is.
    pub fn judge(self, answer: DestroyAnswer) -> Result<DestroyAnswer, FunctionError> {
        if self.0.is_empty() {
            return Ok(answer);
        }
        let destroyed = answer.destroyed.names().map(str::to_owned).collect();
        Err(FunctionError::DestroyIncomplete { left: self.0, destroyed })
    }
}

/// Destroys what is condemned. Boxes go first, because they cost.
pub async fn carry_out<A: Ingress + Instances + Parameters>(
    aws: &A,
    looks: Looks,
    security_group: &str,
    condemned: Condemned,
    left: &mut Left,
) -> DestroyAnswer {
    let Condemned { remains, going } = condemned;
    let mut destroyed = Remains::default();
    for instance in &remains.instances {
        let terminated = removal::terminate(aws, looks, instance).await;
        destroyed.instances.extend(left.keep(terminated, instance.as_str()).map(|()| instance.clone()));
    }
    for rule in &remains.rules {
        let revoked = removal::revoke(aws, security_group, rule).await;
        destroyed.rules.extend(left.keep(revoked, rule).map(|()| rule.clone()));
    }
    for parameter in &remains.parameters {
        let deleted = aws.delete(parameter).await;
        destroyed.parameters.extend(left.keep(deleted, parameter).map(|()| parameter.clone()));
    }
    let instances = going.into_iter().chain(remains.instances).collect();
    DestroyAnswer { found: Remains { instances, ..remains }, destroyed, notice: None }
}
