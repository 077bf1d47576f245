//! SFTP version 3 on the wire (<https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>): requests into bytes,
//! bytes into replies. Pure.
//!
//! What a host sends is hostile: a length is held against the bytes that are there before anything is allocated for it, and
//! bytes that are left over are as wrong as bytes that are missing.

use std::borrow::Cow;

use bytes::{Buf, Bytes, TryGetError};

/// The longest packet that either side may send, without its length field, in bytes: OpenSSH's `SFTP_MAX_MSG_LENGTH`
/// (sftp-common.h), which no known server exceeds.
pub(crate) const MAX_PACKET_BYTES: usize = 256 * 1024;

/// The version that is spoken; OpenSSH has no other.
pub(crate) const VERSION: u32 = 3;

/// The longest handle, in bytes (filexfer-02, section 6.2).
const MAX_HANDLE_BYTES: usize = 256;

/// The longest name in a directory, in bytes: `NAME_MAX` of Linux and of FreeBSD.
const MAX_NAME_BYTES: usize = 255;

/// The longest path in an answer, in bytes. Linux and FreeBSD know none above 4 KiB (`PATH_MAX`); Windows none above
/// 32,767 UTF-16 units.
const MAX_ANSWERED_PATH_BYTES: usize = 96 * 1024;

/// How much of a refusal's words is kept, in bytes: it ends up in a line of a report.
const MAX_MESSAGE_BYTES: usize = 512;

/// The fewest bytes that an entry of a listing takes: two lengths and the attributes' flags. A count above what the packet
/// could hold is refused before entries are allocated.
const MIN_ENTRY_BYTES: usize = 12;

/// Numbers of the messages (filexfer-02, section 3).
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
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
    pub(super) const STATUS: u8 = 101;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Codes of STATUS (filexfer-02, section 7).
pub(crate) mod code {
    pub(crate) const OK: u32 = 0;
    pub(crate) const EOF: u32 = 1;
    pub(crate) const NO_SUCH_FILE: u32 = 2;
    pub(crate) const PERMISSION_DENIED: u32 = 3;
    pub(crate) const FAILURE: u32 = 4;
}

/// The extension that tells a server's limits (OpenSSH, PROTOCOL, section 4.8).
pub(crate) const LIMITS: &[u8] = b"limits@openssh.com";

/// What is wrong with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) Cow<'static, str>);

impl From<TryGetError> for Malformed {
    fn from(_: TryGetError) -> Self {
        malformed("a packet ends before its fields do")
    }
}

fn malformed(what: &'static str) -> Malformed {
    Malformed(Cow::Borrowed(what))
}

/// What is asked of a server.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Request<'a> {
    Stat(&'a [u8]),
    Lstat(&'a [u8]),
    ReadLink(&'a [u8]),
    RealPath(&'a [u8]),
    OpenDir(&'a [u8]),
    /// For reading.
    Open(&'a [u8]),
    ReadDir(&'a [u8]),
    Fstat(&'a [u8]),
    Close(&'a [u8]),
    Read {
        handle: &'a [u8],
        offset: u64,
        length: u32,
    },
    Extended(&'a [u8]),
}

impl Request<'_> {
    /// Appends the request as a packet.
    pub(crate) fn encode(self, id: u32, out: &mut Vec<u8>) {
        /// `SSH_FXF_READ`, then attributes that name none.
        const TO_READ: [u8; 8] = [0, 0, 0, 1, 0, 0, 0, 0];
        match self {
            Self::Stat(path) => packet(kind::STAT, id, path, &[], out),
            Self::Lstat(path) => packet(kind::LSTAT, id, path, &[], out),
            Self::ReadLink(path) => packet(kind::READLINK, id, path, &[], out),
            Self::RealPath(path) => packet(kind::REALPATH, id, path, &[], out),
            Self::OpenDir(path) => packet(kind::OPENDIR, id, path, &[], out),
            Self::Open(path) => packet(kind::OPEN, id, path, &TO_READ, out),
            Self::ReadDir(handle) => packet(kind::READDIR, id, handle, &[], out),
            Self::Fstat(handle) => packet(kind::FSTAT, id, handle, &[], out),
            Self::Close(handle) => packet(kind::CLOSE, id, handle, &[], out),
            Self::Read { handle, offset, length } => {
                let range = (u128::from(offset) << 32 | u128::from(length)).to_be_bytes();
                packet(kind::READ, id, handle, range.last_chunk::<12>().map_or(&[], |range| range), out);
            }
            Self::Extended(name) => packet(kind::EXTENDED, id, name, &[], out),
        }
    }
}

/// Every request is a kind, an id, a string and fixed fields. Strings are below 4 GiB: paths are bounded by the session,
/// handles by [`MAX_HANDLE_BYTES`].
fn packet(kind: u8, id: u32, string: &[u8], fixed: &[u8], out: &mut Vec<u8>) {
    let length = (1 + 4 + 4 + string.len() + fixed.len()) as u32;
    out.extend_from_slice(&length.to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(&(string.len() as u32).to_be_bytes());
    out.extend_from_slice(string);
    out.extend_from_slice(fixed);
}

/// The first packet of a session.
pub(crate) fn init() -> [u8; 9] {
    let [a, b, c, d] = VERSION.to_be_bytes();
    [0, 0, 0, 5, kind::INIT, a, b, c, d]
}

/// What an entry is, as far as the server tells.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attributes {
    /// Length in bytes.
    pub size: Option<u64>,
    /// Owner and group, as numbers.
    pub uid_gid: Option<(u32, u32)>,
    /// `st_mode`: the kind of file and its permissions.
    pub permissions: Option<u32>,
    /// Last access and last modification, in seconds since 1970, unsigned.
    pub times: Option<(u32, u32)>,
}

/// An entry of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name: 1 to 255 bytes, neither `/` nor NUL among them. It may be `.` or `..`.
    pub name: Vec<u8>,
    /// What the listing tells about it; a symbolic link is told itself, not what it leads to.
    pub attributes: Attributes,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Status { code: u32, message: String },
    Handle(Bytes),
    Data(Bytes),
    Names(Names),
    Attributes(Attributes),
    Extended(Bytes),
}

/// Names, not yet looked at: they need several times their bytes once they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    count: usize,
    packed: Bytes,
}

/// The answer to [`init`]: whether the server tells its limits.
pub(crate) fn decode_version(mut packet: Bytes) -> Result<bool, Malformed> {
    if packet.try_get_u8()? != kind::VERSION {
        return Err(malformed("its first packet is not VERSION"));
    }
    let version = packet.try_get_u32()?;
    if version != VERSION {
        return Err(Malformed(format!("it speaks SFTP version {version}, and version {VERSION} was asked for").into()));
    }
    let mut tells_limits = false;
    while packet.has_remaining() {
        let name = string(&mut packet)?;
        let _value = string(&mut packet)?;
        tells_limits |= name == LIMITS;
    }
    Ok(tells_limits)
}

/// A packet without its length: whom it answers, and what.
pub(crate) fn decode(mut packet: Bytes) -> Result<(u32, Reply), Malformed> {
    let kind = packet.try_get_u8()?;
    let id = packet.try_get_u32()?;
    let reply = match kind {
        kind::STATUS => return Ok((id, status(packet)?)),
        kind::EXTENDED_REPLY => return Ok((id, Reply::Extended(packet))),
        kind::NAME => return Ok((id, Reply::Names(names(packet)?))),
        kind::HANDLE => {
            let handle = string(&mut packet)?;
            if handle.len() > MAX_HANDLE_BYTES {
                return Err(malformed("a handle is longer than 256 bytes"));
            }
            // A copy: the handle outlives its packet.
            Reply::Handle(Bytes::copy_from_slice(&handle))
        }
        kind::DATA => match string(&mut packet)? {
            data if data.is_empty() => return Err(malformed("it answers a read with no data and no end of file")),
            data => Reply::Data(data),
        },
        kind::ATTRS => Reply::Attributes(attributes(&mut packet)?),
        _ => return Err(Malformed(format!("a packet of unknown kind {kind} came").into())),
    };
    nothing_left(&packet)?;
    Ok((id, reply))
}

fn nothing_left(packet: &Bytes) -> Result<(), Malformed> {
    if packet.is_empty() { Ok(()) } else { Err(malformed("a packet goes on after its last field")) }
}

fn string(packet: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = packet.try_get_u32()? as usize;
    if length > packet.len() {
        return Err(malformed("a field is longer than its packet"));
    }
    Ok(packet.split_to(length))
}

/// Servers older than the draft leave out the words and their language.
fn status(mut packet: Bytes) -> Result<Reply, Malformed> {
    let code = packet.try_get_u32()?;
    let words = if packet.has_remaining() { string(&mut packet)? } else { Bytes::new() };
    if packet.has_remaining() {
        let _language = string(&mut packet)?;
    }
    nothing_left(&packet)?;
    let kept = words.get(..MAX_MESSAGE_BYTES).unwrap_or(&words);
    let message = String::from_utf8_lossy(kept).replace(char::is_control, " ");
    Ok(Reply::Status { code, message })
}

fn attributes(packet: &mut Bytes) -> Result<Attributes, Malformed> {
    const SIZE: u32 = 1;
    const UID_GID: u32 = 2;
    const PERMISSIONS: u32 = 4;
    const TIMES: u32 = 8;
    const EXTENDED: u32 = 1 << 31;
    let flags = packet.try_get_u32()?;
    if flags & !(SIZE | UID_GID | PERMISSIONS | TIMES | EXTENDED) != 0 {
        return Err(malformed("attributes have flags that version 3 doesn't know"));
    }
    let mut attributes = Attributes::default();
    if flags & SIZE != 0 {
        attributes.size = Some(packet.try_get_u64()?);
    }
    if flags & UID_GID != 0 {
        attributes.uid_gid = Some((packet.try_get_u32()?, packet.try_get_u32()?));
    }
    if flags & PERMISSIONS != 0 {
        attributes.permissions = Some(packet.try_get_u32()?);
    }
    if flags & TIMES != 0 {
        attributes.times = Some((packet.try_get_u32()?, packet.try_get_u32()?));
    }
    if flags & EXTENDED != 0 {
        // Each takes bytes of the packet, so a huge count ends with it.
        for _ in 0..packet.try_get_u32()? {
            let _name = string(packet)?;
            let _value = string(packet)?;
        }
    }
    Ok(attributes)
}

fn names(mut packet: Bytes) -> Result<Names, Malformed> {
    let count = packet.try_get_u32()? as usize;
    if count == 0 {
        return Err(malformed("it lists without naming anything"));
    }
    if count > packet.len() / MIN_ENTRY_BYTES {
        return Err(malformed("it announces more names than its packet holds"));
    }
    Ok(Names { count, packed: packet })
}

impl Names {
    /// As a part of a directory.
    pub(crate) fn entries(self) -> Result<Vec<Entry>, Malformed> {
        let mut packed = self.packed;
        let mut entries = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let name = string(&mut packed)?;
            check_name(&name)?;
            let _longname = string(&mut packed)?;
            entries.push(Entry { name: name.to_vec(), attributes: attributes(&mut packed)? });
        }
        nothing_left(&packed)?;
        Ok(entries)
    }

    /// As the one path that READLINK and REALPATH answer with.
    pub(crate) fn path(self) -> Result<Vec<u8>, Malformed> {
        let mut packed = self.packed;
        let path = string(&mut packed)?;
        let _longname = string(&mut packed)?;
        let _dummy = attributes(&mut packed)?;
        if self.count != 1 || packed.has_remaining() {
            return Err(malformed("it names several paths where one was asked for"));
        }
        if path.len() > MAX_ANSWERED_PATH_BYTES || path.contains(&0) {
            return Err(malformed("it answers with a path that no system allows"));
        }
        Ok(path.to_vec())
    }
}

fn check_name(name: &[u8]) -> Result<(), Malformed> {
    match name.len() {
        0 => Err(malformed("it lists an entry without a name")),
        1..=MAX_NAME_BYTES if name.contains(&b'/') => Err(malformed("it lists a name with '/' inside")),
        1..=MAX_NAME_BYTES if name.contains(&0) => Err(malformed("it lists a name with a NUL byte inside")),
        1..=MAX_NAME_BYTES => Ok(()),
        _ => Err(malformed("it lists a name longer than 255 bytes")),
    }
}

/// What `limits@openssh.com` answers; 0 stands for no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Limits {
    pub(crate) packet: u64,
    pub(crate) read: u64,
    pub(crate) handles: u64,
}

/// The body of [`Reply::Extended`] for [`LIMITS`]. Later versions may append fields.
pub(crate) fn decode_limits(mut body: Bytes) -> Result<Limits, Malformed> {
    let packet = body.try_get_u64()?;
    let read = body.try_get_u64()?;
    let _write = body.try_get_u64()?;
    Ok(Limits { packet, read, handles: body.try_get_u64()? })
}

/// Everything that is read from a host's bytes, for `fuzz/`.
pub(crate) fn decode_everything(bytes: &[u8]) {
    let packet = Bytes::copy_from_slice(bytes);
    let _version = decode_version(packet.clone());
    let _limits = decode_limits(packet.clone());
    if let Ok((_, Reply::Names(names))) = decode(packet) {
        let _path = names.clone().path();
        let _entries = names.entries();
    }
}

#[cfg(test)]
mod tests;
