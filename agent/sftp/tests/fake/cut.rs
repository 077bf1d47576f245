//! A whole session, cut off at every byte, and with every kind of damage.

use std::time::Duration;

use drawbridge_sftp::{Settings, Sftp, SftpError};
use proptest::prelude::*;

use crate::script::{CONTENT, Honest, LISTED, TARGET, pair, version};

/// One of everything. What it is told must be true, or the session ends.
async fn client(stream: tokio::io::DuplexStream, check: bool) -> Result<(), SftpError> {
    // A damaged length makes both sides wait for each other.
    let silence = Duration::from_millis(if check { 60_000 } else { 15 });
    let sftp = Sftp::start(stream, Settings { silence, ..Settings::default() }).await?;
    let size = CONTENT.len() as u64;
    let attributes = sftp.lstat(b"/file").await?;
    let mut listing = sftp.open_dir(b"/folder").await?;
    let mut listed = Vec::new();
    while let Some(entries) = listing.next().await? {
        listed.extend(entries.into_iter().map(|entry| entry.name));
    }
    let target = sftp.read_link(b"/link").await?;
    let file = sftp.open(b"/file").await?;
    // Twice as much as there is.
    let mut reading = file.read(0, 2 * size);
    let mut content = Vec::new();
    while let Some(chunk) = reading.next().await? {
        content.extend_from_slice(&chunk);
    }
    let after = reading.after().await?;
    if check {
        assert_eq!((attributes.size, after.size), (Some(size), Some(size)));
        assert_eq!(listed, LISTED.concat());
        assert_eq!((target.as_slice(), content.as_slice()), (TARGET, CONTENT));
    }
    Ok(())
}

/// Serves until so many bytes have been sent, each changed as `change` says by its place.
async fn serve(mut script: crate::script::Script, limit: usize, change: impl Fn(usize, u8) -> u8) -> usize {
    let mut honest = Honest::default();
    let mut sent = 0;
    let mut next = script.packet().await.map(|_init| version(3, &[(b"some", b"extension")]));
    while let Some(mut answer) = next {
        answer.truncate(limit - sent);
        let changed: Vec<u8> = answer.iter().enumerate().map(|(at, byte)| change(sent + at, *byte)).collect();
        script.say(&changed).await;
        sent += answer.len();
        if sent == limit {
            return sent;
        }
        next = script.asked().await.map(|asked| honest.answer(&asked));
    }
    sent
}

/// The outcome, and how many bytes the server sent.
async fn session(limit: usize, check: bool, change: impl Fn(usize, u8) -> u8) -> (Result<(), SftpError>, usize) {
    let (stream, script) = pair();
    let both = async { tokio::join!(client(stream, check), serve(script, limit, change)) };
    tokio::time::timeout(Duration::from_secs(20), both).await.expect("it hangs")
}

#[tokio::test]
async fn a_stream_that_is_cut_anywhere_ends_the_session_and_nothing_is_taken_for_whole() {
    let (whole, bytes) = session(usize::MAX, true, |_, byte| byte).await;
    whole.unwrap();
    let mut complete = 0;
    for limit in 0..bytes {
        match session(limit, true, |_, byte| byte).await.0 {
            Ok(()) => complete += 1,
            Err(error) => assert!(error.is_fatal(), "cut after {limit} bytes: {error}"),
        }
    }
    // Once the last answer is there, only that to CLOSE can be missing.
    assert!(complete < 60, "{complete} of {bytes} cuts went unnoticed");
}

#[tokio::test]
async fn a_stream_with_any_one_byte_changed_hurts_nobody() {
    let (_, bytes) = session(usize::MAX, true, |_, byte| byte).await;
    for place in 0..bytes {
        for mask in [1, 0x80, 0xff] {
            let _any = session(bytes, false, |at, byte| if at == place { byte ^ mask } else { byte }).await;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_stream_with_many_bytes_changed_hurts_nobody(
        changes in prop::collection::vec((9_usize..900, any::<u8>()), 1..6),
        limit in 9_usize..900,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let change = |at, byte| changes.iter().find(|(place, _)| *place == at).map_or(byte, |(_, new)| *new);
        let _any = runtime.block_on(session(limit, false, change));
    }
}
