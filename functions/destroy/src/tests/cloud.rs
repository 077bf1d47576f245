use std::cell::{Cell, RefCell};

use drawbridge_aws::{AwsError, Executions, Ingress, Instances, Kind, Launch, Listed, Opening, Parameters};
use drawbridge_domain::destruction::Rule;
use drawbridge_domain::execution::{Execution, Status};
use drawbridge_domain::launch::{Instance, InstanceState};
use drawbridge_domain::tags::{self, Tags};
use drawbridge_wire::{InstanceId, RunId, Site, Timestamp};

use super::RUN;

/// What fails in a [`Cloud`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Broken {
    Nothing,
    Boxes,
    Rules,
    Names,
    Executions,
    /// They never answer.
    ExecutionsHang,
    Terminate,
    Revoke,
    Delete,
}

/// A cloud with one box, one rule and one parameter of a run that has failed.
pub(super) struct Cloud {
    pub(super) broken: Broken,
    /// What became of the run.
    pub(super) status: Status,
    /// For how many more looks the box can't be seen.
    pub(super) hidden: Cell<u32>,
    /// How many more terminations answer "not found".
    pub(super) unseen: Cell<u32>,
    /// A box that no termination finds.
    pub(super) bad: RefCell<Option<InstanceId>>,
    pub(super) boxes: RefCell<Vec<Instance>>,
    pub(super) rules: RefCell<Vec<Rule>>,
    pub(super) names: RefCell<Vec<String>>,
    /// How many look-ups hang now, and the most that did at once.
    pub(super) hanging: Cell<(usize, usize)>,
}

/// A look-up that hangs until it is given up.
struct Hanging<'a>(&'a Cell<(usize, usize)>);

impl<'a> Hanging<'a> {
    fn one_more(of: &'a Cell<(usize, usize)>) -> Self {
        let (now, most) = of.get();
        of.set((now + 1, most.max(now + 1)));
        Self(of)
    }
}

impl Drop for Hanging<'_> {
    fn drop(&mut self) {
        let (now, most) = self.0.get();
        self.0.set((now - 1, most));
    }
}

impl Cloud {
    pub(super) fn new(broken: Broken) -> Self {
        let instance = Instance {
            id: id(),
            state: InstanceState::Running,
            launched_at: at("2026-11-23T20:31:00Z"),
            address: None,
            tags: tags_of_run(),
        };
        let rule = Rule { id: "sgr-1".into(), cidr: None, port: None, tags: tags_of_run() };
        Self {
            broken,
            status: Status::Aborted,
            hidden: Cell::new(0),
            unseen: Cell::new(0),
            bad: RefCell::new(None),
            boxes: RefCell::new(vec![instance]),
            rules: RefCell::new(vec![rule]),
            names: RefCell::new(vec![format!("/drawbridge/home/{RUN}/session")]),
            hanging: Cell::default(),
        }
    }

    fn check(&self, operation: Broken) -> Result<(), AwsError> {
        if self.broken == operation { Err(AwsError::of_kind("aws:Broken", Kind::Throttled)) } else { Ok(()) }
    }

    pub(super) fn remaining(&self) -> (usize, usize, usize) {
        let live = self.boxes.borrow().iter().filter(|instance| instance.state.is_live()).count();
        (live, self.rules.borrow().len(), self.names.borrow().len())
    }
}

impl Executions for Cloud {
    async fn running(&self, _: &str) -> Result<Vec<Listed>, AwsError> {
        unreachable!("destroy lists no executions")
    }

    async fn succeeded(&self, _: &str, _: u32) -> Result<Vec<Listed>, AwsError> {
        unreachable!("destroy lists no executions")
    }

    async fn begun(&self, _: &str, _: u32) -> Result<Vec<Timestamp>, AwsError> {
        unreachable!("destroy counts no executions")
    }

    async fn begin(&self, _: &str, _: &RunId, _: &str) -> Result<Timestamp, AwsError> {
        unreachable!("destroy begins no execution")
    }

    async fn describe(&self, _: &str) -> Result<Option<Execution>, AwsError> {
        self.check(Broken::Executions)?;
        if self.broken == Broken::ExecutionsHang {
            let _hanging = Hanging::one_more(&self.hanging);
            std::future::pending::<()>().await;
        }
        let (status, started_at) = (self.status, at("2026-11-23T20:30:00Z"));
        let cause = (status == Status::Aborted).then(|| "by \"hand\"".to_owned());
        Ok(Some(Execution { status, started_at, input: None, output: None, error: None, cause }))
    }
}

impl Instances for Cloud {
    async fn of_run(&self, site: &Site, _: &RunId) -> Result<Vec<Instance>, AwsError> {
        self.of_site(site).await
    }

    async fn of_site(&self, _: &Site) -> Result<Vec<Instance>, AwsError> {
        self.check(Broken::Boxes)?;
        if self.hidden.get() > 0 {
            self.hidden.set(self.hidden.get() - 1);
            return Ok(Vec::new());
        }
        Ok(self.boxes.borrow().clone())
    }

    async fn launch(&self, _: &Launch<'_>) -> Result<InstanceId, AwsError> {
        unreachable!("destroy launches nothing")
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), AwsError> {
        self.check(Broken::Terminate)?;
        if self.unseen.get() > 0 || self.bad.borrow().as_ref() == Some(id) {
            self.unseen.set(self.unseen.get().saturating_sub(1));
            return Err(AwsError::of_kind("ec2:TerminateInstances", Kind::NotFound));
        }
        let mut boxes = self.boxes.borrow_mut();
        boxes.iter_mut().filter(|of| of.id == *id).for_each(|of| of.state = InstanceState::ShuttingDown);
        Ok(())
    }
}

impl Ingress for Cloud {
    async fn open(&self, _: &Opening<'_>) -> Result<(), AwsError> {
        unreachable!("destroy opens nothing")
    }

    async fn rules(&self, _: &str) -> Result<Vec<Rule>, AwsError> {
        self.check(Broken::Rules)?;
        Ok(self.rules.borrow().clone())
    }

    async fn revoke(&self, _: &str, id: &str) -> Result<(), AwsError> {
        self.check(Broken::Revoke)?;
        self.rules.borrow_mut().retain(|rule| rule.id != id);
        Ok(())
    }
}

impl Parameters for Cloud {
    async fn put(&self, _: &str, _: &str) -> Result<(), AwsError> {
        unreachable!("destroy keeps nothing")
    }

    async fn get(&self, _: &str) -> Result<Option<String>, AwsError> {
        unreachable!("destroy reads no token")
    }

    async fn names(&self, _: &str) -> Result<Vec<String>, AwsError> {
        self.check(Broken::Names)?;
        Ok(self.names.borrow().clone())
    }

    async fn delete(&self, name: &str) -> Result<(), AwsError> {
        self.check(Broken::Delete)?;
        self.names.borrow_mut().retain(|kept| kept != name);
        Ok(())
    }
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn id() -> InstanceId {
    "i-0123456789abcdef0".parse().unwrap()
}

pub(super) fn tags_of_run() -> Tags {
    tags::of_run(&"home".parse().unwrap(), &RUN.parse().unwrap(), at("2026-11-23T21:00:00Z"))
}
