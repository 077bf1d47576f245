//! Properties of the workflow as a model: every path, every timeout and every payload of `statemachine/backup.asl.json`, with
//! the parameters' bounds from `infra/template.yaml`. The second half breaks the definition on purpose, since a check that
//! can't fail proves nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod broken;
mod definition;
mod errors;
mod expression;
mod flaw;
mod paths;
mod sizes;
mod times;
mod tokens;

use std::collections::BTreeSet;

use definition::Model;
use flaw::{Flaw, Property};

/// Everything that is wrong with a definition.
fn check(model: &Model) -> Vec<Flaw> {
    [paths::check, times::check, errors::check, sizes::check].iter().flat_map(|check| check(model)).collect()
}

#[test]
fn the_definition_has_every_property() {
    let flaws = check(&Model::here());
    assert!(flaws.is_empty(), "{flaws:#?}");
}

#[test]
fn each_property_is_lost_when_the_definition_is_broken() {
    let sound = Model::here();
    let mut lost = BTreeSet::new();
    for broken in broken::all() {
        let mut model = sound.clone();
        (broken.breaks)(&mut model);
        assert!(model.machine != sound.machine || model.template != sound.template, "{}: nothing changed", broken.what);
        let flaws = check(&model);
        assert!(flaws.iter().any(|flaw| flaw.property == broken.loses), "{}: {flaws:#?}", broken.what);
        lost.insert(broken.loses);
    }
    let all = Property::ALL.into_iter().collect();
    assert_eq!(lost, all, "every property is shown to fail");
}

#[test]
fn a_missing_catcher_is_missed_in_every_task() {
    let sound = Model::here();
    let names: Vec<String> = sound.tasks().map(|(name, _)| name.to_owned()).collect();
    assert!(names.len() >= 4, "{names:?}");
    for name in names {
        let mut model = sound.clone();
        model.machine["States"][&name].as_object_mut().unwrap().remove("Catch");
        let flaws = check(&model);
        assert!(flaws.iter().any(|flaw| flaw.property == Property::EveryTaskCatchesAll), "{name}: {flaws:?}");
    }
}
