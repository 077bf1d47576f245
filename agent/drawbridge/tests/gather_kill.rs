//! SIGKILL at random moments of `drawbridge gather`: a file has its name in the mirror only when it is whole, and a clean
//! gathering afterwards makes the mirror as the source is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/site.rs"]
mod site;

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use drawbridge_peers::sshd::Sshd;
use site::{AgentSite, run};

/// How often it is killed.
const KILLS: u32 = 200;

/// Small files beside the others.
const SMALL: u32 = 24;

/// How long the log is at first, in bytes: long enough that only what is appended to it is fetched.
const LOG_BYTES: usize = 600_000;

/// How much is appended to it each time, in bytes.
const LINE_BYTES: usize = 1000;

/// A tree every file of which says its version in each of its four-byte words, and in its length.
struct Changing {
    folder: tempfile::TempDir,
    version: u32,
}

impl Changing {
    fn path(&self) -> PathBuf {
        self.folder.path().join("tree")
    }

    /// The next version of everything: contents, lengths, what is a file, a folder or a link, and what is there at all.
    fn change(&mut self) {
        self.version += 1;
        let (tree, odd) = (self.path(), self.version % 2 == 1);
        for name in ["turns", "link"] {
            let path = tree.join(name);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else if path.symlink_metadata().is_ok() {
                fs::remove_file(path).unwrap();
            }
        }
        self.write("long", 300);
        (0..SMALL).for_each(|number| self.write(&format!("deep/er/{number}"), number));
        let log = tree.join(LOG);
        let times = usize::try_from(self.version).unwrap();
        fs::write(&log, log_of(LOG_BYTES + times * LINE_BYTES)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + u64::from(self.version));
        fs::File::options().append(true).open(log).unwrap().set_modified(time).unwrap();
        self.write(if odd { "turns" } else { "turns/inner" }, 3);
        if odd {
            self.write("sometimes/there", 5);
            symlink("long", tree.join("link")).unwrap();
        } else {
            fs::remove_dir_all(tree.join("sometimes")).unwrap();
            self.write("link", 7);
        }
    }

    /// So many thousand words, and as many more as tell the version.
    fn write(&self, name: &str, thousands: u32) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.version.to_le_bytes().repeat((thousands * 1000 + self.version) as usize)).unwrap();
        let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + u64::from(self.version));
        fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
    }
}

/// The log that only grows.
const LOG: &str = "grows.log";

fn log_of(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at.wrapping_mul(2_654_435_761) >> 16) as u8).collect()
}

/// The log, where it is there at all, is one of its versions.
fn assert_log(path: &Path) {
    let content = fs::read(path).unwrap();
    assert_eq!((content.len() - LOG_BYTES) % LINE_BYTES, 0, "the log ends between two versions");
    assert!(content == log_of(content.len()), "the log isn't what it was");
}

/// Every file below `root` is a whole version of itself. How many there are.
fn assert_whole(root: &Path, newest: u32) -> usize {
    let entries = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            if entry.file_name() == LOG {
                return assert_log(entry.path());
            }
            let shown = entry.path().display();
            let content = fs::read(entry.path()).unwrap();
            let version = content.get(..4).unwrap_or_else(|| panic!("{shown} is cut off at {} bytes", content.len()));
            assert!(content.chunks(4).all(|word| word == version), "{shown} is of two versions, or cut off");
            let version = u32::from_le_bytes(version.try_into().unwrap());
            assert!(version <= newest, "{shown} is none of its versions");
            assert_eq!(content.len() as u32 / 4 % 1000, version % 1000, "{shown} is cut off");
        })
        .count()
}

fn describe(root: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(root).sort_by_file_name().into_iter().map(Result::unwrap);
    let line = |entry: walkdir::DirEntry| {
        let (path, meta) = (entry.path(), entry.path().symlink_metadata().unwrap());
        let content = if meta.is_file() {
            let content = fs::read(path).unwrap();
            format!("{} bytes of {:?}", content.len(), content.first_chunk::<4>())
        } else {
            format!("{:?}", fs::read_link(path).ok())
        };
        format!("{:?} {:o} {} {content}", path.strip_prefix(root).unwrap(), meta.mode(), meta.mtime())
    };
    entries.map(line).collect()
}

#[test]
fn two_hundred_kills_leave_whole_files_and_a_clean_gathering_mends_the_rest() {
    let (mut site, sshd) = (AgentSite::new(), Sshd::start());
    let mut tree = Changing { folder: tempfile::tempdir().unwrap(), version: 0 };
    tree.change();
    let paths = format!("paths = [{:?}]", tree.path());
    site.remote("far", &sshd, sshd.at(), &paths);
    site.local("near", &tree.path());
    let since = Instant::now();
    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(0), "{said}");
    let whole = since.elapsed();

    let mut random = 5_u64;
    let mut killed = 0;
    for _ in 0..KILLS {
        tree.change();
        let mut child = site.gather().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(whole.mul_f64((random >> 40) as f64 / (1_u64 << 24) as f64));
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().code().is_none());
        for source in ["far", "near"] {
            assert!(assert_whole(&site.state().join("mirror").join(source), tree.version) > SMALL as usize);
        }
    }
    assert!(killed > KILLS / 2, "only {killed} were still at work");

    let (code, said) = run(&mut site.gather());
    assert_eq!(code, Some(0), "{said}");
    for source in ["far", "near"] {
        assert_eq!(describe(&site.mirrored(source, &tree.path())), describe(&tree.path()));
    }
    let left = |name: &str| {
        walkdir::WalkDir::new(site.state().join(name))
            .into_iter()
            .filter(|entry| entry.as_ref().is_ok_and(|entry| entry.file_type().is_file()))
    };
    assert_eq!(left("mirror.tmp").count(), 0, "parts of files are left");
}
