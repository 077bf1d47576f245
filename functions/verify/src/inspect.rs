//! What is there now, and looks at as much of it as has to be looked at.

use std::collections::BTreeMap;

use drawbridge_aws::{AwsError, Inspection};
use drawbridge_domain::verification::{Evidence, Listed, Rules, Subject};
use drawbridge_wire::{MAX_MANIFEST_OBJECTS, Manifest, ObjectName, Timestamp, object_key};
use futures::stream::{self, StreamExt};

use crate::handler::Call;

/// How many objects are looked at at a time. At 30 ms a look that is some 2,000 objects a second.
const CONCURRENT_LOOKS: usize = 64;

/// How many objects of a repository are told apart: twice what a run can declare. More are strangers.
const MAX_OBJECTS: usize = 2 * MAX_MANIFEST_OBJECTS;

/// How many paths that can't be an object's are named. More are more of the same.
const MAX_STRANGERS: usize = 1000;

/// What lies below a repository's folder.
#[derive(Debug, Default)]
pub(crate) struct There {
    /// Objects of a restic repository, declared or not.
    pub(crate) listed: BTreeMap<ObjectName, Listed>,
    /// Paths that no object of a repository has.
    pub(crate) strangers: Vec<String>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looks {
    pub(crate) looked: usize,
    pub(crate) left: usize,
}

/// Lists the repository.
pub(crate) async fn list<A: Inspection>(vault: &str, aws: &A, subject: &Subject) -> Result<There, AwsError> {
    let folder = format!("repo/{}/", subject.repository);
    let mut there = There::default();
    let mut file = |key: String, listed: Listed| {
        let path = key.strip_prefix(&folder).unwrap_or(&key);
        match ObjectName::at_path(path) {
            Some(name) if there.listed.len() < MAX_OBJECTS => {
                there.listed.insert(name, listed);
            }
            _ if there.strangers.len() < MAX_STRANGERS => there.strangers.push(path.to_owned()),
            _ => {}
        }
    };
    aws.inspect(vault, &folder, &mut file).await?;
    Ok(there)
}

/// Looks at what is due, as far as `call` allows. One look that fails fails them all, but what was seen before it stays in the evidence.
pub(crate) async fn look<A: Inspection>(
    vault: &str,
    aws: &A,
    evidence: &mut Evidence,
    manifest: &Manifest,
    listed: &BTreeMap<ObjectName, Listed>,
    rules: Rules<'_>,
    call: Call,
) -> Result<Looks, AwsError> {
    let due = evidence.due(manifest, listed, rules);
    let repository = evidence.repository.clone();
    let mut looks = stream::iter(&due)
        .take(call.most_looks)
        .take_while(|_| std::future::ready(Timestamp::now() < call.look_until))
        .map(async |(name, listed)| {
            (*name, aws.look(vault, &object_key(&repository, name), &listed.version, call.now).await)
        })
        .buffer_unordered(CONCURRENT_LOOKS);
    let mut looked = 0;
    while let Some((name, seen)) = looks.next().await {
        looked += 1;
        match seen? {
            Some(seen) => evidence.seen.insert(name, seen),
            // Gone since it was listed.
            None => evidence.seen.remove(&name),
        };
    }
    drop(looks);
    Ok(Looks { looked, left: due.len() - looked })
}
