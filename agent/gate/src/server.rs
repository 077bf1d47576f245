//! The SSH side: callbacks of the library become questions to the other modules.
//!
//! Invariants:
//! - one user, one key, one kind of channel to one name; whatever else a client asks for is refused by doing nothing
//!   (which the library answers with a failure) or by saying so;
//! - no answer to a stranger tells a wrong user from a wrong key.

use std::sync::Arc;
use std::time::Duration;

use drawbridge_ssh::{PublicKey, USER, VAULT_HOST, VAULT_PORT};
use russh::keys::ssh_key;
use russh::server::{self, Auth, ChannelOpenHandle, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, Pty, Sig};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span, debug, info, warn};

use crate::connections::{Connections, Place};
use crate::http::Vault;
use crate::limits::{MAX_CHANNELS, MAX_CHANNELS_PER_CONNECTION, Patience};
use crate::protocol;
use crate::storage::{ObjectStore, chain};

/// What all connections share.
pub(crate) struct Gatehouse<S> {
    config: Arc<server::Config>,
    user_key: PublicKey,
    vault: Arc<Vault<S>>,
    connections: Arc<Connections>,
    channels: Arc<Semaphore>,
    patience: Patience,
}

impl<S: ObjectStore> Gatehouse<S> {
    pub(crate) fn new(
        config: Arc<server::Config>,
        user_key: PublicKey,
        vault: Arc<Vault<S>>,
        patience: Patience,
    ) -> Self {
        let channels = Arc::new(Semaphore::new(MAX_CHANNELS));
        Self { config, user_key, vault, connections: Connections::new(), channels, patience }
    }

    pub(crate) fn connections(&self) -> &Arc<Connections> {
        &self.connections
    }

    /// Serves one connection to its end.
    pub(crate) async fn serve(self: Arc<Self>, socket: TcpStream) {
        let peer = socket.peer_addr().map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
        match self.converse(socket).await {
            Ok(()) => info!(peer, "connection ended"),
            Err(error) => info!(peer, reason = chain(&error), "connection ended"),
        }
    }

    async fn converse(&self, socket: TcpStream) -> Result<(), russh::Error> {
        let grace = Instant::now() + self.patience.login;
        socket.set_nodelay(true)?;
        let socket = socket.into_std()?;
        let place = Arc::new(self.connections.enter(socket.try_clone()?));
        let socket = TcpStream::from_std(socket)?;
        let visitor = Visitor {
            user_key: self.user_key.clone(),
            vault: Arc::clone(&self.vault),
            place: Arc::clone(&place),
            channels: Arc::clone(&self.channels),
            own_channels: Arc::new(Semaphore::new(MAX_CHANNELS_PER_CONNECTION)),
            stall: self.patience.stall,
            span: Span::current(),
        };
        debug!(connection = place.id(), "connected");
        let opening = server::run_stream(Arc::clone(&self.config), socket, visitor);
        let mut session = timeout_at(grace, opening).await??;
        match timeout_at(grace, &mut session).await {
            Ok(ended) => return ended,
            Err(_) if place.is_logged_in() => {}
            Err(_) => {
                warn!(connection = place.id(), "no login in time");
                place.close();
            }
        }
        session.await
    }
}

/// The handler of one connection.
struct Visitor<S> {
    user_key: PublicKey,
    vault: Arc<Vault<S>>,
    place: Arc<Place>,
    channels: Arc<Semaphore>,
    own_channels: Arc<Semaphore>,
    stall: Duration,
    span: Span,
}

impl<S: ObjectStore> Visitor<S> {
    fn knows(&self, user: &str, key: &ssh_key::PublicKey) -> Auth {
        if user == USER && self.user_key.is(key) { Auth::Accept } else { Auth::reject() }
    }

    /// The right to one more stream, or nothing.
    fn stream_permits(&self) -> Option<[OwnedSemaphorePermit; 2]> {
        let own = Arc::clone(&self.own_channels).try_acquire_owned().ok()?;
        Some([own, Arc::clone(&self.channels).try_acquire_owned().ok()?])
    }
}

/// Requests on a channel that are answered with a failure.
macro_rules! refuse {
    ($($request:ident($($argument:ty),*);)*) => {$(
        async fn $request(
            &mut self,
            channel: ChannelId,
            $(_: $argument,)*
            session: &mut Session,
        ) -> Result<(), russh::Error> {
            session.channel_failure(channel)
        }
    )*};
}

impl<S: ObjectStore> server::Handler for Visitor<S> {
    type Error = russh::Error;

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Result<Auth, russh::Error> {
        Ok(self.knows(user, offer.public_key))
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, russh::Error> {
        Ok(self.knows(user, key.public_key))
    }

    async fn auth_succeeded(&mut self, _: &mut Session) -> Result<(), russh::Error> {
        info!(parent: &self.span, connection = self.place.id(), "logged in");
        self.place.logged_in();
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _: &str,
        _: u32,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), russh::Error> {
        // Returning drops the reply, which refuses.
        if host != VAULT_HOST || port != VAULT_PORT {
            warn!(parent: &self.span, connection = self.place.id(), "forwarding to another destination refused");
            return Ok(());
        }
        let Some(permits) = self.stream_permits() else {
            warn!(parent: &self.span, connection = self.place.id(), "too many streams");
            return Ok(());
        };
        reply.accept().await;
        let (vault, stall) = (Arc::clone(&self.vault), self.stall);
        let serving = async move {
            let _permits = permits;
            if let Err(error) = protocol::serve(vault, channel.into_stream(), stall).await {
                debug!(reason = chain(&error), "stream ended");
            }
        };
        tokio::spawn(serving.instrument(self.span.clone()));
        Ok(())
    }

    // The library leaves these without an answer, and a client that wants one would wait for it. (Sessions, X11 and
    // forwarded channels don't open at all, and forwarding requests and agents are refused by default.)
    refuse! {
        pty_request(&str, u32, u32, u32, u32, &[(Pty, u32)]);
        x11_request(bool, &str, &str, u32);
        env_request(&str, &str);
        shell_request();
        exec_request(&[u8]);
        subsystem_request(&str);
        window_change_request(u32, u32, u32, u32);
        signal(Sig);
    }
}
