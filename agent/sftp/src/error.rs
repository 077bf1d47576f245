//! What can go wrong, by what it means for the caller: this request, or the session.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use crate::wire::code;

/// Why something asked of a host was not had.
#[derive(Debug, thiserror::Error)]
pub enum SftpError {
    /// Nothing of that name. OpenSSH says so too where a folder on the way is none, and where links lead in a circle.
    #[error("no such file or folder")]
    NotFound,
    /// The host doesn't let its user.
    #[error("permission denied")]
    PermissionDenied,
    /// This request was refused; others may succeed.
    #[error("the host refuses it: {message} (SFTP status {code})")]
    Refused {
        /// The status code (filexfer-02, section 7).
        code: u32,
        /// The host's words, bounded, without control characters.
        message: String,
    },
    /// A path with a NUL byte or beyond [`MAX_PATH_BYTES`](crate::MAX_PATH_BYTES). Nothing was sent.
    #[error("a path with a NUL byte, or longer than 32 KiB, cannot be asked for")]
    Path,
    /// The session never began.
    #[error("the host offers no SFTP")]
    NoSftp,
    /// The connection is gone, or the host fell silent ([`io::ErrorKind::TimedOut`]). The session is over.
    #[error("the SFTP session is lost")]
    Lost(#[source] io::Error),
    /// The host broke the protocol. The session is over.
    #[error("the host breaks the SFTP protocol: {0}")]
    Misbehaves(Cow<'static, str>),
}

impl SftpError {
    /// Whether the session is over, so that nothing else can be had from it.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::NoSftp | Self::Lost(_) | Self::Misbehaves(_))
    }

    /// For whoever goes on with a file or folder after an error.
    pub(crate) fn earlier() -> Self {
        Self::Refused { code: code::FAILURE, message: "an earlier request for it failed".into() }
    }

    pub(crate) fn from_status(code: u32, message: String) -> Self {
        match code {
            code::NO_SUCH_FILE => Self::NotFound,
            code::PERMISSION_DENIED => Self::PermissionDenied,
            _ => Self::Refused { code, message },
        }
    }
}

/// Why a session is over. Everybody who waits or comes later is told.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// Nobody holds the session any more.
    Closed,
    NoSftp,
    Lost(Arc<io::Error>),
    Misbehaves(Cow<'static, str>),
}

impl From<End> for SftpError {
    fn from(end: End) -> Self {
        match end {
            End::Closed => Self::Lost(io::Error::new(io::ErrorKind::NotConnected, "it was closed here")),
            End::NoSftp => Self::NoSftp,
            End::Lost(cause) => Self::Lost(io::Error::new(cause.kind(), cause)),
            End::Misbehaves(what) => Self::Misbehaves(what),
        }
    }
}

impl From<crate::wire::Malformed> for End {
    fn from(what: crate::wire::Malformed) -> Self {
        Self::Misbehaves(what.0)
    }
}

impl From<io::Error> for End {
    fn from(cause: io::Error) -> Self {
        Self::Lost(Arc::new(cause))
    }
}
