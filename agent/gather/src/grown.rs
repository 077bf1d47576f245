//! A file that only grew gets what was appended without being copied: it leaves the mirror, grows in staging, and takes its
//! name again. Copying a log of many gigabytes every night would cost more than fetching what is new of it.
//!
//! Invariants:
//! - under its name in the mirror the file is the old one or the new one, or, while this is under way, not there;
//! - a record beside it says what it was, before it leaves; what was cut off is put back by [`put_back`] as it was, before
//!   anything else is gathered from the source.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::mirror::{MirrorDir, within};
use crate::tree::{Kind, Meta, Mtime};

/// How the record of a file is named after the file.
const RECORD: &str = ".was";

/// How a file is named that has left the mirror.
const GROWING: &str = "growing-";

/// The longest record, in bytes: a path and some numbers.
const MAX_RECORD_BYTES: u64 = 64 * 1024;

/// What a file was before it left the mirror.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    path: Vec<u8>,
    length: u64,
    mtime: Mtime,
}

/// Makes `to/as_name`, which is `path` in the source, longer by what `tail` of the folder `staging` holds from `head` on.
pub(crate) fn grow(
    staging: &MirrorDir,
    tail: &OsStr,
    head: u64,
    path: &Path,
    to: &MirrorDir,
    as_name: &OsStr,
    meta: &Meta,
) -> io::Result<()> {
    let was = to.stat(as_name)?.filter(|was| was.kind == Kind::File && was.size == head);
    let was = was.ok_or_else(|| io::Error::other("the mirror's copy isn't what it was any more"))?;
    let growing = OsString::from_vec([GROWING.as_bytes(), tail.as_bytes()].concat());
    let record = Record { path: path.as_os_str().as_bytes().to_vec(), length: head, mtime: was.mtime };
    let bytes = postcard::to_stdvec(&record).map_err(io::Error::other)?;
    staging.create_file(&record_name(&growing))?.write_all(&bytes)?;
    to.place(as_name, staging, &growing)?;
    let appended = append(staging, &growing, tail, head, meta);
    if appended.is_err() {
        restore(staging, &growing, &record)?;
    }
    staging.place(&growing, to, as_name)?;
    staging.remove(&record_name(&growing))?;
    staging.remove(tail)?;
    appended
}

fn append(staging: &MirrorDir, growing: &OsStr, tail: &OsStr, head: u64, meta: &Meta) -> io::Result<()> {
    let (from, into) = (staging.open_file(tail)?, staging.open_to_change(growing)?);
    copy(&from, &into, head, meta.size)?;
    staging.apply_meta(&into, meta)
}

/// Copies the bytes `at..end` of `from` to the same place of `into`, in the kernel; shared where the file system can.
pub(crate) fn copy(from: &File, into: &File, at: u64, end: u64) -> io::Result<()> {
    let (mut read, mut written) = (at, at);
    while read < end {
        let left = usize::try_from(end - read).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(from, Some(&mut read), into, Some(&mut written), left) {
            Ok(0) => return Err(io::Error::other("a file of the agent's own became shorter")),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Puts back what a gathering that was cut off had taken out of `mirror`, the source's folder.
pub(crate) fn put_back(staging: &MirrorDir, mirror: Option<&MirrorDir>) -> io::Result<()> {
    let Some(mirror) = mirror else { return Ok(()) };
    for name in staging.names()? {
        let Some(growing) = name.as_bytes().strip_suffix(RECORD.as_bytes()).map(OsStr::from_bytes) else { continue };
        let there = staging.stat(growing)?.filter(|found| found.kind == Kind::File);
        let (Some(there), Some(record)) = (there, read(staging, &name)?) else { continue };
        let path = PathBuf::from(OsString::from_vec(record.path.clone()));
        let folder = mirror.below(within(&path).parent().unwrap_or(Path::new("")))?;
        let (Some(folder), Some(as_name)) = (folder, path.file_name()) else { continue };
        if there.size >= record.length && folder.stat(as_name)?.is_none() {
            restore(staging, growing, &record)?;
            staging.place(growing, &folder, as_name)?;
        }
    }
    Ok(())
}

/// Makes the file what it was.
fn restore(staging: &MirrorDir, growing: &OsStr, was: &Record) -> io::Result<()> {
    let file = staging.open_to_change(growing)?;
    file.set_len(was.length)?;
    staging.set_mtime(&file, was.mtime)
}

/// A record that was cut off itself is none: then the file hadn't left the mirror yet.
fn read(staging: &MirrorDir, name: &OsStr) -> io::Result<Option<Record>> {
    let mut bytes = Vec::new();
    staging.open_file(name)?.take(MAX_RECORD_BYTES).read_to_end(&mut bytes)?;
    Ok(postcard::from_bytes(&bytes).ok())
}

fn record_name(growing: &OsStr) -> OsString {
    OsString::from_vec([growing.as_bytes(), RECORD.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use std::fs;

    use super::*;
    use crate::staging::Staging;

    struct Folders {
        dir: tempfile::TempDir,
        staging: MirrorDir,
        mirror: MirrorDir,
    }

    /// A mirror with the file `/log/a`, `old `, and a staged tail that makes it `old new`.
    fn folders() -> Folders {
        let dir = tempfile::tempdir().unwrap();
        let staging = MirrorDir::open_or_make(&dir.path().join("staging")).unwrap();
        let mirror = MirrorDir::open_or_make(&dir.path().join("mirror")).unwrap();
        fs::create_dir(dir.path().join("mirror/log")).unwrap();
        fs::write(dir.path().join("mirror/log/a"), "old ").unwrap();
        fs::write(dir.path().join("staging/0"), "\0\0\0\0new").unwrap();
        Folders { dir, staging, mirror }
    }

    fn meta(folders: &Folders, size: u64) -> Meta {
        let log = folders.mirror.open(OsStr::new("log")).unwrap();
        Meta {
            size,
            mode: 0o440,
            mtime: Mtime { seconds: 7, nanoseconds: 0 },
            ..log.stat(OsStr::new("a")).unwrap().unwrap()
        }
    }

    fn try_to_grow(folders: &Folders, head: u64, size: u64) -> io::Result<()> {
        let log = folders.mirror.open(OsStr::new("log")).unwrap();
        let meta = meta(folders, size);
        grow(&folders.staging, OsStr::new("0"), head, Path::new("/log/a"), &log, OsStr::new("a"), &meta)
    }

    fn content(folders: &Folders) -> String {
        fs::read_to_string(folders.dir.path().join("mirror/log/a")).unwrap()
    }

    #[test]
    fn a_file_grows_by_its_tail_and_again_although_nobody_may_write_it() {
        let folders = folders();
        try_to_grow(&folders, 4, 7).unwrap();
        assert_eq!(content(&folders), "old new");
        let log = folders.mirror.open(OsStr::new("log")).unwrap();
        let grown = log.stat(OsStr::new("a")).unwrap().unwrap();
        assert_eq!((grown.mode, grown.mtime.seconds), (0o440, 7));
        fs::write(folders.dir.path().join("staging/0"), "\0\0\0\0\0\0\0er").unwrap();
        try_to_grow(&folders, 7, 9).unwrap();
        assert_eq!(content(&folders), "old newer");
    }

    #[test]
    fn a_file_that_can_not_grow_is_what_it_was() {
        let folders = folders();
        let before = folders.dir.path().join("mirror/log/a").metadata().unwrap().modified().unwrap();
        // More than the tail has.
        try_to_grow(&folders, 4, 100).unwrap_err();
        assert_eq!(content(&folders), "old ");
        assert_eq!(folders.dir.path().join("mirror/log/a").metadata().unwrap().modified().unwrap(), before);
        try_to_grow(&folders, 3, 7).unwrap_err();
        assert_eq!(content(&folders), "old ");
    }

    #[test]
    fn a_file_of_which_nothing_can_be_recorded_stays_where_it_is() {
        let folders = folders();
        fs::create_dir(folders.dir.path().join("staging/growing-0.was")).unwrap();
        try_to_grow(&folders, 4, 7).unwrap_err();
        assert_eq!(content(&folders), "old ");
    }

    #[test]
    fn whatever_was_under_way_when_it_was_cut_off_is_put_back() {
        for (moved, appended) in [(false, ""), (true, ""), (true, "n"), (true, "new")] {
            let folders = folders();
            let (file, growing) =
                (folders.dir.path().join("mirror/log/a"), folders.dir.path().join("staging/growing-0"));
            let before = file.metadata().unwrap().modified().unwrap();
            let stat = folders.mirror.open(OsStr::new("log")).unwrap().stat(OsStr::new("a")).unwrap().unwrap();
            let record = Record { path: b"/log/a".to_vec(), length: 4, mtime: stat.mtime };
            fs::write(folders.dir.path().join("staging/growing-0.was"), postcard::to_stdvec(&record).unwrap()).unwrap();
            if moved {
                fs::rename(&file, &growing).unwrap();
                fs::write(&growing, format!("old {appended}")).unwrap();
            }
            Staging::open(&folders.dir.path().join("staging"), Some(&folders.mirror)).unwrap();
            assert_eq!(content(&folders), "old ", "{moved} {appended}");
            assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
            // Again: nothing more happens, and a newer file isn't replaced.
            fs::write(&file, "newer").unwrap();
            put_back(&folders.staging, Some(&folders.mirror)).unwrap();
            assert_eq!(content(&folders), "newer");
        }
    }

    #[test]
    fn a_record_that_is_damaged_or_leads_elsewhere_moves_nothing() {
        let folders = folders();
        let outside = folders.dir.path().join("a");
        // Of the last one, the mirror has a file already.
        for (path, cut) in [("/log/a", 3), ("/../a", 0), ("../a", 0), ("/nowhere/a", 0), ("/log/a", 0)] {
            let record = Record { path: path.into(), length: 1, mtime: Mtime { seconds: 0, nanoseconds: 0 } };
            let bytes = postcard::to_stdvec(&record).unwrap();
            fs::write(folders.dir.path().join("staging/growing-0.was"), &bytes[..bytes.len() - cut]).unwrap();
            fs::write(folders.dir.path().join("staging/growing-0"), "xyz").unwrap();
            let _refused = put_back(&folders.staging, Some(&folders.mirror));
            assert!(!outside.exists() && content(&folders) == "old ", "{path}");
        }
    }
}
