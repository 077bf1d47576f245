//! Where copies go that don't pass their checks: beside the mirror, by source and path, for somebody to look at.

use std::io;
use std::path::Path;

use crate::catalogue::{Catalogue, Draft};
use crate::collect::{CollectError, mirrored};
use crate::mirror::{MirrorDir, within};
use crate::staging::{Growing, Staging};

/// Keeps one file in the folder `aside`; says where, in words.
pub(crate) fn keep(aside: &Path, file: Growing<'_>, path: &Path) -> io::Result<String> {
    file.set_aside(&open(aside)?, path)?;
    let kept = aside.join(within(path));
    Ok(format!("the new one is kept as {}", kept.display()))
}

/// Keeps everything that was staged for `draft` in the folder `aside`; says where, in words.
pub(crate) fn keep_all(
    aside: &Path,
    staging: &Staging,
    draft: Option<&Draft>,
    mirror: Option<&MirrorDir>,
) -> Result<String, CollectError> {
    let folder = mirrored(aside, open(aside))?;
    let new = draft.map_or(Ok(None), |draft| Catalogue::open(draft.still_at()))?;
    for listed in new.iter().flat_map(Catalogue::folders) {
        let listed = listed?;
        for entry in &listed.entries {
            let path = listed.path().join(&entry.name);
            mirrored(&path, staging.set_aside(&path, &folder, mirror))?;
        }
    }
    Ok(format!("what came is kept in {}", aside.display()))
}

/// A source that is complete has nothing aside.
pub(crate) fn clear(aside: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(aside) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn open(aside: &Path) -> io::Result<MirrorDir> {
    if let Some(parent) = aside.parent() {
        MirrorDir::open_or_make(parent)?;
    }
    MirrorDir::open_or_make(aside)
}
