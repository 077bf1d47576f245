//! A stream that ends when its owner lets go, wherever its two halves have gone.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// What a connection runs on: TCP, or a jump host's channel.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Dropping it ends the stream that it came with.
#[derive(Debug)]
pub(crate) struct Owner(#[expect(dead_code, reason = "it is there to be dropped")] oneshot::Sender<()>);

/// A stream with an owner. The connection's task holds it; without the owner, a forgotten channel would keep the task and
/// the socket for as long as the host likes.
pub(crate) struct Cut {
    stream: Box<dyn Stream>,
    owner: Option<oneshot::Receiver<()>>,
}

impl Cut {
    pub(crate) fn new(stream: Box<dyn Stream>) -> (Owner, Self) {
        let (owner, owned) = oneshot::channel();
        (Owner(owner), Self { stream, owner: Some(owned) })
    }

    fn is_cut(&mut self, cx: &mut Context<'_>) -> bool {
        if self.owner.as_mut().is_some_and(|owner| Pin::new(owner).poll(cx).is_ready()) {
            self.owner = None;
        }
        self.owner.is_none()
    }
}

impl AsyncRead for Cut {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Nothing read is the end.
        if self.is_cut(cx) { Poll::Ready(Ok(())) } else { Pin::new(&mut self.stream).poll_read(cx, buf) }
    }
}

impl AsyncWrite for Cut {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.owner.is_none() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
