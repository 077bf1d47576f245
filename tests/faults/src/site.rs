//! A stack with a proxy in it, on which one case after the other is played.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drawbridge_local::free_port;
use drawbridge_tests::{Dice, Rig};

use crate::fault::{Caller, Case};
use crate::planted::Planted;
use crate::proxy::Proxy;
use crate::report::{Outcome, Report};
use crate::root::Root;
use crate::watch::Watch;

/// Short enough that a hang costs seconds, long enough for several stacks on two cores.
const PARAMETERS: [(&str, &str); 10] = [
    ("SlotSeconds", "1"),
    // The rig asks the sweeper itself, and a case must meet the same calls each time.
    ("SweepRate", "rate(1 hour)"),
    ("BootSeconds", "30"),
    ("WindowBaseSeconds", "30"),
    ("WindowMaxSeconds", "30"),
    ("HeartbeatSeconds", "6"),
    ("AnswerSeconds", "10"),
    ("LaunchSeconds", "15"),
    ("VerifySeconds", "10"),
    ("DestroySeconds", "10"),
];

/// Seconds after which a caller surely has given up on a call: its function's timeout, its state's, or its own.
#[must_use]
pub const fn patience(caller: Caller) -> u64 {
    match caller {
        Caller::Start | Caller::Ready | Caller::Session | Caller::Report | Caller::Verify | Caller::Destroy => 12,
        Caller::Provision => 17,
        Caller::Agent | Caller::States | Caller::Box => 32,
    }
}

/// A stack under test.
pub struct Site {
    rig: Rig,
    proxy: Proxy,
    root: Root,
    watch: Watch,
    planted: Planted,
    destroys_rules: Vec<String>,
    versions: BTreeSet<(String, String)>,
    /// Secrets that nothing may show: what, and the secret itself.
    secrets: Vec<(String, String)>,
}

impl Site {
    /// Brings one up.
    pub async fn up() -> Self {
        let port = free_port().unwrap();
        let proxy = Proxy::start(port).await;
        let rig = Rig::up_routed(&PARAMETERS, Some(port), proxy.routes()).await;
        let (clients, stack) = (rig.clients(), rig.stack());
        proxy.hands().hold(clients.clone(), stack.state_machine_arn.clone());
        let root = Root::of(stack);
        let destroys_rules = root.rules_of(&stack.functions.destroy).await;
        assert!(!destroys_rules.is_empty(), "a rule calls destroy when a run ends badly");
        let planted = Planted::plant(clients, stack).await;
        let watch = Watch::begin(clients.clone(), stack);
        std::fs::create_dir_all(rig.source().join("etc")).unwrap();
        std::fs::write(rig.source().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        std::fs::write(rig.source().join("etc/log"), Dice::new(4).bytes(200_000)).unwrap();
        let password = std::fs::read_to_string(rig.files().password_file()).unwrap().trim().to_owned();
        let secrets = vec![
            ("the repository's password".to_owned(), password),
            ("the agent's secret key".to_owned(), stack.agent.credentials.secret_access_key.clone()),
            ("the operator's secret key".to_owned(), stack.admin.secret_access_key.clone()),
        ];
        let versions = BTreeSet::new();
        Self { rig, proxy, root, watch, planted, destroys_rules, versions, secrets }
    }

    /// The stack.
    pub const fn rig(&self) -> &Rig {
        &self.rig
    }

    /// What lies between the stack's parts.
    pub const fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(crate) const fn root(&self) -> &Root {
        &self.root
    }

    pub(crate) const fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(crate) const fn planted(&self) -> &Planted {
        &self.planted
    }

    pub(crate) fn destroys_rules(&self) -> &[String] {
        &self.destroys_rules
    }

    pub(crate) const fn versions_mut(&mut self) -> &mut BTreeSet<(String, String)> {
        &mut self.versions
    }

    pub(crate) fn secrets(&self) -> &[(String, String)] {
        &self.secrets
    }

    pub(crate) fn add_secrets(&mut self, tokens: Vec<String>) {
        self.secrets.extend(tokens.into_iter().map(|token| ("a task token".to_owned(), token)));
    }

    /// Plays a case: a run under its faults, what must be true after it, and, unless all went well, a run without
    /// faults that must end well.
    pub async fn play(&mut self, case: &Case) -> Report {
        let began = Instant::now();
        let mut report = Report::default();
        self.forget_the_past();
        let ran = self.run(&case.faults).await;
        self.judge_case(case, &ran, &mut report);
        self.judge_run(&ran, &case.faults, &mut report).await;
        if ran.agent.code != 0 {
            // A slot is a second long.
            tokio::time::sleep(Duration::from_millis(1100)).await;
            let again = self.run(&[]).await;
            self.judge_run(&again, &[], &mut report).await;
            if again.agent.code != 0 || report.outcomes.last() != Some(&Outcome::Verified) {
                report.broke(0, format!("the run after it did not end well: {}", again.agent.stderr.trim()));
            }
        }
        report.seconds = began.elapsed().as_secs_f64();
        report
    }

    /// A new backup VM: every case begins with an empty repository, so that it can be replayed alone.
    fn forget_the_past(&self) {
        let state = self.rig.files().state_dir();
        if state.exists() {
            std::fs::remove_dir_all(state).unwrap();
        }
    }
}
