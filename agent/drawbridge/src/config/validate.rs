//! From what is written to what can be right. Nothing here looks at the file system.

use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use drawbridge_wire::Ipv4Net;
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use toml::Spanned;

use super::{Config, DEFAULT_SSH_PORT, DEFAULT_STREAMS, MAX_STREAMS, Place, Source, SshPlace, Stack, read};

/// A value that can't be right.
pub(super) struct Fault {
    /// Its place in the text, in bytes.
    pub(super) span: Range<usize>,
    /// What is wrong, and what to write instead.
    pub(super) problem: String,
}

type Checked<T> = Result<T, Fault>;

/// The longest name of a source, in characters: it is a folder's name and appears in every message.
const MAX_SOURCE_NAME: usize = 41;

fn fault<T, U>(at: &Spanned<T>, problem: impl Into<String>) -> Checked<U> {
    Err(Fault { span: at.span(), problem: problem.into() })
}

pub(super) fn config(raw: read::File, path: &Path) -> Checked<Config> {
    let base = path.parent().unwrap_or(Path::new("/"));
    let state_dir = resolve(base, &raw.state_dir)?;
    if state_dir.components().count() < 3 {
        return fault(&raw.state_dir, "state_dir must be a folder of Drawbridge's own, such as /var/lib/drawbridge");
    }
    let mut sources: Vec<Source> = Vec::with_capacity(raw.sources.len());
    for written in &raw.sources {
        let source = source(written, base)?;
        let name = &written.get_ref().name;
        if sources.iter().any(|other| other.name == source.name) {
            return fault(name, format!("there are two sources named {:?}: give each its own name", source.name));
        }
        stays_out_of(&state_dir, written.get_ref(), &source)?;
        sources.push(source);
    }
    if sources.is_empty() {
        return Err(Fault {
            span: 0..0,
            problem: "nothing to back up: add a [[source]] with name and paths".to_owned(),
        });
    }
    let streams = match &raw.cross.streams {
        None => DEFAULT_STREAMS,
        Some(written) => match u8::try_from(*written.get_ref()) {
            Ok(streams @ 1..=MAX_STREAMS) => streams,
            _ => return fault(written, format!("streams must be between 1 and {MAX_STREAMS}")),
        },
    };
    Ok(Config {
        path: path.to_owned(),
        state_dir,
        password_file: resolve(base, &raw.repository.password_file)?,
        stack: stack(&raw.stack, base)?,
        streams,
        sources,
    })
}

fn stack(raw: &read::Stack, base: &Path) -> Checked<Stack> {
    let region = raw.region.get_ref();
    if region.is_empty() || !region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        return fault(&raw.region, "region must be an AWS region such as eu-central-1");
    }
    let source_cidr = match &raw.source_cidr {
        None => None,
        Some(written) => Some(cidr(written)?),
    };
    let endpoint_url = match &raw.endpoint_url {
        None => None,
        Some(written) => Some(endpoint(written)?),
    };
    Ok(Stack {
        region: region.clone(),
        start: function(&raw.start)?,
        session: function(&raw.session)?,
        report: function(&raw.report)?,
        source_cidr,
        profile: raw.profile.as_ref().map(|written| present("profile", written)).transpose()?,
        credentials_file: raw.credentials_file.as_ref().map(|written| resolve(base, written)).transpose()?,
        endpoint_url,
    })
}

fn cidr(written: &Spanned<String>) -> Checked<Ipv4Net> {
    match written.get_ref().parse::<Ipv4Net>() {
        Ok(net) if net.trunc() == net => Ok(net),
        Ok(net) => fault(
            written,
            format!(
                "source_cidr has bits set beyond its prefix: write {} for the range, or {}/32 for the one address",
                net.trunc(),
                net.addr()
            ),
        ),
        Err(_) => fault(written, "source_cidr must be an IPv4 range such as 203.0.113.7/32"),
    }
}

fn function(written: &Spanned<String>) -> Checked<String> {
    /// The longest name or ARN that Lambda's Invoke takes, in characters.
    /// Source: docs.aws.amazon.com/lambda/latest/api/API_Invoke.html, FunctionName.
    const MAX_FUNCTION_NAME: usize = 170;
    let name = written.get_ref();
    let valid = |b: u8| b.is_ascii_alphanumeric() || b":-_$".contains(&b);
    if name.is_empty() || name.len() > MAX_FUNCTION_NAME || !name.bytes().all(valid) {
        return fault(written, "this must be the name or the ARN of a Lambda function, as `sam deploy` printed it");
    }
    Ok(name.clone())
}

/// Credentials sign the requests, but what they say would be readable on the way.
fn endpoint(written: &Spanned<String>) -> Checked<String> {
    let url = written.get_ref();
    let Ok(uri) = url.parse::<hyper::Uri>() else {
        return fault(written, "endpoint_url must be a URL such as https://lambda.example.net");
    };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(url.clone()),
        Some("http") if loopback => Ok(url.clone()),
        Some("http") => fault(written, "endpoint_url must begin with https:// unless it is on this machine"),
        _ => fault(written, "endpoint_url must be a URL such as https://lambda.example.net"),
    }
}

fn source(written: &Spanned<read::Source>, base: &Path) -> Checked<Source> {
    let raw = written.get_ref();
    let name = raw.name.get_ref();
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !begins
        || name.len() > MAX_SOURCE_NAME
        || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return fault(
            &raw.name,
            format!("a source's name is 1 to {MAX_SOURCE_NAME} of a-z, 0-9 and hyphens, not beginning with a hyphen"),
        );
    }
    if raw.paths.get_ref().is_empty() {
        return fault(&raw.paths, format!("source {name:?} has no paths: name at least one, such as \"/etc\""));
    }
    let paths = raw.paths.get_ref().iter().map(source_path).collect::<Checked<Vec<_>>>()?;
    Ok(Source { name: name.clone(), place: place(raw, base)?, paths, exclude: exclude(&raw.exclude)? })
}

fn source_path(written: &Spanned<String>) -> Checked<PathBuf> {
    let path = Path::new(written.get_ref());
    if !path.is_absolute() {
        return fault(written, format!("{:?} is not an absolute path: it must begin with /", written.get_ref()));
    }
    if path.components().any(|part| part == Component::ParentDir) || written.get_ref().contains('\0') {
        return fault(written, format!("{:?} must not contain `..`", written.get_ref()));
    }
    if path.parent().is_none() {
        return fault(
            written,
            "/ as a whole holds things that are no files, such as /proc: name the folders that matter",
        );
    }
    // Without double or trailing slashes.
    Ok(path.components().collect())
}

fn place(raw: &read::Source, base: &Path) -> Checked<Place> {
    let Some(host) = &raw.host else {
        let stray = [("user", &raw.user), ("identity_file", &raw.identity_file), ("known_hosts", &raw.known_hosts)]
            .into_iter()
            .find_map(|(key, value)| value.as_ref().map(|written| (key, written.span())))
            .or_else(|| raw.port.as_ref().map(|written| ("port", written.span())));
        return match stray {
            None => Ok(Place::Local),
            Some((key, span)) => Err(Fault {
                span,
                problem: format!("{key} belongs to a source over SSH: add host, or take {key} away"),
            }),
        };
    };
    let user = match &raw.user {
        None => return fault(host, "a source over SSH needs user: who logs in there"),
        Some(written) => present("user", written)?,
    };
    let identity_file = match &raw.identity_file {
        None => return fault(host, "a source over SSH needs identity_file: the private key that logs in there"),
        Some(written) => resolve(base, written)?,
    };
    let known_hosts = match &raw.known_hosts {
        Some(written) => resolve(base, written)?,
        None => match std::env::home_dir() {
            Some(home) if home.is_absolute() => home.join(".ssh/known_hosts"),
            _ => return fault(host, "there is no home folder to look for .ssh/known_hosts in: add known_hosts"),
        },
    };
    let port = match &raw.port {
        None => DEFAULT_SSH_PORT,
        Some(written) => match u16::try_from(*written.get_ref()) {
            Ok(port) if port > 0 => port,
            _ => return fault(written, "port must be between 1 and 65535"),
        },
    };
    let host_name = present("host", host)?;
    if host_name.contains([',', '*', '?', '!', '[', ']', '|', '#', '@']) {
        return fault(host, "host must be a name or an address, without user or port");
    }
    Ok(Place::Ssh(SshPlace { host: host_name, port, user, identity_file, known_hosts }))
}

fn exclude(written: &[Spanned<String>]) -> Checked<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for pattern in written {
        let text = pattern.get_ref();
        if !text.starts_with(['/', '*']) {
            return fault(pattern, format!("{text:?} can never match: excludes are matched against absolute paths"));
        }
        // `*` stays within one folder, `**` crosses folders.
        match GlobBuilder::new(text).literal_separator(true).build() {
            Ok(glob) => set.add(glob),
            Err(error) => return fault(pattern, format!("{text:?} is not a pattern: {}", error.kind())),
        };
    }
    set.build().map_err(|error| Fault {
        span: written.first().map(Spanned::span).unwrap_or_default(),
        problem: format!("these patterns are too much together: {}", error.kind()),
    })
}

/// A mirror that gathers itself would grow with every run.
fn stays_out_of(state_dir: &Path, raw: &read::Source, source: &Source) -> Checked<()> {
    if !matches!(source.place, Place::Local) {
        return Ok(());
    }
    for (path, written) in source.paths.iter().zip(raw.paths.get_ref()) {
        if path.starts_with(state_dir) {
            return fault(written, "this path lies within state_dir, which holds the backups themselves: take it away");
        }
        let left_out =
            state_dir.ancestors().take_while(|part| part.starts_with(path)).any(|part| source.exclude.is_match(part))
                || ["mirror", "repository"].iter().all(|part| source.exclude.is_match(state_dir.join(part)));
        if state_dir.starts_with(path) && !left_out {
            return fault(
                written,
                format!(
                    "state_dir lies within this path and would be backed up into itself: add {:?} to the source's exclude",
                    state_dir.display().to_string()
                ),
            );
        }
    }
    Ok(())
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
