//! An SFTP server that lies. A real sshd carries it: its `Subsystem` is a relay to a thread of the test's own process,
//! so that a test can change what the server says while it runs, and nothing has to be built beside the test.
//!
//! [`Scenario`] is what it serves: a tree, and one [`Lie`].

mod scenario;
mod session;
mod wire;

use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tempfile::TempDir;

pub use scenario::{Attributes, Lie, Node, Scenario};

use crate::need;
use crate::sshd::{Sshd, SshdBuilder};

/// A hostile server behind an sshd. Dropping it ends both.
#[derive(Debug)]
pub struct Hostile {
    // Before the server: sessions end with their connections.
    sshd: Sshd,
    server: Server,
}

impl Hostile {
    /// A host that serves `scenario`.
    #[must_use]
    pub fn start(scenario: Scenario) -> Self {
        Self::start_on(Sshd::builder(), scenario)
    }

    /// The same with an sshd of one's own making.
    #[must_use]
    pub fn start_on(sshd: SshdBuilder, scenario: Scenario) -> Self {
        let server = Server::start(scenario);
        Self { sshd: sshd.subsystem(&server.relay()).start(), server }
    }

    /// The sshd in front.
    #[must_use]
    pub fn sshd(&self) -> &Sshd {
        &self.sshd
    }

    /// What it serves from the next connection on.
    pub fn set(&self, scenario: Scenario) {
        *self.server.shared.scenario.lock().unwrap_or_else(PoisonError::into_inner) = scenario;
    }

    /// What has been asked of it, by the names of the draft: `OPEN /data/file`, without `READ` and `CLOSE`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.server.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Shared {
    scenario: Mutex<Scenario>,
    asked: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
    stopping: AtomicBool,
}

#[derive(Debug)]
struct Server {
    at: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    relay: TempDir,
}

impl Server {
    fn start(scenario: Scenario) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let at = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            scenario: Mutex::new(scenario),
            asked: Mutex::new(Vec::new()),
            connections: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
        });
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        let relay = tempfile::tempdir().unwrap();
        // Whichever side ends first ends the relay, and with it what sshd takes for the SFTP server.
        let script = format!(
            "exec 3<>/dev/tcp/127.0.0.1/{} 4<&0\ncat <&4 >&3 &\ncat <&3 &\nwait -n\nkill $(jobs -p) 2>/dev/null\n",
            at.port()
        );
        std::fs::write(relay.path().join("relay"), script).unwrap();
        Self { at, shared, thread: Some(thread), relay }
    }

    /// The command for sshd's `Subsystem sftp`.
    fn relay(&self) -> String {
        format!("{} {}", need("bash", "bash").display(), self.relay.path().join("relay").display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        for connection in self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _over = connection.shutdown(Shutdown::Both);
        }
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.at));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut sessions = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        if shared.stopping.load(Ordering::SeqCst) {
            break;
        }
        let again = stream.try_clone().unwrap();
        shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(again);
        let shared = Arc::clone(shared);
        sessions.push(std::thread::spawn(move || {
            let scenario = shared.scenario.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // It ends when its client goes; there is nobody to tell.
            let _over = session::serve(&stream, scenario, &shared.asked);
            let _over = stream.shutdown(Shutdown::Both);
        }));
    }
    sessions.into_iter().for_each(|session| drop(session.join()));
}
