#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod faults;
mod local;
mod sftp;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use super::*;

/// A site of its own: a folder `source` to gather and a state folder.
struct TestSite {
    dir: tempfile::TempDir,
}

impl TestSite {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        Self { dir }
    }

    /// A path in the source.
    fn source(&self, relative: &str) -> PathBuf {
        self.dir.path().join("source").join(relative)
    }

    /// The same path in the mirror of the source `this-host`.
    fn mirrored(&self, relative: &str) -> PathBuf {
        let source = self.source(relative);
        self.state().join("mirror/this-host").join(source.strip_prefix("/").unwrap())
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// A configuration with these sources.
    fn config(&self, sources: &str) -> Config {
        self.config_with_state(&self.state(), sources)
    }

    fn config_with_state(&self, state: &Path, sources: &str) -> Config {
        let text = format!(
            "state_dir = {state:?}\n[repository]\npassword_file = \"password\"\n\
             [stack]\nregion = \"eu-central-1\"\nstart = \"a\"\nsession = \"b\"\nreport = \"c\"\n{sources}"
        );
        Config::parse(&text, &self.dir.path().join("drawbridge.toml")).unwrap()
    }

    /// The source `this-host` with everything in `source`, and more settings.
    fn this_host(&self, more: &str) -> String {
        format!("[[source]]\nname = \"this-host\"\npaths = [{:?}]\n{more}\n", self.source("").display().to_string())
    }

    /// Gathers everything in `source`.
    async fn gather(&self) -> SourceOutcome {
        self.gather_from(&self.this_host("")).await
    }

    async fn gather_from(&self, sources: &str) -> SourceOutcome {
        let summary = gather(&self.config(sources), &Ui::silent()).await.unwrap();
        summary.sources.into_iter().next().unwrap()
    }

    fn write(&self, relative: &str, content: &[u8]) {
        let path = self.source(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Everything below `path` that a mirror has to keep: relative path, type and mode, owner, time, content.
fn tree(path: &Path) -> Vec<(PathBuf, String)> {
    walkdir::WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            let content = if meta.is_file() {
                format!("{:?}", fs::read(entry.path()).unwrap())
            } else if meta.is_symlink() {
                format!("-> {}", fs::read_link(entry.path()).unwrap().display())
            } else {
                String::new()
            };
            // The mode of a symbolic link means nothing.
            let kept = format!(
                "{:o} {}:{} {}.{:09} {content}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.mtime(),
                meta.mtime_nsec()
            );
            (entry.path().strip_prefix(path).unwrap().to_owned(), kept)
        })
        .collect()
}

/// When anything about any entry below `path` last changed.
fn change_times(path: &Path) -> Vec<(PathBuf, i64, i64)> {
    walkdir::WalkDir::new(path)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| {
            let entry = entry.unwrap();
            let meta = entry.path().symlink_metadata().unwrap();
            (entry.path().to_owned(), meta.ctime(), meta.ctime_nsec())
        })
        .collect()
}

fn problems(outcome: &SourceOutcome) -> String {
    match &outcome.state {
        SourceState::Partial { problems, .. } => problems.join("\n"),
        other => panic!("expected a partial source, got {other:?}"),
    }
}
