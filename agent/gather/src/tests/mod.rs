#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod append;
mod commands;
mod faults;
mod faulty;
mod limits;
mod local;
mod parallel;
mod paths;
mod remote;
mod rules;
mod wanted;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use globset::{Glob, GlobSet, GlobSetBuilder};

use super::*;
use crate::check::{FileRule, SourceRule};
use crate::pattern::Pattern;

/// A site of its own: a folder `source` to gather and a state folder.
struct TestSite {
    dir: tempfile::TempDir,
}

impl TestSite {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("source")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        Self { dir }
    }

    /// A path in the source.
    fn source(&self, relative: &str) -> PathBuf {
        self.dir.path().join("source").join(relative)
    }

    /// A pattern below the source.
    fn pattern(&self, relative: &str) -> Pattern {
        Pattern::new(self.source(relative).to_str().unwrap()).unwrap()
    }

    /// A glob below the source.
    fn globs(&self, relative: &[&str]) -> GlobSet {
        let mut set = GlobSetBuilder::new();
        relative.iter().for_each(|text| {
            set.add(Glob::new(self.source(text).to_str().unwrap()).unwrap());
        });
        set.build().unwrap()
    }

    /// The same path in the mirror of the source `this-host`.
    fn mirrored(&self, relative: &str) -> PathBuf {
        let source = self.source(relative);
        self.state().join("mirror/this-host").join(source.strip_prefix("/").unwrap())
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn site(&self) -> Site {
        Site::new(&self.state())
    }

    /// The source `this-host` with everything in `source`.
    fn this_host(&self) -> Source {
        let files = Files { paths: vec![self.pattern("")], ..Files::none() };
        Source {
            name: "this-host".to_owned(),
            place: Place::Local { require_mount: Vec::new() },
            what: What::Files(files),
            limits: Limits::default(),
            rule: SourceRule::default(),
            max_age: None,
        }
    }

    /// As [`TestSite::this_host`], with other files.
    fn with(&self, change: impl FnOnce(&mut Files)) -> Source {
        let mut source = self.this_host();
        let What::Files(files) = &mut source.what else { unreachable!() };
        change(files);
        source
    }

    /// Gathers everything in `source`.
    async fn gather(&self) -> SourceOutcome {
        self.gather_source(self.this_host()).await
    }

    async fn gather_source(&self, source: Source) -> SourceOutcome {
        self.gather_all(&[source], &Settings::default()).await.remove(0)
    }

    async fn gather_all(&self, sources: &[Source], settings: &Settings) -> Vec<SourceOutcome> {
        let deaf: Arc<dyn Listener> = Arc::new(Deaf);
        gather(&self.site(), sources, settings, &deaf).await.unwrap().sources
    }

    fn write(&self, relative: &str, content: &[u8]) {
        let path = self.source(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Makes everything in the source look as if it had been written long ago.
    fn grow_old(&self) {
        let entries = walkdir::WalkDir::new(self.source("")).contents_first(true);
        for entry in entries.into_iter().map(Result::unwrap).filter(|entry| !entry.path_is_symlink()) {
            set_mtime(entry.path(), 1_500_000_000, 0);
        }
    }

    /// What a catalogue says of a path in the source.
    fn entry(&self, relative: &str) -> catalogue::Entry {
        let mut catalogue = self.site().catalogue("this-host").unwrap().unwrap();
        catalogue.entry(&self.source(relative)).unwrap().unwrap()
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn set_mtime(path: &Path, seconds: u64, nanoseconds: u32) {
    let time = UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// Everything below `path` that a mirror has to keep: relative path, type and mode, owner, time, content. Setuid and
/// setgid are for the catalogue alone.
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
                meta.mode() & !0o6000,
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

fn failure(outcome: &SourceOutcome) -> &str {
    match &outcome.state {
        SourceState::Failed { error } => error,
        other => panic!("expected a failed source, got {other:?}"),
    }
}
