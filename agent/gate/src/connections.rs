//! Who is connected.
//!
//! Invariants:
//! - at most [`MAX_STRANGERS`] connections have not logged in and at most [`MAX_SESSIONS`] have; one more displaces the
//!   oldest of its sort, so that neither silence nor a dead link can keep the agent out;
//! - a connection is counted from its acceptance until its SSH session has ended, whoever ended it;
//! - closing works from outside of the session, by shutting its socket: a peer that stalls the protocol cannot delay it.

use std::collections::BTreeMap;
use std::net::Shutdown;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::limits::{MAX_SESSIONS, MAX_STRANGERS};

/// In the order of arrival.
pub(crate) type ConnectionId = u64;

struct Entry {
    socket: std::net::TcpStream,
    logged_in: bool,
}

#[derive(Default)]
struct Table {
    next: ConnectionId,
    entries: BTreeMap<ConnectionId, Entry>,
}

/// All open connections.
pub(crate) struct Connections {
    table: Mutex<Table>,
    count: watch::Sender<usize>,
}

/// One connection's place; it is free again when this is dropped.
pub(crate) struct Place {
    connections: Arc<Connections>,
    id: ConnectionId,
}

impl Connections {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), count: watch::Sender::new(0) })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a new connection, whose socket `socket` is a second handle of.
    pub(crate) fn enter(self: &Arc<Self>, socket: std::net::TcpStream) -> Place {
        let mut table = self.table();
        let id = table.next;
        table.next += 1;
        table.entries.insert(id, Entry { socket, logged_in: false });
        self.count.send_replace(table.entries.len());
        displace_oldest(&table, false, MAX_STRANGERS);
        Place { connections: Arc::clone(self), id }
    }

    /// Shuts every socket. The sessions end in their own time.
    pub(crate) fn close_all(&self) {
        self.table().entries.values().for_each(close);
    }

    /// Returns when there has been no connection for so long.
    pub(crate) async fn quiet(&self, quiet: Duration) {
        let mut count = self.count.subscribe();
        while count.wait_for(|open| *open == 0).await.is_ok() {
            if timeout(quiet, count.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Place {
    pub(crate) const fn id(&self) -> ConnectionId {
        self.id
    }

    /// The user has proved to own the key.
    pub(crate) fn logged_in(&self) {
        let mut table = self.connections.table();
        if let Some(entry) = table.entries.get_mut(&self.id) {
            entry.logged_in = true;
        }
        displace_oldest(&table, true, MAX_SESSIONS);
    }

    pub(crate) fn is_logged_in(&self) -> bool {
        self.connections.table().entries.get(&self.id).is_some_and(|entry| entry.logged_in)
    }

    /// Shuts the socket.
    pub(crate) fn close(&self) {
        if let Some(entry) = self.connections.table().entries.get(&self.id) {
            close(entry);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.connections.table();
        table.entries.remove(&self.id);
        self.connections.count.send_replace(table.entries.len());
    }
}

/// Shuts the oldest connection of a sort when there are more than `most`. It leaves the table when its session ends,
/// until when it would be chosen again; so all that are too many are shut, oldest first.
fn displace_oldest(table: &Table, logged_in: bool, most: usize) {
    let of_its_sort = || table.entries.iter().filter(|(_, entry)| entry.logged_in == logged_in);
    let too_many = of_its_sort().count().saturating_sub(most);
    for (id, entry) in of_its_sort().take(too_many) {
        warn!(connection = id, logged_in, "displaced by a newer connection");
        close(entry);
    }
}

fn close(entry: &Entry) {
    // An error means that the peer was faster.
    if let Err(error) = entry.socket.shutdown(Shutdown::Both) {
        debug!(%error, "socket is closed already");
    }
}
