//! The proxy, by plain sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use drawbridge_peers::proxy::{Fate, Proxy, Weather};

/// A server that gives back what it gets, to one client after the other.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _copied = std::io::copy(&mut &stream, &mut &stream);
                let _over = stream.shutdown(Shutdown::Both);
            });
        }
    });
    at
}

fn timed_out(read: std::io::Result<usize>) -> bool {
    read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn numbers(length: usize) -> Vec<u8> {
    (0..length as u64).flat_map(u64::to_le_bytes).take(length).collect()
}

/// Sends all, and reads until the end or a cut.
fn exchange(at: SocketAddr, sent: Vec<u8>) -> Vec<u8> {
    let mut stream = TcpStream::connect(at).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        let _cut = sender.write_all(&sent).and_then(|()| sender.shutdown(Shutdown::Write));
    });
    let (mut got, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => got.extend(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}"),
        }
    }
    sending.join().unwrap();
    got
}

#[test]
fn bytes_arrive_in_order_and_complete_with_and_without_delay() {
    let proxy = Proxy::start(echo(), Weather::default());
    let sent = numbers(20_000_003);
    assert!(exchange(proxy.at(), sent.clone()) == sent);
    proxy.set(Weather { delay: Duration::from_millis(10), ..Weather::default() });
    assert!(exchange(proxy.at(), sent.clone()) == sent);
    assert_eq!(proxy.connections(), 2);
    assert_eq!((proxy.bytes_to_server(), proxy.bytes_to_client()), (40_000_006, 40_000_006));
}

#[test]
fn a_round_trip_takes_twice_the_delay_at_least() {
    let delay = Duration::from_millis(30);
    let proxy = Proxy::start(echo(), Weather { delay, ..Weather::default() });
    let mut stream = TcpStream::connect(proxy.at()).unwrap();
    for _ in 0..3 {
        let since = Instant::now();
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        assert!(since.elapsed() >= 2 * delay);
    }
}

#[test]
fn chunks_that_were_sent_apart_arrive_as_far_apart_and_do_not_add_up_their_delays() {
    // Were the delays one after the other, a thousand would take a minute.
    let delay = Duration::from_millis(60);
    let proxy = Proxy::start(echo(), Weather { delay, ..Weather::default() });
    let stream = TcpStream::connect(proxy.at()).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut sender = stream.try_clone().unwrap();
    let since = Instant::now();
    let sending = std::thread::spawn(move || (0..1000).for_each(|_| sender.write_all(b"x").unwrap()));
    (&stream).read_exact(&mut [0; 1000]).unwrap();
    assert!(since.elapsed() < 500 * delay);
    sending.join().unwrap();
}

#[test]
fn a_connection_is_cut_after_exactly_so_many_bytes_of_one_direction() {
    let proxy = Proxy::start(echo(), Weather::default());
    let sent = numbers(5_000_000);
    for limit in [0, 1, 131_072, 131_073, 3_000_000] {
        proxy.set(Weather { to_client: Fate::CutAfter(limit), ..Weather::default() });
        let before = proxy.bytes_to_client();
        let got = exchange(proxy.at(), sent.clone());
        assert!(sent.starts_with(&got));
        assert_eq!(proxy.bytes_to_client() - before, limit);
    }
    // The cut is the proxy's: both ends would stay.
    proxy.set(Weather { to_client: Fate::CutAfter(1), ..Weather::default() });
    let mut stream = TcpStream::connect(proxy.at()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    let read = stream.read(&mut [0]);
    assert!(!timed_out(read), "the connection is still open");
    proxy.set(Weather { to_server: Fate::CutAfter(1000), ..Weather::default() });
    let before = proxy.bytes_to_server();
    assert!(exchange(proxy.at(), sent).len() <= 1000);
    assert_eq!(proxy.bytes_to_server() - before, 1000);
}

#[test]
fn a_connection_that_stalls_stays_open_and_says_nothing_more() {
    let proxy = Proxy::start(echo(), Weather { to_client: Fate::StallAfter(1000), ..Weather::default() });
    let mut stream = TcpStream::connect(proxy.at()).unwrap();
    stream.write_all(&numbers(5000)).unwrap();
    stream.read_exact(&mut [0; 1000]).unwrap();
    // Not even the server's end is heard of.
    stream.shutdown(Shutdown::Write).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(timed_out(stream.read(&mut [0])));
}

#[test]
fn nothing_is_left_of_a_proxy_that_was_dropped() {
    let proxy = Proxy::start(echo(), Weather::default());
    let at = proxy.at();
    let mut stream = TcpStream::connect(at).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    drop(proxy);
    assert!(TcpStream::connect(at).is_err());
    assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
}

/// Not timed against a bound: a machine may be busy. Says what it sustains.
#[test]
#[ignore = "a measurement"]
fn how_much_passes_in_a_second() {
    for delay in [0, 10] {
        let proxy = Proxy::start(echo(), Weather { delay: Duration::from_millis(delay), ..Weather::default() });
        let stream = TcpStream::connect(proxy.at()).unwrap();
        let mut sender = stream.try_clone().unwrap();
        let since = Instant::now();
        let total: u64 = 2 << 30;
        std::thread::spawn(move || {
            let block = vec![7; 1 << 20];
            (0..total >> 20).for_each(|_| sender.write_all(&block).unwrap());
        });
        let mut buffer = vec![0; 1 << 20];
        let mut got = 0;
        while got < total {
            got += (&stream).read(&mut buffer).unwrap() as u64;
        }
        eprintln!("{delay} ms each way: {:.0} MB/s there and back", total as f64 / since.elapsed().as_secs_f64() / 1e6);
    }
}
