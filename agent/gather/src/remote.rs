//! The files of a host that was logged in on, through SFTP version 3.
//!
//! What the protocol can't say: it opens files by path, so a folder that is swapped for a link while it is read leads to
//! another place *on that host*; it knows whole seconds only.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::Bytes;
use drawbridge_sftp::{Attributes, File, Reading, Sftp, SftpError};

use crate::room::Held;
use crate::tree::{Followed, Kind, Meta, Mtime, Pace, Tree, TreeError, TreeFile, check_name};

/// How many folders are listed at once: some round trips' worth.
const FOLDERS_AT_ONCE: usize = 64;

/// The most steps on the way to configured paths that are asked for beforehand.
const MAX_STEPS: usize = 1000;

/// The files of another host.
pub(crate) struct RemoteTree {
    sftp: Sftp,
    /// What lies on the way to the configured paths, asked for all at once: step by step, each would cost a round trip.
    on_the_way: HashMap<Vec<u8>, Meta>,
}

/// A folder's path, ending with a slash.
type RemoteDir = Rc<[u8]>;

impl RemoteTree {
    /// The files that `sftp` shows, of which those at `paths`, absolute, will be asked for.
    pub(crate) async fn new(sftp: Sftp, paths: impl Iterator<Item = PathBuf>) -> Self {
        let mut steps: Vec<Vec<u8>> = paths
            .flat_map(|path| path.ancestors().map(|step| step.as_os_str().as_bytes().to_vec()).collect::<Vec<_>>())
            .collect();
        steps.sort();
        steps.dedup();
        steps.truncate(MAX_STEPS);
        let asked = steps.into_iter().map(|step| async {
            // What can't be looked at now is asked for again in its turn, and its error told then.
            let known = sftp.lstat(&step).await.ok().as_ref().and_then(meta);
            known.map(|meta| (step, meta))
        });
        let on_the_way = futures::future::join_all(asked).await.into_iter().flatten().collect();
        Self { sftp, on_the_way }
    }
}

impl RemoteTree {
    async fn look_at(&self, path: Vec<u8>) -> Result<Meta, TreeError> {
        if let Some(known) = self.on_the_way.get(&path) {
            return Ok(known.clone());
        }
        let attributes = self.sftp.lstat(&path).await.map_err(classify)?;
        meta(&attributes).ok_or_else(says_nothing)
    }
}

impl Tree for RemoteTree {
    type Dir = RemoteDir;
    type File = RemoteFile;

    fn pace(&self) -> Pace {
        Pace { files: self.sftp.max_open_files(), folders: FOLDERS_AT_ONCE }
    }

    async fn root(&self) -> Result<(RemoteDir, Meta), TreeError> {
        Ok((Rc::from(&b"/"[..]), self.look_at(b"/".to_vec()).await?))
    }

    async fn stat(&self, dir: &RemoteDir, name: &OsStr) -> Result<Meta, TreeError> {
        self.look_at(join(dir, name)).await
    }

    async fn open_dir(&self, dir: &RemoteDir, name: &OsStr) -> Result<RemoteDir, TreeError> {
        Ok(folder(join(dir, name)))
    }

    async fn list(&self, dir: &RemoteDir, held: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let mut listing = self.sftp.open_dir(dir).await.map_err(classify)?;
        let mut entries = Vec::new();
        while let Some(batch) = listing.next().await.map_err(classify)? {
            for found in batch {
                let name = OsString::from_vec(found.name);
                if name == "." || name == ".." {
                    continue;
                }
                check_name(&name).map_err(TreeError::Misbehaves)?;
                held.take_entry(&name)?;
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
        Ok(OsString::from_vec(self.sftp.read_link(&join(dir, name)).await.map_err(classify)?))
    }

    async fn open_file(&self, dir: &RemoteDir, name: &OsStr) -> Result<RemoteFile, TreeError> {
        let file = self.sftp.open(&join(dir, name)).await.map_err(classify)?;
        Ok(RemoteFile { file, reading: None })
    }

    async fn follow(&self, dir: &RemoteDir, name: &OsStr) -> Result<Followed, TreeError> {
        let path = join(dir, name);
        let attributes = self.sftp.stat(&path).await.map_err(classify)?;
        let meta = meta(&attributes).ok_or_else(says_nothing)?;
        match meta.kind {
            Kind::File => Ok(Followed::File(meta)),
            Kind::Directory => {
                let real = self.sftp.real_path(&path).await.map_err(classify)?;
                let shown = PathBuf::from(OsString::from_vec(real));
                if !shown.is_absolute() {
                    return Err(misbehaves("it names a real path that isn't absolute"));
                }
                Ok(Followed::Directory(meta, shown))
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
