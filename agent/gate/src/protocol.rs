//! HTTP/1.1 or HTTP/2 on one stream, whichever the client begins with.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio_io_timeout::TimeoutWriter;

use crate::http::Vault;
use crate::limits::{H2_STREAM_WINDOW_BYTES, HTTP_BUFFER_BYTES, MAX_H2_STREAMS, MAX_HEADER_BYTES};
use crate::storage::ObjectStore;

/// With these bytes an HTTP/2 client begins; no HTTP/1 request does. Source: RFC 9113, section 3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Why a stream ended early. Usually its client is gone.
#[derive(Debug, Error)]
pub(crate) enum ProtocolError {
    #[error("the stream broke")]
    Io(#[from] std::io::Error),
    #[error("not HTTP as the gate speaks it")]
    Http(#[from] hyper::Error),
}

/// Serves one stream to its end. An answer that isn't taken for `stall` ends it: a client that asks and never reads would
/// keep its stream otherwise.
pub(crate) async fn serve<S, T>(vault: Arc<Vault<S>>, mut stream: T, stall: Duration) -> Result<(), ProtocolError>
where
    S: ObjectStore,
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let beginning = read_beginning(&mut stream).await?;
    let is_h2 = beginning == H2_PREFACE;
    let (reader, writer) = tokio::io::split(stream);
    let mut writer = TimeoutWriter::new(writer);
    writer.set_timeout(Some(stall));
    let io = TokioIo::new(tokio::io::join(Cursor::new(beginning).chain(reader), Box::pin(writer)));
    let service = service_fn(move |request| {
        let vault = Arc::clone(&vault);
        async move { vault.answer(request).await }
    });
    if is_h2 {
        http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MAX_H2_STREAMS)
            .initial_stream_window_size(H2_STREAM_WINDOW_BYTES)
            // Room for all streams: an upload that S3 takes slowly must not stop the others.
            .initial_connection_window_size(H2_STREAM_WINDOW_BYTES * MAX_H2_STREAMS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .serve_connection(io, service)
            .await?;
    } else {
        http1::Builder::new()
            .max_buf_size(HTTP_BUFFER_BYTES)
            .max_header_size(MAX_HEADER_BYTES as usize)
            // Between two kinds of objects an agent's streams wait for each other; SSH notices when it is gone.
            .header_read_timeout(None)
            .serve_connection(io, service)
            .await?;
    }
    Ok(())
}

/// Reads until it is clear whether the stream begins with [`H2_PREFACE`].
async fn read_beginning<T: AsyncRead + Unpin>(stream: &mut T) -> Result<Vec<u8>, std::io::Error> {
    let mut beginning = Vec::with_capacity(H2_PREFACE.len());
    while beginning.len() < H2_PREFACE.len() && H2_PREFACE.starts_with(&beginning) {
        let missing = H2_PREFACE.len() - beginning.len();
        if (&mut *stream).take(missing as u64).read_buf(&mut beginning).await? == 0 {
            break;
        }
    }
    Ok(beginning)
}
