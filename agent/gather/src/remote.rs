//! The files of a host that was logged in on, through SFTP version 3.
//!
//! What the protocol can't say: it opens files by path, so a folder that is swapped for a link while it is read leads to
//! another place *on that host*; it knows whole seconds only.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use drawbridge_sftp::{Attributes, File, Reading, Sftp, SftpError};

use crate::tree::{Followed, Kind, Meta, Mtime, Pace, Tree, TreeError, TreeFile, check_name};

/// How many folders are listed at once: some round trips' worth.
const FOLDERS_AT_ONCE: usize = 16;

/// The files of another host.
pub(crate) struct RemoteTree(Sftp);

/// A folder's path, ending with a slash.
type RemoteDir = Rc<[u8]>;

impl RemoteTree {
    pub(crate) fn new(sftp: Sftp) -> Self {
        Self(sftp)
    }
}

impl Tree for RemoteTree {
    type Dir = RemoteDir;
    type File = RemoteFile;

    fn pace(&self) -> Pace {
        Pace { files: self.0.max_open_files(), folders: FOLDERS_AT_ONCE }
    }

    async fn root(&self) -> Result<(RemoteDir, Meta), TreeError> {
        let attributes = self.0.lstat(b"/").await.map_err(classify)?;
        Ok((Rc::from(&b"/"[..]), meta(&attributes).ok_or_else(says_nothing)?))
    }

    async fn stat(&self, dir: &RemoteDir, name: &OsStr) -> Result<Meta, TreeError> {
        let attributes = self.0.lstat(&join(dir, name)).await.map_err(classify)?;
        meta(&attributes).ok_or_else(says_nothing)
    }

    async fn open_dir(&self, dir: &RemoteDir, name: &OsStr) -> Result<RemoteDir, TreeError> {
        Ok(folder(join(dir, name)))
    }

    async fn list(&self, dir: &RemoteDir, most: usize) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let mut listing = self.0.open_dir(dir).await.map_err(classify)?;
        let mut entries = Vec::new();
        while let Some(batch) = listing.next().await.map_err(classify)? {
            for found in batch {
                let name = OsString::from_vec(found.name);
                if name == "." || name == ".." {
                    continue;
                }
                check_name(&name).map_err(TreeError::Misbehaves)?;
                if entries.len() == most {
                    return Err(TreeError::TooMany);
                }
                // Some servers list names only.
                let known = match meta(&found.attributes) {
                    Some(meta) => Ok(meta),
                    None => self.stat(dir, &name).await,
                };
                match known {
                    Ok(meta) => entries.push((name, meta)),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(entries)
    }

    async fn read_link(&self, dir: &RemoteDir, name: &OsStr) -> Result<OsString, TreeError> {
        Ok(OsString::from_vec(self.0.read_link(&join(dir, name)).await.map_err(classify)?))
    }

    async fn open_file(&self, dir: &RemoteDir, name: &OsStr) -> Result<RemoteFile, TreeError> {
        let file = self.0.open(&join(dir, name)).await.map_err(classify)?;
        let reading = file.read(0, 0);
        Ok(RemoteFile { file, reading: Some(reading) })
    }

    async fn follow(&self, dir: &RemoteDir, name: &OsStr) -> Result<Followed<Self>, TreeError> {
        let path = join(dir, name);
        let attributes = self.0.stat(&path).await.map_err(classify)?;
        let meta = meta(&attributes).ok_or_else(says_nothing)?;
        match meta.kind {
            Kind::File => Ok(Followed::File(Rc::clone(dir), name.to_owned(), meta)),
            Kind::Directory => {
                let real = self.0.real_path(&path).await.map_err(classify)?;
                let shown = PathBuf::from(OsString::from_vec(real));
                if !shown.is_absolute() {
                    return Err(misbehaves("it names a real path that isn't absolute"));
                }
                Ok(Followed::Directory(folder(path), meta, shown))
            }
            Kind::Symlink | Kind::Special => Ok(Followed::Special),
        }
    }
}

/// An open file of another host.
pub(crate) struct RemoteFile {
    file: File,
    reading: Option<Reading>,
}

impl TreeFile for RemoteFile {
    fn read(&mut self, from: u64, to: u64) {
        self.reading = Some(self.file.read(from, to));
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        match &mut self.reading {
            Some(reading) => reading.next().await.map_err(classify),
            None => Ok(None),
        }
    }

    async fn after(&mut self) -> Result<Meta, TreeError> {
        let attributes = match self.reading.take() {
            Some(reading) => reading.after().await,
            None => self.file.attributes().await,
        };
        meta(&attributes.map_err(classify)?).ok_or_else(says_nothing)
    }
}

fn join(dir: &[u8], name: &OsStr) -> Vec<u8> {
    [dir, name.as_bytes()].concat()
}

fn folder(mut path: Vec<u8>) -> RemoteDir {
    path.push(b'/');
    Rc::from(path)
}

fn classify(error: SftpError) -> TreeError {
    let kind = match &error {
        SftpError::NotFound => io::ErrorKind::NotFound,
        SftpError::PermissionDenied => io::ErrorKind::PermissionDenied,
        SftpError::Lost(_) => return TreeError::Lost(io::Error::other(error)),
        error if error.is_fatal() => return TreeError::Misbehaves(io::Error::other(error.to_string())),
        _ => io::ErrorKind::Other,
    };
    TreeError::Entry(io::Error::new(kind, error))
}

fn misbehaves(how: &str) -> TreeError {
    TreeError::Misbehaves(io::Error::new(io::ErrorKind::InvalidData, how.to_owned()))
}

fn says_nothing() -> TreeError {
    misbehaves("it doesn't tell files from folders, or not when they changed")
}

/// What the server says of an entry, in our words; `None` when it leaves out what matters.
fn meta(attributes: &Attributes) -> Option<Meta> {
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
    let (uid, gid) = attributes.uid_gid.unwrap_or((0, 0));
    let mtime = Mtime { seconds: i64::from(attributes.times?.1), nanoseconds: 0 };
    Some(Meta { kind, size, allocated: None, mode: mode & 0o7777, uid, gid, mtime })
}
