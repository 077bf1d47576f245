//! What must be true of a new copy.

use drawbridge_gather::check::{ContentTest, FileRule, SourceRule};
use globset::Glob;
use regex::bytes::RegexBuilder;
use toml::Spanned;

use super::{Checked, Fault, fault, value};
use crate::config::preset::{Preset, Test};
use crate::config::read;
use crate::config::shape::Several;

/// The most memory that one compiled regular expression may take, in bytes: a hundred times a long one's.
const MAX_EXPRESSION_BYTES: usize = 1 << 20;

/// What stands for the file in a command.
const FILE: &str = "{file}";

/// The rule for the files that `glob` makes of what is written as `files`.
pub(super) fn rule(
    written: &Spanned<read::Check>,
    files: &[Spanned<String>],
    glob: impl Fn(&Spanned<String>) -> Checked<Glob>,
) -> Checked<FileRule> {
    let files = value::globs(files.iter().map(glob), written.span())?;
    Ok(FileRule { files, tests: tests(written)? })
}

/// The files that a check of a source of files is about.
pub(super) fn named_files(written: &Spanned<read::Check>) -> Checked<Vec<Spanned<String>>> {
    match written.get_ref().files.as_ref().map(Several::all) {
        Some(files) if !files.is_empty() => Ok(files),
        _ => fault(written, "this check doesn't say for which files: add files = \"/etc/example.conf\" or a glob"),
    }
}

fn tests(written: &Spanned<read::Check>) -> Checked<Vec<ContentTest>> {
    let raw = written.get_ref();
    let mut tests = Vec::new();
    if let Some(size) = &raw.min_size {
        tests.push(ContentTest::MinBytes(value::size("min_size", size)?));
    }
    tests.extend(format(raw)?);
    if let Some(expression) = &raw.matches {
        let built = RegexBuilder::new(expression.get_ref()).size_limit(MAX_EXPRESSION_BYTES).build();
        tests.push(ContentTest::Matches(built.map_err(|error| {
            // The last line of several says what is wrong.
            let reason =
                error.to_string().lines().last().unwrap_or_default().trim().trim_start_matches("error: ").to_owned();
            Fault { span: expression.span(), problem: format!("matches is no regular expression: {reason}") }
        })?));
    }
    if let Some(command) = &raw.command {
        tests.push(ContentTest::Command(argv(command)?));
    }
    if tests.is_empty() {
        return fault(written, "this check checks nothing: add min_size, format, xml_root, matches or command");
    }
    Ok(tests)
}

fn format(raw: &read::Check) -> Checked<Option<ContentTest>> {
    let root = match &raw.xml_root {
        None => None,
        Some(root) => {
            let name = super::present("xml_root", root)?;
            if name.contains(['<', '>', '/', ':', '&', '"']) {
                return fault(root, "xml_root must be the root element's name alone, such as \"opnsense\"");
            }
            Some(name)
        }
    };
    let Some(format) = &raw.format else {
        return Ok(root.map(|root| ContentTest::Xml { root: Some(root) }));
    };
    match (format.get_ref().as_str(), root) {
        ("xml", root) => Ok(Some(ContentTest::Xml { root })),
        (_, Some(_)) => fault(format, "xml_root belongs to format = \"xml\""),
        ("json", None) => Ok(Some(ContentTest::Json)),
        ("yaml", None) => Ok(Some(ContentTest::Yaml)),
        ("toml", None) => Ok(Some(ContentTest::Toml)),
        _ => fault(format, "format must be \"xml\", \"json\", \"yaml\" or \"toml\""),
    }
}

fn argv(written: &Spanned<Vec<read::Text>>) -> Checked<Vec<String>> {
    let argv = written.get_ref();
    if let Some(bad) = argv.iter().find(|argument| argument.get_ref().contains('\0')) {
        return fault(bad, "an argument can't hold a NUL");
    }
    let Some((program, arguments)) = argv.split_first() else {
        return fault(
            written,
            "command is empty: name a program and its arguments, such as [\"dnsmasq\", \"--test\", \"-C\", \"{file}\"]",
        );
    };
    if program.get_ref().is_empty() || program.get_ref().contains(FILE) {
        return fault(program, "command must begin with the program to run; no shell looks at it");
    }
    if !arguments.iter().any(|argument| argument.get_ref().contains(FILE)) {
        return fault(written, "no argument of this command holds {file}, so that it would never see the file");
    }
    Ok(argv.iter().map(|argument| argument.get_ref().clone()).collect())
}

/// What a preset asks of its files.
pub(super) fn of_preset(preset: &Preset, at: &Spanned<String>) -> Checked<Vec<FileRule>> {
    let rule = |(files, tests): &(&str, &[Test])| {
        let files = value::globs([value::rooted(at, files)], at.span())?;
        let tests = tests.iter().map(|test| match test {
            Test::MinBytes(bytes) => ContentTest::MinBytes(*bytes),
            Test::Xml(root) => ContentTest::Xml { root: Some((*root).to_owned()) },
        });
        Ok(FileRule { files, tests: tests.collect() })
    };
    preset.checks.iter().map(rule).collect()
}

/// What must be true of the whole; `preset_files` is the least number of files that its presets ask for.
pub(super) fn whole(raw: &read::Source, preset_files: u64) -> Checked<SourceRule> {
    let own = raw.min_files.as_ref().map(|written| value::count("min_files", written, 1..=u64::MAX)).transpose()?;
    Ok(SourceRule {
        min_files: own.or(Some(preset_files).filter(|least| *least > 0)),
        min_bytes: raw.min_size.as_ref().map(|written| value::size("min_size", written)).transpose()?,
        max_vanish: raw.max_vanish.as_ref().map(|written| value::share("max_vanish", written)).transpose()?,
    })
}
