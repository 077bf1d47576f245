//! Write-only, proven: every action of S3 that botocore knows, tried with the box's rights and with the agent's, in every state of a
//! run, on a vault that holds a real backup. The box adds two objects, which is what it is there for, the agent does nothing at all,
//! and neither gets a byte back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_tests::{Execution, Key, OpenRun, Rig, Tried, WholeVault, digest, invoke, wait_until};
use drawbridge_wire::{Report, ReportAnswer, ReportRequest, RunId, StartAnswer, StartRequest};

/// What S3 answers when somebody may not; a HEAD has no body that could say more.
const DENIED: [&str; 3] = ["AccessDenied", "403", "Forbidden"];

/// The two puts that the box is there for.
const OF_THE_BOX: [&str; 2] = ["a new object of a repository", "a new object of a run"];

/// What both principals are tried on.
struct Audit<'a> {
    rig: &'a Rig,
    versions: Vec<(String, String)>,
    upload: (String, String),
    states: u32,
}

impl<'a> Audit<'a> {
    async fn of(rig: &'a Rig) -> Self {
        // One object of each kind is enough to be refused: config, keys, data, index, snapshots, the gate, and a run's papers.
        let mut of_kind = BTreeMap::new();
        for (key, version) in rig.versions("").await {
            let kind = match key.split('/').collect::<Vec<_>>().as_slice() {
                ["repo", _, kind, ..] => (*kind).to_owned(),
                ["runs", _, paper, ..] => (*paper).to_owned(),
                other => other[0].to_owned(),
            };
            of_kind.insert(kind, (key, version));
        }
        let kinds: Vec<&str> = of_kind.keys().map(String::as_str).collect();
        for kind in ["artifacts", "config", "data", "index", "keys", "manifest.json", "receipt.json", "snapshots"] {
            assert!(kinds.contains(&kind), "the backup is a real one: {kinds:?}");
        }
        let upload = rig.begin_an_upload("repo/2026-11-ffffffffffffffff/data/ff/under-way");
        Self { rig, versions: of_kind.into_values().collect(), upload, states: 0 }
    }

    /// Both principals try everything while the run is in this state.
    fn nothing_but_additions(&mut self, state: &str) {
        self.states += 1;
        let before = self.rig.whole_vault();
        let fresh = format!("repo/2026-11-fffffffffffffff{}/data/00/", self.states);
        let tried = self.rig.try_every_s3_action(&self.rig.agents_key(), &self.versions, &self.upload, &fresh);
        judge(&format!("the agent, {state}"), &tried, &[]);
        assert_eq!(self.rig.whole_vault(), before, "the agent, {state}: nothing has changed");

        let jump_box: Key = self.rig.roles_key("drawbridge-BoxRole");
        let tried = self.rig.try_every_s3_action(&jump_box, &self.versions, &self.upload, &fresh);
        judge(&format!("the box, {state}"), &tried, &OF_THE_BOX);
        let after = self.rig.whole_vault();
        let added: BTreeSet<&str> = after
            .versions
            .keys()
            .filter(|key| !before.versions.contains_key(*key))
            .map(|key| key.split(' ').next().unwrap())
            .collect();
        let runs = fresh.replacen("repo/", "runs/", 1);
        assert_eq!(added, [format!("{fresh}0").as_str(), format!("{runs}1").as_str()].into(), "the box, {state}");
        let kept = WholeVault {
            versions: before.versions.keys().map(|key| (key.clone(), after.versions[key].clone())).collect(),
            ..after.clone()
        };
        assert_eq!(kept, before, "the box, {state}: what was there is as it was, and so is every setting");
    }
}

/// Fails unless exactly the `allowed` calls succeeded, everything else was refused, and no answer held a byte of an object.
#[track_caller]
fn judge(who: &str, tried: &[Tried], allowed: &[&str]) {
    assert!(tried.len() > 180, "{who}: S3 has more actions than {}", tried.len());
    for Tried { call, code, leaked } in tried {
        assert!(!leaked, "{who} got bytes back by {call}");
        let as_expected = match code.as_deref() {
            None => allowed.contains(&call.as_str()),
            Some(code) => DENIED.contains(&code) || excused(call, code),
        };
        assert!(as_expected, "{who}: {call} ended with {code:?}");
    }
    let succeeded: Vec<&str> =
        tried.iter().filter(|tried| tried.code.is_none()).map(|tried| tried.call.as_str()).collect();
    assert_eq!(succeeded, allowed, "{who}");
}

/// It is there: what `If-None-Match` is for. Everything else is refused for want of rights.
fn excused(call: &str, code: &str) -> bool {
    call.ends_with("if there is none") && code == "PreconditionFailed"
}

/// A run of which nobody takes notice.
async fn ask_for_a_run(rig: &Rig) -> RunId {
    let request = StartRequest {
        public_key: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti".to_owned(),
        source_cidr: Some("127.0.0.1/32".parse().unwrap()),
        repository: "0123456789abcdef".parse().unwrap(),
        generation: None,
        objects: 1,
        bytes: 1,
        manifest_sha256: digest(b""),
    };
    match invoke(&rig.agent_clients().await, &rig.stack().functions.start, &request).await.unwrap() {
        StartAnswer::Started { run, .. } => run,
        other => panic!("{other:?}"),
    }
}

/// Waits until the newest run is in this state, and fails if it isn't any more when `during` has been done.
async fn while_in(rig: &Rig, state: &str, during: impl FnOnce()) -> Execution {
    let current = async || {
        let execution = rig.latest_execution().await;
        let last = execution.states(rig.clients()).await.pop().map(|passage| passage.state);
        (execution, last.unwrap_or_default())
    };
    wait_until(60, state, async || match current().await {
        (_, now) if now == state => Ok(()),
        (execution, now) => Err(format!("{now}, {}", execution.status)),
    })
    .await;
    tokio::task::block_in_place(during);
    let (execution, now) = current().await;
    assert_eq!((now.as_str(), execution.status.as_str()), (state, "RUNNING"), "it was so all the time");
    execution
}

#[tokio::test(flavor = "multi_thread")]
async fn in_every_state_of_a_run_the_box_only_adds_and_the_agent_does_nothing() {
    let set = [
        ("BootSeconds", "900"),
        ("HeartbeatSeconds", "590"),
        ("WindowBaseSeconds", "3600"),
        ("SweepRate", "rate(365 days)"),
        ("VerifySeconds", "890"),
        ("DestroySeconds", "300"),
    ];
    let rig = Rig::up_with(&set).await;
    std::fs::write(rig.source().join("hosts"), "127.0.0.1 localhost\n").unwrap();
    rig.agent().run(&["run"]).await.expect(0);
    let mut audit = Audit::of(&rig).await;
    tokio::task::block_in_place(|| audit.nothing_but_additions("after a good run"));

    rig.without_readiness();
    let run = ask_for_a_run(&rig).await;
    // Its last word until the run goes on.
    wait_until(60, "the box says that it is ready", async || {
        let said = rig.versions(&format!("runs/{run}/ready/")).await;
        if said.is_empty() { Err("nothing".to_owned()) } else { Ok(()) }
    })
    .await;
    let waiting = while_in(&rig, "ProvisionJumpBox", || audit.nothing_but_additions("waiting for the box")).await;
    rig.clients().sfn.stop_execution().execution_arn(&waiting.arn).send().await.unwrap();
    rig.nothing_is_left_within(60).await;
    tokio::task::block_in_place(|| audit.nothing_but_additions("aborted"));
    rig.with_readiness_again();

    let open = OpenRun::begin(&rig).await;
    while_in(&rig, "AwaitUpload", || audit.nothing_but_additions("the bridge is down")).await;
    open.cross().await;
    let (verify, destroy) = (rig.hold("verify"), rig.hold("destroy"));
    let complete = ReportRequest { run: open.run.clone(), report: Report::Complete };
    let agent = rig.agent_clients().await;
    assert_eq!(invoke(&agent, &rig.stack().functions.report, &complete).await, Ok(ReportAnswer::Accepted));
    while_in(&rig, "VerifyBackup", || audit.nothing_but_additions("verifying")).await;
    drop(verify);
    let destroying = while_in(&rig, "DestroyJumpBox", || audit.nothing_but_additions("destroying")).await;
    drop(destroy);
    // What was put beside its repository by those who tried doesn't concern it.
    assert_eq!(destroying.ended_within(rig.clients(), 120).await.status, "SUCCEEDED");
}
