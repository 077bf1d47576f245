//! From what is written to what can be right. Nothing here looks at the file system.

mod checks;
mod commands;
mod files;
mod own;
mod place;
mod source;
mod stack;
mod value;

use std::ops::Range;
use std::path::{Path, PathBuf};

use drawbridge_gather::{DEFAULT_PARALLEL, Source};
use toml::Spanned;

use super::{Config, DEFAULT_STREAMS, GatherSettings, MAX_PARALLEL, MAX_STREAMS, read};

/// A value that can't be right.
pub(super) struct Fault {
    /// Its place in the text, in bytes.
    pub(super) span: Range<usize>,
    /// What is wrong, and what to write instead.
    pub(super) problem: String,
}

type Checked<T> = Result<T, Fault>;

fn fault<T, U>(at: &Spanned<T>, problem: impl Into<String>) -> Checked<U> {
    Err(Fault { span: at.span(), problem: problem.into() })
}

pub(super) fn config(raw: read::File, path: &Path) -> Checked<Config> {
    let base = path.parent().unwrap_or(Path::new("/"));
    let state_dir = resolve(base, &raw.state_dir)?;
    if state_dir.components().count() < 3 {
        return fault(&raw.state_dir, "state_dir must be a folder of Drawbridge's own, such as /var/lib/drawbridge");
    }
    let gather = gather(&raw.gather, base)?;
    let mut sources: Vec<Source> = Vec::with_capacity(raw.sources.len());
    for written in &raw.sources {
        let source = source::source(written, &raw.gather, &state_dir, base)?;
        let name = &written.get_ref().name;
        if sources.iter().any(|other| other.name == source.name) {
            return fault(name, format!("there are two sources named {:?}: give each its own name", source.name));
        }
        sources.push(source);
    }
    if sources.is_empty() {
        return Err(Fault {
            span: 0..0,
            problem: "nothing to back up: add a [[source]] with name and paths".to_owned(),
        });
    }
    let streams = raw.cross.streams.as_ref();
    Ok(Config {
        path: path.to_owned(),
        state_dir,
        password_file: resolve(base, &raw.repository.password_file)?,
        stack: stack::stack(&raw.stack, base)?,
        vault_bucket: raw.vault.bucket.as_ref().map(stack::bucket).transpose()?,
        streams: streams.map_or(Ok(DEFAULT_STREAMS), |written| value::count("streams", written, 1..=MAX_STREAMS))?,
        gather,
        sources,
    })
}

/// What goes for all sources together. What is there for each is looked at here, too: a mistake in it is one even when every
/// source says otherwise.
fn gather(raw: &read::Gather, base: &Path) -> Checked<GatherSettings> {
    for (key, written) in [
        ("connect_timeout", &raw.connect_timeout),
        ("silence_timeout", &raw.silence_timeout),
        ("timeout", &raw.timeout),
        ("max_age", &raw.max_age),
    ] {
        written.as_ref().map(|written| value::duration(key, written)).transpose()?;
    }
    for written in [&raw.identity_file, &raw.known_hosts, &raw.ssh_config] {
        written.as_ref().map(|written| resolve(base, written)).transpose()?;
    }
    raw.user.as_ref().map(|written| present("user", written)).transpose()?;
    raw.retries.as_ref().map(|written| value::count("retries", written, 0..=source::MAX_RETRIES)).transpose()?;
    let parallel = raw.parallel.as_ref();
    Ok(GatherSettings {
        parallel: parallel
            .map_or(Ok(DEFAULT_PARALLEL), |written| value::count("parallel", written, 1..=MAX_PARALLEL))?,
        bandwidth: raw.bandwidth.as_ref().map(|written| value::size("bandwidth", written)).transpose()?,
    })
}

fn present(key: &str, written: &Spanned<String>) -> Checked<String> {
    let text = written.get_ref();
    if text.is_empty() || text.starts_with('-') || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return fault(written, format!("{key} must not be empty, begin with a hyphen or contain spaces"));
    }
    Ok(text.clone())
}

/// An absolute path, without `.`, double or trailing slashes; `..` stays, as it may follow a symbolic link.
fn resolve(base: &Path, written: &Spanned<String>) -> Checked<PathBuf> {
    let text = written.get_ref();
    if text.is_empty() || text.contains('\0') {
        return fault(written, "a path must not be empty");
    }
    Ok(base.join(text).components().collect())
}
