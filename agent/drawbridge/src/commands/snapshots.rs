//! `drawbridge snapshots`: what can be restored.

use std::fmt;

use serde::Serialize;

use crate::archives::{ArchivesError, From};
use crate::config::Config;
use crate::engine::SnapshotInfo;
use crate::exit::Exit;
use crate::ui::{Ui, human_bytes};

/// Lists the snapshots of the local repositories, or of the vault's, oldest first.
///
/// # Errors
/// When the password or no repository can be read.
pub async fn snapshots(config: Option<&Config>, ui: &Ui, from: &From) -> Result<Exit, ArchivesError> {
    let snapshots = match from.open(config, ui).await {
        // There is none yet.
        Err(ArchivesError::NoRepository(_)) if !from.from_vault => Vec::new(),
        archives => archives?.snapshots(),
    };
    let listing = Listing { snapshots };
    ui.result("snapshots", &listing, &listing);
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Listing {
    snapshots: Vec<SnapshotInfo>,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// How much of an id is shown: what restic shows, and takes.
        const SHORT: usize = 8;
        if self.snapshots.is_empty() {
            return f.write_str("No snapshot yet: `drawbridge run` makes one.");
        }
        write!(f, "{:<SHORT$}  {:<20}  {:>9}  {:>12}  {:>12}  repository", "id", "time", "files", "size", "added")?;
        for snapshot in &self.snapshots {
            write!(
                f,
                "\n{:<SHORT$}  {:<20}  {:>9}  {:>12}  {:>12}  {}",
                snapshot.id.get(..SHORT).unwrap_or(&snapshot.id),
                snapshot.time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
                snapshot.files,
                human_bytes(snapshot.bytes),
                human_bytes(snapshot.added_bytes),
                snapshot.repository,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listing_has_one_line_a_snapshot_with_the_id_that_restic_takes() {
        let snapshot = SnapshotInfo {
            id: "0123456789abcdef".repeat(4),
            repository: "fedcba9876543210".parse().unwrap(),
            time: "2026-11-23T20:30:00Z".parse().unwrap(),
            files: 3,
            bytes: 2048,
            added_bytes: 1,
        };
        let text = Listing { snapshots: vec![snapshot.clone(), snapshot] }.to_string();
        assert_eq!(text.lines().count(), 3);
        assert!(
            text.contains("01234567  2026-11-23T20:30:00Z")
                && text.ends_with("2.00 KiB           1 B  fedcba9876543210"),
            "{text}"
        );
        assert!(Listing { snapshots: Vec::new() }.to_string().contains("drawbridge run"));
    }
}
