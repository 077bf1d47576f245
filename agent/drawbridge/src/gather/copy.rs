//! One file's bytes.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::mirror::MirrorDir;
use super::tree::{Kind, Meta, Tree, TreeError, TreeFile};
use super::walk::{Walk, WalkError, mirrored};

/// How much is read at once, in bytes.
pub(super) const BUFFER_BYTES: usize = 256 * 1024;

/// How often a file is read that changes while it is read. A log that grows all day would never be read in peace.
const ATTEMPTS: u32 = 2;

/// What came of copying one file.
pub(super) enum Copied {
    /// It is in the mirror.
    Done { bytes: u64 },
    /// It couldn't be read. The mirror's copy is untouched.
    Unreadable(TreeError),
}

/// One reading of a file.
struct Reading {
    /// What was known of it before.
    before: Meta,
    bytes: u64,
    /// Whether it was the same before and after, and as long as it said.
    steady: bool,
}

impl<T: Tree> Walk<'_, T> {
    pub(super) fn copy(
        &mut self,
        from: &T::Dir,
        to: &MirrorDir,
        name: &OsStr,
        path: &Path,
    ) -> Result<Copied, WalkError> {
        for attempt in 1..=ATTEMPTS {
            let mut unfinished = mirrored(path, self.job.workshop.begin(self.job.name))?;
            let reading = match self.read(from, name, path, &mut unfinished.file)? {
                Ok(reading) => reading,
                Err(error) => return Ok(Copied::Unreadable(error)),
            };
            if !reading.steady && attempt < ATTEMPTS {
                continue;
            }
            if !reading.steady {
                self.counts.changed_while_read += 1;
            }
            mirrored(path, unfinished.place(to, name, &reading.before))?;
            return Ok(Copied::Done { bytes: reading.bytes });
        }
        Ok(Copied::Unreadable(TreeError::Entry(io::Error::other("it was never read"))))
    }

    /// Reads as many bytes as the file has when it is opened and no more: it might never end.
    fn read(
        &mut self,
        from: &T::Dir,
        name: &OsStr,
        path: &Path,
        into: &mut std::fs::File,
    ) -> Result<Result<Reading, TreeError>, WalkError> {
        let opened = self.tree.open_file(from, name).and_then(|mut file| file.meta().map(|meta| (file, meta)));
        let (mut file, before) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if before.kind != Kind::File {
            return Ok(Err(TreeError::Entry(io::Error::other("it was a file and has become something else"))));
        }
        if let Err(error) = self.check_room(path, &before)? {
            return Ok(Err(error));
        }
        let mut bytes = 0;
        while bytes < before.size {
            self.check_time()?;
            let most = usize::try_from(before.size - bytes).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
            let Some(buffer) = self.buffer.get_mut(..most) else { break };
            let read = match file.read(buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) => return Ok(Err(error)),
            };
            let chunk = buffer.get(..read).unwrap_or_default();
            // Blocks of zeros stay holes: /var/log/lastlog is gigabytes long and kilobytes large.
            let written = if chunk.iter().all(|byte| *byte == 0) { Ok(()) } else { into.write_all_at(chunk, bytes) };
            mirrored(path, written)?;
            bytes = bytes.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
            self.job.transfer.advance(u64::try_from(read).unwrap_or(0));
        }
        mirrored(path, into.set_len(bytes))?;
        let after = match file.meta() {
            Ok(after) => after,
            Err(error) => return Ok(Err(error)),
        };
        let steady = bytes == before.size && (after.size, after.mtime) == (before.size, before.mtime);
        Ok(Ok(Reading { before, bytes, steady }))
    }

    fn check_room(&self, path: &Path, file: &Meta) -> Result<Result<(), TreeError>, WalkError> {
        let needed = file.allocated.map_or(file.size, |allocated| allocated.min(file.size));
        let room = mirrored(path, self.job.workshop.room())?;
        if needed.saturating_add(self.job.limits.room) <= room {
            return Ok(Ok(()));
        }
        let problem = format!(
            "needs {needed} bytes, and {room} are free, of which {} stay free: make room for state_dir, or exclude the file",
            self.job.limits.room
        );
        Ok(Err(TreeError::Entry(io::Error::new(io::ErrorKind::StorageFull, problem))))
    }
}
