//! A TCP proxy on loopback that makes the network worse: it delays, cuts connections off, stalls, and counts.
//!
//! Invariants: bytes leave in the order in which they came; the delay is latency only, never a limit to bandwidth, as
//! long as no more than [`IN_FLIGHT`] bytes are under way in one direction; nothing listens once it is dropped.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

/// How much is read at once, in bytes.
const CHUNK: usize = 128 << 10;

/// The most bytes under way in one direction; a receiver that doesn't read slows its sender down from there on. At 10 ms
/// that is more than six gigabytes a second.
const IN_FLIGHT: usize = 64 << 20;

/// What becomes of the bytes of one direction of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub enum Fate {
    /// All arrive.
    #[default]
    Passes,
    /// After so many the connection is cut, in both directions.
    CutAfter(u64),
    /// After so many none arrives any more, but the connection stays open.
    StallAfter(u64),
}

impl Fate {
    /// How many more of `offered` bytes arrive when `passed` have.
    fn lets(self, passed: u64, offered: usize) -> usize {
        match self {
            Self::Passes => offered,
            Self::CutAfter(limit) | Self::StallAfter(limit) => {
                offered.min(usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX))
            }
        }
    }
}

/// What the network is like for new connections.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// How long bytes take, each way: half of the round trip.
    pub delay: Duration,
    /// What becomes of what the client sends.
    pub to_server: Fate,
    /// What becomes of what the server sends.
    pub to_client: Fate,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    weather: Mutex<Weather>,
    connections: AtomicU64,
    to_server: AtomicU64,
    to_client: AtomicU64,
}

/// A running proxy. Dropping it cuts everything.
#[derive(Debug)]
pub struct Proxy {
    at: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts one in front of `server`, with a thread of its own.
    ///
    /// # Panics
    /// When it can't listen.
    #[must_use]
    pub fn start(server: SocketAddr, weather: Weather) -> Self {
        let shared = Arc::new(Shared {
            server,
            weather: Mutex::new(weather),
            connections: AtomicU64::new(0),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
        });
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let at = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, shared) => {}
                        _ = stopped => {}
                    }
                });
            }
        });
        Self { at, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    #[must_use]
    pub fn at(&self) -> SocketAddr {
        self.at
    }

    /// What the network is like from the next connection on.
    pub fn set(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// How many connections there have been.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes have reached the server.
    #[must_use]
    pub fn bytes_to_server(&self) -> u64 {
        self.shared.to_server.load(Ordering::SeqCst)
    }

    /// How many bytes have reached the clients.
    #[must_use]
    pub fn bytes_to_client(&self) -> u64 {
        self.shared.to_client.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

async fn accept(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((client, _)) = listener.accept().await {
        // Before it is counted: whoever has seen it counted may change the weather for the next one.
        let weather = *shared.weather.lock().unwrap_or_else(PoisonError::into_inner);
        shared.connections.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connection(client, weather, Arc::clone(&shared)));
    }
}

/// Ends when both directions have, or at once when one cuts.
async fn connection(client: TcpStream, weather: Weather, shared: Arc<Shared>) {
    // A client whose server isn't there sees its connection closed.
    let Ok(server) = TcpStream::connect(shared.server).await else { return };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let _cut = tokio::try_join!(
        direction(from_client, to_server, weather.delay, weather.to_server, &shared.to_server),
        direction(from_server, to_client, weather.delay, weather.to_client, &shared.to_client),
    );
}

/// The connection is over, in both directions.
struct Cut;

async fn direction(
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
    delay: Duration,
    fate: Fate,
    count: &AtomicU64,
) -> Result<(), Cut> {
    let (queue, waiting) = mpsc::unbounded_channel();
    let room = Semaphore::new(IN_FLIGHT);
    tokio::try_join!(take(from, queue, delay, &room), give(waiting, to, fate, &room, count))?;
    Ok(())
}

/// Reads as fast as it comes, and notes when each chunk is due. The queue's end is the stream's.
async fn take(
    mut from: OwnedReadHalf,
    queue: mpsc::UnboundedSender<(Instant, Bytes)>,
    delay: Duration,
    room: &Semaphore,
) -> Result<(), Cut> {
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let read = from.read_buf(&mut chunk).await.map_err(|_| Cut)?;
        if read == 0 {
            return Ok(());
        }
        let due = Instant::now() + delay;
        room.acquire_many(u32::try_from(read).unwrap()).await.map_err(|_| Cut)?.forget();
        queue.send((due, chunk.freeze())).map_err(|_| Cut)?;
    }
}

/// Passes on what is due, as its fate lets it.
async fn give(
    mut waiting: mpsc::UnboundedReceiver<(Instant, Bytes)>,
    mut to: OwnedWriteHalf,
    fate: Fate,
    room: &Semaphore,
    count: &AtomicU64,
) -> Result<(), Cut> {
    let mut passed = 0;
    while let Some((due, chunk)) = waiting.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        let lets = fate.lets(passed, chunk.len());
        to.write_all(&chunk[..lets]).await.map_err(|_| Cut)?;
        passed += lets as u64;
        count.fetch_add(lets as u64, Ordering::SeqCst);
        room.add_permits(chunk.len());
        match fate {
            Fate::CutAfter(limit) if passed >= limit => return Err(Cut),
            Fate::StallAfter(limit) if passed >= limit => std::future::pending().await,
            _ => {}
        }
    }
    to.shutdown().await.map_err(|_| Cut)
}
