//! What must be true of a new copy before it replaces the last good one.
//!
//! A file's content comes from a host that may be anybody's by now, so every look at it is bounded: in bytes read, in memory,
//! in depth, in time. What parses a file does so in a stream where it can; only one file at a time is parsed in the whole
//! process, so that many sources together need no more memory than one.

mod json;
mod matches;
mod program;
mod text;
mod toml;
mod whole;
mod xml;
mod yaml;

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use globset::GlobSet;
use regex::bytes::Regex;
use rustix::fs::OFlags;
use tokio::sync::Semaphore;

pub use program::search_path;
pub use whole::{SourceRule, Totals, Vanish};

/// The largest file that is parsed as a document or searched, in bytes: sixty times a large firewall's configuration.
pub const MAX_DOCUMENT_BYTES: u64 = 64 << 20;

/// How long one document may take to parse. Within the size above only content made to be slow takes so long.
const PARSE_TIME: Duration = Duration::from_secs(60);

/// How long an external command may take: these read one configuration file.
const COMMAND_TIME: Duration = Duration::from_secs(30);

/// The longest piece of what a parser or a command says that a rejection repeats, in characters: one line of a terminal
/// or two.
const MAX_SAID: usize = 200;

/// One document at a time in the whole process; see above.
static PARSING: Semaphore = Semaphore::const_new(1);

/// What must be true of the content of some files.
#[derive(Debug, Clone)]
pub struct FileRule {
    /// Which files, matched against the path in the source: absolute for files, `/<file>` for a command's output.
    pub files: GlobSet,
    /// All of it must be true.
    pub tests: Vec<ContentTest>,
}

/// One thing that must be true of a file's content.
#[derive(Debug, Clone)]
pub enum ContentTest {
    /// At least so many bytes.
    MinBytes(u64),
    /// Well-formed XML without a document type, with this root element if one is named.
    Xml {
        /// The root element's local name.
        root: Option<String>,
    },
    /// JSON.
    Json,
    /// YAML, one or more documents.
    Yaml,
    /// TOML.
    Toml,
    /// Somewhere in it this matches (multi-line mode is the expression's own business).
    Matches(Regex),
    /// This program ends with 0; `{file}` in an argument stands for the file's path. No shell.
    Command(Vec<String>),
}

/// Why a file, or a source as a whole, doesn't pass, in words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Rejection(pub String);

impl FileRule {
    /// Whether this rule is about `path`, as it is called in the source.
    #[must_use]
    pub fn concerns(&self, path: &Path) -> bool {
        self.files.is_match(path)
    }

    /// Looks at `file`, which will be `path` in the source, in this rule's light; fine when the rule is not about that path.
    ///
    /// # Errors
    /// When it doesn't pass; the words say which test and why.
    pub async fn check(&self, path: &Path, file: &Path) -> Result<(), Rejection> {
        if !self.concerns(path) {
            return Ok(());
        }
        for test in &self.tests {
            match test {
                ContentTest::Command(argv) => program::run(argv, file, COMMAND_TIME).await?,
                test => look(test.clone(), file.to_owned()).await?,
            }
        }
        Ok(())
    }
}

/// Runs a test that reads the file itself, away from the threads that wait for the network.
async fn look(test: ContentTest, file: PathBuf) -> Result<(), Rejection> {
    let turn = PARSING.acquire().await.map_err(|_| Rejection("the program is ending".to_owned()))?;
    let looking = tokio::task::spawn_blocking(move || {
        // Held until the parser is done, even when nobody waits for it any longer.
        let _turn = turn;
        inspect(&test, &file)
    });
    match looking.await {
        Ok(seen) => seen,
        // A parser that gives up by panicking has not found the file good.
        Err(_) => Err(Rejection("its content made the parser fail".to_owned())),
    }
}

fn inspect(test: &ContentTest, path: &Path) -> Result<(), Rejection> {
    let (file, size) = open(path)?;
    let small = |kind: &str, limit: u64| match size <= limit {
        true => Ok(()),
        false => Err(Rejection(format!("it has {size} bytes; only up to {limit} are looked into as {kind}"))),
    };
    match test {
        ContentTest::MinBytes(least) if size < *least => {
            Err(Rejection(format!("it has {size} bytes, and should have {least} or more")))
        }
        ContentTest::MinBytes(_) => Ok(()),
        ContentTest::Xml { root } => small("XML", MAX_DOCUMENT_BYTES).and_then(|()| xml::check(file, root.as_deref())),
        ContentTest::Json => small("JSON", MAX_DOCUMENT_BYTES).and_then(|()| json::check(file)),
        ContentTest::Yaml => small("YAML", MAX_DOCUMENT_BYTES).and_then(|()| yaml::check(file)),
        ContentTest::Toml => small("TOML", toml::MAX_BYTES).and_then(|()| toml::check(file)),
        ContentTest::Matches(expression) => matches::check(file, size, expression),
        // Only a runtime can wait for a program; `FileRule::check` does.
        ContentTest::Command(_) => Ok(()),
    }
}

/// The file and its size in bytes.
fn open(path: &Path) -> Result<(File, u64), Rejection> {
    // Neither through a link nor waiting at a fifo, whatever lies there.
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let unreadable = |error: std::io::Error| Rejection(format!("it can't be read for its check: {error}"));
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Rejection("it is no regular file, and has no content to check".to_owned()));
    }
    Ok((file, metadata.len()))
}

/// What a parser or a program says about a hostile file, as one short line without control characters.
fn tidy(said: &str) -> String {
    let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().take(MAX_SAID).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests;
