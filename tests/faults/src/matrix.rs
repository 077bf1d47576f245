//! Every single fault: what a clean run called, and what the state machine file has, times everything that can go
//! wrong there. Nothing here names a call or a state, so that a new one is covered by being there.

use std::collections::BTreeMap;

use crate::board::Seen;
use crate::definition::State;
use crate::fault::{Call, Caller, Case, Clock, Effect, FOR_GOOD, Fault, Victim, When};
use crate::site::patience;

/// How often a service refuses for too many calls before it accepts one; the SDKs bear as many.
const THROTTLED: u32 = 2;

/// How many looks miss an instance that is there.
const HIDDEN: u32 = 2;

/// What can happen at a call, and how often in a row.
#[must_use]
pub fn effects_at(call: &Call, seen: &Seen) -> Vec<(Effect, u32)> {
    let mut effects = vec![
        (Effect::Fail, 1),
        (Effect::Fail, FOR_GOOD),
        (Effect::Throttle, THROTTLED),
        (Effect::LoseAnswer, 1),
        (Effect::Twice, 1),
        (Effect::Delay { seconds: patience(call.caller) }, 1),
    ];
    if seen.answered_with_body {
        effects.push((Effect::Garble, 1));
    }
    if call.caller.is_function() && !call.is_look() {
        effects.extend([(Effect::LoseAnswer, FOR_GOOD), (Effect::DelayAnswer { seconds: patience(call.caller) }, 1)]);
    }
    if call.action == "ec2:RunInstances" {
        effects.extend([(Effect::NoCapacity, 1), (Effect::NoCapacity, FOR_GOOD)]);
    }
    if ["ec2:DescribeInstances", "ec2:TerminateInstances"].contains(&call.action.as_str()) {
        effects.push((Effect::Hide, HIDDEN));
    }
    let is_put = call.action.starts_with("s3:PutObject");
    if is_put && seen.sent_body {
        effects.extend([(Effect::CutUpload, 1), (Effect::FlipBit, 1)]);
    }
    let mut killed =
        |victim| effects.extend([When::Before, When::After].map(|when| (Effect::Kill { victim, when }, 1)));
    if call.caller.is_function() {
        killed(Victim::Function);
    }
    // The box's first calls are made before there is a gate; what the gate calls are puts.
    if call.caller == Caller::Box && is_put {
        killed(Victim::Gate);
        killed(Victim::Agent);
    }
    if call.caller == Caller::Agent {
        killed(Victim::Agent);
    }
    // Before anything asked for an execution there is none to stop.
    if call.caller != Caller::Start && call.action != "lambda:Invoke start" {
        effects.push((Effect::Stop { when: When::Before }, 1));
    }
    effects
}

/// Whether a run bears it: what happens once is asked for again, and what is done twice is done once.
fn is_borne(call: &Call, effect: &Effect, times: u32) -> bool {
    let passes =
        matches!(effect, Effect::Fail | Effect::Throttle | Effect::LoseAnswer | Effect::Twice | Effect::NoCapacity);
    // A gate that finds its box announced gives up: somebody else may have done it.
    let is_announced_already = *effect == Effect::Twice && call.action == "s3:PutObject runs/ready";
    passes && times < FOR_GOOD && !is_announced_already
}

/// The state that fails when this call does for good: the one that makes it, or that runs the function which makes it.
/// What `destroy` can't do, the box may yet do itself, while that is tried again.
fn state_of<'a>(call: &Call, states: &'a [State]) -> Option<&'a State> {
    let of_function = Call { caller: Caller::States, action: format!("lambda:Invoke {}", call.caller.name()) };
    let is_its = |its: &Call| its == call || (*its == of_function && call.caller != Caller::Destroy);
    states.iter().find(|state| state.call.as_ref().is_some_and(is_its))
}

/// All single faults. `seen` is what a clean run called.
///
/// # Panics
/// When a task of the state machine wasn't called in the clean run: it would go untested.
#[must_use]
pub fn singles(seen: &BTreeMap<Call, Seen>, states: &[State]) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (call, how) in seen {
        for (effect, times) in effects_at(call, how) {
            let is_refused = times == FOR_GOOD && matches!(effect, Effect::Fail | Effect::NoCapacity);
            let fails_in = state_of(call, states).filter(|_| is_refused).map(|state| state.name.clone());
            let is_borne = is_borne(call, &effect, times);
            let fault = Fault::Call { call: call.clone(), nth: 1, times, effect };
            cases.push(Case { fails_in, is_borne, ..Case::single(fault) });
        }
    }
    for state in states {
        let uncovered = state.call.as_ref().is_some_and(|call| !seen.contains_key(call));
        assert!(!uncovered, "the clean run never was in {}, so no fault would strike there", state.name);
    }
    cases.extend(whole_runs(seen, states));
    cases
}

/// Faults that last a run, and those that have to come together because one alone shows nothing.
fn whole_runs(seen: &BTreeMap<Call, Seen>, states: &[State]) -> Vec<Case> {
    let mut cases = Vec::new();
    for whose in [Clock::Agent, Clock::Box] {
        cases.extend([-10, 10].map(|minutes| Case::single(Fault::Clock { whose, minutes })));
    }
    let for_good = |call: &Call, effect| Fault::Call { call: call.clone(), nth: 1, times: FOR_GOOD, effect };
    for call in states.iter().filter_map(|state| state.call.as_ref()) {
        let stopped = Fault::first(call.clone(), Effect::Stop { when: When::After });
        cases.extend([stopped, for_good(call, Effect::Fail)].map(|fault| Case::together([Fault::DropEvent, fault])));
    }
    // The run fails, nobody is told of its end, and what ends with it is held up.
    let put = seen.keys().find(|call| call.caller == Caller::Box && call.action.starts_with("s3:PutObject repo/"));
    let killed = Effect::Kill { victim: Victim::Agent, when: When::Before };
    let undoing = seen.keys().filter(|call| call.caller == Caller::Destroy && !call.is_look());
    cases.extend(undoing.zip(put.into_iter().cycle()).map(|(undoing, put)| {
        let killed = Fault::first(put.clone(), killed.clone());
        Case::together([Fault::DropEvent, killed, for_good(undoing, Effect::Throttle)])
    }));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(caller: Caller, action: &str) -> (Call, Seen) {
        (Call { caller, action: action.to_owned() }, Seen { times: 1, answered_with_body: true, sent_body: true })
    }

    #[test]
    fn a_new_call_and_a_new_state_are_covered_by_being_there() {
        let seen =
            BTreeMap::from([call(Caller::States, "lambda:Invoke weigh"), call(Caller::Report, "sqs:SendMessage")]);
        let weigh = seen.keys().find(|call| call.caller == Caller::States).cloned();
        let states = [State { name: "WeighBox".to_owned(), call: weigh }, State { name: "End".to_owned(), call: None }];
        let cases = singles(&seen, &states);
        let named: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
        assert!(named.contains(&"report sqs:SendMessage: function killed after it was done"), "{named:?}");
        assert!(named.contains(&"states lambda:Invoke weigh: execution stopped before it is done"), "{named:?}");
        let fails = cases.iter().find(|case| case.fails_in.is_some());
        assert_eq!(fails.and_then(|case| case.fails_in.as_deref()), Some("WeighBox"));
        assert!(cases.iter().any(|case| case.is_borne && case.name.ends_with("throttled, 2 times")), "{named:?}");
    }

    #[test]
    #[should_panic(expected = "never was in WeighBox")]
    fn a_state_that_no_run_was_in_is_an_error() {
        let weigh = Call { caller: Caller::States, action: "lambda:Invoke weigh".to_owned() };
        let _cases = singles(&BTreeMap::new(), &[State { name: "WeighBox".to_owned(), call: Some(weigh) }]);
    }
}
