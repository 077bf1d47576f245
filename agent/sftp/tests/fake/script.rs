//! A server at the other end of a duplex stream that says what the test wants said.

use std::time::Duration;

use drawbridge_sftp::{Settings, Sftp, SftpError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) const STATUS: u8 = 101;
pub(crate) const HANDLE: u8 = 102;
pub(crate) const DATA: u8 = 103;
pub(crate) const NAME: u8 = 104;
pub(crate) const ATTRS: u8 = 105;
pub(crate) const EXTENDED_REPLY: u8 = 201;

pub(crate) const OPEN: u8 = 3;
pub(crate) const CLOSE: u8 = 4;
pub(crate) const READ: u8 = 5;
pub(crate) const LSTAT: u8 = 7;
pub(crate) const FSTAT: u8 = 8;
pub(crate) const READDIR: u8 = 12;
pub(crate) const EXTENDED: u8 = 200;

pub(crate) const EOF: u32 = 1;

/// After that long without a packet from the client, the test has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) kind: u8,
    pub(crate) id: u32,
    /// Path or handle.
    pub(crate) string: Vec<u8>,
    pub(crate) rest: Vec<u8>,
}

impl Asked {
    /// Offset and length of a READ.
    pub(crate) fn range(&self) -> (u64, u32) {
        let (offset, length) = self.rest.split_at(8);
        (u64::from_be_bytes(offset.try_into().unwrap()), u32::from_be_bytes(length.try_into().unwrap()))
    }
}

pub(crate) fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// With its length.
pub(crate) fn packet(kind: u8, id: u32, body: &[u8]) -> Vec<u8> {
    string(&[&[kind], &id.to_be_bytes()[..], body].concat())
}

pub(crate) fn status(id: u32, code: u32) -> Vec<u8> {
    packet(STATUS, id, &[&code.to_be_bytes()[..], &string(b"words"), &string(b"en")].concat())
}

pub(crate) fn handle(id: u32, handle: &[u8]) -> Vec<u8> {
    packet(HANDLE, id, &string(handle))
}

pub(crate) fn data(id: u32, data: &[u8]) -> Vec<u8> {
    packet(DATA, id, &string(data))
}

/// Attributes that tell a size.
pub(crate) fn sized(size: u64) -> Vec<u8> {
    [&1_u32.to_be_bytes()[..], &size.to_be_bytes()].concat()
}

pub(crate) fn names(id: u32, names: &[&[u8]]) -> Vec<u8> {
    let mut body = (names.len() as u32).to_be_bytes().to_vec();
    for name in names {
        body.extend([string(name), string(b"-rw long name"), sized(name.len() as u64)].concat());
    }
    packet(NAME, id, &body)
}

pub(crate) fn version(number: u32, extensions: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = vec![2];
    body.extend(number.to_be_bytes());
    for (name, value) in extensions {
        body.extend([string(name), string(value)].concat());
    }
    string(&body)
}

/// The server's end of the stream.
pub(crate) struct Script(pub(crate) DuplexStream);

impl Script {
    /// The packet that comes next, without its length; `None` when the client has gone.
    pub(crate) async fn packet(&mut self) -> Option<Vec<u8>> {
        let length = tokio::time::timeout(PATIENCE, self.0.read_u32()).await.expect("the client says nothing").ok()?;
        let mut packet = vec![0; length as usize];
        self.0.read_exact(&mut packet).await.ok()?;
        Some(packet)
    }

    /// The request that comes next.
    pub(crate) async fn asked(&mut self) -> Option<Asked> {
        let packet = self.packet().await?;
        let number = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        let end = 9 + number(5) as usize;
        let asked =
            Asked { kind: packet[0], id: number(1), string: packet[9..end].to_vec(), rest: packet[end..].to_vec() };
        Some(asked)
    }

    /// Next must come a request of this kind.
    pub(crate) async fn expect(&mut self, kind: u8) -> Asked {
        let asked = self.asked().await.unwrap();
        assert_eq!(asked.kind, kind, "{asked:?}");
        asked
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        // A client that has gone hears nothing; the test sees it by other means.
        let _gone = self.0.write_all(bytes).await;
    }

    /// Answers an OPEN or OPENDIR, whichever comes.
    pub(crate) async fn open(&mut self) {
        let id = self.asked().await.unwrap().id;
        self.say(&handle(id, b"h")).await;
    }
}

pub(crate) fn pair() -> (DuplexStream, Script) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (ours, Script(theirs))
}

/// A session with a server that tells no limits.
pub(crate) async fn session_with(settings: Settings) -> (Sftp, Script) {
    let (stream, mut script) = pair();
    let greet = async {
        assert_eq!(script.packet().await.unwrap(), [1, 0, 0, 0, 3]);
        script.say(&version(3, &[])).await;
    };
    let (sftp, ()) = tokio::join!(Sftp::start(stream, settings), greet);
    (sftp.unwrap(), script)
}

pub(crate) async fn session() -> (Sftp, Script) {
    session_with(Settings::default()).await
}

/// What a client makes of the bytes that a server begins with.
pub(crate) async fn greeted(bytes: Vec<u8>) -> Result<Sftp, SftpError> {
    let (stream, mut script) = pair();
    script.say(&bytes).await;
    script.0.shutdown().await.unwrap();
    Sftp::start(stream, Settings::default()).await
}

/// What [`Honest`] has in its file.
pub(crate) const CONTENT: &[u8] = b"All that a file can be: four dozen bytes of it.\n";
pub(crate) const TARGET: &[u8] = b"../else\xffwhere";
pub(crate) const LISTED: [&[&[u8]]; 2] = [&[b".", b"..", b"caf\xe9"], &[b"second part"]];

/// A server that does what it is asked, answering reads with half of it.
#[derive(Default)]
pub(crate) struct Honest {
    listed: usize,
}

impl Honest {
    pub(crate) fn answer(&mut self, asked: &Asked) -> Vec<u8> {
        let id = asked.id;
        match asked.kind {
            OPEN => handle(id, b"file"),
            11 => handle(id, b"folder"),
            CLOSE => status(id, 0),
            LSTAT | FSTAT => packet(ATTRS, id, &sized(CONTENT.len() as u64)),
            19 => names(id, &[TARGET]),
            READDIR => {
                self.listed += 1;
                LISTED.get(self.listed - 1).map_or_else(|| status(id, EOF), |some| names(id, some))
            }
            READ => {
                let (offset, length) = asked.range();
                let rest = &CONTENT[CONTENT.len().min(offset as usize)..];
                let rest = &rest[..rest.len().min(length as usize)];
                if rest.is_empty() { status(id, EOF) } else { data(id, &rest[..rest.len().div_ceil(2)]) }
            }
            other => panic!("request of kind {other}"),
        }
    }
}
