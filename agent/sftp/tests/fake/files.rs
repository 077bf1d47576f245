//! Reads: answered short, out of order, with too much; and how many are under way.

use drawbridge_sftp::{File, Reading, Settings, Sftp, SftpError};

use crate::script::{
    ATTRS, Asked, CLOSE, EOF, FSTAT, READ, Script, data, packet, session, session_with, sized, status,
};

/// What [`session`]'s reads ask for.
const LENGTH: u64 = 32 * 1024;

async fn open(sftp: &Sftp, script: &mut Script) -> File {
    let (file, ()) = tokio::join!(sftp.open(b"f"), script.open());
    file.unwrap()
}

async fn reads(script: &mut Script, count: usize) -> Vec<Asked> {
    let mut asked = Vec::new();
    for _ in 0..count {
        asked.push(script.expect(READ).await);
    }
    asked
}

/// The content of the file: each read's worth has a letter of its own.
fn content(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length).map(|at| b'a' + (at / LENGTH % 26) as u8).collect()
}

async fn all(reading: &mut Reading) -> Vec<u8> {
    let mut came = Vec::new();
    while let Some(chunk) = reading.next().await.unwrap() {
        came.extend_from_slice(&chunk);
    }
    came
}

#[tokio::test]
async fn a_file_is_asked_for_in_one_go_and_answers_out_of_order_come_in_order() {
    let (sftp, mut script) = session().await;
    let mut reading = open(&sftp, &mut script).await.read(10, 10 + 3 * LENGTH + 1);
    let asked = reads(&mut script, 4).await;
    let ranges: Vec<_> = asked.iter().map(Asked::range).collect();
    let length = LENGTH as u32;
    assert_eq!(ranges, [(10, length), (10 + LENGTH, length), (10 + 2 * LENGTH, length), (10 + 3 * LENGTH, 1)]);
    let last = script.expect(FSTAT).await;
    script.say(&packet(ATTRS, last.id, &sized(77))).await;
    for asked in asked.iter().rev() {
        let (offset, length) = asked.range();
        script.say(&data(asked.id, &content(offset, length.into()))).await;
    }
    assert!(all(&mut reading).await == content(10, 3 * LENGTH + 1));
    assert_eq!(reading.after().await.unwrap().size, Some(77));
}

#[tokio::test]
async fn a_short_answer_is_asked_again_for_the_gap_and_the_attributes_too() {
    let (sftp, mut script) = session().await;
    let mut reading = open(&sftp, &mut script).await.read(0, 2 * LENGTH);
    let asked = reads(&mut script, 2).await;
    let early = script.expect(FSTAT).await;
    script.say(&data(asked[0].id, &content(0, 1))).await;
    script.say(&data(asked[1].id, &content(LENGTH, LENGTH))).await;
    script.say(&packet(ATTRS, early.id, &sized(1))).await;
    let serve = async {
        let gap = script.expect(READ).await;
        assert_eq!(gap.range(), (1, LENGTH as u32 - 1));
        script.say(&data(gap.id, &content(1, 9))).await;
        let gap = script.expect(READ).await;
        assert_eq!(gap.range(), (10, LENGTH as u32 - 10));
        script.say(&data(gap.id, &content(10, LENGTH - 10))).await;
        let late = script.asked().await.unwrap();
        assert_eq!(late.kind, FSTAT);
        script.say(&packet(ATTRS, late.id, &sized(2))).await;
    };
    let read = async {
        assert!(all(&mut reading).await == content(0, 2 * LENGTH));
        reading.after().await.unwrap().size
    };
    assert_eq!(tokio::join!(read, serve).0, Some(2));
}

#[tokio::test]
async fn the_end_of_the_file_ends_the_reading_whatever_comes_after() {
    let (sftp, mut script) = session().await;
    let mut reading = open(&sftp, &mut script).await.read(0, 3 * LENGTH);
    let asked = reads(&mut script, 3).await;
    script.say(&data(asked[0].id, &content(0, LENGTH))).await;
    script.say(&status(asked[1].id, EOF)).await;
    script.say(&data(asked[2].id, b"beyond")).await;
    assert!(all(&mut reading).await == content(0, LENGTH));
    assert!(reading.next().await.unwrap().is_none());
    let after = script.expect(FSTAT).await;
    script.say(&packet(ATTRS, after.id, &sized(LENGTH))).await;
    assert_eq!(reading.after().await.unwrap().size, Some(LENGTH));
}

#[tokio::test]
async fn more_than_was_asked_for_ends_the_session() {
    let (sftp, mut script) = session().await;
    let mut reading = open(&sftp, &mut script).await.read(0, 10);
    let id = script.expect(READ).await.id;
    script.say(&data(id, b"eleven bytes"[..11].as_ref())).await;
    let error = reading.next().await.unwrap_err();
    assert!(matches!(&error, SftpError::Misbehaves(what) if what.contains("more than was asked")), "{error}");
}

#[tokio::test]
async fn a_read_that_is_refused_fails_its_file_only() {
    let (sftp, mut script) = session().await;
    let file = open(&sftp, &mut script).await;
    let mut reading = file.read(0, 10);
    let id = script.expect(READ).await.id;
    script.expect(FSTAT).await;
    script.say(&status(id, 4)).await;
    assert!(matches!(reading.next().await, Err(SftpError::Refused { code: 4, .. })));
    assert!(matches!(reading.next().await, Err(SftpError::Refused { .. })));
    let mut again = file.read(0, 1);
    let id = script.expect(READ).await.id;
    script.say(&data(id, b"x")).await;
    assert_eq!(again.next().await.unwrap().unwrap(), "x");
}

#[tokio::test]
async fn no_more_is_asked_for_than_is_allowed_and_a_second_file_gets_on_all_the_same() {
    let settings = Settings { bytes_ahead: 4 * LENGTH as usize, ..Settings::default() };
    let (sftp, mut script) = session_with(settings).await;
    let mut greedy = open(&sftp, &mut script).await.read(0, u64::MAX);
    let first = reads(&mut script, 4).await;
    let mut other = open(&sftp, &mut script).await.read(0, 2 * LENGTH);
    // The open's request came next, so the greedy file asked for four; the other one asks for one.
    let only = script.expect(READ).await;
    script.say(&data(only.id, &content(0, LENGTH))).await;
    other.next().await.unwrap().unwrap();
    let next = script.expect(READ).await;
    assert_eq!(next.range().0, LENGTH);
    script.expect(FSTAT).await;
    // An answer that nobody has taken still counts; a taken one makes room.
    script.say(&data(first[0].id, &content(0, LENGTH))).await;
    script.say(&data(next.id, &content(0, LENGTH))).await;
    other.next().await.unwrap().unwrap();
    greedy.next().await.unwrap().unwrap();
    assert_eq!(script.expect(READ).await.range().0, 4 * LENGTH);
    drop((greedy, other));
    script.expect(CLOSE).await;
}

#[tokio::test]
async fn requests_under_way_are_bounded_and_nobody_is_forgotten() {
    /// Requests that may be under way.
    const MOST: usize = 4096;
    const READS: u64 = 5000;
    const REST: usize = READS as usize - MOST;
    let settings = Settings { bytes_ahead: usize::MAX, ..Settings::default() };
    let (sftp, mut script) = session_with(settings).await;
    let mut greedy = open(&sftp, &mut script).await.read(0, READS * LENGTH);
    let mut asked = reads(&mut script, MOST).await;
    // Neither a small file nor a question has a slot now; both get one when there is.
    let lstat = sftp.lstat(b"x");
    tokio::pin!(lstat);
    assert!(futures::poll!(&mut lstat).is_pending());
    let serve = async {
        let mut kinds = Vec::new();
        while kinds.len() < REST + 2 {
            let answered = asked.remove(0);
            let reply = match answered.kind {
                READ => data(answered.id, &vec![b'x'; answered.range().1 as usize]),
                _ => packet(ATTRS, answered.id, &sized(5)),
            };
            script.say(&reply).await;
            if kinds.len() < REST + 2 {
                let next = script.asked().await.unwrap();
                kinds.push(next.kind);
                asked.push(next);
            }
        }
        for answered in asked {
            let reply = match answered.kind {
                READ => data(answered.id, &vec![b'x'; answered.range().1 as usize]),
                _ => packet(ATTRS, answered.id, &sized(5)),
            };
            script.say(&reply).await;
        }
        kinds
    };
    let (length, size, kinds) = tokio::join!(async { all(&mut greedy).await.len() }, lstat, serve);
    assert_eq!(length as u64, READS * LENGTH);
    assert_eq!(size.unwrap().size, Some(5));
    assert_eq!(kinds.iter().filter(|kind| **kind == READ).count(), REST);
    assert_eq!(kinds[0], 7, "who waited first comes first");
}

#[tokio::test]
async fn a_next_that_is_given_up_loses_nothing() {
    let (sftp, mut script) = session().await;
    let mut reading = open(&sftp, &mut script).await.read(0, 3);
    assert!(futures::poll!(Box::pin(reading.next())).is_pending());
    let id = script.expect(READ).await.id;
    script.say(&data(id, b"abc")).await;
    assert_eq!(all(&mut reading).await, b"abc");
}
