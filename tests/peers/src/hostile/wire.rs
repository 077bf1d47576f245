//! SFTP version 3 as a server sees it (draft-ietf-secsh-filexfer-02).

use std::io::{self, Read};

use super::scenario::Attributes;

pub(super) const INIT: u8 = 1;
pub(super) const OPEN: u8 = 3;
pub(super) const CLOSE: u8 = 4;
pub(super) const READ: u8 = 5;
pub(super) const LSTAT: u8 = 7;
pub(super) const FSTAT: u8 = 8;
pub(super) const OPENDIR: u8 = 11;
pub(super) const READDIR: u8 = 12;
pub(super) const REALPATH: u8 = 16;
pub(super) const STAT: u8 = 17;
pub(super) const READLINK: u8 = 19;

pub(super) const OK: u32 = 0;
pub(super) const EOF: u32 = 1;
pub(super) const NO_SUCH_FILE: u32 = 2;
pub(super) const FAILURE: u32 = 4;
pub(super) const UNSUPPORTED: u32 = 8;

/// A client's request, `kind` and what follows the id.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) kind: u8,
    pub(super) id: u32,
    rest: Vec<u8>,
    at: usize,
}

impl Request {
    /// The next one; `None` when the client has gone.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut head = [0; 4];
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let mut packet = vec![0; u32::from_be_bytes(head) as usize];
        from.read_exact(&mut packet)?;
        let mut request = Self { kind: packet[0], id: 0, rest: packet, at: 1 };
        request.id = request.number();
        Ok(Some(request))
    }

    pub(super) fn number(&mut self) -> u32 {
        let bytes = self.take(4);
        u32::from_be_bytes(bytes.try_into().unwrap())
    }

    pub(super) fn long(&mut self) -> u64 {
        let bytes = self.take(8);
        u64::from_be_bytes(bytes.try_into().unwrap())
    }

    pub(super) fn string(&mut self) -> Vec<u8> {
        let length = self.number() as usize;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Vec<u8> {
        self.at += length;
        self.rest[self.at - length..self.at].to_vec()
    }
}

/// An answer in the making.
#[derive(Debug)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    fn new(kind: u8, id: u32) -> Self {
        Self([&[kind][..], &id.to_be_bytes()].concat())
    }

    pub(super) fn version() -> Self {
        Self(vec![2, 0, 0, 0, 3])
    }

    pub(super) fn status(id: u32, code: u32) -> Self {
        Self::new(101, id).number(code).string(b"as the scenario says").string(b"")
    }

    pub(super) fn handle(id: u32, handle: u32) -> Self {
        Self::new(102, id).string(&handle.to_be_bytes())
    }

    pub(super) fn data(id: u32, data: &[u8]) -> Self {
        Self::new(103, id).string(data)
    }

    pub(super) fn names(id: u32, names: &[(Vec<u8>, Attributes)]) -> Self {
        let reply = Self::new(104, id).number(u32::try_from(names.len()).unwrap());
        names.iter().fold(reply, |reply, (name, attributes)| reply.string(name).string(b"").attributes(attributes))
    }

    pub(super) fn attributes_of(id: u32, attributes: &Attributes) -> Self {
        Self::new(105, id).attributes(attributes)
    }

    pub(super) fn number(mut self, number: u32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn string(self, bytes: &[u8]) -> Self {
        let mut reply = self.number(u32::try_from(bytes.len()).unwrap());
        reply.0.extend(bytes);
        reply
    }

    fn attributes(self, attributes: &Attributes) -> Self {
        let Attributes { size, owner, mode, times } = attributes;
        let flags = u32::from(size.is_some())
            | u32::from(owner.is_some()) << 1
            | u32::from(mode.is_some()) << 2
            | u32::from(times.is_some()) << 3;
        let mut reply = self.number(flags);
        if let Some(size) = size {
            reply.0.extend(size.to_be_bytes());
        }
        if let Some((user, group)) = owner {
            reply = reply.number(*user).number(*group);
        }
        if let Some(mode) = mode {
            reply = reply.number(*mode);
        }
        if let Some((atime, mtime)) = times {
            reply = reply.number(*atime).number(*mtime);
        }
        reply
    }

    /// As it goes over the wire.
    pub(super) fn packet(self) -> Vec<u8> {
        [&u32::try_from(self.0.len()).unwrap().to_be_bytes()[..], &self.0].concat()
    }
}
