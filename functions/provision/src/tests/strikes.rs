//! Every call that `provision` makes fails once, with and without its effect, at the moment when the run is aborted.

use std::cell::{Cell, RefCell};

use drawbridge_aws::demolition::{Left, carry_out};
use drawbridge_aws::{FunctionError, Ingress, Instances, Kind};
use drawbridge_domain::destruction::{Found, of_run};
use drawbridge_domain::execution::Status;

use super::cloud::{Cloud, LOOKS, RUN, Strike, id, instance, provision, settings, tags_of};
use crate::undo::undo;

const OLDER: &str = "home-20261123T190000Z";

/// What a run may meet.
type Scene = (&'static str, fn() -> Cloud);

/// Each leads to other calls.
fn scenes() -> [Scene; 5] {
    [
        ("a launch", Cloud::default),
        ("no capacity anywhere", || Cloud { refusals: RefCell::new([Kind::Capacity; 4].into()), ..Cloud::default() }),
        ("a second box of the run", || Cloud {
            boxes: RefCell::new(vec![(instance('a', "2026-11-23T20:30:30Z", tags_of(RUN)), 1)]),
            ..Cloud::default()
        }),
        ("a box that was ready before", || {
            let boxes = RefCell::new(vec![(instance('b', "2026-11-23T20:30:30Z", tags_of(RUN)), 0)]);
            let cloud = Cloud { boxes, ..Cloud::default() };
            cloud.says_ready('b');
            cloud
        }),
        ("a dead run's box", || Cloud {
            boxes: RefCell::new(vec![(instance('a', "2026-11-23T19:01:00Z", tags_of(OLDER)), 0)]),
            others: RefCell::new(vec![(OLDER, Status::Aborted)]),
            ..Cloud::default()
        }),
    ]
}

fn of_the_run(cloud: &Cloud) -> usize {
    let boxes = cloud.boxes.borrow();
    boxes.iter().filter(|(of, _)| of.state.is_live() && of.tags == tags_of(RUN)).count()
}

#[tokio::test]
async fn whatever_call_fails_while_the_run_is_aborted_nothing_stays() {
    for (scene, cloud) in scenes() {
        for (takes_effect, hides) in [(false, 0), (true, 0), (true, 2)] {
            let clean = cloud();
            clean.hides_launched.set(hides);
            let _outcome = provision(&clean).await;
            let calls = clean.calls.into_inner();
            // The first call is the look that comes before everything.
            for call in 1..calls.len() {
                let cloud = cloud();
                cloud.hides_launched.set(hides);
                cloud.strike.set(Some(Strike { call, takes_effect, aborts: true }));
                let at = format!("{scene}: call {call} of {calls:?}, effect: {takes_effect}, hidden: {hides}");
                let error = provision(&cloud).await.map_err(|error| error.chain());
                assert!(error.is_err(), "{at}");
                let left = (of_the_run(&cloud), cloud.rules.borrow().len(), cloud.parameters.borrow().len());
                assert_eq!(left, (0, 0, 0), "{at}: {error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_run_that_goes_on_keeps_what_it_has_for_the_next_try() {
    let clean = Cloud::default();
    provision(&clean).await.unwrap();
    let launch = clean.calls.borrow().iter().position(|call| *call == "ec2:RunInstances").unwrap();
    let lost = Cloud::default();
    lost.strike.set(Some(Strike { call: launch, takes_effect: true, aborts: false }));
    assert_eq!(provision(&lost).await.unwrap_err().name(), "AwsFailed");
    assert_eq!((lost.live(), lost.rules.borrow().len()), (vec![id('b')], 1));
    assert_eq!(provision(&lost).await.unwrap().instance, id('b'), "the next try adopts it");
    assert_eq!(lost.launches.borrow().len(), 1);
}

#[tokio::test]
async fn the_first_failure_is_named_first_and_what_stays_behind_it() {
    let clean = Cloud::default();
    provision(&clean).await.unwrap();
    let launch = clean.calls.borrow().iter().position(|call| *call == "ec2:RunInstances").unwrap();
    let cloud = Cloud { unseen: Cell::new(99), ..Cloud::default() };
    cloud.strike.set(Some(Strike { call: launch, takes_effect: true, aborts: true }));
    let error = provision(&cloud).await.unwrap_err();
    assert_eq!(error.name(), "AwsFailed");
    let said = error.chain();
    let (first, then) = said.split_once("; of what was made for it, ").unwrap();
    assert!(first.contains("ec2:RunInstances"), "{said}");
    let once = format!("not everything was destroyed: {}; destroyed: ", id('b'));
    assert!(then.starts_with(&once), "{said}");
}

async fn take_back(cloud: &Cloud) {
    let why = FunctionError::UnknownRun(RUN.to_owned());
    let said = undo(&settings(), cloud, LOOKS, &RUN.parse().unwrap(), why).await;
    assert!(matches!(said, FunctionError::UnknownRun(_)), "nothing failed: {said:?}");
}

/// What `destroy` does about the run.
async fn destroy(cloud: &Cloud) {
    let (settings, run) = (settings(), RUN.parse().unwrap());
    let found = Found {
        instances: cloud.of_site(&settings.site).await.unwrap(),
        rules: cloud.rules(&settings.security_group).await.unwrap(),
        parameters: cloud.parameters.borrow().clone(),
    };
    let mut left = Left::default();
    let condemned = of_run(&run, &settings.site, &found);
    let answer = carry_out(cloud, LOOKS, &settings.security_group, condemned, &mut left).await;
    left.judge(answer).unwrap();
}

#[tokio::test]
async fn taking_back_twice_and_before_and_after_destroy_comes_to_the_same_end() {
    for order in ["uu", "ud", "du", "udu"] {
        let cloud = Cloud::default();
        provision(&cloud).await.unwrap();
        for step in order.chars() {
            if step == 'u' {
                take_back(&cloud).await
            } else {
                destroy(&cloud).await
            }
            assert!(cloud.nothing_remains(), "{order}");
        }
    }
}
