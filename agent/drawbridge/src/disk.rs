//! What to say when the disk is full.

use std::error::Error;
use std::io;
use std::path::Path;

use rustix::fs::statvfs;
use rustix::io::Errno;

use crate::engine::EngineFailure;
use crate::ui::human_bytes;

/// Whether `error` comes from a full disk, or from a quota that is used up.
#[must_use]
pub fn is_full(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let engine = error.downcast_ref::<EngineFailure>().and_then(EngineFailure::io);
        if engine.or_else(|| error.downcast_ref::<io::Error>()).is_some_and(is_no_room) {
            return true;
        }
        next = error.source();
    }
    false
}

fn is_no_room(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NOSPC, Errno::DQUOT].iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Whether the words of an error, which is all that is left of it, say that a disk was full.
#[must_use]
pub fn says_full(text: &str) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|errno| text.contains(&format!("(os error {})", errno.raw_os_error())))
}

/// Which file system is full, and what to do.
#[must_use]
pub fn advice(state_dir: &Path) -> String {
    let room = statvfs(state_dir).map_or_else(
        |_| String::new(),
        |stat| {
            let (free, all) =
                (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize));
            format!(" ({} free of {})", human_bytes(free), human_bytes(all))
        },
    );
    format!(
        "the file system that holds {} is full{room}: make room on it, and run again; what was complete before is as it was",
        state_dir.display()
    )
}

/// `error`, with what to do if it comes from a full disk.
#[must_use]
pub fn explain(error: anyhow::Error, state_dir: &Path) -> anyhow::Error {
    if is_full(error.as_ref()) { error.context(advice(state_dir)) } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_its_number_and_nothing_else_is_one() {
        let number = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            assert!(is_full(&number(errno)) && says_full(&format!("/x: {}", number(errno))));
            let explained = explain(anyhow::Error::new(number(errno)), Path::new("/")).to_string();
            assert!(explained.contains("that holds / is full (") && explained.contains("make room"), "{explained}");
        }
        assert!(!is_full(&number(Errno::IO)) && !says_full(&number(Errno::IO).to_string()));
        assert!(!explain(anyhow::Error::new(number(Errno::IO)), Path::new("/")).to_string().contains("full"));
    }
}
