//! Files that only grow: of one whose beginning is as it was, only what was appended is fetched.
//!
//! That the beginning is as it was is concluded from its first and its last bytes and from blocks at places that nobody can
//! foresee; a program that rewrites the middle of such a file in place, keeping both ends, is told apart with a likelihood
//! that the share of rewritten bytes gives. Which files this is done for is configured: logs.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{CollectError, mirrored};
use crate::source::Files;
use crate::tree::{Meta, TreeError, TreeFile};

/// Shorter files are fetched as a whole: the look at their beginning would cost as much.
const MIN_BYTES: u64 = 512 * 1024;

/// How much of the beginning and of the old end is compared, in bytes.
const END_BYTES: u64 = 64 * 1024;

/// How many blocks between them are compared, and how long each is, in bytes.
const SAMPLES: u64 = 8;
const SAMPLE_BYTES: u64 = 16 * 1024;

/// Whether `now` may be `old` with something appended.
pub(super) fn is_appended(files: &Files, path: &Path, old: &Meta, now: &Meta) -> bool {
    old.size >= MIN_BYTES && now.size > old.size && now.mtime >= old.mtime && files.append.is_match(path)
}

/// Whether the source's file begins with the bytes of `copy`, as far as can be told without reading it all. `Ok(Err(..))`: the
/// source can't be read.
pub(super) async fn begins_with(
    file: &mut impl TreeFile,
    copy: &File,
    length: u64,
    path: &Path,
) -> Result<Result<bool, TreeError>, CollectError> {
    let mut mine = Vec::new();
    for (from, to) in samples(length) {
        file.read(from, to);
        let mut at = from;
        while at < to {
            let chunk = match file.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(false)),
                Err(error) => return Ok(Err(error)),
            };
            mine.resize(chunk.len(), 0);
            mirrored(path, copy.read_exact_at(&mut mine, at))?;
            if mine != chunk {
                return Ok(Ok(false));
            }
            at = at.saturating_add(chunk.len() as u64);
        }
    }
    Ok(Ok(true))
}

/// The parts that are compared, in order and apart from each other.
fn samples(length: u64) -> Vec<(u64, u64)> {
    let middle = length.saturating_sub(2 * END_BYTES);
    let mut parts = vec![(0, END_BYTES.min(length))];
    let stride = middle / SAMPLES;
    if stride > SAMPLE_BYTES {
        for index in 0..SAMPLES {
            let spare = stride - SAMPLE_BYTES;
            // A hasher with random keys: the standard library's source of numbers that nobody can foresee.
            let from = END_BYTES + index * stride + RandomState::new().hash_one(index) % spare;
            parts.push((from, from + SAMPLE_BYTES));
        }
    }
    parts.push((length.saturating_sub(END_BYTES), length));
    parts
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn samples_lie_within_the_file_in_order_and_hold_both_ends(length in MIN_BYTES..1 << 40) {
            let parts = samples(length);
            prop_assert_eq!(parts.first().map(|part| part.0), Some(0));
            prop_assert_eq!(parts.last().map(|part| part.1), Some(length));
            prop_assert!(parts.iter().all(|(from, to)| from < to && *to <= length));
            prop_assert!(parts.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        }
    }

    #[test]
    fn samples_are_elsewhere_every_time() {
        assert_ne!(samples(1 << 30), samples(1 << 30));
    }
}
