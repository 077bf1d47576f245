//! One run at a time: an advisory lock on `state_dir/lock`, which the kernel releases when its holder ends, however it ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

const LOCK: &str = "lock";

/// Longer than any process id in digits.
const MAX_PID_BYTES: u64 = 32;

/// The lock can't be used.
#[derive(Debug, Error)]
#[error("cannot lock {}", path.display())]
pub struct LockError {
    path: PathBuf,
    source: io::Error,
}

/// Held until it is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// What became of taking the lock.
#[derive(Debug)]
pub(crate) enum Locking {
    Taken(Lock),
    /// By the process with this id, as far as it could be read.
    HeldBy(String),
}

impl Lock {
    /// Takes the lock of `state_dir`, without waiting.
    pub(crate) fn take(state_dir: &Path) -> Result<Locking, LockError> {
        let path = state_dir.join(LOCK);
        lock(&path).map_err(|source| LockError { path, source })
    }
}

fn lock(path: &Path) -> io::Result<Locking> {
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{}", std::process::id())?;
            Ok(Locking::Taken(Lock { _file: file }))
        }
        Err(Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.take(MAX_PID_BYTES).read_to_string(&mut pid)?;
            Ok(Locking::HeldBy(pid.trim().to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_second_learns_who_holds_the_lock_and_gets_it_when_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let Locking::Taken(first) = Lock::take(dir.path()).unwrap() else { panic!("not taken") };
        let Locking::HeldBy(pid) = Lock::take(dir.path()).unwrap() else { panic!("taken twice") };
        assert_eq!(pid, std::process::id().to_string());
        drop(first);
        assert!(matches!(Lock::take(dir.path()).unwrap(), Locking::Taken(_)));
    }
}
