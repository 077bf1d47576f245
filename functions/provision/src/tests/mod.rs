//! What the emulator can't show: refusals, boxes out of sight, and a run that ends while its box is launched.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use drawbridge_aws::{
    Artifacts, AwsError, Environment, Executions, FunctionError, Ingress, Instances, Kind, Launch, Listed, Looks,
    Opening, Parameters, ProvisionSettings,
};
use drawbridge_domain::destruction::Rule;
use drawbridge_domain::execution::{Execution, Status};
use drawbridge_domain::hash::sha256;
use drawbridge_domain::launch::{Instance, InstanceState};
use drawbridge_domain::tags::{self, Tags};
use drawbridge_wire::{InstanceId, RunId, Sha256Digest, Site, Timestamp};
use serde_json::json;

use crate::handler::{Gate, Provisioned, handle};

const RUN: &str = "home-20261123T203000Z";
const LOOKS: Looks = Looks { count: 3, pause: Duration::ZERO };

/// A cloud in memory that does what each test needs of it.
#[derive(Default)]
struct Cloud {
    /// What the next looks at the execution show; running once they are used up.
    statuses: RefCell<VecDeque<Status>>,
    /// How the next launches fail; they succeed once these are used up.
    refusals: RefCell<VecDeque<Kind>>,
    /// Boxes that are there, and for how many more looks they can't be seen.
    boxes: RefCell<Vec<(Instance, u32)>>,
    /// How many more terminations answer "not found".
    unseen: Cell<u32>,
    launches: RefCell<Vec<String>>,
    rules: RefCell<Vec<Rule>>,
    parameters: RefCell<Vec<String>>,
}

impl Executions for Cloud {
    async fn running(&self, _: &str) -> Result<Vec<Listed>, AwsError> {
        unreachable!("provision lists no executions")
    }

    async fn begin(&self, _: &str, _: &RunId, _: &str) -> Result<Timestamp, AwsError> {
        unreachable!("provision begins no execution")
    }

    async fn describe(&self, _: &str) -> Result<Option<Execution>, AwsError> {
        let status = self.statuses.borrow_mut().pop_front().unwrap_or(Status::Running);
        let started_at = at("2026-11-23T20:30:00Z");
        Ok(Some(Execution { status, started_at, input: None, output: None, error: None, cause: None }))
    }
}

impl Artifacts for Cloud {
    async fn deposit(&self, _: &str, _: Bytes, _: &Sha256Digest) -> Result<(), AwsError> {
        Ok(())
    }

    async fn presign(&self, _: &str, _: &Sha256Digest, _: Timestamp, _: Timestamp) -> Result<String, AwsError> {
        Ok("https://vault.example/gate?signed".into())
    }
}

impl Ingress for Cloud {
    async fn open(&self, opening: &Opening<'_>) -> Result<(), AwsError> {
        let cidr = Some(opening.cidr.to_string());
        if self.rules.borrow().iter().any(|rule| rule.cidr == cidr) {
            return Err(AwsError::of_kind("ec2:AuthorizeSecurityGroupIngress", Kind::AlreadyExists));
        }
        let rule = Rule { id: "sgr-new".into(), cidr, port: Some(opening.port), tags: opening.tags.clone() };
        self.rules.borrow_mut().push(rule);
        Ok(())
    }

    async fn rules(&self, _: &str) -> Result<Vec<Rule>, AwsError> {
        Ok(self.rules.borrow().clone())
    }

    async fn revoke(&self, _: &str, id: &str) -> Result<(), AwsError> {
        self.rules.borrow_mut().retain(|rule| rule.id != id);
        Ok(())
    }
}

impl Parameters for Cloud {
    async fn put(&self, name: &str, _: &str) -> Result<(), AwsError> {
        self.parameters.borrow_mut().push(name.to_owned());
        Ok(())
    }

    async fn get(&self, _: &str) -> Result<Option<String>, AwsError> {
        unreachable!("provision reads no parameter")
    }

    async fn names(&self, _: &str) -> Result<Vec<String>, AwsError> {
        unreachable!("provision lists no parameters")
    }

    async fn delete(&self, name: &str) -> Result<(), AwsError> {
        self.parameters.borrow_mut().retain(|kept| kept != name);
        Ok(())
    }
}

impl Instances for Cloud {
    async fn of_run(&self, _: &Site, _: &RunId) -> Result<Vec<Instance>, AwsError> {
        let mut seen = Vec::new();
        for (instance, hidden) in self.boxes.borrow_mut().iter_mut() {
            match hidden {
                0 => seen.push(instance.clone()),
                _ => *hidden -= 1,
            }
        }
        Ok(seen)
    }

    async fn of_site(&self, _: &Site) -> Result<Vec<Instance>, AwsError> {
        unreachable!("provision looks at its own run only")
    }

    async fn launch(&self, launch: &Launch<'_>) -> Result<InstanceId, AwsError> {
        self.launches.borrow_mut().push(launch.candidate.to_string());
        if let Some(kind) = self.refusals.borrow_mut().pop_front() {
            return Err(AwsError::of_kind("ec2:RunInstances", kind));
        }
        let launched = instance('b', "2026-11-23T20:31:00Z", launch.tags.clone());
        let id = launched.id.clone();
        self.boxes.borrow_mut().push((launched, 0));
        Ok(id)
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), AwsError> {
        if self.unseen.get() > 0 {
            self.unseen.set(self.unseen.get() - 1);
            return Err(AwsError::of_kind("ec2:TerminateInstances", Kind::NotFound));
        }
        for (instance, _) in self.boxes.borrow_mut().iter_mut().filter(|(instance, _)| instance.id == *id) {
            instance.state = InstanceState::ShuttingDown;
        }
        Ok(())
    }
}

impl Cloud {
    fn live(&self) -> Vec<InstanceId> {
        let boxes = self.boxes.borrow();
        boxes.iter().filter(|(instance, _)| instance.state.is_live()).map(|(instance, _)| instance.id.clone()).collect()
    }

    fn nothing_remains(&self) -> bool {
        self.live().is_empty() && self.rules.borrow().is_empty() && self.parameters.borrow().is_empty()
    }
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(digit: char) -> InstanceId {
    format!("i-{}", digit.to_string().repeat(17)).parse().unwrap()
}

fn instance(digit: char, launched_at: &str, tags: Tags) -> Instance {
    Instance { id: id(digit), state: InstanceState::Pending, launched_at: at(launched_at), address: None, tags }
}

fn tags_of(run: &str) -> Tags {
    tags::of_run(&"home".parse().unwrap(), &run.parse().unwrap(), at("2026-11-23T20:45:00Z"))
}

fn settings() -> ProvisionSettings {
    let read = |name: &str| {
        let value = match name {
            "DRAWBRIDGE_SITE" => "home",
            "DRAWBRIDGE_INSTANCE_TYPES" => "t3.nano,t3.micro",
            "DRAWBRIDGE_SUBNETS" => "subnet-a=a,subnet-b=b",
            "DRAWBRIDGE_GATE_PORT" => "2222",
            "DRAWBRIDGE_BOOT_SECONDS" => "300",
            _ => "some",
        };
        Some(value.to_owned())
    };
    ProvisionSettings::read(&Environment::new(&read)).unwrap()
}

async fn provision_at(cloud: &Cloud, now: &str) -> Result<Provisioned, FunctionError> {
    let gate = Gate { program: Bytes::from_static(b"gate"), sha256: sha256(b"gate") };
    let event = json!({
        "run": RUN, "execution_arn": "arn", "started_at": "2026-11-23T20:30:00Z", "task_token": "token",
        "input": {
            "repository": "2026-11-0123456789abcdef", "public_key": "ssh-ed25519 AAAA", "source_cidr": "203.0.113.7/32",
            "objects": 1, "bytes": 10, "manifest_sha256": "00".repeat(32), "window_seconds": 600,
        },
    });
    handle(&settings(), &gate, cloud, LOOKS, event, || at(now)).await
}

async fn provision(cloud: &Cloud) -> Result<Provisioned, FunctionError> {
    provision_at(cloud, "2026-11-23T20:31:00Z").await
}

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
    assert_eq!(error.name(), "DestroyIncomplete");
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
    provision(&cloud).await.unwrap();
    assert_eq!(cloud.launches.borrow().len(), 1);
    assert_eq!(cloud.live(), [id('a')]);
}

#[tokio::test]
async fn a_door_that_another_run_left_open_is_not_taken_over() {
    let left = Rule {
        id: "sgr-left".into(),
        cidr: Some("203.0.113.7/32".into()),
        port: Some(2222),
        tags: tags_of("home-20261123T190000Z"),
    };
    let cloud = Cloud { rules: RefCell::new(vec![left]), ..Cloud::default() };
    let error = provision(&cloud).await.unwrap_err();
    assert_eq!(error.name(), "IngressTaken");
    assert!(error.to_string().contains("sgr-left"), "{error}");
    assert!(cloud.launches.borrow().is_empty());
}
