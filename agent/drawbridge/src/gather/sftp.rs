//! The files of a host that was logged in on, through SFTP version 3
//! (<https://datatracker.ietf.org/doc/html/draft-ietf-secsh-filexfer-02>).
//!
//! What the protocol can't say: it opens files by path and through symbolic links, so a folder that is swapped for a link
//! while it is read leads to another place *on that host*; it knows whole seconds only, so a change that keeps a file's
//! length within the second of an earlier change stays unseen until the next one; names that aren't UTF-8 lead nowhere and
//! are reported.

use std::ffi::{OsStr, OsString};
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error;
use russh_sftp::protocol::{Data, FileAttributes, OpenFlags, StatusCode};
use tokio::runtime::Handle;

use super::ssh::Login;
use super::tree::{Kind, MAX_DIRECTORY_ENTRIES, Meta, Mtime, Tree, TreeError, TreeFile, check_name, too_many_entries};

/// How much one request asks for, in bytes. Every server answers with that much (filexfer-02, section 3).
const READ_BYTES: u32 = 32 * 1024;

/// How many requests are under way at once: with [`READ_BYTES`] 2 MiB, which fills 100 MiB/s at 20 ms.
const READS_AHEAD: usize = 64;

/// The files of another host. For a blocking thread: it waits for every answer.
pub(super) struct SftpTree {
    sftp: Arc<RawSftpSession>,
    login: Login,
    runtime: Handle,
}

impl SftpTree {
    pub(super) fn new(login: Login, runtime: Handle) -> Self {
        Self { sftp: Arc::clone(&login.sftp), login, runtime }
    }

    fn wait<V>(&self, answer: impl Future<Output = Result<V, Error>>) -> Result<V, TreeError> {
        self.runtime.block_on(answer).map_err(|error| self.classify(error))
    }

    fn classify(&self, error: Error) -> TreeError {
        if self.login.is_over() { lost(error) } else { classify(error) }
    }

    async fn entries(&self, handle: &str) -> Result<Vec<(OsString, FileAttributes)>, TreeError> {
        let mut entries = Vec::new();
        loop {
            let batch = match self.sftp.readdir(handle).await {
                Ok(batch) => batch.files,
                Err(Error::Status(status)) if status.status_code == StatusCode::Eof => return Ok(entries),
                Err(error) => return Err(self.classify(error)),
            };
            if batch.is_empty() {
                return Err(misbehaves("it goes on listing a directory without naming anything"));
            }
            for file in batch {
                let name = OsString::from(file.filename);
                if name == "." || name == ".." {
                    continue;
                }
                check_name(&name).map_err(TreeError::Lost)?;
                if entries.len() == MAX_DIRECTORY_ENTRIES {
                    return Err(TreeError::Entry(too_many_entries()));
                }
                entries.push((name, file.attrs));
            }
        }
    }
}

impl Tree for SftpTree {
    /// Its path, ending with a slash.
    type Dir = String;
    type File = SftpFile;

    fn root(&self) -> Result<(String, Meta), TreeError> {
        let attributes = self.wait(self.sftp.lstat("/"))?.attrs;
        Ok(("/".to_owned(), meta(&attributes).ok_or_else(says_nothing)?))
    }

    fn stat(&self, dir: &String, name: &OsStr) -> Result<Meta, TreeError> {
        let attributes = self.wait(self.sftp.lstat(join(dir, name)?))?.attrs;
        meta(&attributes).ok_or_else(says_nothing)
    }

    fn open_dir(&self, dir: &String, name: &OsStr) -> Result<String, TreeError> {
        Ok(join(dir, name)? + "/")
    }

    fn list(&self, dir: &String) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let handle = self.wait(self.sftp.opendir(dir.as_str()))?.handle;
        let listed = self.runtime.block_on(self.entries(&handle));
        let closed = self.wait(self.sftp.close(handle));
        let mut entries = Vec::new();
        for (name, attributes) in listed? {
            // Some servers list names only.
            let known = meta(&attributes).map_or_else(|| self.stat(dir, &name), Ok);
            match known {
                Ok(meta) => entries.push((name, meta)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        closed.map(|_| entries)
    }

    fn read_link(&self, dir: &String, name: &OsStr) -> Result<OsString, TreeError> {
        let answer = self.wait(self.sftp.readlink(join(dir, name)?))?;
        match answer.files.into_iter().next() {
            Some(file) => Ok(OsString::from(file.filename)),
            None => Err(misbehaves("it names no target of a symbolic link")),
        }
    }

    fn open_file(&self, dir: &String, name: &OsStr) -> Result<SftpFile, TreeError> {
        let handle = self.wait(self.sftp.open(join(dir, name)?, OpenFlags::READ, FileAttributes::empty()))?.handle;
        Ok(SftpFile {
            sftp: Arc::clone(&self.sftp),
            runtime: self.runtime.clone(),
            handle,
            pending: FuturesOrdered::new(),
            asked: 0,
            end: 0,
            arrived: Vec::new(),
            taken: 0,
        })
    }
}

type Answer = (u64, u32, Result<Data, Error>);

/// An open file of another host, which is read ahead of whoever wants it.
pub(super) struct SftpFile {
    sftp: Arc<RawSftpSession>,
    runtime: Handle,
    handle: String,
    /// Requests under way, in the file's order.
    pending: FuturesOrdered<BoxFuture<'static, Answer>>,
    /// Everything before this offset has been asked for.
    asked: u64,
    /// Nothing from this offset on is asked for ahead: the file's length when that was last asked.
    end: u64,
    /// What has arrived last,
    arrived: Vec<u8>,
    /// and how much of it has been taken.
    taken: usize,
}

impl SftpFile {
    fn ask(&mut self) {
        while self.pending.len() < READS_AHEAD && (self.asked < self.end || self.pending.is_empty()) {
            let (sftp, handle, offset) = (Arc::clone(&self.sftp), self.handle.clone(), self.asked);
            let read = async move { (offset, READ_BYTES, sftp.read(handle, offset, READ_BYTES).await) };
            self.pending.push_back(Box::pin(read));
            self.asked = self.asked.saturating_add(u64::from(READ_BYTES));
        }
    }

    /// Takes the next answer in; `false` at the file's end.
    fn receive(&mut self) -> Result<bool, TreeError> {
        self.ask();
        let Some((offset, length, answer)) = self.runtime.block_on(self.pending.next()) else { return Ok(false) };
        let data = match answer {
            Ok(data) => data.data,
            Err(Error::Status(status)) if status.status_code == StatusCode::Eof => return Ok(false),
            Err(error) => return Err(classify(error)),
        };
        let received = u32::try_from(data.len()).unwrap_or(u32::MAX);
        if received == 0 || received > length {
            return Err(misbehaves("it sends more or less of a file than was asked for"));
        }
        if received < length {
            // What was asked for beyond the gap comes in vain, and the gap is asked for again.
            self.pending = FuturesOrdered::new();
            self.asked = offset.saturating_add(u64::from(received));
        }
        (self.arrived, self.taken) = (data, 0);
        Ok(true)
    }
}

impl TreeFile for SftpFile {
    fn meta(&mut self) -> Result<Meta, TreeError> {
        let attributes = self.runtime.block_on(self.sftp.fstat(self.handle.as_str())).map_err(classify)?.attrs;
        let meta = meta(&attributes).ok_or_else(says_nothing)?;
        self.end = meta.size;
        Ok(meta)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TreeError> {
        if self.taken == self.arrived.len() && !self.receive()? {
            return Ok(0);
        }
        let rest = self.arrived.get(self.taken..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.taken += length;
        Ok(length)
    }
}

impl Drop for SftpFile {
    fn drop(&mut self) {
        let (sftp, handle) = (Arc::clone(&self.sftp), std::mem::take(&mut self.handle));
        // Nobody waits for it: what was read is read, and a connection that is lost shows at the next question.
        self.runtime.spawn(async move { sftp.close(handle).await.map(|_| ()) });
    }
}

fn join(dir: &str, name: &OsStr) -> Result<String, TreeError> {
    let name = name.to_str().ok_or_else(|| {
        TreeError::Entry(io::Error::new(io::ErrorKind::InvalidData, "a name that isn't UTF-8 can't be asked for"))
    })?;
    Ok(format!("{dir}{name}"))
}

fn classify(error: Error) -> TreeError {
    let Error::Status(status) = &error else { return lost(error) };
    let kind = match status.status_code {
        StatusCode::NoSuchFile => io::ErrorKind::NotFound,
        StatusCode::PermissionDenied => io::ErrorKind::PermissionDenied,
        StatusCode::Failure | StatusCode::OpUnsupported | StatusCode::Eof => io::ErrorKind::Other,
        StatusCode::Ok | StatusCode::BadMessage | StatusCode::NoConnection | StatusCode::ConnectionLost => {
            return lost(error);
        }
    };
    TreeError::Entry(io::Error::new(kind, error))
}

fn lost(error: Error) -> TreeError {
    TreeError::Lost(match error {
        Error::Timeout => io::Error::new(io::ErrorKind::TimedOut, "an answer took too long"),
        other => other.into(),
    })
}

fn misbehaves(how: &str) -> TreeError {
    TreeError::Lost(io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the SFTP server doesn't keep to the protocol: {how}"),
    ))
}

fn says_nothing() -> TreeError {
    misbehaves("it doesn't tell files from directories, or not when they changed")
}

/// What the server says of an entry, in our words; `None` when it leaves out what matters.
fn meta(attributes: &FileAttributes) -> Option<Meta> {
    const TYPE: u32 = 0o170_000;
    let mode = attributes.permissions?;
    let kind = match mode & TYPE {
        0o100_000 => Kind::File,
        0o040_000 => Kind::Directory,
        0o120_000 => Kind::Symlink,
        0 => return None,
        _ => Kind::Special,
    };
    let size = match kind {
        Kind::File => attributes.size?,
        _ => attributes.size.unwrap_or(0),
    };
    Some(Meta {
        kind,
        size,
        allocated: None,
        mode: mode & 0o7777,
        uid: attributes.uid.unwrap_or(0),
        gid: attributes.gid.unwrap_or(0),
        mtime: Mtime { seconds: i64::from(attributes.mtime?), nanoseconds: 0 },
    })
}
