//! Answers that no honest server gives.

use std::time::Duration;

use drawbridge_sftp::{Sftp, SftpError};

use crate::script::{
    ATTRS, DATA, EOF, EXTENDED_REPLY, HANDLE, LSTAT, NAME, READ, READDIR, STATUS, Script, data, handle, names, packet,
    session, sized, status, string,
};

async fn lstat(answer: impl FnOnce(u32) -> Vec<u8>) -> Result<Option<u64>, SftpError> {
    let (sftp, mut script) = session().await;
    let serve = async {
        let id = script.expect(LSTAT).await.id;
        script.say(&answer(id)).await;
    };
    let (told, ()) = tokio::join!(sftp.lstat(b"f"), serve);
    let told = told.map(|attributes| attributes.size);
    if told.as_ref().is_err_and(SftpError::is_fatal) {
        assert!(script.asked().await.is_none(), "the stream is closed");
    }
    told
}

fn misbehaves<T: std::fmt::Debug>(result: Result<T, SftpError>, what: &str) {
    match result {
        Err(SftpError::Misbehaves(said)) => assert!(said.contains(what), "{said}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[tokio::test]
async fn an_answer_to_nobody_or_to_another_question_ends_the_session() {
    assert_eq!(lstat(|id| packet(ATTRS, id, &sized(5))).await.unwrap(), Some(5));
    misbehaves(lstat(|id| packet(ATTRS, id + 1, &sized(5))).await, "nobody made");
    misbehaves(lstat(|id| data(id, b"x")).await, "something else");
    misbehaves(lstat(|id| handle(id, b"x")).await, "something else");
    misbehaves(lstat(|id| names(id, &[b"x"])).await, "something else");
    misbehaves(lstat(|id| status(id, 0)).await, "something else");
    misbehaves(lstat(|id| packet(EXTENDED_REPLY, id, b"")).await, "something else");
    misbehaves(lstat(|id| packet(99, id, b"")).await, "unknown kind 99");
}

#[tokio::test]
async fn an_answer_that_comes_twice_ends_the_session() {
    let (sftp, mut script) = session().await;
    let serve = async {
        let id = script.expect(LSTAT).await.id;
        script.say(&packet(ATTRS, id, &sized(5)).repeat(2)).await;
        assert!(script.asked().await.is_none());
    };
    let (_first, ()) = tokio::join!(sftp.lstat(b"f"), serve);
    misbehaves(sftp.lstat(b"f").await, "answers twice");
}

#[tokio::test]
async fn a_malformed_packet_ends_the_session() {
    misbehaves(lstat(|_| string(b"")).await, "ends before its fields");
    misbehaves(lstat(|_| string(&[ATTRS, 0, 0])).await, "ends before its fields");
    misbehaves(lstat(|id| packet(ATTRS, id, &sized(5)[..11])).await, "ends before its fields");
    misbehaves(lstat(|id| packet(ATTRS, id, &[sized(5), vec![0]].concat())).await, "after its last field");
    misbehaves(lstat(|id| packet(ATTRS, id, &[0, 0, 0, 0x10])).await, "flags");
    let extended = [&0x8000_0000_u32.to_be_bytes()[..], &u32::MAX.to_be_bytes(), &string(b"a"), &string(b"b")].concat();
    misbehaves(lstat(|id| packet(ATTRS, id, &extended)).await, "ends before its fields");
    misbehaves(lstat(|id| packet(STATUS, id, &[0, 0])).await, "ends before its fields");
    let beyond = [&4_u32.to_be_bytes()[..], &9_u32.to_be_bytes(), b"short"].concat();
    misbehaves(lstat(|id| packet(STATUS, id, &beyond)).await, "longer than its packet");
    misbehaves(lstat(|id| packet(DATA, id, &string(b""))).await, "no data");
    misbehaves(lstat(|id| packet(HANDLE, id, &string(&[0; 257]))).await, "256 bytes");
    misbehaves(lstat(|id| packet(NAME, id, &u32::MAX.to_be_bytes())).await, "more names than its packet");
}

#[tokio::test]
async fn a_packet_longer_than_any_ends_the_session_before_a_byte_of_it_has_come() {
    misbehaves(lstat(|_| (256 * 1024 + 1_u32).to_be_bytes().to_vec()).await, "262145 bytes is announced");
    misbehaves(lstat(|_| u32::MAX.to_be_bytes().to_vec()).await, "announced");
}

#[tokio::test]
async fn a_refusal_concerns_its_request_only_and_its_words_are_bounded() {
    let old = lstat(|id| packet(STATUS, id, &4_u32.to_be_bytes())).await.unwrap_err();
    assert_eq!(old.to_string(), "the host refuses it:  (SFTP status 4)");
    assert!(matches!(lstat(|id| status(id, 2)).await, Err(SftpError::NotFound)));
    assert!(matches!(lstat(|id| status(id, 3)).await, Err(SftpError::PermissionDenied)));
    assert!(matches!(lstat(|id| status(id, EOF)).await, Err(SftpError::Refused { code: EOF, .. })));
    let words = [b"\x1b[2Jbell\x07\xff".to_vec(), vec![b'x'; 100_000]].concat();
    let wild = [&4_u32.to_be_bytes()[..], &string(&words), &string(b"")].concat();
    let Err(SftpError::Refused { message, .. }) = lstat(|id| packet(STATUS, id, &wild)).await else { panic!() };
    assert!(message.starts_with(" [2Jbell \u{fffd}xx"), "{message}");
    assert!(message.len() < 600);
}

/// The names of the first part that comes.
async fn listed(answer: impl FnOnce(u32) -> Vec<u8>) -> Result<Option<Vec<Vec<u8>>>, SftpError> {
    let (sftp, mut script) = session().await;
    let (listing, ()) = tokio::join!(sftp.open_dir(b"d"), script.open());
    let mut listing = listing.unwrap();
    let serve = async {
        let id = script.expect(READDIR).await.id;
        script.say(&answer(id)).await;
    };
    let (part, ()) = tokio::join!(listing.next(), serve);
    if part.is_err() {
        assert!(listing.next().await.is_err(), "a failed listing has no end that looks like success");
    }
    part.map(|part| part.map(|entries| entries.into_iter().map(|entry| entry.name).collect()))
}

#[tokio::test]
async fn names_that_no_folder_can_hold_end_the_session() {
    assert_eq!(listed(|id| names(id, &[b"\xff\n", &[b'n'; 255]])).await.unwrap().unwrap().len(), 2);
    misbehaves(listed(|id| names(id, &[b"good", b""])).await, "without a name");
    misbehaves(listed(|id| names(id, &[b"../../etc/passwd"])).await, "'/' inside");
    misbehaves(listed(|id| names(id, &[b"/"])).await, "'/' inside");
    misbehaves(listed(|id| names(id, &[b"a\0b"])).await, "NUL");
    misbehaves(listed(|id| names(id, &[&[b'n'; 256]])).await, "255 bytes");
    misbehaves(listed(|id| names(id, &[])).await, "without naming anything");
    let mut more = names(id_of_first_readdir(), &[b"a"]);
    more[12] = 2;
    misbehaves(listed(|_| more).await, "its fields do");
    assert!(matches!(listed(|id| status(id, 3)).await, Err(SftpError::PermissionDenied)));
}

/// The folder took id 0.
fn id_of_first_readdir() -> u32 {
    1
}

async fn answer_all(script: &mut Script, answer: impl Fn(u32) -> Vec<u8>) -> usize {
    let mut count = 0;
    while let Some(asked) = script.asked().await {
        count += 1;
        script.say(&if asked.kind == READDIR { answer(asked.id) } else { handle(asked.id, b"h") }).await;
    }
    count
}

#[tokio::test]
async fn an_endless_listing_of_nothing_ends_the_session() {
    let (sftp, mut script) = session().await;
    let list = async {
        let mut listing = sftp.open_dir(b"d").await.unwrap();
        let part = listing.next().await;
        drop((sftp, listing));
        part
    };
    let (part, _) = tokio::join!(list, answer_all(&mut script, |id| names(id, &[])));
    misbehaves(part, "without naming anything");
}

#[tokio::test]
async fn an_endless_listing_is_asked_for_no_further_than_it_is_taken() {
    let (sftp, mut script) = session().await;
    let list = async {
        let mut listing = sftp.open_dir(b"d").await.unwrap();
        for _ in 0..100 {
            assert_eq!(listing.next().await.unwrap().unwrap().len(), 1);
        }
        drop((sftp, listing));
    };
    let ((), count) = tokio::join!(list, answer_all(&mut script, |id| names(id, &[b"again"])));
    assert!((101..=110).contains(&count), "{count}");
}

#[tokio::test]
async fn an_end_that_overtakes_entries_loses_none() {
    let (sftp, mut script) = session().await;
    let (listing, ()) = tokio::join!(sftp.open_dir(b"d"), script.open());
    let mut listing = listing.unwrap();
    let (first, second) = (script.expect(READDIR).await.id, script.expect(READDIR).await.id);
    script.say(&[names(second, &[b"late"]), status(first, EOF)].concat()).await;
    assert_eq!(listing.next().await.unwrap().unwrap()[0].name, b"late");
    for _ in 0..6 {
        let id = script.expect(READDIR).await.id;
        script.say(&status(id, EOF)).await;
    }
    assert!(listing.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_path_that_no_system_allows_ends_the_session() {
    async fn link(answer: impl FnOnce(u32) -> Vec<u8>) -> Result<Vec<u8>, SftpError> {
        let (sftp, mut script) = session().await;
        let serve = async {
            let id = script.expect(19).await.id;
            script.say(&answer(id)).await;
        };
        tokio::join!(sftp.read_link(b"l"), serve).0
    }
    assert_eq!(link(|id| names(id, &[b"../a/b\xff"])).await.unwrap(), b"../a/b\xff");
    assert_eq!(link(|id| names(id, &[b""])).await.unwrap(), b"");
    misbehaves(link(|id| names(id, &[b"a", b"b"])).await, "several paths");
    misbehaves(link(|id| names(id, &[b"a\0"])).await, "no system allows");
    misbehaves(link(|id| names(id, &[&[b'p'; 96 * 1024 + 1]])).await, "no system allows");
}

#[tokio::test]
async fn a_write_that_never_ends_does_not_keep_answers_from_coming() {
    let (sftp, mut script) = session().await;
    // More requests than the stream holds while the server doesn't read.
    let path = vec![b'p'; 32 * 1024];
    let asking = futures::future::join_all((0..100).map(|_| sftp.lstat(&path)));
    let serve = async {
        let mut answered = 0;
        while answered < 100 {
            let asked = script.expect(LSTAT).await;
            answered += 1;
            script.say(&packet(ATTRS, asked.id, &sized(asked.string.len() as u64))).await;
        }
    };
    let both = async { tokio::join!(asking, serve) };
    let (answers, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it hangs");
    assert!(answers.into_iter().all(|answer| answer.unwrap().size == Some(32 * 1024)));
}

#[tokio::test]
async fn everybody_who_waits_is_told_when_the_session_ends() {
    let (sftp, mut script) = session().await;
    let (file, ()) = tokio::join!(sftp.open(b"f"), script.open());
    let mut reading = file.unwrap().read(0, 100);
    let ask = async { tokio::join!(sftp.lstat(b"a"), sftp.open(b"b"), sftp.real_path(b"c"), reading.next()) };
    let serve = async {
        script.expect(READ).await;
        script.say(&[0xff; 4]).await;
        while script.asked().await.is_some() {}
    };
    let ((a, b, c, d), ()) = tokio::join!(ask, serve);
    misbehaves(a, "announced");
    misbehaves(b, "announced");
    misbehaves(c, "announced");
    misbehaves(d, "announced");
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    shared::<Sftp>(&sftp);
}
