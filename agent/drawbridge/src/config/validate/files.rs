//! Which files of a place are wanted.

use std::ops::Range;

use drawbridge_gather::pattern::Pattern;
use drawbridge_gather::{Append, Files, Newest, Symlinks};
use globset::Glob;
use toml::Spanned;

use super::{Checked, Fault, checks, fault, value};
use crate::config::preset::{self, Preset};
use crate::config::read;
use crate::config::shape::Several;

/// The most files of a kind that a newest rule may keep: more is no rule.
const MAX_NEWEST: usize = 100_000;

/// What only grows at its end, unless the source says otherwise: what is called a log or lies among logs,
const LOGS: &[&str] = &["/**/*.log", "/**/log/**", "/**/logs/**"];

/// but neither compressed logs, which are written once, nor what is written in its middle: databases, the systemd journal,
/// tables with a place for each user.
const NO_LOGS: &[&str] = &[
    "/**/*.{gz,xz,zst,bz2,lz4,zip}",
    "/**/*.{db,db-wal,db-shm,sqlite,sqlite3,sqlite-wal,sqlite-shm,rrd,journal,journal~}",
    "/**/{lastlog,faillog,tallylog}",
];

/// A pattern and its place in the text.
pub(super) struct Wanted {
    pub(super) pattern: Pattern,
    pub(super) span: Range<usize>,
    required: bool,
}

/// The presets that `raw` names, each with its place.
pub(super) fn presets(raw: &read::Source) -> Checked<Vec<(Spanned<String>, &'static Preset)>> {
    let named = raw.preset.as_ref().map(Several::all).unwrap_or_default();
    let mut presets: Vec<(Spanned<String>, &'static Preset)> = Vec::new();
    for name in named {
        let Some(preset) = preset::ALL.iter().find(|preset| preset.name == name.get_ref()) else {
            let known: Vec<_> = preset::ALL.iter().map(|preset| format!("{:?}", preset.name)).collect();
            return fault(&name, format!("there is no preset {:?}; there are {}", name.get_ref(), known.join(", ")));
        };
        if presets.iter().any(|(_, other)| other.name == preset.name) {
            return fault(&name, format!("the preset {:?} is named twice", preset.name));
        }
        presets.push((name, preset));
    }
    Ok(presets)
}

/// All that is wanted of a source of files; at least one.
pub(super) fn wanted(raw: &read::Source, presets: &[(Spanned<String>, &Preset)]) -> Checked<Vec<Wanted>> {
    let mut wanted = Vec::new();
    for (written, required) in [(&raw.paths, true), (&raw.paths_if_present, false)] {
        for text in written.iter().flat_map(|written| written.get_ref()) {
            wanted.push(one(text, text.get_ref(), required)?);
        }
    }
    for (at, preset) in presets {
        for (texts, required) in [(preset.paths, true), (preset.if_present, false)] {
            for text in texts {
                wanted.push(one(at, text, required)?);
            }
        }
    }
    if wanted.is_empty() {
        let span = raw.paths.as_ref().map_or_else(|| raw.name.span(), Spanned::span);
        let problem = format!(
            "source {:?} has no paths: name at least one, such as \"/etc\", or a preset, or add a [[source.command]]",
            raw.name.get_ref()
        );
        return Err(Fault { span, problem });
    }
    Ok(wanted)
}

fn one(at: &Spanned<String>, text: &str, required: bool) -> Checked<Wanted> {
    match Pattern::new(text) {
        Ok(pattern) => Ok(Wanted { pattern, span: at.span(), required }),
        Err(error) => fault(at, error.to_string()),
    }
}

/// The source's files, for what is `wanted` of it.
pub(super) fn files(raw: &read::Source, wanted: Vec<Wanted>, presets: &[(Spanned<String>, &Preset)]) -> Checked<Files> {
    let (required, present): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|one| one.required);
    let patterns = |wanted: Vec<Wanted>| wanted.into_iter().map(|one| one.pattern).collect();
    let span = raw.exclude.as_ref().map_or_else(|| raw.name.span(), Spanned::span);
    let own = raw.exclude.iter().flat_map(|written| written.get_ref()).map(value::glob);
    let theirs = presets.iter().flat_map(|(at, preset)| preset.exclude.iter().map(move |text| value::rooted(at, text)));
    let mut file_rules = Vec::new();
    for check in &raw.checks {
        file_rules.push(checks::rule(check, &checks::named_files(check)?, value::glob)?);
    }
    for (at, preset) in presets {
        file_rules.extend(checks::of_preset(preset, at)?);
    }
    Ok(Files {
        paths: patterns(required),
        if_present: patterns(present),
        exclude: value::globs(own.chain(theirs), span)?,
        symlinks: symlinks(raw)?,
        newest: newest(raw, presets)?,
        append: append(raw)?,
        checks: file_rules,
    })
}

fn symlinks(raw: &read::Source) -> Checked<Symlinks> {
    match raw.symlinks.as_ref().map(|written| (written, written.get_ref().as_str())) {
        None => Ok(Symlinks::default()),
        Some((_, "keep")) => Ok(Symlinks::Keep),
        Some((_, "follow")) => Ok(Symlinks::Follow),
        Some((written, _)) => fault(written, "symlinks must be \"keep\" or \"follow\""),
    }
}

fn newest(raw: &read::Source, presets: &[(Spanned<String>, &Preset)]) -> Checked<Vec<Newest>> {
    let own = raw.newest.iter().flat_map(|written| written.get_ref()).map(|rule| {
        let keep = value::count("keep", &rule.keep, 1..=MAX_NEWEST)?;
        Ok(Newest { files: value::glob(&rule.files)?.compile_matcher(), keep })
    });
    let theirs = presets.iter().flat_map(|(at, preset)| {
        preset
            .newest
            .iter()
            .map(move |(files, keep)| Ok(Newest { files: value::rooted(at, files)?.compile_matcher(), keep: *keep }))
    });
    own.chain(theirs).collect()
}

fn append(raw: &read::Source) -> Checked<Append> {
    let Some(written) = &raw.append else {
        let of = |texts: &[&str]| {
            let globs: Vec<Checked<Glob>> = texts.iter().map(|text| value::rooted(&raw.name, text)).collect();
            value::globs(globs, raw.name.span())
        };
        return Ok(Append { files: of(LOGS)?, except: of(NO_LOGS)? });
    };
    let files = value::globs(written.get_ref().iter().map(value::glob), written.span())?;
    Ok(Append { files, ..Append::default() })
}
