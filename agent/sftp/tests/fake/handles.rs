//! Every handle is closed once, whoever has stopped waiting for it.

use drawbridge_sftp::{Settings, Sftp};

use crate::script::{
    ATTRS, CLOSE, EXTENDED, EXTENDED_REPLY, LSTAT, OPEN, READ, READDIR, Script, handle, names, packet, pair, session,
    sized, status, version,
};

/// A session with a server that allows four handles: three files and a folder.
async fn few() -> (Sftp, Script) {
    let (stream, mut script) = pair();
    let serve = async {
        script.packet().await.unwrap();
        script.say(&version(3, &[(b"limits@openssh.com", b"1")])).await;
        let id = script.expect(EXTENDED).await.id;
        let limits: Vec<u8> = [0, 0, 0, 4_u64].iter().flat_map(|limit| limit.to_be_bytes()).collect();
        script.say(&packet(EXTENDED_REPLY, id, &limits)).await;
    };
    let (sftp, ()) = tokio::join!(Sftp::start(stream, Settings::default()), serve);
    (sftp.unwrap(), script)
}

#[tokio::test]
async fn a_file_is_closed_once_when_the_last_reading_is_gone() {
    let (sftp, mut script) = session().await;
    let (file, ()) = tokio::join!(sftp.open(b"f"), script.open());
    let file = file.unwrap();
    let (one, two) = (file.read(0, 1), file.read(1, 2));
    drop(file);
    drop(one);
    for _ in 0..4 {
        assert_ne!(script.asked().await.unwrap().kind, CLOSE);
    }
    drop(two);
    let closed = script.expect(CLOSE).await;
    assert_eq!(closed.string, b"h");
    script.say(&status(closed.id, 0)).await;
    drop(sftp);
    assert!(script.asked().await.is_none(), "nothing more is said");
}

#[tokio::test]
async fn an_open_whose_caller_has_gone_is_closed_when_its_answer_comes() {
    for seen in [false, true] {
        let (sftp, mut script) = session().await;
        let mut opening = Box::pin(sftp.open(b"f"));
        assert!(futures::poll!(&mut opening).is_pending());
        let id = script.expect(OPEN).await.id;
        if seen {
            // The answer is there, but nobody has looked: what comes behind it shows that it has been read.
            script.say(&handle(id, b"late")).await;
            let (_, ()) = tokio::join!(sftp.lstat(b"x"), async {
                let id = script.expect(LSTAT).await.id;
                script.say(&packet(ATTRS, id, &sized(1))).await;
            });
            drop(opening);
        } else {
            drop(opening);
            script.say(&handle(id, b"late")).await;
        }
        assert_eq!(script.expect(CLOSE).await.string, b"late");
    }
}

#[tokio::test]
async fn a_folder_is_closed_at_its_end_and_when_it_is_dropped() {
    let (sftp, mut script) = session().await;
    for to_the_end in [true, false] {
        let (listing, ()) = tokio::join!(sftp.open_dir(b"d"), script.open());
        let mut listing = listing.unwrap();
        for at in 0..8 {
            let id = script.expect(READDIR).await.id;
            script.say(&if at == 0 { names(id, &[b"x"]) } else { status(id, 1) }).await;
        }
        listing.next().await.unwrap().unwrap();
        if to_the_end {
            let refill = script.expect(READDIR).await.id;
            script.say(&status(refill, 1)).await;
            assert!(listing.next().await.unwrap().is_none());
            script.expect(CLOSE).await;
        } else {
            drop(listing);
            script.expect(READDIR).await;
            script.expect(CLOSE).await;
        }
    }
}

#[tokio::test]
async fn a_place_is_free_when_close_is_answered_and_not_before() {
    let (sftp, mut script) = few().await;
    assert_eq!(sftp.max_open_files(), 3);
    let mut open = Vec::new();
    for _ in 0..3 {
        let (file, ()) = tokio::join!(sftp.open(b"f"), script.open());
        open.push(file.unwrap());
    }
    let mut waiting = Box::pin(sftp.open(b"fourth"));
    assert!(futures::poll!(&mut waiting).is_pending());
    open.pop();
    let closing = script.expect(CLOSE).await.id;
    assert!(futures::poll!(&mut waiting).is_pending());
    script.say(&status(closing, 4)).await;
    let (fourth, asked) = tokio::join!(&mut waiting, async {
        let asked = script.expect(OPEN).await;
        script.say(&status(asked.id, 2)).await;
        asked
    });
    assert_eq!(asked.string, b"fourth");
    assert!(fourth.is_err());
    // A refused open has no place.
    let (fifth, ()) = tokio::join!(sftp.open(b"fifth"), script.open());
    let _reading = fifth.unwrap().read(0, 1);
    script.expect(READ).await;
}
