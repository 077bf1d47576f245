//! A stack in one process: Lambda's Invoke API with start, session and report behind it, and a gate for each run. It knows one
//! execution at a time and nothing of time. Its verdict is an honest one: it holds the run's manifest against the vault.

use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use drawbridge_wire::{
    BoxConfig, Defects, Failure, Generation, Manifest, Report, ReportAnswer, ReportRequest, RunId, SessionAnswer,
    SessionRequest, Sha256Digest, Site, StartAnswer, StartRequest, Timestamp, VaultRepository, Verdict, VerdictSummary,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::vault::{MemoryVault, TestGate};

/// What a test has the stack say instead of what it would.
#[derive(Debug, Clone)]
pub enum Script {
    /// Answered by `start`.
    Start(StartAnswer),
    /// Reported by `start` as its own error.
    StartFails { error_type: &'static str, message: &'static str },
    /// Answered to an invocation of `start` by Lambda itself.
    Lambda { status: u16, code: &'static str },
    /// The next heartbeat finds the run closed with this failure.
    HeartbeatClosed(Failure),
    /// The verdict of the next complete run is bad.
    VerdictBad,
    /// The next "complete" is heard, its answer is lost, and what is asked again finds the run closed.
    CompleteUnanswered,
}

impl Script {
    const fn is_about_a_report(&self) -> bool {
        matches!(self, Self::HeartbeatClosed(_) | Self::VerdictBad | Self::CompleteUnanswered)
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Script>,
    generation: Option<Generation>,
    runs: u32,
    current: Option<(RunId, SessionAnswer)>,
    /// Where the current run's repository lies in the vault.
    filed: Option<VaultRepository>,
    gate: Option<TestGate>,
    starts: Vec<StartRequest>,
    reports: Vec<Report>,
    bodies: Vec<String>,
}

/// A stack, the vault behind it, and an agent's configuration that fits.
#[derive(Clone)]
pub struct TestStack {
    pub vault: MemoryVault,
    pub url: String,
    pub heartbeat_seconds: u32,
    state: Arc<Mutex<State>>,
    reported: Arc<Notify>,
}

impl TestStack {
    pub async fn up() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = State { generation: Some("2026-11".parse().unwrap()), ..State::default() };
        let stack = Self {
            vault: MemoryVault::default(),
            url,
            heartbeat_seconds: 2,
            state: Arc::new(Mutex::new(state)),
            reported: Arc::default(),
        };
        let served = stack.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let stack = served.clone();
                let service = service_fn(move |request| {
                    let stack = stack.clone();
                    async move { Ok::<_, Infallible>(stack.invoked(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        stack
    }

    pub fn script(&self, next: Script) {
        self.state.lock().unwrap().script.push_back(next);
    }

    pub fn turn_to(&self, generation: &str) {
        self.state.lock().unwrap().generation = Some(generation.parse().unwrap());
    }

    pub fn starts(&self) -> Vec<StartRequest> {
        self.state.lock().unwrap().starts.clone()
    }

    pub fn reports(&self) -> Vec<Report> {
        self.state.lock().unwrap().reports.clone()
    }

    /// Every request that was ever made, as text.
    pub fn everything_said(&self) -> String {
        self.state.lock().unwrap().bodies.join("\n")
    }

    /// Waits for a report that isn't a heartbeat.
    pub async fn wait_for_report(&self) -> Report {
        loop {
            let reported = self.reported.notified();
            if let Some(report) = self.reports().into_iter().find(|report| *report != Report::Heartbeat) {
                return report;
            }
            reported.await;
        }
    }

    /// What a missing heartbeat would do.
    pub async fn time_out(&self) {
        let (run, gate) = {
            let mut state = self.state.lock().unwrap();
            (state.current.clone().unwrap().0, state.gate.take())
        };
        if let Some(gate) = gate {
            gate.kill().await;
        }
        self.state.lock().unwrap().current =
            Some((run, failed("States.HeartbeatTimeout", "AwaitUpload: no heartbeat")));
    }

    /// Writes a configuration with one local source into `dir`, and returns its path.
    pub fn configure(&self, dir: &Path, source: &Path) -> PathBuf {
        let secret = |name: &str, content: &str| {
            fs::write(dir.join(name), content).unwrap();
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        };
        secret("password", "canary-of-the-repository\n");
        secret("aws", "[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = canary-of-the-access-key\n");
        let config = format!(
            "state_dir = \"state\"\n[repository]\npassword_file = \"password\"\n[stack]\nregion = \"eu-central-1\"\n\
             start = \"test-start\"\nsession = \"test-session\"\nreport = \"test-report\"\ncredentials_file = \"aws\"\n\
             endpoint_url = \"{}\"\n[[source]]\nname = \"here\"\npaths = [\"{}\"]\n",
            self.url,
            source.display()
        );
        let path = dir.join("drawbridge.toml");
        fs::write(&path, config).unwrap();
        path
    }

    async fn invoked(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        self.state.lock().unwrap().bodies.push(String::from_utf8_lossy(&body).into_owned());
        let answer = match path.as_str() {
            "/2015-03-31/functions/test-start/invocations" => self.start(&serde_json::from_slice(&body).unwrap()).await,
            "/2015-03-31/functions/test-session/invocations" => self.session(&serde_json::from_slice(&body).unwrap()),
            "/2015-03-31/functions/test-report/invocations" => {
                self.report(serde_json::from_slice(&body).unwrap()).await
            }
            _ => Err((404, "ResourceNotFoundException")),
        };
        match answer {
            Ok(Ok(value)) => Response::new(Full::from(value.to_string())),
            Ok(Err(error)) => Response::builder()
                .header("X-Amz-Function-Error", "Unhandled")
                .body(Full::from(error.to_string()))
                .unwrap(),
            Err((status, code)) => Response::builder()
                .status(status)
                .header("x-amzn-ErrorType", code)
                .body(Full::from(json!({"Message": "the test says so"}).to_string()))
                .unwrap(),
        }
    }

    async fn start(&self, request: &StartRequest) -> Invoked {
        let (run, repository) = {
            let mut state = self.state.lock().unwrap();
            state.starts.push(request.clone());
            match state.script.front().cloned() {
                Some(Script::Start(answer)) => {
                    state.script.pop_front();
                    return Ok(Ok(json!(answer)));
                }
                Some(Script::StartFails { error_type, message }) => {
                    state.script.pop_front();
                    return Ok(Err(json!({"errorType": error_type, "errorMessage": message})));
                }
                Some(Script::Lambda { status, code }) => {
                    state.script.pop_front();
                    return Err((status, code));
                }
                _ => {}
            }
            let generation = state.generation.clone().unwrap();
            if request.generation.as_ref().is_some_and(|counted_on| *counted_on != generation) {
                return Ok(Ok(json!(StartAnswer::GenerationTurned { generation })));
            }
            state.runs += 1;
            let slot = Timestamp::UNIX_EPOCH + Duration::from_secs(60 * u64::from(state.runs));
            let run = RunId::new(&"test".parse::<Site>().unwrap(), slot);
            (run, VaultRepository::new(&generation, &request.repository))
        };
        let deadline = Timestamp::now() + Duration::from_secs(300);
        let config = BoxConfig {
            shutdown_at: deadline.as_second(),
            gate_url: "http://127.0.0.1/".to_owned(),
            gate_sha256: Sha256Digest::from_bytes([0; 32]),
            run: run.clone(),
            region: "eu-central-1".to_owned(),
            vault: "vault".to_owned(),
            repository: repository.clone(),
            public_key: request.public_key.clone(),
            port: 2222,
            objects: request.objects,
            bytes: request.bytes,
            manifest_sha256: request.manifest_sha256,
            deadline,
            unusual: None,
        };
        let gate = TestGate::open(&config, self.vault.clone()).await;
        let open = SessionAnswer::Open {
            address: gate.address,
            port: gate.port,
            host_key: gate.host_key.to_string(),
            deadline,
        };
        let mut state = self.state.lock().unwrap();
        state.current = Some((run.clone(), open));
        state.gate = Some(gate);
        state.filed = Some(repository.clone());
        let heartbeat_seconds = self.heartbeat_seconds;
        Ok(Ok(json!(StartAnswer::Started { run, repository, deadline, heartbeat_seconds, unusual: None })))
    }

    fn session(&self, request: &SessionRequest) -> Invoked {
        let state = self.state.lock().unwrap();
        Ok(match &state.current {
            Some((run, answer)) if *run == request.run => Ok(json!(answer)),
            _ => Err(json!({"errorType": "UnknownRun", "errorMessage": "no such run"})),
        })
    }

    async fn report(&self, request: ReportRequest) -> Invoked {
        let gate = {
            let mut state = self.state.lock().unwrap();
            state.reports.push(request.report.clone());
            let open = state
                .current
                .as_ref()
                .is_some_and(|(run, answer)| *run == request.run && matches!(answer, SessionAnswer::Open { .. }));
            if !open {
                return Ok(Ok(json!(ReportAnswer::Closed)));
            }
            let next = match (&request.report, state.script.front().cloned()) {
                (Report::Heartbeat, Some(Script::HeartbeatClosed(failure))) => {
                    SessionAnswer::Failed { failure, defects: None }
                }
                (Report::Heartbeat, _) => return Ok(Ok(json!(ReportAnswer::Accepted))),
                (Report::Failed { reason }, _) => failed("AgentFailed", &format!("AwaitUpload: {reason}")),
                (Report::Complete, Some(Script::VerdictBad)) => failed("VerdictBad", "VerifyBackup: 2 missing"),
                (Report::Complete, _) => verify(&self.vault, &request.run, state.filed.as_ref().unwrap()),
            };
            let script = state.script.pop_front_if(|script| script.is_about_a_report());
            state.current = Some((request.run, next));
            if matches!(script, Some(Script::HeartbeatClosed(_) | Script::CompleteUnanswered)) {
                drop(state);
                return Ok(Ok(json!(ReportAnswer::Closed)));
            }
            state.gate.take()
        };
        if let Some(gate) = gate {
            gate.kill().await;
        }
        self.reported.notify_waiters();
        Ok(Ok(json!(ReportAnswer::Accepted)))
    }
}

/// A function's answer or its own error, or Lambda's.
type Invoked = Result<Result<Value, Value>, (u16, &'static str)>;

/// What a `verify` of a few lines finds: every object of the manifest by name and SHA-256, and what no manifest ever declared.
fn verify(vault: &MemoryVault, run: &RunId, repository: &VaultRepository) -> SessionAnswer {
    let manifest_of = |key: &str| serde_json::from_slice::<Manifest>(&vault.get(key).unwrap()).unwrap();
    let manifest = manifest_of(&format!("runs/{run}/manifest.json"));
    let keys = vault.keys();
    let home = format!("repo/{repository}/");
    let (mut missing, mut wrong) = (Vec::new(), 0);
    for object in manifest.objects() {
        match vault.get(&format!("{home}{}", object.name().path())) {
            None => missing.push(object.name()),
            Some(content) => {
                wrong += u64::from(Sha256Digest::from_bytes(Sha256::digest(&content).into()) != object.digest())
            }
        }
    }
    let manifests = keys.iter().filter(|key| key.ends_with("/manifest.json")).map(|key| manifest_of(key));
    let declared: HashSet<String> = manifests
        .flat_map(|manifest| manifest.objects().iter().map(|object| object.name().path()).collect::<Vec<_>>())
        .collect();
    let undeclared =
        keys.iter().filter_map(|key| key.strip_prefix(&home)).filter(|path| !declared.contains(*path)).count();
    if missing.is_empty() && wrong == 0 && undeclared == 0 {
        let (objects, bytes) =
            (manifest.objects().len() as u64, manifest.objects().iter().map(|object| object.size()).sum());
        let verdict =
            VerdictSummary { verdict: Verdict::Good, objects, bytes, missing: 0, wrong: 0, unlocked: 0, undeclared: 0 };
        return SessionAnswer::Verified { verdict };
    }
    let cause = format!("VerifyBackup: {} missing, {wrong} wrong, {undeclared} undeclared", missing.len());
    let defects = Defects { missing, all_named: true, beyond_healing: wrong + undeclared as u64 > 0 };
    SessionAnswer::Failed { failure: Failure { error: "VerdictBad".to_owned(), cause }, defects: Some(defects) }
}

fn failed(error: &str, cause: &str) -> SessionAnswer {
    SessionAnswer::Failed { failure: Failure { error: error.to_owned(), cause: cause.to_owned() }, defects: None }
}
