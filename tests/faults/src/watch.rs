//! Looks at EC2 all the time: which boxes there are, of which run, and until when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_ec2::types::Filter;
use drawbridge_local::{Clients, StackDescription};
use drawbridge_tests::user_data_of;
use jiff::Timestamp;
use tokio::task::JoinHandle;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(250);

/// What was seen of one run's boxes.
#[derive(Debug, Clone, Default)]
pub struct Boxes {
    /// Every box that was seen alive.
    pub ids: BTreeSet<String>,
    /// The most that were alive at once.
    pub at_once: usize,
    /// When one was last seen alive.
    pub last_alive: Option<Timestamp>,
    /// The user data of each, as anyone with DescribeInstanceAttribute reads it; EC2 soon forgets what has ended.
    pub user_data: Vec<String>,
}

/// The watching task. Dropping it ends it.
#[derive(Debug)]
pub struct Watch {
    seen: Arc<Mutex<BTreeMap<String, Boxes>>>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Watches the boxes of a stack's site.
    #[must_use]
    pub fn begin(clients: Clients, stack: &StackDescription) -> Self {
        let seen = Arc::new(Mutex::new(BTreeMap::new()));
        let (site, into) = (stack.site.clone(), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            loop {
                look(&clients, &site, &into).await;
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { seen, task }
    }

    /// What was seen of a run's boxes.
    #[must_use]
    pub fn of_run(&self, run: &str) -> Boxes {
        lock(&self.seen).get(run).cloned().unwrap_or_default()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(clients: &Clients, site: &str, into: &Mutex<BTreeMap<String, Boxes>>) {
    let of_site = Filter::builder().name("tag:drawbridge:site").values(site).build();
    let alive = ["pending", "running", "stopping", "stopped"].map(str::to_owned).to_vec();
    let alive = Filter::builder().name("instance-state-name").set_values(Some(alive)).build();
    // While the stack comes up or goes down there is nothing to see.
    let Ok(answer) = clients.ec2.describe_instances().filters(of_site).filters(alive).send().await else { return };
    let mut now: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for instance in answer.reservations().iter().flat_map(|reservation| reservation.instances()) {
        let run = instance.tags().iter().find(|tag| tag.key() == Some("drawbridge:run"));
        let run = run.and_then(|tag| tag.value()).unwrap_or_default().to_owned();
        now.entry(run).or_default().insert(instance.instance_id().unwrap_or_default().to_owned());
    }
    for (run, ids) in now {
        let known = lock(into).get(&run).map(|boxes| boxes.ids.clone()).unwrap_or_default();
        let mut user_data = Vec::new();
        for id in ids.difference(&known) {
            user_data.extend(user_data_of(clients, id).await);
        }
        let mut seen = lock(into);
        let boxes = seen.entry(run).or_default();
        boxes.at_once = boxes.at_once.max(ids.len());
        boxes.last_alive = Some(Timestamp::now());
        boxes.user_data.extend(user_data);
        boxes.ids.extend(ids);
    }
}

fn lock(seen: &Mutex<BTreeMap<String, Boxes>>) -> MutexGuard<'_, BTreeMap<String, Boxes>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
