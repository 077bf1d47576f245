use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_aws::{
    Artifacts, AwsError, Delivery, Environment, Executions, FunctionError, Ingress, Instances, Kind, Launch, Listed,
    Looks, Opening, Parameters, ProvisionSettings, TaskTokens, Vault,
};
use drawbridge_domain::destruction::Rule;
use drawbridge_domain::execution::{Execution, Status};
use drawbridge_domain::hash::sha256;
use drawbridge_domain::launch::{Instance, InstanceState};
use drawbridge_domain::tags::{self, Tags, is_of_run, is_ours};
use drawbridge_wire::{BridgeReady, InstanceId, RunId, Sha256Digest, Site, TaskToken, Timestamp};
use serde_json::json;

use crate::handler::{Gate, Provisioned, handle};

pub(super) const RUN: &str = "home-20261123T203000Z";
pub(super) const LOOKS: Looks = Looks { count: 3, pause: Duration::ZERO };

/// One call of AWS that fails, whether or not it takes effect; the run is aborted at the same moment, or goes on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Strike {
    /// Which call, counted from 0.
    pub(super) call: usize,
    pub(super) takes_effect: bool,
    pub(super) aborts: bool,
}

/// A cloud in memory that does what each test needs of it.
#[derive(Default)]
pub(super) struct Cloud {
    /// The calls until now.
    pub(super) calls: RefCell<Vec<&'static str>>,
    pub(super) strike: Cell<Option<Strike>>,
    /// For how many looks a box that is launched can't be seen.
    pub(super) hides_launched: Cell<u32>,
    /// What the next looks at the execution show; running once they are used up.
    pub(super) statuses: RefCell<VecDeque<Status>>,
    /// What other runs' executions show.
    pub(super) others: RefCell<Vec<(&'static str, Status)>>,
    /// How the next launches fail; they succeed once these are used up.
    pub(super) refusals: RefCell<VecDeque<Kind>>,
    /// Boxes that are there, and for how many more looks they can't be seen.
    pub(super) boxes: RefCell<Vec<(Instance, u32)>>,
    /// How many more terminations answer "not found".
    pub(super) unseen: Cell<u32>,
    pub(super) launches: RefCell<Vec<String>>,
    /// A box that appears while this run's is launched, blind to it.
    pub(super) rival: RefCell<Option<Instance>>,
    pub(super) rules: RefCell<Vec<Rule>>,
    pub(super) parameters: RefCell<Vec<String>>,
    /// What the vault holds, and what the state machine was told with which token.
    pub(super) vault: RefCell<BTreeMap<String, String>>,
    pub(super) told: RefCell<Vec<(String, BridgeReady)>>,
}

impl Cloud {
    /// Records a call and does it, or fails it, or both.
    fn answer<T>(&self, call: &'static str, effect: impl FnOnce() -> Result<T, AwsError>) -> Result<T, AwsError> {
        let number = self.calls.borrow().len();
        self.calls.borrow_mut().push(call);
        let Some(strike) = self.strike.get().filter(|strike| strike.call == number) else { return effect() };
        if strike.aborts {
            *self.statuses.borrow_mut() = vec![Status::Aborted; 9].into();
        }
        if strike.takes_effect {
            effect()?;
        }
        Err(AwsError::of_kind(call, Kind::Other))
    }
}

impl Executions for Cloud {
    async fn running(&self, _: &str) -> Result<Vec<Listed>, AwsError> {
        unreachable!("provision lists no executions")
    }

    async fn succeeded(&self, _: &str, _: u32) -> Result<Vec<Listed>, AwsError> {
        unreachable!("provision lists no executions")
    }

    async fn begun(&self, _: &str, _: u32) -> Result<Vec<Timestamp>, AwsError> {
        unreachable!("provision counts no executions")
    }

    async fn begin(&self, _: &str, _: &RunId, _: &str) -> Result<Timestamp, AwsError> {
        unreachable!("provision begins no execution")
    }

    async fn describe(&self, arn: &str) -> Result<Option<Execution>, AwsError> {
        self.answer("states:DescribeExecution", || {
            let next = || self.statuses.borrow_mut().pop_front().unwrap_or(Status::Running);
            let other = self.others.borrow().iter().find(|(run, _)| arn.ends_with(run)).map(|(_, status)| *status);
            let status = other.unwrap_or_else(next);
            let started_at = at("2026-11-23T20:30:00Z");
            Ok(Some(Execution { status, started_at, input: None, output: None, error: None, cause: None }))
        })
    }
}

impl Artifacts for Cloud {
    async fn deposit(&self, _: &str, _: Bytes, _: &Sha256Digest, _: Timestamp) -> Result<(), AwsError> {
        self.answer("s3:PutObject", || Ok(()))
    }

    async fn presign(&self, _: &str, _: &Sha256Digest, _: Timestamp, _: Timestamp) -> Result<String, AwsError> {
        self.answer("presign", || Ok("https://vault.example/gate?signed".into()))
    }
}

impl Ingress for Cloud {
    async fn open(&self, opening: &Opening<'_>) -> Result<(), AwsError> {
        const OPEN: &str = "ec2:AuthorizeSecurityGroupIngress";
        self.answer(OPEN, || {
            let cidr = Some(opening.cidr.to_string());
            if self.rules.borrow().iter().any(|rule| rule.cidr == cidr) {
                return Err(AwsError::of_kind(OPEN, Kind::AlreadyExists));
            }
            let rule = Rule { id: "sgr-new".into(), cidr, port: Some(opening.port), tags: opening.tags.clone() };
            self.rules.borrow_mut().push(rule);
            Ok(())
        })
    }

    async fn rules(&self, _: &str) -> Result<Vec<Rule>, AwsError> {
        self.answer("ec2:DescribeSecurityGroupRules", || Ok(self.rules.borrow().clone()))
    }

    async fn revoke(&self, _: &str, id: &str) -> Result<(), AwsError> {
        self.answer("ec2:RevokeSecurityGroupIngress", || {
            self.rules.borrow_mut().retain(|rule| rule.id != id);
            Ok(())
        })
    }
}

impl Parameters for Cloud {
    async fn put(&self, name: &str, _: &str) -> Result<(), AwsError> {
        self.answer("ssm:PutParameter", || {
            self.parameters.borrow_mut().push(name.to_owned());
            Ok(())
        })
    }

    async fn get(&self, _: &str) -> Result<Option<String>, AwsError> {
        unreachable!("provision reads no parameter")
    }

    async fn names(&self, _: &str) -> Result<Vec<String>, AwsError> {
        unreachable!("provision lists no parameters")
    }

    async fn delete(&self, name: &str) -> Result<(), AwsError> {
        self.answer("ssm:DeleteParameter", || {
            self.parameters.borrow_mut().retain(|kept| kept != name);
            Ok(())
        })
    }
}

impl TaskTokens for Cloud {
    async fn succeed(&self, token: &TaskToken, output: &str) -> Result<Delivery, AwsError> {
        self.answer("states:SendTaskSuccess", || {
            self.told.borrow_mut().push((token.reveal().to_owned(), serde_json::from_str(output).unwrap()));
            Ok(Delivery::Accepted)
        })
    }

    async fn fail(&self, _: &TaskToken, _: &str, _: &str) -> Result<Delivery, AwsError> {
        unreachable!("provision fails by itself")
    }

    async fn heartbeat(&self, _: &TaskToken) -> Result<Delivery, AwsError> {
        unreachable!("provision keeps nobody waiting")
    }
}

impl Vault for Cloud {
    async fn list(&self, _: &str, prefix: &str) -> Result<Vec<String>, AwsError> {
        self.answer("s3:ListBucket", || {
            Ok(self.vault.borrow().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
        })
    }

    async fn read(&self, _: &str, key: &str, _: usize) -> Result<Option<Vec<u8>>, AwsError> {
        self.answer("s3:GetObject", || Ok(self.vault.borrow().get(key).map(|word| word.clone().into_bytes())))
    }

    async fn write(&self, _: &str, _: &str, _: Vec<u8>) -> Result<(), AwsError> {
        unreachable!("provision writes nothing but the gate")
    }
}

impl Instances for Cloud {
    async fn of_run(&self, site: &Site, run: &RunId) -> Result<Vec<Instance>, AwsError> {
        self.answer("ec2:DescribeInstances", || {
            let (mut seen, mut boxes) = (Vec::new(), self.boxes.borrow_mut());
            for (instance, hidden) in boxes.iter_mut().filter(|(of, _)| is_of_run(&of.tags, site, run)) {
                match hidden {
                    0 => seen.push(instance.clone()),
                    _ => *hidden -= 1,
                }
            }
            Ok(seen)
        })
    }

    async fn of_site(&self, site: &Site) -> Result<Vec<Instance>, AwsError> {
        self.answer("ec2:DescribeInstances", || {
            let boxes = self.boxes.borrow();
            let seen = boxes.iter().filter(|(instance, hidden)| *hidden == 0 && is_ours(&instance.tags, site));
            Ok(seen.map(|(instance, _)| instance.clone()).collect())
        })
    }

    async fn launch(&self, launch: &Launch<'_>) -> Result<InstanceId, AwsError> {
        self.answer("ec2:RunInstances", || {
            self.launches.borrow_mut().push(launch.candidate.to_string());
            if let Some(kind) = self.refusals.borrow_mut().pop_front() {
                return Err(AwsError::of_kind("ec2:RunInstances", kind));
            }
            self.boxes.borrow_mut().extend(self.rival.take().map(|rival| (rival, 0)));
            let launched = instance('b', "2026-11-23T20:31:00Z", launch.tags.clone());
            let id = launched.id.clone();
            self.boxes.borrow_mut().push((launched, self.hides_launched.get()));
            Ok(id)
        })
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), AwsError> {
        self.answer("ec2:TerminateInstances", || {
            if self.unseen.get() > 0 {
                self.unseen.set(self.unseen.get() - 1);
                return Err(AwsError::of_kind("ec2:TerminateInstances", Kind::NotFound));
            }
            for (instance, _) in self.boxes.borrow_mut().iter_mut().filter(|(instance, _)| instance.id == *id) {
                instance.state = InstanceState::ShuttingDown;
            }
            Ok(())
        })
    }
}

impl Cloud {
    pub(super) fn live(&self) -> Vec<InstanceId> {
        let boxes = self.boxes.borrow();
        boxes.iter().filter(|(instance, _)| instance.state.is_live()).map(|(instance, _)| instance.id.clone()).collect()
    }

    /// The box whose id is made of `digit` has said that it is ready.
    pub(super) fn says_ready(&self, digit: char) {
        let host_key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti";
        let word = json!({"host_key": host_key, "version": "1"}).to_string();
        self.vault.borrow_mut().insert(format!("runs/{RUN}/ready/{}.json", id(digit)), word);
    }

    pub(super) fn nothing_remains(&self) -> bool {
        self.live().is_empty() && self.rules.borrow().is_empty() && self.parameters.borrow().is_empty()
    }
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn id(digit: char) -> InstanceId {
    format!("i-{}", digit.to_string().repeat(17)).parse().unwrap()
}

pub(super) fn instance(digit: char, launched_at: &str, tags: Tags) -> Instance {
    let address = Some([198, 51, 100, 7].into());
    Instance { id: id(digit), state: InstanceState::Pending, launched_at: at(launched_at), address, tags }
}

pub(super) fn tags_of(run: &str) -> Tags {
    tags::of_run(&"home".parse().unwrap(), &run.parse().unwrap(), at("2026-11-23T20:45:00Z"))
}

pub(super) fn settings() -> ProvisionSettings {
    let read = |name: &str| {
        let value = match name {
            "DRAWBRIDGE_SITE" => "home",
            "DRAWBRIDGE_STATE_MACHINE_ARN" => "arn:aws:states:eu-central-1:123456789012:stateMachine:backup",
            "DRAWBRIDGE_INSTANCE_TYPES" => "t3.nano,t3.micro",
            "DRAWBRIDGE_SUBNETS" => "subnet-a=a,subnet-b=b",
            "DRAWBRIDGE_GATE_PORT" => "2222",
            "DRAWBRIDGE_BOOT_SECONDS" => "300",
            "DRAWBRIDGE_EXPIRE_DAYS" => "124",
            _ => "some",
        };
        Some(value.to_owned())
    };
    ProvisionSettings::read(&Environment::new(&read)).unwrap()
}

pub(super) async fn provision_at(cloud: &Cloud, now: &str) -> Result<Provisioned, FunctionError> {
    provision_with(cloud, "token", now).await
}

pub(super) async fn provision_with(cloud: &Cloud, token: &str, now: &str) -> Result<Provisioned, FunctionError> {
    let gate = Gate { program: Bytes::from_static(b"gate"), sha256: sha256(b"gate") };
    let event = json!({
        "run": RUN, "execution_arn": "arn", "started_at": "2026-11-23T20:30:00Z", "task_token": token,
        "input": {
            "repository": "2026-11-0123456789abcdef", "public_key": "ssh-ed25519 AAAA", "source_cidr": "203.0.113.7/32",
            "objects": 1, "bytes": 10, "manifest_sha256": "00".repeat(32), "window_seconds": 600,
        },
    });
    handle(&settings(), &gate, cloud, LOOKS, event, || at(now)).await
}

pub(super) async fn provision(cloud: &Cloud) -> Result<Provisioned, FunctionError> {
    provision_at(cloud, "2026-11-23T20:31:00Z").await
}
