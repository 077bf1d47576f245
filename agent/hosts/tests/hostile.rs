//! Hosts that are no good SSH servers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use drawbridge_hosts::{Patience, SshError, Target, connect, shown_key};
use drawbridge_peers::proxy::{Fate, Proxy, Weather};
use drawbridge_peers::sshd::{KeyKind, Sshd};
use russh::keys::{Algorithm, PrivateKey, key::safe_rng};
use russh::server::{self, Auth, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use support::talker::{HostKey, talk};
use support::{PATIENCE, SHORT, failure, target};
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Does something to the one connection that comes. It ends with the connection.
fn peer(act: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    (at, tokio::task::spawn_blocking(move || act(listener.accept().unwrap().0)))
}

fn at(address: SocketAddr) -> Target {
    let sshd = Target::parse(&address.to_string()).unwrap();
    Target {
        identity_file: Some("/dev/null".into()),
        known_hosts: Some("/dev/null".into()),
        ssh_config: Some("/dev/null".into()),
        ..sshd
    }
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up_and_let_go() {
    let (address, thread) = peer(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        assert!(all.starts_with(b"SSH-2.0-"));
    });
    let error = connect(&at(address), SHORT).await.unwrap_err();
    assert!(matches!(error, SshError::TooSlow { .. }) && error.may_pass(), "{error}");
    // It ends because the client has gone.
    thread.await.unwrap();
}

#[tokio::test]
async fn a_server_that_stalls_in_the_key_exchange_is_given_up_and_let_go() {
    let (address, thread) = peer(|mut stream| {
        stream.write_all(b"SSH-2.0-Stalls\r\n").unwrap();
        // Not let go of, the test is to fail and not to hang.
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    // Nothing else would let go of it within the test's time.
    let patience = Patience { connect: SHORT.connect, silence: Duration::from_secs(3600) };
    assert!(matches!(connect(&at(address), patience).await.unwrap_err(), SshError::TooSlow { .. }));
    thread.await.unwrap();
}

#[tokio::test]
async fn endless_garbage_instead_of_a_version_ends_at_once() {
    for garbage in [&b"x"[..], b"no version\r\n", b"\0\n"] {
        let (address, thread) = peer(move |mut stream| while stream.write_all(&garbage.repeat(1000)).is_ok() {});
        let error = failure(&at(address)).await;
        assert!(matches!(error, SshError::Ssh { .. }), "{error}");
        thread.await.unwrap();
    }
}

#[tokio::test]
async fn garbage_instead_of_a_key_exchange_ends_at_once() {
    for garbage in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x0c\x0a\x14\0\0\0\0\0\0\0\0\0\0", b"\0\0\0\0"] {
        let (address, thread) = peer(move |mut stream| {
            stream.write_all(b"SSH-2.0-Garbage\r\n").unwrap();
            while stream.write_all(&garbage.repeat(1000)).is_ok() {}
        });
        assert!(connect(&at(address), PATIENCE).await.is_err());
        thread.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_anywhere_before_the_login_is_an_error_that_may_pass() {
    let (sshd, dir) = (Sshd::start(), TempDir::new().unwrap());
    let through = |proxy: &Proxy| {
        let known = dir.path().join("known_hosts");
        std::fs::write(&known, sshd.known_as(proxy.at())).unwrap();
        Target { port: Some(proxy.at().port()), known_hosts: Some(known), ..target(&sshd) }
    };
    let proxy = Proxy::start(sshd.at(), Weather::default());
    connect(&through(&proxy), PATIENCE).await.unwrap().close().await;
    let all = proxy.bytes_to_client();
    // What comes last is said after the login.
    for twelfths in 0..8 {
        let bytes = all * twelfths / 12;
        let proxy = Proxy::start(sshd.at(), Weather { to_client: Fate::CutAfter(bytes), ..Weather::default() });
        match connect(&through(&proxy), PATIENCE).await {
            Ok(_) => panic!("{bytes} of {all} bytes were enough"),
            Err(error) => assert!(error.may_pass(), "{bytes} of {all}: {error} {error:?}"),
        }
    }
}

#[tokio::test]
async fn a_host_that_falls_silent_after_the_login_is_noticed() {
    let sshd = Sshd::start();
    let proxy = Proxy::start(sshd.at(), Weather { to_client: Fate::StallAfter(6000), ..Weather::default() });
    let dir = TempDir::new().unwrap();
    let known = dir.path().join("known_hosts");
    std::fs::write(&known, sshd.known_as(proxy.at())).unwrap();
    let target = Target { port: Some(proxy.at().port()), known_hosts: Some(known), ..target(&sshd) };
    let host = connect(&target, Patience { silence: SHORT.silence, ..PATIENCE }).await.unwrap();
    let mut running = host.run("yes").await.unwrap();
    let error = loop {
        match running.next().await {
            Ok(said) => assert!(said.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SshError::Silent { .. }), "{error}");
}

/// A server of the library's that does what an honest one doesn't.
#[derive(Clone)]
struct Rogue {
    opened: Arc<std::sync::Mutex<Vec<(&'static str, bool)>>>,
    done: tokio::sync::mpsc::Sender<()>,
}

impl server::Handler for Rogue {
    type Error = russh::Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Self::Error> {
        Ok(Auth::reject())
    }

    async fn auth_publickey(&mut self, _: &str, _: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        _: Channel<Msg>,
        reply: server::ChannelOpenHandle,
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        reply.accept().await;
        let (handle, this) = (session.handle(), self.clone());
        tokio::spawn(async move {
            let opened = [
                ("forwarded", handle.channel_open_forwarded_tcpip("127.0.0.1", 1, "127.0.0.1", 2).await.is_ok()),
                ("session", handle.channel_open_session().await.is_ok()),
                ("direct", handle.channel_open_direct_tcpip("127.0.0.1", 1, "127.0.0.1", 2).await.is_ok()),
                ("x11", handle.channel_open_x11("127.0.0.1", 1).await.is_ok()),
                ("agent", handle.channel_open_agent().await.is_ok()),
            ];
            this.opened.lock().unwrap().extend(opened);
            this.done.send(()).await.unwrap();
        });
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, _: &[u8], session: &mut Session) -> Result<(), Self::Error> {
        // Closed without a word on how it ended.
        session.channel_success(channel)?;
        session.data(channel, b"half".as_slice())?;
        session.eof(channel)?;
        session.close(channel)
    }
}

async fn rogue() -> (Target, Rogue, tokio::sync::mpsc::Receiver<()>, TempDir) {
    let (dir, key) = (TempDir::new().unwrap(), PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let known = dir.path().join("known_hosts");
    std::fs::write(&known, format!("[127.0.0.1]:{} {}\n", address.port(), key.public_key().to_openssh().unwrap()))
        .unwrap();
    let (done, is_done) = tokio::sync::mpsc::channel(8);
    let rogue = Rogue { opened: Arc::default(), done };
    let config =
        Arc::new(server::Config { keys: vec![key], auth_rejection_time: Duration::ZERO, ..server::Config::default() });
    let handler = rogue.clone();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        if let Ok(session) = server::run_stream(config, socket, handler).await {
            let _over = session.await;
        }
    });
    let identity = support::key(dir.path(), "id", "ed25519", "");
    (Target { identity_file: Some(identity), known_hosts: Some(known), ..at(address) }, rogue, is_done, dir)
}

#[tokio::test]
async fn every_channel_that_a_host_opens_is_refused_and_a_command_without_status_is_no_success() {
    let (target, rogue, mut done, _dir) = rogue().await;
    let host = connect(&target, PATIENCE).await.unwrap();
    let (out, _, ended) = support::run(&host, "x").await;
    assert_eq!(out, b"half");
    let error = ended.unwrap_err();
    assert!(matches!(error, SshError::NoStatus { .. }) && error.may_pass(), "{error}");
    done.recv().await.unwrap();
    let opened = rogue.opened.lock().unwrap().clone();
    assert_eq!(opened, ["forwarded", "session", "direct", "x11", "agent"].map(|name| (name, false)));
}

/// What a connection to a host comes to that sends these banners before it lets anybody in.
async fn greeted_with(banners: Vec<String>) -> Result<(), SshError> {
    let (key, dir) = (HostKey::new(), TempDir::new().unwrap());
    let line = key.line();
    // A client that goes in the middle is what some tests want.
    let (address, thread) = peer(move |stream| drop(talk(stream, &key, &banners)));
    let known = dir.path().join("known_hosts");
    std::fs::write(&known, format!("[127.0.0.1]:{} {line}\n", address.port())).unwrap();
    let connected = connect(&Target { known_hosts: Some(known), ..at(address) }, PATIENCE).await;
    let result = match connected {
        Ok(host) => {
            host.close().await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    thread.await.unwrap();
    result
}

#[tokio::test]
async fn banners_are_passed_over_up_to_four_mebibytes_and_no_further() {
    let banners = |count: usize| vec!["b".repeat(128 << 10); count];
    greeted_with(banners(32)).await.unwrap();
    // One byte more, and one banner of none, which takes time as well.
    for more in ["b", ""] {
        let error = greeted_with([banners(32), vec![more.to_owned()]].concat()).await.unwrap_err();
        assert!(matches!(error, SshError::Chatter { .. }) && !error.may_pass(), "{error} {error:?}");
        assert!(error.to_string().contains("more than 4194304 bytes of banners"), "{error}");
    }
}

#[tokio::test]
async fn a_jump_through_a_rogue_or_a_look_at_one_ends_too() {
    let (address, thread) = peer(|mut stream| while stream.write_all(b"x").is_ok() {});
    assert!(shown_key(&at(address), PATIENCE).await.is_err());
    thread.await.unwrap();
}

#[tokio::test]
async fn a_look_at_a_host_sends_no_login() {
    let sshd = Sshd::start();
    let shown = shown_key(&target(&sshd), PATIENCE).await.unwrap();
    assert_eq!(shown.algorithm(), sshd.host_key(KeyKind::Ed25519).split(' ').next().unwrap());
    while !sshd.log().contains("[preauth]") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!sshd.log().contains(&format!("user {}", sshd.user())), "{}", sshd.log());
}
