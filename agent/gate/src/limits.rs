//! What the gate takes at most, and how long it waits. Together the caps keep its resident memory below
//! 64 MiB: a channel costs about 1.2 MiB when its client sends faster than S3 takes, an upload about 1 MiB, the
//! largest manifest about 35 MiB while it is parsed (and nothing crosses before that).

use std::time::Duration;

use drawbridge_ssh::MAX_STREAMS;

/// Connections that have not logged in yet. The next one displaces the oldest, so that silent connections cannot keep
/// the agent out.
pub const MAX_STRANGERS: usize = 8;

/// Connections that have logged in. The next one displaces the oldest: there is one user, and an agent that connects
/// anew has lost its old connection, even if this end hasn't noticed.
pub const MAX_SESSIONS: usize = 4;

/// Vault streams on one connection; the agent opens as many unless told otherwise.
pub const MAX_CHANNELS_PER_CONNECTION: usize = MAX_STREAMS as usize;

/// Vault streams on all connections together.
pub const MAX_CHANNELS: usize = 16;

/// Uploads to S3 at once. One more is told to come back. It doesn't wait in line: its unread body would block
/// its whole SSH connection, and with it the uploads that it waits for.
pub const MAX_UPLOADS: usize = MAX_STREAMS as usize;

/// HTTP/2 streams on one vault stream.
pub const MAX_H2_STREAMS: u32 = 4;

/// Bytes that an HTTP/2 stream may send before they are read.
pub const H2_STREAM_WINDOW_BYTES: u32 = 256 * 1024;

/// Bytes of headers in a request; every request that the gate knows stays below 1 KiB.
pub const MAX_HEADER_BYTES: u32 = 16 * 1024;

/// The largest body that is read only to be thrown away, in bytes. Refused without reading, a larger one costs the
/// client its stream, a smaller one would cost the gate more in new streams.
pub const DISMISSED_BODY_BYTES: u64 = 64 * 1024;

/// How long such a body may take to arrive. It was sent together with its request.
pub const DISMISSAL_PATIENCE: Duration = Duration::from_secs(1);

/// The read buffer of an HTTP/1.1 stream, in bytes, and thereby the largest chunk that goes to S3 at once.
pub const HTTP_BUFFER_BYTES: usize = 128 * 1024;

/// For a TCP and TLS connection to S3, which is a few hundred microseconds away.
pub const S3_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For S3's answer to something of the gate's own: at most 16 MiB, sent inside the region.
pub const S3_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Between tries to put something of the gate's own.
pub const WHOLE_PUT_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(800)];

/// How long the gate waits for others. Tests shorten it; nothing else does.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// From the TCP connection to the login, so that half-open connections end.
    pub login: Duration,
    /// Without a byte moving in an upload, or S3's answer to a finished one, or a byte taken of an answer of the gate's. Shorter than the link's
    /// [`drawbridge_ssh::settings::INACTIVITY_TIMEOUT`], which would end the whole connection instead of the upload.
    pub stall: Duration,
    /// After the receipt, without connections, for an agent that lost the answer and asks again.
    pub quiet: Duration,
    /// After the receipt, whatever is still connected.
    pub linger: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(10),
            stall: Duration::from_secs(30),
            quiet: Duration::from_secs(2),
            linger: Duration::from_secs(10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stalled_upload_ends_before_its_connection_does() {
        assert!(Patience::default().stall < drawbridge_ssh::settings::INACTIVITY_TIMEOUT);
    }
}
