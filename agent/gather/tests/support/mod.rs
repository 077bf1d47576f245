//! A site with a state folder, and sources on other hosts.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use drawbridge_gather::check::SourceRule;
use drawbridge_gather::pattern::Pattern;
use drawbridge_gather::{
    Append, Deaf, Files, Limits, Listener, Place, Settings, Site, Source, SourceOutcome, SourceState, Symlinks, What,
    gather,
};
use drawbridge_hosts::Target;
use drawbridge_peers::sshd::Sshd;
use globset::GlobSet;
use tempfile::TempDir;

/// The name of the one source that most tests have.
pub const SOURCE: &str = "host";

/// A state folder, and a folder beside it that no source may touch.
pub struct TestSite {
    dir: TempDir,
}

impl TestSite {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::create_dir(dir.path().join("outside")).unwrap();
        fs::write(dir.path().join("outside/sentinel"), "untouched").unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Whether whoever gathers is root.
    pub fn is_roots(&self) -> bool {
        fs::metadata(self.state()).unwrap().uid() == 0
    }

    /// A folder that is nobody's source.
    pub fn outside(&self) -> PathBuf {
        self.dir.path().join("outside")
    }

    /// A path of the source in the mirror.
    pub fn mirrored(&self, path: &str) -> PathBuf {
        self.mirror_of(SOURCE).join(path.trim_start_matches('/'))
    }

    pub fn mirror_of(&self, source: &str) -> PathBuf {
        self.state().join("mirror").join(source)
    }

    pub async fn gather(&self, source: &Source) -> SourceOutcome {
        self.gather_all(std::slice::from_ref(source), &Settings::default()).await.remove(0)
    }

    pub async fn gather_all(&self, sources: &[Source], settings: &Settings) -> Vec<SourceOutcome> {
        let deaf: Arc<dyn Listener> = Arc::new(Deaf);
        gather(&Site::new(&self.state()), sources, settings, &deaf).await.unwrap().sources
    }

    /// Fails when anything is where no gathering may write, or is in the mirror what no mirror may hold.
    pub fn assert_unharmed(&self) {
        let names = |path: &Path| -> Vec<String> {
            let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(names(self.path()), ["outside", "state"]);
        assert_eq!(names(&self.outside()), ["sentinel"]);
        assert_eq!(fs::read(self.outside().join("sentinel")).unwrap(), b"untouched");
        let known = ["catalogue", "mirror", "mirror.tmp", "rejected"];
        assert!(names(&self.state()).iter().all(|name| known.contains(&name.as_str())), "{:?}", names(&self.state()));
        for entry in walkdir::WalkDir::new(self.state().join("mirror")).into_iter().map(Result::unwrap) {
            let meta = entry.path().symlink_metadata().unwrap();
            assert!(meta.is_dir() || meta.is_file() || meta.is_symlink(), "{}", entry.path().display());
            assert!(meta.is_symlink() || meta.permissions().mode() & 0o6000 == 0, "{}", entry.path().display());
        }
    }
}

/// How to reach a server, over `at`.
pub fn target(sshd: &Sshd, at: SocketAddr) -> Target {
    let known_hosts = sshd.folder().join(format!("known_hosts-{}", at.port()));
    fs::write(&known_hosts, sshd.known_as(at)).unwrap();
    Target {
        host: at.ip().to_string(),
        port: Some(at.port()),
        user: Some(sshd.user().to_owned()),
        identity_file: Some(sshd.client_key()),
        known_hosts: Some(known_hosts),
        ssh_config: Some(PathBuf::from("/dev/null")),
        jump: None,
    }
}

/// One attempt, and little patience.
pub fn limits() -> Limits {
    Limits { retries: 0, silence: std::time::Duration::from_secs(20), ..Limits::default() }
}

/// The files below `path` of a host.
pub fn files(path: &str) -> Files {
    Files {
        paths: vec![Pattern::new(path).unwrap()],
        if_present: Vec::new(),
        exclude: GlobSet::empty(),
        symlinks: Symlinks::Keep,
        newest: Vec::new(),
        append: Append::default(),
        checks: Vec::new(),
    }
}

/// What is below `path` on a host.
pub fn source(target: Target, path: &str) -> Source {
    Source {
        name: SOURCE.to_owned(),
        place: Place::Ssh(target),
        what: What::Files(files(path)),
        limits: limits(),
        rule: SourceRule::default(),
        max_age: None,
    }
}

/// Everything in which a mirror has to be as its source, one line an entry: SFTP knows whole seconds.
pub fn describe(root: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
    entries
        .map(|entry| {
            let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
            let content = if meta.is_symlink() {
                format!("-> {}", fs::read_link(path).unwrap().display())
            } else if meta.is_file() {
                format!("{:?}", fs::read(path).unwrap())
            } else {
                String::new()
            };
            let shown = path.strip_prefix(root).unwrap().display();
            format!("{shown:?} {:o} {} {content}", meta.mode() & !0o6000, meta.mtime())
        })
        .collect()
}

pub fn failure(outcome: &SourceOutcome) -> &str {
    match &outcome.state {
        SourceState::Failed { error } => error,
        other => panic!("expected a failed source, got {other:?}"),
    }
}

pub fn problems(outcome: &SourceOutcome) -> String {
    match &outcome.state {
        SourceState::Partial { problems, .. } => problems.join("\n"),
        other => panic!("expected a partial source, got {other:?}"),
    }
}
