//! What the emulator can't show: refusals, boxes out of sight, and a run that ends while its box is launched.
#![allow(clippy::unwrap_used)]

mod cloud;
mod races;
mod strikes;

use std::cell::RefCell;

use drawbridge_aws::Kind;

use cloud::{Cloud, RUN, at, provision};

#[tokio::test]
async fn a_run_gets_one_box_a_door_and_a_kept_token() {
    let cloud = Cloud::default();
    let provisioned = provision(&cloud).await.unwrap();
    assert_eq!(provisioned.deadline, at("2026-11-23T20:45:00Z"));
    assert_eq!(cloud.live(), [provisioned.instance]);
    assert_eq!(*cloud.parameters.borrow(), [format!("/drawbridge/home/{RUN}/provision")]);
    assert_eq!(cloud.rules.borrow().len(), 1);
}

#[tokio::test]
async fn provisioning_twice_makes_nothing_twice() {
    let cloud = Cloud::default();
    let first = provision(&cloud).await.unwrap();
    assert_eq!(provision(&cloud).await.unwrap().instance, first.instance);
    assert_eq!((cloud.launches.borrow().len(), cloud.rules.borrow().len()), (1, 1));
}

#[tokio::test]
async fn only_a_definite_refusal_leads_to_the_next_zone() {
    let full = Cloud { refusals: RefCell::new([Kind::Capacity, Kind::Capacity].into()), ..Cloud::default() };
    provision(&full).await.unwrap();
    assert_eq!(*full.launches.borrow(), ["t3.nano in a", "t3.nano in b", "t3.micro in a"]);

    for (kind, name) in [(Kind::Other, "AwsFailed"), (Kind::Throttled, "AwsThrottled")] {
        let unsure = Cloud { refusals: RefCell::new([kind].into()), ..Cloud::default() };
        assert_eq!(provision(&unsure).await.unwrap_err().name(), name);
        assert_eq!(unsure.launches.borrow().len(), 1);
    }
}

#[tokio::test]
async fn when_every_zone_refuses_the_error_names_them_all() {
    let cloud = Cloud { refusals: RefCell::new([Kind::Capacity; 4].into()), ..Cloud::default() };
    let error = provision(&cloud).await.unwrap_err();
    assert_eq!(error.name(), "OutOfCapacity");
    for tried in ["t3.nano in a", "t3.nano in b", "t3.micro in a", "t3.micro in b"] {
        assert!(error.to_string().contains(tried), "{error}");
    }
}
