//! What the emulator can't show: boxes out of sight, and steps that fail while the others must go on.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod cloud;

use std::time::Duration;

use drawbridge_aws::{DestroySettings, FunctionError, Looks};
use drawbridge_domain::execution::Status;
use drawbridge_domain::launch::Instance;
use drawbridge_domain::tags::{self, Tags};
use drawbridge_wire::{DestroyAnswer, InstanceId, Remains};
use serde_json::{Value, json};

use crate::handler::{Patience, handle};
use cloud::{Broken, Cloud, at, id, tags_of_run};

const RUN: &str = "home-20261123T203000Z";
const LOOKS: Looks = Looks { count: 3, pause: Duration::ZERO };

async fn destroy_at(cloud: &Cloud, event: Value, now: &str) -> Result<DestroyAnswer, FunctionError> {
    let settings =
        DestroySettings { site: "home".parse().unwrap(), state_machine: MACHINE.into(), security_group: "sg-1".into() };
    let patience = Patience { looks: LOOKS, fates: Duration::from_millis(50) };
    handle(&settings, cloud, patience, event, at(now)).await
}

async fn destroy(cloud: &Cloud, event: Value) -> Result<DestroyAnswer, FunctionError> {
    destroy_at(cloud, event, "2026-11-23T20:40:00Z").await
}

/// What the operator reads of a destruction that left something: the error; or what a sweep tells that destroyed the rest.
fn complaint(answer: Result<DestroyAnswer, FunctionError>) -> String {
    match answer {
        Ok(answer) => answer.notice.unwrap(),
        Err(error) => {
            assert_eq!(error.name(), "DestroyIncomplete");
            error.to_string()
        }
    }
}

const MACHINE: &str = "arn:aws:states:eu-central-1:123456789012:stateMachine:backup";

fn the_run() -> Value {
    json!({"run": RUN})
}

fn ended(status: &str, cause: Option<&str>) -> Value {
    json!({
        "version": "0", "id": "315c1398-40ff-a850-213b-158f73e60175", "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change", "account": "123456789012",
        "time": "2026-11-23T20:39:00Z", "region": "eu-central-1", "resources": [],
        "detail": {"stateMachineArn": MACHINE, "name": RUN, "status": status, "error": null, "cause": cause},
    })
}

fn a_sweep() -> Value {
    json!({"sweep": {}})
}

/// By the state machine, by the event rule, by the schedule.
fn three_ways() -> [Value; 3] {
    [the_run(), ended("ABORTED", None), a_sweep()]
}

#[tokio::test]
async fn a_run_is_destroyed_and_destroying_it_again_is_no_error() {
    for event in three_ways() {
        let cloud = Cloud::new(Broken::Nothing);
        let answer = destroy(&cloud, event.clone()).await.unwrap();
        let parameters = vec![format!("/drawbridge/home/{RUN}/session")];
        let all = Remains { instances: vec![id()], rules: vec!["sgr-1".into()], parameters };
        assert_eq!((&answer.found, &answer.destroyed), (&all, &all));
        assert_eq!(cloud.remaining(), (0, 0, 0));
        let again = destroy(&cloud, event).await.unwrap();
        let going = Remains { instances: vec![id()], ..Remains::default() };
        assert_eq!((again.destroyed.is_empty(), again.found), (true, going));
    }
}

#[tokio::test]
async fn one_box_that_cannot_be_terminated_keeps_no_other_alive() {
    for event in three_ways() {
        let cloud = Cloud::new(Broken::Nothing);
        let bad: InstanceId = "i-00000000000000bad".parse().unwrap();
        let first = Instance { id: bad.clone(), ..cloud.boxes.borrow()[0].clone() };
        cloud.boxes.borrow_mut().insert(0, first);
        *cloud.bad.borrow_mut() = Some(bad.clone());
        let said = complaint(destroy(&cloud, event).await);
        assert_eq!(cloud.remaining(), (1, 0, 0));
        let said = said.rsplit_once("not everything was destroyed: ").unwrap().1;
        let (left, destroyed) = said.split_once("; destroyed: ").unwrap();
        assert!(left.contains(bad.as_str()) && !left.contains(id().as_str()), "{said}");
        assert!(
            destroyed.contains(id().as_str()) && destroyed.contains("sgr-1") && destroyed.contains("/session"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn what_lacks_this_stacks_tags_is_never_touched() {
    let without = |tag: &str| tags_of_run().into_iter().filter(|(key, _)| key != tag).collect::<Tags>();
    let of_another = |tag: &str| {
        let mut tags = tags_of_run();
        tags.insert(tag.to_owned(), "office".to_owned());
        tags
    };
    for foreign in [Tags::new(), without(tags::APP), without(tags::SITE), of_another(tags::APP), of_another(tags::SITE)]
    {
        for event in three_ways() {
            let cloud = Cloud::new(Broken::Nothing);
            cloud.boxes.borrow_mut().iter_mut().for_each(|instance| instance.tags = foreign.clone());
            cloud.rules.borrow_mut().iter_mut().for_each(|rule| rule.tags = foreign.clone());
            *cloud.names.borrow_mut() =
                vec![format!("/drawbridge/office/{RUN}/session"), "/drawbridge/home/note".into()];
            let answer = destroy(&cloud, event).await.unwrap();
            assert!(answer.found.is_empty() && answer.destroyed.is_empty(), "{foreign:?}: {answer:?}");
            assert_eq!(cloud.remaining(), (1, 1, 2));
        }
    }
}

#[tokio::test]
async fn a_dead_runs_rules_and_parameters_go_without_a_box() {
    for event in three_ways() {
        let cloud = Cloud::new(Broken::Nothing);
        cloud.boxes.borrow_mut().clear();
        let answer = destroy(&cloud, event).await.unwrap();
        assert_eq!((answer.destroyed.rules.len(), answer.destroyed.parameters.len()), (1, 1));
        assert_eq!(cloud.remaining(), (0, 0, 0));
    }
}

#[tokio::test]
async fn a_box_that_only_the_last_look_shows_is_destroyed() {
    let cloud = Cloud::new(Broken::Nothing);
    cloud.hidden.set(LOOKS.count - 1);
    destroy(&cloud, the_run()).await.unwrap();
    assert_eq!(cloud.remaining(), (0, 0, 0));
}

#[tokio::test]
async fn a_box_that_cannot_be_found_to_terminate_it_is_tried_again_and_then_named() {
    let slow = Cloud::new(Broken::Nothing);
    slow.unseen.set(LOOKS.count - 1);
    destroy(&slow, the_run()).await.unwrap();
    assert_eq!(slow.remaining(), (0, 0, 0));

    let never = Cloud::new(Broken::Nothing);
    never.unseen.set(LOOKS.count);
    let error = destroy(&never, the_run()).await.unwrap_err();
    assert_eq!(error.name(), "DestroyIncomplete");
    assert!(error.to_string().contains(id().as_str()), "{error}");
    assert_eq!(never.remaining(), (1, 0, 0));
}

#[tokio::test]
async fn whatever_fails_the_other_steps_are_done_and_the_failure_is_named() {
    for (broken, remaining, named) in [
        (Broken::Boxes, (1, 0, 0), "instances"),
        (Broken::Rules, (0, 1, 0), "security group rules"),
        (Broken::Names, (0, 0, 1), "parameters"),
        (Broken::Terminate, (1, 0, 0), "i-0123456789abcdef0"),
        (Broken::Revoke, (0, 1, 0), "sgr-1"),
        (Broken::Delete, (0, 0, 1), "/drawbridge/home/"),
    ] {
        for event in three_ways() {
            let cloud = Cloud::new(broken);
            let said = complaint(destroy(&cloud, event).await);
            assert!(said.contains("not everything was destroyed") && said.contains(named), "{said}");
            assert_eq!(cloud.remaining(), remaining, "{named}");
        }
    }
}

#[tokio::test]
async fn a_sweep_that_cannot_look_up_a_run_spares_it_and_says_so() {
    for broken in [Broken::Executions, Broken::ExecutionsHang] {
        let cloud = Cloud::new(broken);
        let error = destroy(&cloud, a_sweep()).await.unwrap_err();
        assert!(error.to_string().contains(RUN), "{error}");
        assert_eq!(cloud.remaining(), (1, 1, 1));
    }
}

#[tokio::test]
async fn what_is_past_its_deadline_goes_whatever_step_functions_says() {
    for broken in [Broken::Nothing, Broken::Executions, Broken::ExecutionsHang] {
        let cloud = Cloud { status: Status::Running, ..Cloud::new(broken) };
        let answer = destroy_at(&cloud, a_sweep(), "2026-11-23T21:00:00Z").await.unwrap();
        assert_eq!(cloud.remaining(), (0, 0, 1), "the parameter is its run's, whose fate decides");
        assert!(answer.notice.unwrap().contains(RUN));
    }
}

#[tokio::test]
async fn hanging_look_ups_hang_together_and_hold_up_none_of_the_others() {
    let cloud = Cloud::new(Broken::ExecutionsHang);
    let more = (0..20).map(|second| format!("/drawbridge/home/home-20261123T2030{second:02}Z/session"));
    cloud.names.borrow_mut().extend(more);
    let swept = tokio::time::timeout(Duration::from_secs(20), destroy(&cloud, a_sweep())).await;
    let error = swept.unwrap().unwrap_err();
    assert!(error.to_string().contains("has not answered"), "{error}");
    assert_eq!(cloud.hanging.get(), (0, 20), "all at once, and none any more");
}

#[tokio::test]
async fn an_end_that_no_state_could_tell_is_told_with_its_cause_and_what_became_of_its_things() {
    for (event, words) in [
        (ended("ABORTED", Some("a \"test\"")), "was ABORTED: somebody stopped it: a \"test\"."),
        // An event without a cause is made good by a look at the execution.
        (ended("ABORTED", None), "was ABORTED: somebody stopped it: by \"hand\"."),
        (ended("TIMED_OUT", None), "TIMED_OUT: it ran into its own time limit."),
        (a_sweep(), "was ABORTED: somebody stopped it: by \"hand\"."),
    ] {
        let cloud = Cloud::new(Broken::Nothing);
        let notice = destroy(&cloud, event.clone()).await.unwrap().notice.unwrap();
        for word in [RUN, words, id().as_str(), "sgr-1", "/session", "Left: nothing."] {
            assert!(notice.contains(word), "{word} in {notice}");
        }
    }
}

#[tokio::test]
async fn what_is_no_news_is_not_told() {
    let failed = Cloud { status: Status::Failed, ..Cloud::new(Broken::Nothing) };
    assert_eq!(destroy(&failed, the_run()).await.unwrap().notice, None, "the state machine tells its end itself");
    assert_eq!(destroy(&failed, ended("FAILED", None)).await.unwrap().notice, None, "a failed run has left nothing");
    assert_eq!(destroy(&failed, a_sweep()).await.unwrap().notice, None, "nothing was there to sweep");
    let left_something = Cloud { status: Status::Failed, ..Cloud::new(Broken::Nothing) };
    let notice = destroy(&left_something, ended("FAILED", Some("x"))).await.unwrap().notice.unwrap();
    assert!(notice.contains("FAILED: x.") && notice.contains(id().as_str()), "{notice}");
}

#[tokio::test]
async fn a_sweep_that_destroyed_something_and_left_something_tells_both() {
    let cloud = Cloud::new(Broken::Terminate);
    let notice = destroy(&cloud, a_sweep()).await.unwrap().notice.unwrap();
    let (gone, left) = notice.split_once(" Left: ").unwrap();
    assert!(gone.contains(RUN) && gone.contains("Destroyed now: sgr-1,"), "{notice}");
    assert!(left.contains(id().as_str()) && left.contains("aws:Broken"), "{notice}");
    let error = destroy(&cloud, a_sweep()).await.unwrap_err();
    assert_eq!(error.name(), "DestroyIncomplete", "the next one has nothing to tell but its failure");
}
