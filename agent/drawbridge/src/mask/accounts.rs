//! Files whose place in a line, not a name in it, says what is a secret: `/etc/shadow`, `chap-secrets`, `.htpasswd`, `.pgpass`, files
//! that hold nothing but a password.

use std::ops::Range;
use std::path::Path;

use super::key::{Key, judge};
use super::{Spans, lines};

/// What lies where in the lines of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Fields between colons, the second a password or its hash: passwd(5), shadow(5), group(5).
    Account,
    /// pgpass: the fifth field between colons and all behind it.
    Fifth,
    /// Words, the third and all behind it: pppd(8)'s client, server, secret.
    Third,
    /// A name, and behind the first colon or white space a secret.
    Second,
    /// Whose it is, a colon, and the secret: ipsec.secrets(5).
    AfterColon,
    /// Nothing but secrets.
    All,
}

fn layout(path: &Path) -> Option<Layout> {
    if path.parent().is_some_and(|folder| folder.ends_with("pam.d")) {
        return None;
    }
    let name = path.file_name()?.to_string_lossy().to_lowercase();
    let stem = name.trim_start_matches('.').trim_end_matches(['-', '~']);
    let stem = stem.strip_suffix(".bak").or(stem.strip_suffix(".old")).or(stem.strip_suffix(".orig")).unwrap_or(stem);
    Some(match stem {
        "passwd" | "shadow" | "gshadow" | "group" | "master.passwd" | "opasswd" | "spwd" | "smbpasswd" => {
            Layout::Account
        }
        "pgpass" => Layout::Fifth,
        "chap-secrets" | "pap-secrets" | "srp-secrets" | "l2tp-secrets" => Layout::Third,
        "ipsec.secrets" => Layout::AfterColon,
        "netrc" | "authinfo" | "git-credentials" | "nsswitch.conf" => return None,
        _ if has_own_names(stem) => return None,
        _ if ["htpasswd", "htdigest", "passwd", "secrets", "wpa_psk", "userlist"]
            .iter()
            .any(|end| stem.contains(end)) =>
        {
            Layout::Second
        }
        _ if stem.ends_with(".key") && !stem.contains("pub") => Layout::All,
        _ if judge(stem.strip_suffix(".txt").unwrap_or(stem)) == Key::Secret => Layout::All,
        _ => return None,
    })
}

/// Whether a file is of a kind in which every value has a name of its own.
fn has_own_names(name: &str) -> bool {
    const ENDS: &[&str] = &[
        ".conf",
        ".cfg",
        ".cnf",
        ".ini",
        ".yaml",
        ".yml",
        ".json",
        ".toml",
        ".xml",
        ".service",
        ".sh",
        ".py",
        ".rb",
        ".php",
        ".pl",
        ".env",
        ".md",
        ".log",
        ".html",
        ".js",
        ".properties",
        ".pub",
        ".crt",
        ".pem",
        ".rules",
        ".timer",
        ".d",
        ".so",
        ".gz",
        ".list",
    ];
    ENDS.iter().any(|end| name.ends_with(end))
}

/// Adds to `spans` what the lines of `text` hold, if `path` is a file of a known layout.
pub(super) fn find(text: &str, path: &Path, spans: &mut Spans) {
    let Some(layout) = layout(path) else { return };
    for (at, line) in lines(text) {
        let trimmed = line.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') || trimmed.starts_with("-----") {
            continue;
        }
        if let Some(range) =
            secret_of(layout, line).filter(|range| !is_locked(line.get(range.clone()).unwrap_or_default()))
        {
            spans.push(at + range.start..at + range.end);
        }
    }
}

fn secret_of(layout: Layout, line: &str) -> Option<Range<usize>> {
    let behind = |count: usize| line.match_indices(':').nth(count).map(|(at, _)| at + 1);
    match layout {
        Layout::Account => {
            let begin = behind(0)?;
            // smbpasswd(5) has its hashes further on, opasswd whole lists of them.
            let long = line.get(begin..)?.split(':').skip(1).any(|field| field.len() >= 32 && !field.contains(' '));
            let end = if long { None } else { behind(1).map(|end| end - 1) };
            Some(begin..end.unwrap_or(line.len()))
        }
        Layout::Fifth => Some(behind(3)?..line.len()),
        Layout::Third => Some(word(line, 2)?..line.len()),
        Layout::Second => {
            let indent = line.len() - line.trim_start().len();
            let end = line.get(indent..)?.find(|c: char| c == ':' || c == '=' || c.is_whitespace());
            Some(end.map_or(indent, |end| indent + end + 1)..line.len())
        }
        Layout::AfterColon => Some(behind(0)?..line.len()),
        Layout::All => Some(0..line.len()),
    }
}

/// Where the word number `index` begins; a quoted one may hold white space.
fn word(line: &str, index: usize) -> Option<usize> {
    let (mut count, mut quote, mut inside) = (0, None, false);
    for (at, c) in line.char_indices() {
        if !inside && !c.is_whitespace() {
            if count == index {
                return Some(at);
            }
            (inside, count) = (true, count + 1);
        }
        match quote {
            None if matches!(c, '"' | '\'') => quote = Some(c),
            Some(open) if open == c => quote = None,
            None if c.is_whitespace() => inside = false,
            _ => {}
        }
    }
    None
}

/// What stands in a password's place where there is none.
fn is_locked(field: &str) -> bool {
    matches!(field.trim(), "" | "x" | "*" | "!" | "!!" | "!*" | "*LK*" | "*LOCKED*" | "**LOCKED**" | "NP")
}
