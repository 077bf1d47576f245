//! What the emulator can't show: boxes and addresses that EC2 doesn't show yet.
#![allow(clippy::unwrap_used)]

use std::cell::{Cell, RefCell};
use std::time::Duration;

use drawbridge_aws::{
    AwsError, Delivery, FunctionError, Instances, Launch, Looks, Parameters, ReadySettings, TaskTokens, Vault,
};
use drawbridge_domain::launch::{Instance, InstanceState};
use drawbridge_domain::tags;
use drawbridge_wire::{BridgeReady, InstanceId, RunId, Site, TaskToken};
use serde_json::{Value, json};

use crate::handler::handle;

const RUN: &str = "home-20261123T203000Z";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
const LOOKS: Looks = Looks { count: 3, pause: Duration::ZERO };

/// A run that waits for its box.
struct Waiting {
    /// For how many more looks the box can't be seen, and after these for how many its address can't.
    hidden: Cell<u32>,
    nameless: Cell<u32>,
    state: InstanceState,
    word: String,
    waits: bool,
    delivery: Delivery,
    told: RefCell<Option<BridgeReady>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            hidden: Cell::new(0),
            nameless: Cell::new(0),
            state: InstanceState::Running,
            word: json!({"host_key": format!("{KEY} box"), "version": "0.1.0"}).to_string(),
            waits: true,
            delivery: Delivery::Accepted,
            told: RefCell::new(None),
        }
    }
}

fn passes(left: &Cell<u32>) -> bool {
    let before = left.get();
    left.set(before.saturating_sub(1));
    before == 0
}

impl Instances for Waiting {
    async fn of_run(&self, site: &Site, run: &RunId) -> Result<Vec<Instance>, AwsError> {
        if !passes(&self.hidden) {
            return Ok(Vec::new());
        }
        Ok(vec![Instance {
            id: "i-0123456789abcdef0".parse().unwrap(),
            state: self.state,
            launched_at: "2026-11-23T20:31:00Z".parse().unwrap(),
            address: passes(&self.nameless).then(|| [198, 51, 100, 7].into()),
            tags: tags::of_run(site, run, "2026-11-23T21:00:00Z".parse().unwrap()),
        }])
    }

    async fn of_site(&self, _: &Site) -> Result<Vec<Instance>, AwsError> {
        unreachable!("ready looks at one run only")
    }

    async fn launch(&self, _: &Launch<'_>) -> Result<InstanceId, AwsError> {
        unreachable!("ready launches nothing")
    }

    async fn terminate(&self, _: &InstanceId) -> Result<(), AwsError> {
        unreachable!("ready terminates nothing")
    }
}

impl Parameters for Waiting {
    async fn put(&self, _: &str, _: &str) -> Result<(), AwsError> {
        unreachable!("ready keeps nothing")
    }

    async fn get(&self, name: &str) -> Result<Option<String>, AwsError> {
        assert_eq!(name, format!("/drawbridge/home/{RUN}/provision"));
        Ok(self.waits.then(|| json!({"task_token": "token", "deadline": "2026-11-23T21:00:00Z"}).to_string()))
    }

    async fn names(&self, _: &str) -> Result<Vec<String>, AwsError> {
        unreachable!("ready lists nothing")
    }

    async fn delete(&self, _: &str) -> Result<(), AwsError> {
        unreachable!("ready deletes nothing")
    }
}

impl TaskTokens for Waiting {
    async fn succeed(&self, token: &TaskToken, output: &str) -> Result<Delivery, AwsError> {
        assert_eq!(token.reveal(), "token");
        *self.told.borrow_mut() = Some(serde_json::from_str(output).unwrap());
        Ok(self.delivery)
    }

    async fn fail(&self, _: &TaskToken, _: &str, _: &str) -> Result<Delivery, AwsError> {
        unreachable!("ready fails nobody")
    }

    async fn heartbeat(&self, _: &TaskToken) -> Result<Delivery, AwsError> {
        unreachable!("ready keeps nobody waiting")
    }
}

impl Vault for Waiting {
    async fn list(&self, _: &str, _: &str) -> Result<Vec<String>, AwsError> {
        unreachable!("ready lists nothing")
    }

    async fn read(&self, bucket: &str, key: &str, _: usize) -> Result<Option<Vec<u8>>, AwsError> {
        assert_eq!((bucket, key), ("vault", format!("runs/{RUN}/ready/i-0123456789abcdef0.json").as_str()));
        Ok(Some(self.word.clone().into()))
    }

    async fn write(&self, _: &str, _: &str, _: Vec<u8>) -> Result<(), AwsError> {
        unreachable!("ready writes nothing")
    }
}

fn created(bucket: &str, key: &str) -> Value {
    json!({
        "version": "0", "id": "17793124-05d4-b198-2fde-7ededc63b103", "detail-type": "Object Created",
        "source": "aws.s3", "account": "123456789012", "time": "2026-11-23T20:31:30Z", "region": "eu-central-1",
        "resources": [format!("arn:aws:s3:::{bucket}")],
        "detail": {
            "version": "0", "bucket": {"name": bucket}, "object": {"key": key, "size": 150, "etag": "e"},
            "reason": "PutObject",
        },
    })
}

async fn announce(cloud: &Waiting) -> Result<Option<BridgeReady>, FunctionError> {
    hear(cloud, created("vault", &format!("runs/{RUN}/ready/i-0123456789abcdef0.json"))).await
}

async fn hear(cloud: &Waiting, event: Value) -> Result<Option<BridgeReady>, FunctionError> {
    let settings = ReadySettings { site: "home".parse().unwrap(), vault: "vault".into(), port: 2222 };
    handle(&settings, cloud, LOOKS, event).await?;
    Ok(cloud.told.borrow().clone())
}

#[tokio::test]
async fn the_state_machine_is_told_the_address_that_ec2_knows_and_the_key_without_its_comment() {
    let told = announce(&Waiting::default()).await.unwrap().unwrap();
    assert_eq!((told.address.to_string().as_str(), told.port), ("198.51.100.7", 2222));
    assert_eq!((told.host_key.as_str(), told.instance.as_str()), (KEY, "i-0123456789abcdef0"));
    assert_eq!(told.deadline, "2026-11-23T21:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn a_box_and_an_address_that_come_into_sight_late_are_waited_for_within_bounds() {
    let slow = Waiting { hidden: Cell::new(1), nameless: Cell::new(1), ..Waiting::default() };
    assert!(announce(&slow).await.unwrap().is_some());
    for never in [
        Waiting { hidden: Cell::new(LOOKS.count), ..Waiting::default() },
        Waiting { nameless: Cell::new(LOOKS.count), ..Waiting::default() },
    ] {
        assert_eq!(announce(&never).await.unwrap_err().name(), "NotYetVisible");
        assert!(never.told.borrow().is_none());
    }
}

#[tokio::test]
async fn late_and_repeated_words_change_nothing_and_are_no_error() {
    let over = Waiting { waits: false, ..Waiting::default() };
    let going = Waiting { state: InstanceState::ShuttingDown, ..Waiting::default() };
    for late in [over, going] {
        assert!(announce(&late).await.unwrap().is_none());
    }
    let closed = Waiting { delivery: Delivery::Closed, ..Waiting::default() };
    assert!(announce(&closed).await.is_ok());
}

#[tokio::test]
async fn foreign_events_and_words_that_are_none_are_refused() {
    let key = format!("runs/{RUN}/ready/i-0123456789abcdef0.json");
    for event in [
        created("other", &key),
        created("vault", &format!("runs/{RUN}/manifest.json")),
        created("vault", "runs/../ready/i-0123456789abcdef0.json"),
        json!({"run": RUN}),
    ] {
        assert_eq!(hear(&Waiting::default(), event).await.unwrap_err().name(), "InvalidRequest");
    }
    for word in [String::new(), "{}".into(), json!({"host_key": "ssh-rsa AAAA", "version": "1"}).to_string()] {
        let cloud = Waiting { word, ..Waiting::default() };
        assert_eq!(announce(&cloud).await.unwrap_err().name(), "InvalidRequest");
    }
}
