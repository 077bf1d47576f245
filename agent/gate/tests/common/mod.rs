//! A gate in this process, a vault in memory, and clients for both.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod aws;
pub mod machine;
pub mod objects;
pub mod store;

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use drawbridge_gate::limits::Patience;
use drawbridge_gate::{Ending, build_with};
use drawbridge_ssh::{KeyPair, PublicKey, Session, VaultStream};
use drawbridge_wire::BoxConfig;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use objects::{Cargo, Object};
pub use store::Memory;

pub const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A small cargo's configuration, for this public key.
pub fn config(public_key: &str) -> BoxConfig {
    Cargo::small().config(public_key, 0)
}

/// How long a test waits for something that should happen at once.
pub const SOON: Duration = Duration::from_secs(20);

/// The production patience, but for what a test would have to wait out.
pub fn patience() -> Patience {
    Patience { quiet: Duration::from_millis(50), ..Patience::default() }
}

/// A running gate.
pub struct Gate {
    pub port: u16,
    pub host_key: PublicKey,
    pub user_key: KeyPair,
    pub stop: oneshot::Sender<()>,
    pub ending: JoinHandle<Ending>,
}

impl Gate {
    /// Opens a gate for this cargo, with a user key of its own.
    pub async fn open(cargo: &Cargo, store: &Memory) -> Self {
        Self::open_with(cargo, store, patience()).await
    }

    pub async fn open_with(cargo: &Cargo, store: &Memory, patience: Patience) -> Self {
        let user_key = KeyPair::generate().unwrap();
        let config = cargo.config(&user_key.public().to_string(), 0);
        Self::open_config(&config, user_key, store, patience).await
    }

    pub async fn open_config(config: &BoxConfig, user_key: KeyPair, store: &Memory, patience: Patience) -> Self {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let application = build_with(config, store.clone(), patience).unwrap();
        let host_key = application.host_key().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let ending = tokio::spawn(application.run(listener, async {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Self { port, host_key, user_key, stop, ending }
    }

    pub async fn connect(&self) -> Session {
        drawbridge_ssh::connect(LOOPBACK, self.port, &self.host_key, &self.user_key).await.unwrap()
    }

    /// A new connection and an HTTP/1.1 client on it.
    pub async fn client(&self) -> Client {
        let session = self.connect().await;
        let stream = session.open_vault_stream().await.unwrap();
        Client { session: Some(session), http: Http::one(stream).await }
    }

    /// Waits for the end.
    pub async fn ended(self) -> Ending {
        tokio::time::timeout(SOON, self.ending).await.expect("the gate should have ended").unwrap()
    }
}

pub enum Http {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Http {
    pub async fn one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::One(sender)
    }

    pub async fn two(stream: VaultStream) -> Self {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self::Two(sender)
    }

    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Answer {
        let response = match self {
            Self::One(sender) => {
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Self::Two(sender) => sender.send_request(request).await.unwrap(),
        };
        Answer::read(response).await
    }

    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        let uri = match self {
            Self::One(_) => path.to_owned(),
            Self::Two(_) => format!("http://vault{path}"),
        };
        self.send(Request::post(uri).header("host", "vault").body(Full::new(body.into())).unwrap()).await
    }
}

/// What the gate said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub retry_after: Option<String>,
    pub text: String,
}

impl Answer {
    async fn read(response: Response<hyper::body::Incoming>) -> Self {
        let status = response.status();
        let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.is_empty() || (status != StatusCode::OK && text.ends_with('\n')), "{text:?}");
        Self { status: status.as_u16(), retry_after, text }
    }
}

/// A connection with one HTTP stream.
pub struct Client {
    pub session: Option<Session>,
    pub http: Http,
}

impl Client {
    pub async fn post(&mut self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.http.post(path, body).await
    }

    pub async fn put(&mut self, object: &Object) -> Answer {
        self.post(&format!("/{}", object.name), object.content.clone()).await
    }

    /// Brings the manifest, every object in order, and fetches the receipt.
    pub async fn cross(&mut self, cargo: &Cargo) {
        self.open(cargo).await;
        for object in cargo.crossing() {
            assert_eq!(self.put(object).await.status, 200, "{}", object.name);
        }
        assert_eq!(self.post("/receipt", "").await.status, 200);
    }

    pub async fn open(&mut self, cargo: &Cargo) {
        assert_eq!(self.post("/manifest", cargo.manifest_text()).await.status, 200);
    }
}
