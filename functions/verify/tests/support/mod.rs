//! A world in which a function can be called: Lambda's runtime API and S3, as far as `verify` asks them.
#![allow(unreachable_pub, reason = "shared by the tests of this folder")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use drawbridge_domain::hash::sha256;
use drawbridge_wire::{
    Manifest, ManifestObject, ObjectKind, ObjectName, Receipt, RunId, Sha256Digest, Timestamp, manifest_key,
    receipt_key,
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// Objects in the repository: packs, and its config.
pub const OBJECTS: usize = 100_000;

const REPOSITORY: &str = "2026-11-0123456789abcdef";

/// The most that the function may take: the default of VerifySeconds.
const CALL: Duration = Duration::from_secs(600);

/// As S3 answers.
const PAGE: usize = 1000;

struct State {
    packs: Vec<Sha256Digest>,
    /// What was put, and what lies there beside the packs.
    objects: Mutex<BTreeMap<String, Bytes>>,
    looks: AtomicUsize,
    events: AsyncMutex<mpsc::Receiver<Value>>,
    answers: mpsc::Sender<Value>,
}

/// The server.
pub struct World {
    address: SocketAddr,
    state: Arc<State>,
    events: mpsc::Sender<Value>,
    answers: AsyncMutex<mpsc::Receiver<Value>>,
}

impl World {
    pub async fn begin() -> Self {
        let mut packs: Vec<Sha256Digest> = (1..OBJECTS).map(|number| sha256(number.to_string().as_bytes())).collect();
        packs.sort();
        let (events, taken) = mpsc::channel(1);
        let (given, answers) = mpsc::channel(1);
        let (objects, looks) = (Mutex::default(), AtomicUsize::new(0));
        let state = Arc::new(State { packs, objects, looks, events: AsyncMutex::new(taken), answers: given });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let service = hyper::service::service_fn(move |request| answer(Arc::clone(&state), request));
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, state, events, answers: AsyncMutex::new(answers) }
    }

    /// How many objects were looked at so far.
    pub fn looks(&self) -> usize {
        self.state.looks.load(Ordering::Relaxed)
    }

    /// Declares a run, in a slot that begins now, and has it verified; answers what the function answered.
    pub async fn invoke(&self) -> Value {
        let run = RunId::new(&"home".parse().unwrap(), Timestamp::now());
        let packs = self.state.packs.iter().map(|digest| {
            ManifestObject::hashed(ObjectName::hashed(ObjectKind::Data, *digest).unwrap(), 16 << 20, false)
        });
        let config = ManifestObject::config(sha256(b"config"), 150, false);
        let manifest = Manifest::new("0123456789abcdef".parse().unwrap(), packs.chain([config]).collect()).unwrap();
        let json = serde_json::to_vec(&manifest).unwrap();
        let at = "2026-11-23T20:35:00Z".parse().unwrap();
        let receipt = Receipt {
            run: run.clone(),
            repository: REPOSITORY.parse().unwrap(),
            manifest_sha256: sha256(&json),
            version: "1".to_owned(),
            opened_at: at,
            completed_at: at,
            unusual: None,
            checks: Vec::new(),
            objects: Vec::new(),
        };
        let event = json!({"run": run, "repository": REPOSITORY, "manifest_sha256": sha256(&json)});
        {
            let mut objects = self.state.objects.lock().unwrap();
            objects.insert(manifest_key(&run), json.into());
            objects.insert(receipt_key(&run), serde_json::to_vec(&receipt).unwrap().into());
        }
        self.events.send(event).await.unwrap();
        self.answers.lock().await.recv().await.unwrap()
    }
}

/// The running function; ended when dropped.
pub struct Function(Child);

impl Function {
    pub fn begin(world: &World) -> Self {
        let endpoint = format!("http://{}", world.address);
        let mut command = Command::new(env!("CARGO_BIN_EXE_drawbridge-verify"));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in [
            ("AWS_LAMBDA_RUNTIME_API", world.address.to_string().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "verify"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("DRAWBRIDGE_VAULT", "vault"),
            ("DRAWBRIDGE_PROMISED_DAYS", "90"),
            ("DRAWBRIDGE_STATE_MACHINE_ARN", "arn:aws:states:eu-central-1:000000000000:stateMachine:drawbridge-home"),
        ] {
            command.env(name, value);
        }
        Self(command.spawn().unwrap())
    }

    /// The most memory that was resident, in KiB.
    pub fn peak_kib(&mut self) -> u64 {
        assert!(self.0.try_wait().unwrap().is_none(), "the function still runs");
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        // Ended already, or ended now.
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path();
    if let Some(call) = path.strip_prefix("/2018-06-01/runtime/invocation/") {
        return Ok(runtime(&state, call, body).await);
    }
    let query = head.uri.query().unwrap_or_default();
    let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key);
    Ok(match head.method {
        Method::HEAD => look(&state, key),
        Method::GET if query.contains("versions") => list(&state, query),
        Method::GET => match state.objects.lock().unwrap().get(key) {
            Some(object) => Response::new(Full::from(object.clone())),
            None => error("NoSuchKey"),
        },
        Method::PUT => {
            state.objects.lock().unwrap().insert(key.to_owned(), body);
            Response::new(Full::default())
        }
        _ => error("NotImplemented"),
    })
}

async fn runtime(state: &State, call: &str, body: Bytes) -> Response<Full<Bytes>> {
    if call == "next" {
        let Some(event) = state.events.lock().await.recv().await else { return error("Over") };
        let until = (SystemTime::now() + CALL).duration_since(UNIX_EPOCH).unwrap().as_millis();
        return Response::builder()
            .header("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("lambda-runtime-deadline-ms", until.to_string())
            .header("lambda-runtime-invoked-function-arn", "arn:aws:lambda:eu-central-1:000000000000:function:verify")
            .body(Full::from(event.to_string()))
            .unwrap();
    }
    state.answers.send(serde_json::from_slice(&body).unwrap()).await.unwrap();
    Response::builder().status(StatusCode::ACCEPTED).body(Full::default()).unwrap()
}

fn look(state: &State, key: &str) -> Response<Full<Bytes>> {
    state.looks.fetch_add(1, Ordering::Relaxed);
    let name = key.rsplit('/').next().unwrap();
    let (digest, size) = match name.parse::<Sha256Digest>() {
        Ok(digest) => (digest, 16 << 20),
        Err(_) => (sha256(b"config"), 150),
    };
    Response::builder()
        .header("content-length", size.to_string())
        .header("x-amz-checksum-sha256", STANDARD.encode(digest.as_bytes()))
        .header("x-amz-object-lock-mode", "GOVERNANCE")
        .header("x-amz-object-lock-retain-until-date", "2036-11-23T20:35:00Z")
        .body(Full::default())
        .unwrap()
}

/// A page of versions: `config` first, then the packs.
fn list(state: &State, query: &str) -> Response<Full<Bytes>> {
    let from = query.split('&').find_map(|pair| pair.strip_prefix("version-id-marker=v"));
    let from: usize = from.map_or(0, |from| from.parse().unwrap());
    let folder = format!("repo/{REPOSITORY}");
    let keys = std::iter::once((format!("{folder}/config"), 150)).chain(state.packs.iter().map(|digest| {
        let name = ObjectName::hashed(ObjectKind::Data, *digest).unwrap();
        (format!("{folder}/{}", name.path()), 16 << 20)
    }));
    let page: String = keys
        .enumerate()
        .skip(from)
        .take(PAGE)
        .map(|(number, (key, size))| {
            format!(
                "<Version><Key>{key}</Key><VersionId>v{number}</VersionId><IsLatest>true</IsLatest><Size>{size}</Size></Version>"
            )
        })
        .collect();
    let next = from + PAGE;
    let more = if next <= state.packs.len() {
        format!(
            "<IsTruncated>true</IsTruncated><NextKeyMarker>more</NextKeyMarker><NextVersionIdMarker>v{next}</NextVersionIdMarker>"
        )
    } else {
        "<IsTruncated>false</IsTruncated>".to_owned()
    };
    let text = format!(
        "<ListVersionsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{more}{page}</ListVersionsResult>"
    );
    Response::new(Full::from(text))
}

fn error(code: &str) -> Response<Full<Bytes>> {
    let text = format!("<Error><Code>{code}</Code><Message>{code}</Message></Error>");
    Response::builder().status(StatusCode::NOT_FOUND).body(Full::from(text)).unwrap()
}
