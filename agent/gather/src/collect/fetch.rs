//! One file's bytes, into staging.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::append::begins_with;
use super::{CollectError, Errand, Job, Slot, mirrored};
use crate::grown;
use crate::staging::{Growing, Staged};
use crate::tree::{Kind, Meta, Tree, TreeError, TreeFile};

/// How often a file is read that changes while it is read.
const ATTEMPTS: u32 = 2;

/// A file that changed within so much of being read may change again under the same time stamp: SFTP counts seconds, FAT
/// two of them, and the source's clock may be off by some more.
const CLOCK_GRANULARITY: Duration = Duration::from_secs(60);

/// Bytes that gathering leaves free on the mirror's file system, for the repository and for everybody else.
const ROOM_LEFT: u64 = 256 * 1024 * 1024;

/// A file to fetch.
pub(super) struct Task<T: Tree> {
    pub(super) slot: Slot,
    pub(super) dir: T::Dir,
    pub(super) file: OsString,
    pub(super) want: Want,
}

/// What is wanted of a file.
#[derive(Debug, Clone)]
pub(super) struct Want {
    /// What the listing said.
    pub(super) meta: Meta,
    /// It may be the mirror's copy, of this length, with something appended.
    pub(super) grown: Option<u64>,
    /// The last catalogue has it.
    pub(super) known: bool,
    /// It is what a link of its name leads to.
    pub(super) followed: bool,
}

/// What came of fetching a file.
pub(super) enum Fetched {
    /// It is staged.
    Staged {
        staged: Staged,
        /// How many bytes came.
        bytes: u64,
        /// It changed whenever it was read.
        changed: bool,
    },
    /// It couldn't be read.
    Unreadable(TreeError),
    /// It doesn't pass its checks.
    Rejected(String),
}

/// A file on its way into staging, which holds blocks of zeros as holes: /var/log/lastlog is gigabytes long and kilobytes
/// large.
pub(super) struct Incoming<'a> {
    growing: Growing<'a>,
    /// How far it reaches already; a hole at its end doesn't count.
    reaches: Cell<u64>,
    /// How many of its first bytes only the mirror's copy has.
    head: Cell<u64>,
}

impl Incoming<'_> {
    /// Makes it as long as it should be.
    fn end_at(&self, length: u64) -> io::Result<()> {
        if self.reaches.get() == length { Ok(()) } else { self.growing.file.set_len(length) }
    }

    fn write(&self, chunk: &[u8], at: u64) -> io::Result<()> {
        // Most chunks aren't zeros, and show it at once.
        if chunk.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        self.growing.file.write_all_at(chunk, at)?;
        self.reaches.set(at.saturating_add(chunk.len() as u64));
        Ok(())
    }
}

/// One reading of a file.
struct Reading {
    /// How long it is now.
    length: u64,
    /// How many bytes came.
    bytes: u64,
    after: Meta,
}

pub(super) async fn fetch<T: Tree>(tree: &T, job: &Job<'_>, task: &Task<T>) -> Result<Fetched, CollectError> {
    let Errand::Fetch { staging, .. } = &job.errand else { return Err(CollectError::CalledOff) };
    let path = &task.slot.path;
    if let Err(error) = check_room(staging.room(), path, &task.want.meta)? {
        return Ok(Fetched::Unreadable(error));
    }
    let began = SystemTime::now();
    let mut file = match open_file(tree, &task.dir, &task.file, task.want.followed).await {
        Ok(file) => file,
        Err(error) => return Ok(Fetched::Unreadable(error)),
    };
    let appends = job.files.append.is_match(path);
    let mut expected = task.want.meta.clone();
    let mut from = task.want.grown;
    let (mut came, mut attempt) = (0_u64, 1);
    loop {
        let incoming =
            Incoming { growing: mirrored(path, staging.begin())?, reaches: Cell::new(0), head: Cell::new(0) };
        let read = match from.take() {
            Some(length) => read_rest(job, &mut file, &incoming, path, length, &expected).await?,
            None => read_from(job, &mut file, &incoming, path, 0, &expected).await?,
        };
        let reading = match read {
            Ok(reading) => reading,
            Err(error) => return Ok(Fetched::Unreadable(error)),
        };
        came = came.saturating_add(reading.bytes);
        let whole = reading.length == expected.size;
        let steady = whole && (reading.after.size, reading.after.mtime) == (expected.size, expected.mtime);
        // What a log held when it was listed is whole, whatever was appended since.
        let grew = whole && appends && reading.after.size >= expected.size;
        if steady || grew || attempt == ATTEMPTS {
            let meta = Meta { size: reading.length, ..expected };
            let fresh = is_fresh_at(&meta, began);
            let keeping = Keeping { meta, bytes: came, changed: !steady && !grew, fresh };
            return finish(job, task, incoming, keeping).await;
        }
        attempt += 1;
        expected = Meta { kind: Kind::File, ..reading.after };
    }
}

/// Opens the file `name` in `dir`, or the one that the link of that name leads to.
pub(super) async fn open_file<T: Tree>(
    tree: &T,
    dir: &T::Dir,
    name: &OsStr,
    followed: bool,
) -> Result<T::File, TreeError> {
    if followed { tree.open_followed_file(dir, name).await } else { tree.open_file(dir, name).await }
}

struct Keeping {
    meta: Meta,
    bytes: u64,
    changed: bool,
    fresh: bool,
}

/// Lets the checks have their say, and keeps the file or sets it aside.
async fn finish<T: Tree>(
    job: &Job<'_>,
    task: &Task<T>,
    incoming: Incoming<'_>,
    keeping: Keeping,
) -> Result<Fetched, CollectError> {
    let Errand::Fetch { aside, .. } = &job.errand else { return Err(CollectError::CalledOff) };
    let path = &task.slot.path;
    let Keeping { meta, bytes, changed, fresh } = keeping;
    mirrored(path, incoming.end_at(meta.size))?;
    for rule in job.files.checks.iter().filter(|rule| rule.concerns(path)) {
        if let Err(rejection) = rule.check(path, &incoming.growing.path()).await {
            let kept = crate::aside::keep(aside, incoming.growing, path);
            return Ok(Fetched::Rejected(format!("{rejection}; the last good copy stays, {}", mirrored(path, kept)?)));
        }
    }
    let head = incoming.head.get();
    let staged = mirrored(path, incoming.growing.keep(path, meta, task.want.meta.clone(), fresh, head))?;
    Ok(Fetched::Staged { staged, bytes, changed })
}

/// Fetches what was appended, or everything, when the beginning isn't as it was.
async fn read_rest(
    job: &Job<'_>,
    file: &mut impl TreeFile,
    incoming: &Incoming<'_>,
    path: &Path,
    length: u64,
    expected: &Meta,
) -> Result<Result<Reading, TreeError>, CollectError> {
    let Some(mirror) = job.mirror else { return read_from(job, file, incoming, path, 0, expected).await };
    let copy = mirrored(path, mirror.open_path(path))?;
    match begins_with(file, &copy, length, path).await? {
        Ok(true) if job.files.checks.iter().any(|rule| rule.concerns(path)) => {
            // A check looks at the whole.
            mirrored(path, grown::copy(&copy, &incoming.growing.file, 0, length))?;
            read_from(job, file, incoming, path, length, expected).await
        }
        Ok(true) => {
            incoming.head.set(length);
            read_from(job, file, incoming, path, length, expected).await
        }
        Ok(false) => read_from(job, file, incoming, path, 0, expected).await,
        Err(error) => Ok(Err(error)),
    }
}

/// Reads as many bytes as the file had when it was looked at and no more: it might never end.
async fn read_from(
    job: &Job<'_>,
    file: &mut impl TreeFile,
    incoming: &Incoming<'_>,
    path: &Path,
    from: u64,
    expected: &Meta,
) -> Result<Result<Reading, TreeError>, CollectError> {
    file.read(from, expected.size);
    let mut length = from;
    loop {
        let chunk: Bytes = match file.next().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            Err(error) => return Ok(Err(error)),
        };
        let bytes = chunk.len() as u64;
        for throttle in job.throttles {
            throttle.take(bytes).await;
        }
        if job.called_off.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(CollectError::CalledOff);
        }
        mirrored(path, incoming.write(&chunk, length))?;
        length = length.saturating_add(bytes);
        job.progress.bytes(bytes);
    }
    match file.after().await {
        Ok(after) => Ok(Ok(Reading { length, bytes: length - from, after })),
        Err(error) => Ok(Err(error)),
    }
}

pub(super) fn is_fresh(meta: &Meta) -> bool {
    is_fresh_at(meta, SystemTime::now())
}

fn is_fresh_at(meta: &Meta, read: SystemTime) -> bool {
    let since = read.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(CLOCK_GRANULARITY);
    meta.mtime.seconds >= i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

pub(crate) fn check_room(
    room: io::Result<u64>,
    path: &Path,
    file: &Meta,
) -> Result<Result<(), TreeError>, CollectError> {
    let needed = file.allocated.map_or(file.size, |allocated| allocated.min(file.size));
    let room = mirrored(path, room)?;
    if needed.saturating_add(ROOM_LEFT) <= room {
        return Ok(Ok(()));
    }
    let problem = format!(
        "needs {needed} bytes, and {room} are free, of which {ROOM_LEFT} stay free: make room for state_dir, or exclude the file"
    );
    Ok(Err(TreeError::Entry(io::Error::new(io::ErrorKind::StorageFull, problem))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Mtime;

    #[test]
    fn what_changed_within_a_minute_of_being_read_or_in_the_future_is_fresh() {
        let read = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (ago, fresh) in [(-3600, true), (0, true), (59, true), (61, false), (3600, false)] {
            let mtime = Mtime { seconds: 1_700_000_000 - ago, nanoseconds: 0 };
            let meta = Meta { kind: Kind::File, size: 1, allocated: None, mode: 0o600, uid: 0, gid: 0, mtime };
            assert_eq!(is_fresh_at(&meta, read), fresh, "{ago} s ago");
        }
    }
}
