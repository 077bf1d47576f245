//! Between every caller and the emulated AWS: one listener a caller, so that who calls is known without asking.
//!
//! Invariants: a request that no fault strikes arrives as it was sent, and so does its answer; what has begun goes on
//! when its caller has gone, as a request that AWS has received does; nothing listens once the proxy is dropped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::request::Parts;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::answer::{Answer, garbled, instance_not_found, internal_error, no_capacity, no_instances, throttled};
use crate::board::Board;
use crate::call::{Protocol, identify};
use crate::fault::{Call, Caller, Effect, Victim, When};
use crate::hands::Hands;

/// The caller gets no answer: its connection is cut.
#[derive(Debug)]
pub struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

/// What all listeners share.
#[derive(Debug)]
pub struct Shared {
    /// The emulator.
    pub upstream: SocketAddr,
    /// What is counted and what is armed.
    pub board: Board,
    /// What faults do beside the wire.
    pub hands: Hands,
}

/// The listeners. Dropping it closes them.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    endpoints: BTreeMap<Caller, String>,
    _listeners: JoinSet<()>,
}

impl Proxy {
    /// Listens for every caller in front of the emulator at `port`, which needn't be up yet.
    pub async fn start(port: u16) -> Self {
        let mut sockets = Vec::new();
        let mut endpoints = BTreeMap::new();
        for caller in Caller::ALL {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            endpoints.insert(caller, format!("http://{}", socket.local_addr().unwrap()));
            sockets.push((caller, socket));
        }
        let shared = Arc::new(Shared {
            upstream: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            board: Board::default(),
            hands: Hands::new(endpoints.clone()),
        });
        let mut listeners = JoinSet::new();
        for (caller, socket) in sockets {
            listeners.spawn(listen(socket, caller, Arc::clone(&shared)));
        }
        Self { shared, endpoints, _listeners: listeners }
    }

    /// Where each caller is to be sent, as the local stack's options take it.
    #[must_use]
    pub fn routes(&self) -> BTreeMap<String, String> {
        self.endpoints.iter().map(|(caller, url)| (caller.name().to_owned(), url.clone())).collect()
    }

    /// What is counted and what is armed.
    #[must_use]
    pub fn board(&self) -> &Board {
        &self.shared.board
    }

    /// What faults do beside the wire.
    #[must_use]
    pub fn hands(&self) -> &Hands {
        &self.shared.hands
    }
}

async fn listen(socket: TcpListener, caller: Caller, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = socket.accept().await else { continue };
        // Small answers would wait for the acknowledgement of the last one.
        let _best_effort = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(request, caller, Arc::clone(&shared)));
            // How a connection ends is its caller's business.
            let _ended =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, listener: Caller, shared: Arc<Shared>) -> Result<Answer, Cut> {
    let (parts, body) = request.into_parts();
    // A caller that dies while it sends hasn't called.
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    // A task of its own: hyper drops this future when the caller hangs up, and AWS wouldn't.
    let handled = tokio::spawn(async move {
        let _under_way = shared.board.enter();
        Exchange::new(parts, body, listener, &shared).handle().await
    });
    handled.await.map_err(|_| Cut)?
}

/// One call on its way.
struct Exchange<'a> {
    parts: Parts,
    body: Bytes,
    call: Call,
    protocol: Protocol,
    shared: &'a Shared,
}

impl<'a> Exchange<'a> {
    fn new(parts: Parts, body: Bytes, listener: Caller, shared: &'a Shared) -> Self {
        let (call, protocol) = identify(listener, &parts, &body);
        Self { parts, body, call, protocol, shared }
    }

    async fn handle(self) -> Result<Answer, Cut> {
        let board = &self.shared.board;
        let Some((fault, effect)) = board.count(&self.call, !self.body.is_empty()) else {
            let (answer, body) = self.forward().await?;
            if !body.is_empty() {
                board.answered(&self.call);
            }
            return Ok(answer);
        };
        match effect {
            Effect::Kill { victim, when } => self.kill(fault, victim, when).await,
            Effect::Stop { when: When::Before } => {
                self.stop(fault).await;
                self.pass().await
            }
            Effect::Stop { when: When::After } => {
                let answer = self.pass().await;
                self.stop(fault).await;
                answer
            }
            on_the_wire => {
                board.struck(fault);
                self.disturb(on_the_wire).await
            }
        }
    }

    /// Effects that anybody between caller and service could have.
    async fn disturb(mut self, effect: Effect) -> Result<Answer, Cut> {
        match effect {
            Effect::Fail => Ok(internal_error(self.protocol)),
            Effect::Throttle => Ok(throttled(self.protocol)),
            Effect::LoseAnswer => self.forward().await.and(Err(Cut)),
            Effect::Twice => {
                self.forward().await?;
                self.pass().await
            }
            Effect::Delay { seconds } => {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                self.pass().await
            }
            Effect::DelayAnswer { seconds } => {
                let answer = self.pass().await;
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                answer
            }
            Effect::NoCapacity => Ok(no_capacity()),
            Effect::Garble => self.forward().await.map(|(answer, body)| garbled(answer, &body)),
            Effect::Hide if self.call.action == "ec2:TerminateInstances" => Ok(instance_not_found()),
            Effect::Hide => Ok(no_instances()),
            Effect::CutUpload => self.send_half().await.and(Err(Cut)),
            Effect::FlipBit => {
                let mut body = self.body.to_vec();
                if let Some(byte) = body.get_mut(self.body.len() / 2) {
                    *byte ^= 1;
                }
                self.body = body.into();
                self.pass().await
            }
            Effect::Kill { .. } | Effect::Stop { .. } => self.pass().await,
        }
    }

    async fn kill(self, fault: usize, victim: Victim, when: When) -> Result<Answer, Cut> {
        let caller_dies = match victim {
            Victim::Agent => self.call.caller == Caller::Agent,
            Victim::Gate => self.call.caller == Caller::Box,
            Victim::Function => true,
        };
        let strike = || {
            if self.shared.hands.kill(victim, self.call.caller) {
                self.shared.board.struck(fault);
            }
        };
        match when {
            When::Before => {
                strike();
                if caller_dies { Err(Cut) } else { self.pass().await }
            }
            When::After => {
                let answer = self.pass().await;
                strike();
                if caller_dies { Err(Cut) } else { answer }
            }
        }
    }

    async fn stop(&self, fault: usize) {
        if self.shared.hands.stop().await {
            self.shared.board.struck(fault);
        }
    }

    async fn pass(&self) -> Result<Answer, Cut> {
        self.forward().await.map(|(answer, _)| answer)
    }

    /// To the emulator as it came, Host included: that is part of what was signed.
    async fn forward(&self) -> Result<(Answer, Bytes), Cut> {
        self.exchange().await.map_err(|_| Cut)
    }

    async fn exchange(&self) -> Result<(Answer, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect(self.shared.upstream).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::from_parts(self.parts.clone(), Full::new(self.body.clone()));
        let response = sender.send_request(request).await?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        drop(sender);
        connection.abort();
        Ok((Response::from_parts(parts, Full::new(body.clone())), body))
    }

    /// All headers and half of the body, and then nothing.
    async fn send_half(&self) -> Result<(), Cut> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.parts.method, self.parts.uri).into_bytes();
        for (name, value) in &self.parts.headers {
            text.extend_from_slice(name.as_str().as_bytes());
            text.extend_from_slice(b": ");
            text.extend_from_slice(value.as_bytes());
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text.extend_from_slice(&self.body[..self.body.len() / 2]);
        let mut stream = TcpStream::connect(self.shared.upstream).await.map_err(|_| Cut)?;
        stream.write_all(&text).await.map_err(|_| Cut)?;
        stream.shutdown().await.map_err(|_| Cut)
    }
}
