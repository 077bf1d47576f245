//! Cuts the stream from the host into packets.
//!
//! Invariants: nothing is allocated for a length above [`MAX_PACKET_BYTES`]; every packet has a buffer of its own, so that
//! whoever keeps a slice of it keeps no other packet's bytes.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::error::End;
use crate::wire::MAX_PACKET_BYTES;

/// How much is read at once while it isn't known what comes, in bytes. Small packets come by the hundred in one read; what is
/// missing of a large one is read straight into its own buffer.
const AHEAD_BYTES: usize = 32 * 1024;

pub(crate) struct Inbox<R> {
    reader: R,
    ahead: BytesMut,
}

impl<R: AsyncRead + Unpin> Inbox<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, ahead: BytesMut::with_capacity(AHEAD_BYTES) }
    }

    /// The next packet, without its length. Calls `heard` whenever bytes have come.
    pub(crate) async fn next(&mut self, heard: impl Fn()) -> Result<Bytes, End> {
        while self.ahead.len() < 4 {
            // Everything before has been copied out, so this moves at most three bytes and allocates nothing.
            self.ahead.reserve(AHEAD_BYTES - self.ahead.len());
            came(self.reader.read_buf(&mut self.ahead).await?, &heard)?;
        }
        let head = self.ahead.first_chunk::<4>().copied().unwrap_or_default();
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_PACKET_BYTES {
            return Err(too_long(head, length));
        }
        self.ahead.advance(4);
        let mut packet = BytesMut::with_capacity(length);
        packet.put((&mut self.ahead).take(length));
        while packet.len() < length {
            let missing = length - packet.len();
            came(self.reader.read_buf(&mut (&mut packet).limit(missing)).await?, &heard)?;
        }
        Ok(packet.freeze())
    }
}

fn came(bytes: usize, heard: &impl Fn()) -> io::Result<()> {
    if bytes == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the host closed the connection"));
    }
    heard();
    Ok(())
}

/// What a login shell prints before SFTP begins reads as a giant length.
fn too_long(head: [u8; 4], length: usize) -> End {
    if head.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace() || *byte == 0x1b) {
        return End::Misbehaves(
            "it sends text where SFTP should begin; see what its shell's start-up files print".into(),
        );
    }
    End::Misbehaves(format!("a packet of {length} bytes is announced, {MAX_PACKET_BYTES} are allowed").into())
}
