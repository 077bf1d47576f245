//! A mirror that gathers itself would grow with every run.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Component, Path};

use drawbridge_gather::pattern::Pattern;
use globset::{GlobBuilder, GlobSet};

use super::{Checked, Fault};

/// Refuses patterns of this machine that lead into `state_dir`, unless it is left out.
pub(super) fn stays_out_of(state_dir: &Path, patterns: &[(Pattern, Range<usize>)], exclude: &GlobSet) -> Checked<()> {
    for (pattern, span) in patterns {
        let begin = pattern.literal_prefix();
        if begin.starts_with(state_dir) {
            let problem =
                "this path lies within state_dir, which holds the backups themselves: take it away".to_owned();
            return Err(Fault { span: span.clone(), problem });
        }
        let left_out =
            state_dir.ancestors().take_while(|part| part.starts_with(&begin)).any(|part| exclude.is_match(part))
                || ["mirror", "repository"].iter().all(|part| exclude.is_match(state_dir.join(part)));
        if !left_out && leads_into(&pattern.to_string(), state_dir) {
            let problem = format!(
                "state_dir lies within this path and would be backed up into itself: add {:?} to the source's exclude",
                state_dir.display().to_string()
            );
            return Err(Fault { span: span.clone(), problem });
        }
    }
    Ok(())
}

/// Whether something that `pattern` names, or what lies in it, may lie in `folder`.
fn leads_into(pattern: &str, folder: &Path) -> bool {
    let mut folders = folder.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        match folders.next() {
            // The pattern goes on in the folder.
            None => return true,
            Some(_) if part == "**" => return true,
            Some(name) if !is(part, name) => return false,
            Some(_) => {}
        }
    }
    // It ends at the folder or above it, and takes what it finds with all it holds.
    true
}

/// A pattern that can't be read has been refused before this; here it counts as one that matches.
fn is(part: &str, name: &OsStr) -> bool {
    GlobBuilder::new(part).literal_separator(true).build().map_or(true, |glob| glob.compile_matcher().is_match(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_leads_into_a_folder_when_it_may_name_it_or_something_above_or_below() {
        let into = |pattern| leads_into(pattern, Path::new("/var/lib/drawbridge"));
        for pattern in [
            "/var",
            "/var/lib",
            "/var/*",
            "/**/*.log",
            "/var/**",
            "/var/lib/draw*",
            "/v?r/lib/*/mirror/**",
            "/{etc,var}",
        ] {
            assert!(into(pattern), "{pattern}");
        }
        for pattern in ["/etc", "/var/log/**", "/var/*/dpkg", "/var/lib/d", "/var/lib/*.d/x", "/etc/**/drawbridge"] {
            assert!(!into(pattern), "{pattern}");
        }
    }
}
