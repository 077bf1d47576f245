//! What an entry of the mirror is, in the same terms as one of a snapshot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use drawbridge_gather::{Kind, Meta};
use drawbridge_wire::Timestamp;

use crate::engine::{EntryFacts, EntryKind};

/// What lies at `path`, which isn't followed if it is a link. What the source `stated` of owner, mode and time counts more than the
/// mirror's file system: an agent that isn't root owns all of its mirror.
pub(super) fn facts_of(path: &Path, stated: Option<&Meta>) -> io::Result<EntryFacts> {
    let meta = fs::symlink_metadata(path)?;
    let (kind, called) = if meta.is_file() {
        (EntryKind::File, Kind::File)
    } else if meta.is_dir() {
        (EntryKind::Folder, Kind::Directory)
    } else if meta.is_symlink() {
        (EntryKind::Link(fs::read_link(path)?.into_os_string()), Kind::Symlink)
    } else {
        (EntryKind::Other, Kind::Special)
    };
    let time = |seconds, nanoseconds| Timestamp::new(seconds, i32::try_from(nanoseconds).unwrap_or_default()).ok();
    let of_file = kind == EntryKind::File;
    // As in a snapshot: what the source calls by another kind isn't what lies here.
    let (mode, uid, gid, modified) = match stated.filter(|stated| stated.kind == called) {
        Some(stated) => (stated.mode, stated.uid, stated.gid, time(stated.mtime.seconds, stated.mtime.nanoseconds)),
        None => (meta.mode(), meta.uid(), meta.gid(), time(meta.mtime(), meta.mtime_nsec())),
    };
    Ok(EntryFacts {
        size: if of_file { meta.len() } else { 0 },
        mode: mode & 0o7777,
        uid,
        gid,
        modified,
        touched: of_file.then(|| time(meta.ctime(), meta.ctime_nsec())).flatten(),
        attributes: 0,
        kind,
    })
}

/// Opens a file of the mirror; nothing is read through a link.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default()).open(path)
}

/// A file of the mirror, up to `most` bytes of it.
pub(super) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nothing_is_read_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("secret"), "outside").unwrap();
        std::os::unix::fs::symlink("secret", dir.path().join("link")).unwrap();
        assert_eq!(read(&dir.path().join("secret"), 100).unwrap(), b"outside");
        assert!(read(&dir.path().join("link"), 100).is_err());
    }
}
