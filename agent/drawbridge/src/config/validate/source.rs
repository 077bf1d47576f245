//! One source.

use std::path::Path;

use drawbridge_gather::{Limits, Source, What};
use toml::Spanned;

use super::own::stays_out_of;
use super::{Checked, checks, commands, fault, files, place, value};
use crate::config::read;

/// The longest name of a source, in characters: it is a folder's name and appears in every message.
const MAX_SOURCE_NAME: usize = 41;

/// The most entries that a source may be given: their names alone then take gigabytes.
const MAX_ENTRIES: u64 = 100_000_000;

/// The most retries: what doesn't pass within ten attempts doesn't pass tonight.
pub(super) const MAX_RETRIES: u32 = 10;

/// What `written` means, with `common` for what it doesn't say. Nothing of it may lie in `state_dir`.
pub(super) fn source(
    written: &Spanned<read::Source>,
    common: &read::Gather,
    state_dir: &Path,
    base: &Path,
) -> Checked<Source> {
    let raw = written.get_ref();
    let name = name(&raw.name)?;
    let (place, what, preset_files) = if raw.commands.is_empty() {
        let presets = files::presets(raw)?;
        let wanted = files::wanted(raw, &presets)?;
        let patterns: Vec<_> = wanted.iter().map(|one| &one.pattern).collect();
        let place = place::place(raw, common, &patterns, base)?;
        let least = presets.iter().map(|(_, preset)| preset.min_files).sum();
        let places: Vec<_> = wanted.iter().map(|one| (one.pattern.clone(), one.span.clone())).collect();
        let files = files::files(raw, wanted, &presets)?;
        if raw.host.is_none() {
            stays_out_of(state_dir, &places, &files.exclude)?;
        }
        (place, What::Files(files), least)
    } else {
        let outputs = commands::commands(raw)?;
        (place::place(raw, common, &[], base)?, What::Commands(outputs), 0)
    };
    let max_age = raw.max_age.as_ref().or(common.max_age.as_ref());
    Ok(Source {
        name,
        place,
        what,
        limits: limits(raw, common)?,
        rule: checks::whole(raw, preset_files)?,
        max_age: max_age.map(|written| value::duration("max_age", written)).transpose()?,
    })
}

fn name(written: &Spanned<String>) -> Checked<String> {
    let name = written.get_ref();
    let mut bytes = name.bytes();
    let begins = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !begins
        || name.len() > MAX_SOURCE_NAME
        || !bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return fault(
            written,
            format!("a source's name is 1 to {MAX_SOURCE_NAME} of a-z, 0-9 and hyphens, not beginning with a hyphen"),
        );
    }
    Ok(name.clone())
}

fn limits(raw: &read::Source, common: &read::Gather) -> Checked<Limits> {
    let mut limits = Limits::default();
    for (key, written, limit) in [
        ("max_file_size", &raw.max_file_size, &mut limits.file_bytes),
        ("max_size", &raw.max_size, &mut limits.total_bytes),
    ] {
        if let Some(written) = written {
            *limit = value::size(key, written)?;
        }
    }
    for (key, own, shared, limit) in [
        ("connect_timeout", &raw.connect_timeout, &common.connect_timeout, &mut limits.connect),
        ("silence_timeout", &raw.silence_timeout, &common.silence_timeout, &mut limits.silence),
        ("timeout", &raw.timeout, &common.timeout, &mut limits.time),
    ] {
        if let Some(written) = own.as_ref().or(shared.as_ref()) {
            *limit = value::duration(key, written)?;
        }
    }
    if let Some(written) = &raw.max_entries {
        limits.entries = value::count("max_entries", written, 1..=MAX_ENTRIES)?;
    }
    if let Some(written) = raw.retries.as_ref().or(common.retries.as_ref()) {
        limits.retries = value::count("retries", written, 0..=MAX_RETRIES)?;
    }
    limits.bandwidth = raw.bandwidth.as_ref().map(|written| value::size("bandwidth", written)).transpose()?;
    Ok(limits)
}
