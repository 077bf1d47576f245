//! Where a source is.

use std::ops::Range;
use std::path::{Path, PathBuf};

use drawbridge_gather::pattern::Pattern;
use drawbridge_gather::{Mount, Place};
use drawbridge_hosts::{MAX_JUMPS, Target};
use toml::Spanned;

use super::{Checked, Fault, fault, present, resolve, value};
use crate::config::read;
use crate::config::shape::{MountWish, Several};

/// Where `raw` is. `patterns` is all that is wanted of it.
pub(super) fn place(raw: &read::Source, common: &read::Gather, patterns: &[&Pattern], base: &Path) -> Checked<Place> {
    match &raw.host {
        None => local(raw, patterns),
        Some(host) => ssh(host, raw, common, base).map(Place::Ssh),
    }
}

fn local(raw: &read::Source, patterns: &[&Pattern]) -> Checked<Place> {
    let stray = [
        ("port", raw.port.as_ref().map(Spanned::span)),
        ("user", raw.user.as_ref().map(Spanned::span)),
        ("identity_file", raw.identity_file.as_ref().map(Spanned::span)),
        ("known_hosts", raw.known_hosts.as_ref().map(Spanned::span)),
        ("ssh_config", raw.ssh_config.as_ref().map(Spanned::span)),
        ("jump", raw.jump.as_ref().map(Spanned::span)),
        ("connect_timeout", raw.connect_timeout.as_ref().map(Spanned::span)),
    ];
    none_of(stray, |key| format!("{key} belongs to a source over SSH: add host, or take {key} away"))?;
    let require_mount = match &raw.require_mount {
        None => Vec::new(),
        Some(written) => mounts(written, patterns)?,
    };
    Ok(Place::Local { require_mount })
}

/// Refuses the first of `keys` that is written.
pub(super) fn none_of<const N: usize>(
    keys: [(&str, Option<Range<usize>>); N],
    problem: impl Fn(&str) -> String,
) -> Checked<()> {
    match keys.into_iter().find_map(|(key, span)| span.map(|span| (key, span))) {
        None => Ok(()),
        Some((key, span)) => Err(Fault { span, problem: problem(key) }),
    }
}

fn mounts(written: &Spanned<MountWish>, patterns: &[&Pattern]) -> Checked<Vec<Mount>> {
    let named = match written.get_ref() {
        MountWish::Paths(false) => return Ok(Vec::new()),
        MountWish::Paths(true) => {
            let mut folders: Vec<PathBuf> = patterns.iter().map(|pattern| pattern.literal_prefix()).collect();
            folders.sort();
            folders.dedup();
            return match folders.iter().any(|folder| folder == Path::new("/")) {
                true => fault(
                    written,
                    "a path here begins with a glob: name the folder that must be mounted instead of true",
                ),
                false => Ok(folders.into_iter().map(Mount::Over).collect()),
            };
        }
        MountWish::Here(Several::One(text)) => vec![Spanned::new(written.span(), text.clone())],
        MountWish::Here(Several::Many(texts)) => texts.clone(),
    };
    named.iter().map(mount).collect()
}

fn mount(written: &Spanned<String>) -> Checked<Mount> {
    let path = Path::new(written.get_ref());
    let up = path.components().any(|part| part == std::path::Component::ParentDir);
    if !path.is_absolute() || path.parent().is_none() || up || written.get_ref().contains('\0') {
        return fault(
            written,
            "require_mount must be an absolute folder such as \"/mnt/share\", or true for every path's own",
        );
    }
    Ok(Mount::At(path.components().collect()))
}

fn ssh(host: &Spanned<String>, raw: &read::Source, common: &read::Gather, base: &Path) -> Checked<Target> {
    let stray = [("require_mount", raw.require_mount.as_ref().map(Spanned::span))];
    none_of(stray, |key| format!("{key} belongs to a source on this machine: take it or host away"))?;
    let name = present("host", host)?;
    if name.contains([',', '*', '?', '!', '[', ']', '|', '#', '@', '/']) {
        return fault(host, "host must be a name or an address, without user or port");
    }
    let file = |own: &Option<read::Text>, shared: &Option<read::Text>| {
        own.as_ref().or(shared.as_ref()).map(|written| resolve(base, written)).transpose()
    };
    Ok(Target {
        host: name,
        port: raw.port.as_ref().map(|written| value::count("port", written, 1..=u16::MAX)).transpose()?,
        user: raw.user.as_ref().or(common.user.as_ref()).map(|written| present("user", written)).transpose()?,
        identity_file: file(&raw.identity_file, &common.identity_file)?,
        known_hosts: file(&raw.known_hosts, &common.known_hosts)?,
        ssh_config: file(&raw.ssh_config, &common.ssh_config)?,
        jump: raw.jump.as_ref().map(jumps).transpose()?,
    })
}

fn jumps(written: &Spanned<Several>) -> Checked<Vec<String>> {
    let hops = match written.get_ref() {
        Several::One(text) => {
            text.split(',').map(|hop| Spanned::new(written.span(), hop.trim().to_owned())).collect::<Vec<_>>()
        }
        Several::Many(hops) => hops.clone(),
    };
    if hops.is_empty() || hops.len() > MAX_JUMPS {
        return fault(written, format!("jump must name 1 to {MAX_JUMPS} hosts, the first one first"));
    }
    hops.iter().map(hop).collect()
}

fn hop(written: &Spanned<String>) -> Checked<String> {
    let text = present("jump", written)?;
    match Target::parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => fault(written, error.to_string()),
    }
}
