use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::fs::File;
use tokio::io::{AsyncRead, ReadBuf};

use crate::ui::Transfer;

/// How much is read from the disk at once, in bytes: eight SSH packets, and few enough that all streams together stay small.
const CHUNK_BYTES: u64 = 256 * 1024;

/// What one attempt has sent.
#[derive(Clone)]
pub(super) struct Sent {
    bytes: Arc<AtomicU64>,
    progress: Transfer,
}

impl Sent {
    pub(super) fn nothing_yet(progress: &Transfer) -> Self {
        Self { bytes: Arc::default(), progress: progress.clone() }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.progress.advance(bytes);
    }

    /// The attempt failed: all of it has to go again.
    pub(super) fn rewind(&self) {
        self.progress.rewind(self.bytes());
    }

    /// The gate has it all, perhaps without having read all.
    pub(super) fn complete(&self, size: u64) {
        self.progress.advance(size.saturating_sub(self.bytes()));
    }
}

/// A request's body: bytes in memory, or exactly `size` bytes of a file.
pub(super) enum Payload {
    Memory(Option<Bytes>),
    File { file: File, remaining: u64, buffer: Vec<u8>, sent: Sent },
}

impl Payload {
    pub(super) fn file(file: File, size: u64, sent: Sent) -> Self {
        Self::File { file, remaining: size, buffer: Vec::new(), sent }
    }
}

impl Body for Payload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Memory(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::File { remaining: 0, .. } => Poll::Ready(None),
            Self::File { file, remaining, buffer, sent } => {
                buffer.resize(usize::try_from(CHUNK_BYTES.min(*remaining)).unwrap_or_default(), 0);
                let mut read = ReadBuf::new(buffer);
                ready!(Pin::new(file).poll_read(cx, &mut read))?;
                let count = read.filled().len();
                if count == 0 {
                    let error = "the file became shorter after it had been declared";
                    return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))));
                }
                let mut chunk = std::mem::take(buffer);
                chunk.truncate(count);
                *remaining = remaining.saturating_sub(count as u64);
                sent.add(count as u64);
                Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk)))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.size_hint().exact() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Memory(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::File { remaining, .. } => SizeHint::with_exact(*remaining),
        }
    }
}
