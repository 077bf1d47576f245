//! Want of capacity leads on to the next kind of box and the next zone, and an unclear answer doesn't.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use aws_sdk_ec2::types::Filter;
use drawbridge_faults::fault::{Call, Caller, Effect, FOR_GOOD, Fault};
use drawbridge_faults::run::Ran;
use drawbridge_faults::site::Site;
use drawbridge_tests::Execution;

fn launch() -> Call {
    Call { caller: Caller::Provision, action: "ec2:RunInstances".to_owned() }
}

/// A run whose launches meet an effect so many times, and how many launches were asked for.
async fn launched_under(site: &Site, effect: Effect, times: u32) -> (Ran, u32) {
    let ran = site.run(&[Fault::Call { call: launch(), nth: 1, times, effect }]).await;
    assert_eq!(ran.executions.len(), 1, "{ran:?}");
    let asked = site.proxy().board().seen()[&launch()].times;
    // The next run is in a slot of its own.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    (ran, asked)
}

/// Type and zone of each of a run's boxes.
async fn boxes(site: &Site, execution: &Execution) -> Vec<(String, String)> {
    let of_run = Filter::builder().name("tag:drawbridge:run").values(&execution.name).build();
    let found = site.rig().clients().ec2.describe_instances().filters(of_run).send().await.unwrap();
    let found = found.reservations().iter().flat_map(|reservation| reservation.instances());
    let place = |instance: &aws_sdk_ec2::types::Instance| {
        let zone = instance.placement().unwrap().availability_zone().unwrap();
        (instance.instance_type().unwrap().as_str().to_owned(), zone.to_owned())
    };
    found.map(place).collect()
}

#[tokio::test]
async fn a_definite_refusal_leads_to_the_next_choice_and_an_unclear_answer_does_not() {
    let site = Site::up().await;
    let first = site.run(&[]).await;
    let first = boxes(&site, &first.executions[0].0).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;

    let (ran, asked) = launched_under(&site, Effect::NoCapacity, 1).await;
    let execution = &ran.executions[0].0;
    assert_eq!((execution.status.as_str(), asked), ("SUCCEEDED", 2), "{ran:?}");
    let second = boxes(&site, execution).await;
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second, "refused there, it is another zone or type");

    let (ran, asked) = launched_under(&site, Effect::NoCapacity, FOR_GOOD).await;
    let execution = &ran.executions[0].0;
    assert_eq!(execution.error.as_deref(), Some("OutOfCapacity"), "{ran:?}");
    let cause = execution.cause.as_deref().unwrap();
    for tried in [&first, &second].into_iter().flatten() {
        assert!(cause.contains(&tried.0) && cause.contains(&tried.1), "{tried:?} is named: {cause}");
    }
    assert_eq!(asked, 4, "two types in two zones, each asked once");
    assert_eq!(boxes(&site, execution).await, []);

    let (ran, asked) = launched_under(&site, Effect::LoseAnswer, FOR_GOOD).await;
    let execution = &ran.executions[0].0;
    assert_eq!(execution.status, "FAILED", "{ran:?}");
    assert!(asked > 1, "it is asked again");
    assert_eq!(boxes(&site, execution).await, first, "in the same place, with the same token");
}
