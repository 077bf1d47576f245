//! The two services that a box reaches, as small as can be: instance metadata and S3's PutObject. They listen on
//! loopback, keep what is put only as length and hash, and record every request.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use bytes::Bytes;
use drawbridge_wire::Sha256Digest;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub const INSTANCE: &str = "i-0123456789abcdef0";
const ROLE: &str = "the-box";
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
pub const SECRET_CANARY: &str = "canary/secret/access/key";

/// One PutObject as it came over the wire.
#[derive(Debug, Clone)]
pub struct Put {
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub status: u16,
    pub body_bytes: u64,
}

#[derive(Default)]
struct Inner {
    objects: Mutex<BTreeMap<String, (u64, Sha256Digest)>>,
    /// The bodies of what the gate writes itself.
    texts: Mutex<BTreeMap<String, Bytes>>,
    puts: Mutex<Vec<Put>>,
    others: Mutex<Vec<String>>,
    changed: Notify,
    /// Puts into a repository begin and are never read.
    stuck: AtomicBool,
    stuck_puts: AtomicUsize,
}

/// Handle to both services.
#[derive(Clone)]
pub struct FakeAws {
    pub port: u16,
    inner: Arc<Inner>,
}

impl FakeAws {
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let inner = Arc::new(Inner::default());
        let serving = Arc::clone(&inner);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let inner = Arc::clone(&serving);
                let service = service_fn(move |request| answer(Arc::clone(&inner), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { port, inner }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn puts(&self) -> Vec<Put> {
        self.inner.puts.lock().unwrap().clone()
    }

    /// Requests that are neither metadata nor PutObject.
    pub fn others(&self) -> Vec<String> {
        self.inner.others.lock().unwrap().clone()
    }

    pub fn objects(&self) -> BTreeMap<String, (u64, Sha256Digest)> {
        self.inner.objects.lock().unwrap().clone()
    }

    pub fn text(&self, path: &str) -> Option<Bytes> {
        self.inner.texts.lock().unwrap().get(path).cloned()
    }

    pub fn insert(&self, path: &str) {
        self.inner.objects.lock().unwrap().insert(path.to_owned(), (0, Sha256Digest::from_bytes([0; 32])));
    }

    /// From now on nothing moves in puts into a repository.
    pub fn get_stuck(&self) {
        self.inner.stuck.store(true, Ordering::SeqCst);
    }

    /// Waits until so many puts are stuck.
    pub async fn wait_for_stuck(&self, puts: usize) {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.stuck_puts.load(Ordering::SeqCst) >= puts {
                return;
            }
            changed.await;
        }
    }

    /// Waits for an object.
    pub async fn wait_for(&self, path: &str) {
        loop {
            let changed = self.inner.changed.notified();
            if self.inner.objects.lock().unwrap().contains_key(path) {
                return;
            }
            changed.await;
        }
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}

async fn answer(inner: Arc<Inner>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let metadata = match path.strip_prefix("/latest/meta-data/") {
        Some("instance-id") => Some(INSTANCE.to_owned()),
        Some("local-ipv4") => Some("127.0.0.1".to_owned()),
        Some("iam/security-credentials/") => Some(ROLE.to_owned()),
        Some(path) if path.starts_with("iam/security-credentials/") => Some(format!(
            r#"{{"Code":"Success","Type":"AWS-HMAC","LastUpdated":"2026-11-23T20:30:00Z","AccessKeyId":"{ACCESS_KEY}",
                "SecretAccessKey":"{SECRET_CANARY}","Token":"canary-token","Expiration":"2099-01-01T00:00:00Z"}}"#
        )),
        _ => None,
    };
    if request.method() == Method::PUT && path == "/latest/api/token" {
        let mut response = text(StatusCode::OK, "a-session-token");
        response.headers_mut().insert("x-aws-ec2-metadata-token-ttl-seconds", 21600.into());
        return Ok(response);
    }
    if let Some(metadata) = metadata {
        let has_token = request.headers().contains_key("x-aws-ec2-metadata-token");
        return Ok(text(if has_token { StatusCode::OK } else { StatusCode::UNAUTHORIZED }, metadata));
    }
    if request.method() == Method::PUT && path.starts_with("/vault/") {
        return put(&inner, path, request).await;
    }
    inner.others.lock().unwrap().push(format!("{} {path}", request.method()));
    Ok(text(StatusCode::NOT_FOUND, ""))
}

async fn put(inner: &Inner, path: String, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    if path.contains("/repo/") && inner.stuck.load(Ordering::SeqCst) {
        inner.stuck_puts.fetch_add(1, Ordering::SeqCst);
        inner.changed.notify_waiters();
        std::future::pending::<()>().await;
    }
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), value.to_str().unwrap().to_owned())
    };
    let headers: BTreeMap<_, _> = request.headers().iter().map(header).collect();
    let (mut hasher, mut length, mut kept) = (Sha256::new(), 0, Vec::new());
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        let chunk = frame?.into_data().unwrap();
        hasher.update(&chunk);
        length += chunk.len() as u64;
        if path.contains("/runs/") {
            kept.extend_from_slice(&chunk);
        }
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let exists = inner.objects.lock().unwrap().contains_key(&path);
    let checksum = base64::engine::general_purpose::STANDARD.encode(digest);
    let status = if exists {
        StatusCode::PRECONDITION_FAILED
    } else if headers.get("x-amz-checksum-sha256") == Some(&checksum) {
        inner.texts.lock().unwrap().insert(path.clone(), kept.into());
        inner.objects.lock().unwrap().insert(path.clone(), (length, Sha256Digest::from_bytes(digest)));
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    inner.puts.lock().unwrap().push(Put { path, headers, status: status.as_u16(), body_bytes: length });
    inner.changed.notify_waiters();
    Ok(text(status, ""))
}
