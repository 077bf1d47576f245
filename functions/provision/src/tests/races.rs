//! Runs that end, answers that are lost, and other runs, all at the wrong moment.

use std::cell::{Cell, RefCell};

use drawbridge_aws::Kind;
use drawbridge_domain::destruction::Rule;
use drawbridge_domain::execution::Status;
use drawbridge_domain::tags::Tags;

use super::cloud::{Cloud, RUN, id, instance, provision, provision_at, provision_with, tags_of};

const NOW: &str = "2026-11-23T20:31:00Z";
const OLDER: &str = "home-20261123T190000Z";
const YOUNGER: &str = "home-20261123T204500Z";

#[tokio::test]
async fn a_run_that_is_over_makes_nothing() {
    let aborted = Cloud { statuses: RefCell::new([Status::Aborted].into()), ..Cloud::default() };
    assert_eq!(provision(&aborted).await.unwrap_err().name(), "RunIsOver");
    let late = Cloud::default();
    assert_eq!(provision_at(&late, "2026-11-23T20:45:00Z").await.unwrap_err().name(), "RunIsOver");
    for cloud in [aborted, late] {
        assert!(cloud.launches.borrow().is_empty() && cloud.nothing_remains());
    }
}

#[tokio::test]
async fn a_run_that_ends_during_the_launch_is_taken_back_even_when_ec2_does_not_see_the_box_yet() {
    let cloud = Cloud {
        statuses: RefCell::new([Status::Running, Status::Aborted].into()),
        unseen: Cell::new(2),
        ..Cloud::default()
    };
    assert_eq!(provision(&cloud).await.unwrap_err().name(), "RunIsOver");
    assert_eq!(cloud.launches.borrow().len(), 1);
    assert!(cloud.nothing_remains());
}

#[tokio::test]
async fn what_cannot_be_taken_back_is_named_and_the_rest_is_taken_back() {
    let cloud = Cloud {
        statuses: RefCell::new([Status::Running, Status::Aborted].into()),
        unseen: Cell::new(99),
        ..Cloud::default()
    };
    let error = provision(&cloud).await.unwrap_err();
    assert_eq!(error.name(), "RunIsOver", "the first failure gives its name");
    assert!(error.to_string().contains(id('b').as_str()), "{error}");
    assert!(cloud.rules.borrow().is_empty() && cloud.parameters.borrow().is_empty());
}

#[tokio::test]
async fn a_box_whose_launch_answer_was_lost_is_found_once_ec2_shows_it() {
    let lost = instance('a', "2026-11-23T20:30:30Z", tags_of(RUN));
    let cloud = Cloud {
        refusals: RefCell::new([Kind::AlreadyLaunched].into()),
        boxes: RefCell::new(vec![(lost, 2)]),
        ..Cloud::default()
    };
    assert_eq!(provision(&cloud).await.unwrap().instance, id('a'));
    assert_eq!(cloud.launches.borrow().len(), 1);
}

#[tokio::test]
async fn a_box_in_another_zone_that_shows_up_after_the_launch_leaves_one_of_the_two() {
    let lost = instance('a', "2026-11-23T20:30:30Z", tags_of(RUN));
    let cloud = Cloud { boxes: RefCell::new(vec![(lost, 1)]), ..Cloud::default() };
    cloud.says_ready('a');
    assert_eq!(provision(&cloud).await.unwrap().instance, id('a'));
    assert_eq!(cloud.launches.borrow().len(), 1);
    assert_eq!(cloud.live(), [id('a')]);
    assert_eq!(cloud.told.borrow().len(), 1, "what it had said before is heard");
}

#[tokio::test]
async fn another_open_runs_door_is_not_taken_over() {
    let left =
        Rule { id: "sgr-left".into(), cidr: Some("203.0.113.7/32".into()), port: Some(2222), tags: tags_of(OLDER) };
    let others = RefCell::new(vec![(OLDER, Status::Running)]);
    let cloud = Cloud { rules: RefCell::new(vec![left]), others, ..Cloud::default() };
    let error = provision(&cloud).await.unwrap_err();
    assert_eq!(error.name(), "IngressTaken");
    assert!(error.to_string().contains("sgr-left"), "{error}");
    assert!(cloud.launches.borrow().is_empty());
}

#[tokio::test]
async fn an_adopted_box_that_was_ready_before_is_announced_with_the_new_token() {
    let cloud = Cloud::default();
    let first = provision_with(&cloud, "first", NOW).await.unwrap();
    cloud.says_ready('b');
    assert_eq!(provision_with(&cloud, "second", NOW).await.unwrap().instance, first.instance);
    let told = cloud.told.borrow();
    assert_eq!(told.len(), 1);
    let (token, bridge) = told.first().unwrap();
    assert_eq!((token.as_str(), &bridge.instance, bridge.deadline), ("second", &first.instance, first.deadline));
}

#[tokio::test]
async fn an_adopted_box_that_has_said_nothing_is_left_to_ready() {
    let cloud = Cloud::default();
    provision(&cloud).await.unwrap();
    // Another box's word is not its own.
    cloud.vault.borrow_mut().insert(format!("runs/{RUN}/ready/{}.json", id('c')), "{}".to_owned());
    provision(&cloud).await.unwrap();
    assert!(cloud.told.borrow().is_empty());
}

#[tokio::test]
async fn what_a_dead_run_left_is_destroyed_before_the_launch() {
    let left =
        Rule { id: "sgr-left".into(), cidr: Some("203.0.113.7/32".into()), port: Some(2222), tags: tags_of(OLDER) };
    let cloud = Cloud {
        boxes: RefCell::new(vec![(instance('a', "2026-11-23T19:01:00Z", tags_of(OLDER)), 0)]),
        rules: RefCell::new(vec![left]),
        others: RefCell::new(vec![(OLDER, Status::Aborted)]),
        unseen: Cell::new(1),
        ..Cloud::default()
    };
    let provisioned = provision(&cloud).await.unwrap();
    assert_eq!(cloud.live(), [provisioned.instance]);
    let rules = cloud.rules.borrow();
    assert_eq!(rules.iter().map(|rule| rule.id.as_str()).collect::<Vec<_>>(), ["sgr-new"]);
}

#[tokio::test]
async fn a_dead_runs_box_that_cannot_be_destroyed_keeps_the_site_to_itself() {
    let cloud = Cloud {
        boxes: RefCell::new(vec![(instance('a', "2026-11-23T19:01:00Z", tags_of(OLDER)), 0)]),
        others: RefCell::new(vec![(OLDER, Status::Failed)]),
        unseen: Cell::new(99),
        ..Cloud::default()
    };
    assert_eq!(provision(&cloud).await.unwrap_err().name(), "DestroyIncomplete");
    assert!(cloud.launches.borrow().is_empty());
}

#[tokio::test]
async fn another_open_runs_box_is_neither_touched_nor_joined() {
    for other in [OLDER, YOUNGER] {
        let theirs = instance('a', "2026-11-23T20:30:30Z", tags_of(other));
        let cloud = Cloud {
            boxes: RefCell::new(vec![(theirs, 0)]),
            others: RefCell::new(vec![(other, Status::Running)]),
            ..Cloud::default()
        };
        let error = provision(&cloud).await.unwrap_err();
        assert_eq!(error.name(), "SiteTaken");
        assert!(error.to_string().contains(other), "{error}");
        assert_eq!(cloud.live(), [id('a')]);
        assert!(cloud.launches.borrow().is_empty() && cloud.rules.borrow().is_empty());
    }
}

#[tokio::test]
async fn of_two_runs_that_launch_at_once_the_younger_one_takes_its_box_back() {
    for (other, kept) in [(OLDER, vec![id('a')]), (YOUNGER, vec![id('a'), id('b')])] {
        let cloud = Cloud {
            rival: RefCell::new(Some(instance('a', "2026-11-23T20:30:30Z", tags_of(other)))),
            others: RefCell::new(vec![(other, Status::Running)]),
            ..Cloud::default()
        };
        let provisioned = provision(&cloud).await.map_err(|error| error.name());
        assert_eq!(provisioned.is_err(), other == OLDER, "{provisioned:?}");
        assert_eq!(cloud.live(), kept);
    }
}

#[tokio::test]
async fn a_foreign_machine_is_never_touched() {
    let mut foreign = tags_of(OLDER);
    foreign.insert(drawbridge_domain::tags::SITE.to_owned(), "office".to_owned());
    let rule =
        Rule { id: "sgr-foreign".into(), cidr: Some("203.0.113.9/32".into()), port: Some(22), tags: foreign.clone() };
    let untagged = Rule { id: "sgr-untagged".into(), cidr: None, port: Some(22), tags: Tags::new() };
    let cloud = Cloud {
        boxes: RefCell::new(vec![
            (instance('a', "2026-11-23T19:01:00Z", foreign), 0),
            (instance('c', "2026-11-23T19:01:00Z", Tags::new()), 0),
        ]),
        rules: RefCell::new(vec![rule, untagged]),
        others: RefCell::new(vec![(OLDER, Status::Failed)]),
        statuses: RefCell::new([Status::Running, Status::Aborted].into()),
        ..Cloud::default()
    };
    assert_eq!(provision(&cloud).await.unwrap_err().name(), "RunIsOver");
    assert_eq!(cloud.live(), [id('a'), id('c')]);
    assert_eq!(cloud.rules.borrow().len(), 2);
}
