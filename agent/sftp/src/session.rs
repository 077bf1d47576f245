//! A session: its beginning, its task, and the requests that have one answer.
//!
//! Invariants: one task owns the stream; it ends when the stream does, when the host misbehaves or falls silent, and when
//! the last [`Sftp`], [`Listing`], [`File`] or [`Reading`](crate::Reading) is dropped.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Semaphore, oneshot};

use crate::error::{End, SftpError};
use crate::file::File;
use crate::inbox::Inbox;
use crate::listing::Listing;
use crate::shared::{OpenHandle, Shared, Waiter, deliver};
use crate::wire::{self, Attributes, Limits, Reply, Request};

/// The longest path that is asked for, in bytes: above Linux's and FreeBSD's 4 KiB, and 1,024 of them are 32 MiB.
pub const MAX_PATH_BYTES: usize = 32 * 1024;

/// What every server answers a read with (filexfer-02, section 3), in bytes.
pub(crate) const SURE_READ_BYTES: u32 = 32 * 1024;

/// What an answer to READ has beside its data, in bytes, and then some: OpenSSH leaves as much.
const REPLY_OVERHEAD_BYTES: u64 = 1024;

/// Shorter reads than this, in bytes, are not asked for, whatever the server says.
const MIN_READ_BYTES: u64 = 4 * 1024;

/// Open files at most: OpenSSH's usual limit, 1024 descriptors, leaves room for them. At 20 ms of round trip, and three round trips a
/// small file, they are 15,000 files a second.
const MAX_OPEN_FILES: u64 = 900;

/// Open files where the server doesn't tell its limit: the lowest `ulimit -n` in use is 256.
const UNTOLD_OPEN_FILES: u64 = 64;

/// Open folders at most.
const MAX_OPEN_FOLDERS: u64 = 64;

/// How patient and how greedy a session is.
#[derive(Clone, Debug)]
pub struct Settings {
    /// For how long no byte may come while something is asked for.
    pub silence: Duration,
    /// How many bytes of files may be asked for and not taken yet, of the whole session.
    pub bytes_ahead: usize,
}

impl Default for Settings {
    /// A minute, and 8 MiB: 400 MB/s at 20 ms.
    fn default() -> Self {
        Self { silence: Duration::from_secs(60), bytes_ahead: 8 * 1024 * 1024 }
    }
}

/// An SFTP session. Clones are the same session.
#[derive(Clone)]
pub struct Sftp {
    session: Arc<Session>,
}

/// Ends the session when dropped; the task doesn't hold it.
struct Session {
    shared: Arc<Shared>,
    granted: Granted,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.finish(End::Closed);
    }
}

/// What a server's limits allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Granted {
    read_bytes: u32,
    files: usize,
    folders: usize,
}

fn grant(limits: Option<Limits>, bytes_ahead: usize) -> Granted {
    let longest = wire::MAX_PACKET_BYTES as u64 - REPLY_OVERHEAD_BYTES;
    let unless_zero = |limit: u64| (limit != 0).then_some(limit);
    let packet = limits.and_then(|limits| unless_zero(limits.packet)).unwrap_or(u64::MAX);
    let read = limits.and_then(|limits| unless_zero(limits.read)).unwrap_or(SURE_READ_BYTES.into());
    // With a small budget, a long read would leave no room for a second one.
    let budgeted = (bytes_ahead as u64 / 4).max(SURE_READ_BYTES.into());
    let read = read.min(packet.saturating_sub(REPLY_OVERHEAD_BYTES)).min(longest).max(MIN_READ_BYTES).min(budgeted);
    let (files, folders) = match limits {
        None => (UNTOLD_OPEN_FILES, MAX_OPEN_FOLDERS),
        Some(limits) => {
            let handles = unless_zero(limits.handles).unwrap_or(u64::MAX);
            let folders = MAX_OPEN_FOLDERS.min(handles / 4).max(1);
            (MAX_OPEN_FILES.min(handles.saturating_sub(folders)).max(1), folders)
        }
    };
    Granted { read_bytes: read as u32, files: files as usize, folders: folders as usize }
}

impl Sftp {
    /// Begins a session on the stream of an `sftp` subsystem. Spawns a task, so a tokio runtime must be there.
    ///
    /// # Errors
    /// [`SftpError::NoSftp`] when the stream ends before SFTP begins, and what ends any session.
    pub async fn start<S>(stream: S, settings: Settings) -> Result<Self, SftpError>
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (reader, mut writer) = tokio::io::split(stream);
        let mut inbox = Inbox::new(reader);
        let greeted = tokio::time::timeout(settings.silence, greet(&mut inbox, &mut writer)).await;
        let tells_limits = greeted.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()))?;
        let shared = Arc::new(Shared::new(settings.silence, settings.bytes_ahead));
        tokio::spawn(run(Arc::clone(&shared), inbox, writer));
        // Until the session has its `Session`, this ends it.
        let mut session = Session { shared, granted: grant(None, settings.bytes_ahead) };
        if tells_limits && let Some(limits) = session.limits().await? {
            session.granted = grant(Some(limits), settings.bytes_ahead);
        }
        session.shared.files.add_permits(session.granted.files);
        session.shared.folders.add_permits(session.granted.folders);
        Ok(Self { session: Arc::new(session) })
    }

    /// How many files may be open at once. [`Self::open`] waits for one to be closed beyond it.
    #[must_use]
    pub fn max_open_files(&self) -> usize {
        self.session.granted.files
    }

    /// What is at `path`; a symbolic link itself.
    ///
    /// # Errors
    /// When there is nothing, when the host refuses, and when the session is over.
    pub async fn lstat(&self, path: &[u8]) -> Result<Attributes, SftpError> {
        self.session.attributes(Request::Lstat(checked(path)?)).await
    }

    /// What is at `path`, links followed.
    ///
    /// # Errors
    /// As [`Self::lstat`].
    pub async fn stat(&self, path: &[u8]) -> Result<Attributes, SftpError> {
        self.session.attributes(Request::Stat(checked(path)?)).await
    }

    /// What a symbolic link says: any bytes but NUL, perhaps none.
    ///
    /// # Errors
    /// As [`Self::lstat`].
    pub async fn read_link(&self, path: &[u8]) -> Result<Vec<u8>, SftpError> {
        self.session.path(Request::ReadLink(checked(path)?)).await
    }

    /// The absolute path of `path`, as the host sees it.
    ///
    /// # Errors
    /// As [`Self::lstat`].
    pub async fn real_path(&self, path: &[u8]) -> Result<Vec<u8>, SftpError> {
        self.session.path(Request::RealPath(checked(path)?)).await
    }

    /// Opens a folder and asks for its entries at once. Waits while 64 folders are open.
    ///
    /// # Errors
    /// As [`Self::lstat`].
    pub async fn open_dir(&self, path: &[u8]) -> Result<Listing, SftpError> {
        let request = Request::OpenDir(checked(path)?);
        let handle = self.session.open(request, &self.shared().folders).await?;
        Ok(Listing::new(self.clone(), handle))
    }

    /// Opens a file for reading. Waits while [`Self::max_open_files`] are open.
    ///
    /// # Errors
    /// As [`Self::lstat`].
    pub async fn open(&self, path: &[u8]) -> Result<File, SftpError> {
        let request = Request::Open(checked(path)?);
        let handle = self.session.open(request, &self.shared().files).await?;
        Ok(File::new(self.clone(), handle))
    }

    pub(crate) async fn fstat(&self, handle: &OpenHandle) -> Result<Attributes, SftpError> {
        self.session.attributes(Request::Fstat(handle.bytes())).await
    }

    pub(crate) async fn attributes_in(&self, answer: &mut oneshot::Receiver<Reply>) -> Result<Attributes, SftpError> {
        let reply = self.shared().wait(answer).await?;
        self.session.attributes_of(reply)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.session.shared
    }

    pub(crate) fn read_bytes(&self) -> u32 {
        self.session.granted.read_bytes
    }
}

impl fmt::Debug for Sftp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sftp").finish_non_exhaustive()
    }
}

impl Session {
    async fn answer(&self, request: Request<'_>) -> Result<Reply, SftpError> {
        self.shared.slot().await?;
        let mut answer = self.shared.ask_any(request)?;
        self.shared.wait(&mut answer).await
    }

    async fn attributes(&self, request: Request<'_>) -> Result<Attributes, SftpError> {
        let reply = self.answer(request).await?;
        self.attributes_of(reply)
    }

    fn attributes_of(&self, reply: Reply) -> Result<Attributes, SftpError> {
        match reply {
            Reply::Attributes(attributes) => Ok(attributes),
            reply => Err(self.no(reply)),
        }
    }

    async fn path(&self, request: Request<'_>) -> Result<Vec<u8>, SftpError> {
        match self.answer(request).await? {
            Reply::Names(names) => names.path().map_err(|what| self.shared.misbehaves(what)),
            reply => Err(self.no(reply)),
        }
    }

    async fn open(&self, request: Request<'_>, places: &Arc<Semaphore>) -> Result<OpenHandle, SftpError> {
        let place = self.shared.place(places).await?;
        self.shared.slot().await?;
        let (to, mut answer) = oneshot::channel();
        self.shared.ask(request, Waiter::Open { to, place })?;
        self.shared.wait(&mut answer).await?
    }

    /// The server's limits, unless it refuses to tell what it said it would.
    async fn limits(&self) -> Result<Option<Limits>, SftpError> {
        match self.answer(Request::Extended(wire::LIMITS)).await? {
            Reply::Extended(body) => wire::decode_limits(body).map(Some).map_err(|what| self.shared.misbehaves(what)),
            Reply::Status { .. } => Ok(None),
            _ => Err(self.shared.unexpected()),
        }
    }

    /// A refusal, or an answer to another question.
    fn no(&self, reply: Reply) -> SftpError {
        match reply {
            Reply::Status { code, message } if code != wire::code::OK => SftpError::from_status(code, message),
            _ => self.shared.unexpected(),
        }
    }
}

fn checked(path: &[u8]) -> Result<&[u8], SftpError> {
    if path.len() > MAX_PATH_BYTES || path.contains(&0) { Err(SftpError::Path) } else { Ok(path) }
}

/// Whether the server tells its limits.
async fn greet<S>(inbox: &mut Inbox<ReadHalf<S>>, writer: &mut WriteHalf<S>) -> Result<bool, End>
where
    S: AsyncRead + AsyncWrite,
{
    let said = async {
        writer.write_all(&wire::init()).await?;
        writer.flush().await
    };
    // Whoever hangs up at once may have said why: that is worth more than the failed write.
    let said = said.await;
    let came = inbox.next(|| ()).await;
    let packet = said.map_err(End::from).and_then(|()| came.clone());
    let packet = packet.map_err(|end| match (came, end) {
        (Err(End::Misbehaves(what)), _) => End::Misbehaves(what),
        (_, End::Lost(cause)) if gone(cause.kind()) => End::NoSftp,
        (_, end) => end,
    })?;
    Ok(wire::decode_version(packet)?)
}

fn gone(kind: io::ErrorKind) -> bool {
    matches!(kind, io::ErrorKind::UnexpectedEof | io::ErrorKind::BrokenPipe)
}

/// Tells those who wait when the task is gone, even if its runtime is shut down.
struct Finish(Arc<Shared>);

impl Drop for Finish {
    fn drop(&mut self) {
        self.0.finish(End::Closed);
    }
}

async fn run<S>(shared: Arc<Shared>, inbox: Inbox<ReadHalf<S>>, writer: WriteHalf<S>)
where
    S: AsyncRead + AsyncWrite,
{
    let finish = Finish(shared);
    let shared = &finish.0;
    let end = tokio::select! {
        end = receive(shared, inbox) => end,
        end = send(shared, writer) => end,
        end = shared.silent() => end,
        () = shared.over() => End::Closed,
    };
    shared.finish(end);
}

async fn receive<S: AsyncRead>(shared: &Arc<Shared>, mut inbox: Inbox<ReadHalf<S>>) -> End {
    loop {
        let delivered = match inbox.next(|| shared.heard()).await {
            Ok(packet) => deliver(shared, packet),
            Err(end) => Err(end),
        };
        if let Err(end) = delivered {
            return end;
        }
    }
}

async fn send<S: AsyncWrite>(shared: &Shared, mut writer: WriteHalf<S>) -> End {
    let mut batch = Vec::new();
    loop {
        batch = shared.outgoing(batch).await;
        let written = async {
            writer.write_all(&batch).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return error.into();
        }
    }
}
