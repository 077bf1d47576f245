//! INIT, VERSION and the limits.

use std::error::Error;
use std::io;
use std::time::Duration;

use drawbridge_sftp::{Settings, Sftp, SftpError};

use crate::script::{
    EXTENDED, EXTENDED_REPLY, FSTAT, READ, data, greeted, packet, pair, session_with, status, version,
};

const LIMITS: (&[u8], &[u8]) = (b"limits@openssh.com", b"1");

fn misbehaves(result: Result<Sftp, SftpError>) -> String {
    match result {
        Err(error @ SftpError::Misbehaves(_)) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_stream_that_ends_at_once_is_said_to_offer_no_sftp() {
    for beginning in [&b""[..], b"\0\0", b"\0\0\0\x05\x02"] {
        let error = greeted(beginning.to_vec()).await.unwrap_err();
        assert_eq!(error.to_string(), "the host offers no SFTP");
        assert!(error.is_fatal());
    }
}

#[tokio::test]
async fn a_shell_that_greets_is_told_from_a_giant_packet() {
    assert!(misbehaves(greeted(b"Welcome to the file server\n".to_vec()).await).contains("start-up files"));
    let (stream, mut script) = pair();
    script.say(b"This account is disabled.\n").await;
    drop(script);
    assert!(misbehaves(Sftp::start(stream, Settings::default()).await).contains("start-up files"));
    let announced = misbehaves(greeted(u32::MAX.to_be_bytes().to_vec()).await);
    assert!(announced.contains("a packet of 4294967295 bytes is announced"), "{announced}");
}

#[tokio::test]
async fn another_version_or_another_packet_is_refused() {
    assert!(misbehaves(greeted(version(4, &[])).await).contains("version 4"));
    assert!(misbehaves(greeted(status(3, 0)).await).contains("not VERSION"));
    let mut cut = version(3, &[(b"name", b"value")]);
    cut.truncate(cut.len() - 1);
    cut[3] -= 1;
    assert!(misbehaves(greeted(cut).await).contains("longer than its packet"));
}

#[tokio::test]
async fn unknown_extensions_are_passed_over() {
    let sftp = greeted(version(3, &[(b"posix-rename@openssh.com", b"1"), (b"x", b"")])).await.unwrap();
    assert_eq!(sftp.max_open_files(), 64);
}

#[tokio::test]
async fn a_silent_beginning_is_a_timeout() {
    let (stream, _script) = pair();
    let settings = Settings { silence: Duration::from_millis(50), ..Settings::default() };
    let SftpError::Lost(cause) = Sftp::start(stream, settings).await.unwrap_err() else { panic!() };
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
}

/// The open files and the read length that a client takes from limits.
async fn granted(limits: &[u64], settings: Settings) -> (usize, u32) {
    let (stream, mut script) = pair();
    let serve = async {
        script.packet().await.unwrap();
        script.say(&version(3, &[LIMITS])).await;
        let asked = script.expect(EXTENDED).await;
        assert_eq!(asked.string, LIMITS.0);
        let body: Vec<u8> = limits.iter().flat_map(|limit| limit.to_be_bytes()).collect();
        script.say(&packet(EXTENDED_REPLY, asked.id, &body)).await;
    };
    let (sftp, ()) = tokio::join!(Sftp::start(stream, settings), serve);
    let sftp = sftp.unwrap();
    let (file, ()) = tokio::join!(sftp.open(b"f"), script.open());
    let file = file.unwrap();
    let _reading = file.read(0, u64::MAX);
    (sftp.max_open_files(), script.expect(READ).await.range().1)
}

#[tokio::test]
async fn limits_are_believed_within_our_own() {
    let all = Settings::default;
    assert_eq!(granted(&[262_144, 261_120, 261_120, 1019], all()).await, (900, 261_120));
    assert_eq!(granted(&[0, 0, 0, 0], all()).await, (900, 32_768));
    assert_eq!(granted(&[u64::MAX, u64::MAX, 1, u64::MAX], all()).await, (900, 261_120));
    assert_eq!(granted(&[34_000, 261_120, 0, 100], all()).await, (75, 32_976));
    assert_eq!(granted(&[1, 1, 1, 1], all()).await, (1, 4096));
    assert_eq!(granted(&[0, 261_120, 0, 40, 99], all()).await, (30, 261_120));
    let small = Settings { bytes_ahead: 400_000, ..all() };
    assert_eq!(granted(&[0, 261_120, 0, 0], small).await, (900, 100_000));
}

#[tokio::test]
async fn limits_that_are_refused_after_all_are_done_without_and_broken_ones_end_the_session() {
    for (answer, accepted) in [(4, true), (0, false)] {
        let (stream, mut script) = pair();
        let serve = async {
            script.packet().await.unwrap();
            script.say(&version(3, &[LIMITS])).await;
            let id = script.expect(EXTENDED).await.id;
            let broken = packet(EXTENDED_REPLY, id, &[0; 31]);
            script.say(&if accepted { status(id, answer) } else { broken }).await;
        };
        let (sftp, ()) = tokio::join!(Sftp::start(stream, Settings::default()), serve);
        assert_eq!(sftp.is_ok(), accepted);
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_while_asked_ends_the_session_and_an_idle_one_does_not() {
    let silence = Duration::from_millis(600);
    let (sftp, mut script) = session_with(Settings { silence, ..Settings::default() }).await;
    // Idle for longer than it may be silent.
    tokio::time::sleep(silence * 3 / 2).await;
    let (answer, ()) = tokio::join!(sftp.open(b"f"), script.open());
    let file = answer.unwrap();
    // A byte now and then is no silence.
    let mut reading = file.read(0, 10);
    let id = script.expect(READ).await.id;
    let trickle = async {
        for some in data(id, b"0123456789").chunks(5) {
            tokio::time::sleep(silence / 3).await;
            script.say(some).await;
        }
    };
    let (came, ()) = tokio::join!(reading.next(), trickle);
    assert_eq!(came.unwrap().unwrap(), "0123456789");
    let SftpError::Lost(cause) = reading.after().await.unwrap_err() else { panic!() };
    assert_eq!(cause.kind(), io::ErrorKind::TimedOut);
    let later = sftp.lstat(b"f").await.unwrap_err();
    assert!(later.is_fatal());
    assert!(later.source().unwrap().to_string().contains("silent"), "whoever comes later is told the same reason");
    assert!(matches!(sftp.open(b"f").await, Err(SftpError::Lost(_))));
    script.expect(FSTAT).await;
    assert!(script.asked().await.is_none(), "the stream is closed");
}
