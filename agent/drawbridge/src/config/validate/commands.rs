//! Commands whose output is kept.

use drawbridge_gather::CommandOutput;
use toml::Spanned;

use super::place::none_of;
use super::{Checked, checks, fault, value};
use crate::config::read;
use crate::config::shape::Several;

/// The longest name of an output, in bytes: file systems stop at 255, and a temporary name is a little longer.
const MAX_FILE_NAME: usize = 200;

/// The commands of a source that has some.
pub(super) fn commands(raw: &read::Source) -> Checked<Vec<CommandOutput>> {
    let stray = [
        ("paths", raw.paths.as_ref().map(Spanned::span)),
        ("paths_if_present", raw.paths_if_present.as_ref().map(Spanned::span)),
        ("preset", raw.preset.as_ref().map(Spanned::span)),
        ("exclude", raw.exclude.as_ref().map(Spanned::span)),
        ("symlinks", raw.symlinks.as_ref().map(Spanned::span)),
        ("append", raw.append.as_ref().map(Spanned::span)),
        ("newest", raw.newest.as_ref().map(Spanned::span)),
        ("require_mount", raw.require_mount.as_ref().map(Spanned::span)),
    ];
    none_of(stray, |key| {
        format!(
            "{key} belongs to a source of files, and this one has commands: make two sources, each with its own name"
        )
    })?;
    let mut outputs: Vec<CommandOutput> = Vec::with_capacity(raw.commands.len());
    for written in &raw.commands {
        let file = file_name(&written.file)?;
        // In a file system that ignores case the one would overwrite the other.
        if outputs.iter().any(|other| other.file.to_lowercase() == file.to_lowercase()) {
            return fault(&written.file, format!("two commands write {file:?}: give each its own file"));
        }
        let run = written.run.get_ref();
        if run.trim().is_empty() || run.contains('\0') {
            return fault(&written.run, "run is empty: write the command");
        }
        outputs.push(CommandOutput { run: run.clone(), file, checks: Vec::new() });
    }
    for check in &raw.checks {
        attach(check, &mut outputs)?;
    }
    Ok(outputs)
}

fn file_name(written: &Spanned<String>) -> Checked<String> {
    let name = written.get_ref();
    let odd = name.contains('/') || name.chars().any(char::is_control);
    if name.is_empty() || name.len() > MAX_FILE_NAME || name.starts_with('.') || odd {
        return fault(
            written,
            format!(
                "file must be a plain name such as \"rules.txt\": no slash, no dot first, at most {MAX_FILE_NAME} bytes"
            ),
        );
    }
    Ok(name.clone())
}

/// Gives the check to every command whose file it is about.
fn attach(check: &Spanned<read::Check>, outputs: &mut [CommandOutput]) -> Checked<()> {
    let named = check.get_ref().files.as_ref().map(Several::all);
    let everything = || vec![Spanned::new(check.span(), "*".to_owned())];
    let rule = checks::rule(check, &named.unwrap_or_else(everything), |written| {
        // An output lies right in its source's folder.
        let text = written.get_ref();
        value::rooted(written, &format!("/{}", text.trim_start_matches('/')))
    })?;
    let mut idle = true;
    for output in outputs {
        if rule.concerns(std::path::Path::new(&format!("/{}", output.file))) {
            output.checks.push(rule.clone());
            idle = false;
        }
    }
    if idle {
        return fault(check, "this check is about none of the commands' files: take it away or correct its files");
    }
    Ok(())
}
