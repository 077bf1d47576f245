//! Who makes the requests: connections, logins, channels, and what nobody should ask for on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use drawbridge_ssh::{PinnedHostKey, PublicKey, USER, VAULT_HOST, VAULT_PORT, client_config};
use russh::keys::{Algorithm, PrivateKey, PrivateKeyWithHashAlg};
use russh::{Channel, Sig, client};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::common::{LOOPBACK, SOON};
use super::dice::Dice;

type Raw = client::Handle<PinnedHostKey>;

/// How long an answer is waited for before the channel is given up: some requests deserve none.
const PATIENCE: Duration = Duration::from_millis(500);

/// The agent's key in hostile hands.
#[derive(Clone)]
pub struct Visitor {
    pub port: u16,
    pub host_key: PublicKey,
    pub key: Arc<PrivateKey>,
}

pub fn private_key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::random(&mut russh::keys::key::safe_rng(), Algorithm::Ed25519).unwrap())
}

impl Visitor {
    /// A connection that has logged in. Newer ones may displace it at any time, so every use of it may fail.
    pub async fn log_in(&self) -> Raw {
        let deadline = Instant::now() + SOON;
        loop {
            if let Ok(mut connection) = self.connect().await {
                let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
                if connection.authenticate_publickey(USER, key).await.is_ok_and(|result| result.success()) {
                    return connection;
                }
            }
            assert!(Instant::now() < deadline, "the gate should let its user in");
        }
    }

    async fn connect(&self) -> Result<Raw, drawbridge_ssh::LinkError> {
        let socket = TcpStream::connect((LOOPBACK, self.port)).await.unwrap();
        client::connect_stream(client_config(), socket, PinnedHostKey::new(self.host_key.clone())).await
    }

    /// Something that a stranger tries.
    pub async fn knock(&self, dice: &mut Dice) {
        if dice.once_in(2) {
            let Ok(mut socket) = TcpStream::connect((LOOPBACK, self.port)).await else { return };
            let greeting =
                dice.text(&["", "SSH-2.0-x\r\n", "SSH-1.5-x\r\n", "GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.9\r\n"]);
            let bytes = [greeting.into_bytes(), dice.bytes(3000)].concat();
            // The gate may hang up at any byte.
            let _ = socket.write_all(&bytes).await;
            let _ = timeout(PATIENCE / 5, socket.read(&mut [0; 4096])).await;
            return;
        }
        let Ok(mut connection) = self.connect().await else { return };
        let stranger = PrivateKeyWithHashAlg::new(private_key(), None);
        let user = dice.text(&[USER, "root", "", "drawbridge\0", "Drawbridge"]);
        let _ = match dice.below(3) {
            0 => connection.authenticate_none(user).await.map(drop),
            1 => connection.authenticate_password(user, "drawbridge").await.map(drop),
            _ => connection.authenticate_publickey(user, stranger).await.map(drop),
        };
        let open = connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0);
        assert!(!matches!(timeout(PATIENCE, open).await, Ok(Ok(_))), "a stranger got a channel");
    }
}

/// Sends bytes on a channel of their own, and takes whatever comes.
pub async fn say(connection: &Raw, dice: &mut Dice, bytes: &[u8]) {
    let Some(mut channel) = open(connection).await else { return };
    let talking = async {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, more) = rest.split_at(rest.len().min(1 + dice.below(60_000)));
            rest = more;
            if channel.data(piece).await.is_err() {
                return;
            }
            if dice.once_in(40) {
                // Gone in the middle.
                let _ = channel.close().await;
                return;
            }
        }
        let _ = channel.eof().await;
        while channel.wait().await.is_some() {}
    };
    let _ = timeout(PATIENCE, talking).await;
}

async fn open(connection: &Raw) -> Option<Channel<client::Msg>> {
    let opening = connection.channel_open_direct_tcpip(VAULT_HOST, VAULT_PORT, "127.0.0.1", 0);
    timeout(PATIENCE, opening).await.ok()?.ok()
}

/// Something that SSH knows and the gate doesn't grant.
pub async fn ask(connection: &Raw, dice: &mut Dice) {
    let asking = async {
        match dice.below(6) {
            0 => assert!(connection.channel_open_session().await.is_err(), "a session"),
            1 => assert!(connection.channel_open_x11("127.0.0.1", 6000).await.is_err(), "X11"),
            2 => assert!(connection.channel_open_direct_streamlocal("/run/x").await.is_err(), "a socket"),
            3 => {
                let host = dice.text(&["127.0.0.1", "169.254.169.254", "localhost", "", "vault.drawbridge.internal."]);
                let port = *dice.pick(&[0, 22, 80, 65_616, u32::MAX]);
                let opened = connection.channel_open_direct_tcpip(host, port, "x", 0).await;
                assert!(opened.is_err(), "another destination");
            }
            4 => assert!(connection.tcpip_forward("0.0.0.0", 0).await.is_err(), "a forward"),
            _ => ask_on_a_channel(connection, dice).await,
        }
    };
    let _ = timeout(PATIENCE, asking).await;
}

async fn ask_on_a_channel(connection: &Raw, dice: &mut Dice) {
    let Some(channel) = open(connection).await else { return };
    for _ in 0..=dice.below(4) {
        let _ = match dice.below(10) {
            0 => channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await,
            1 => channel.request_shell(true).await,
            2 => channel.exec(true, dice.bytes(2000)).await,
            3 => channel.request_subsystem(true, "sftp").await,
            4 => channel.set_env(true, "LD_PRELOAD", "x").await,
            5 => channel.agent_forward(true).await,
            6 => channel.signal(Sig::KILL).await,
            7 => channel.request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0).await,
            8 => channel.extended_data(1, &dice.bytes(5000)[..]).await,
            _ => channel.window_change(u32::MAX, 0, 0, 0).await,
        };
    }
    let _ = channel.data(&dice.bytes(500)[..]).await;
    let _ = channel.close().await;
}
