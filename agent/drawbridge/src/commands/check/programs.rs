//! Programs that a source's checks run: without them no new copy passes.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use drawbridge_gather::check::{ContentTest, FileRule};
use drawbridge_gather::{Source, What};

/// The programs of `source`'s checks that `path`, folders as `PATH` has them, doesn't lead to: what to do, one a program.
pub(super) fn missing(source: &Source, path: &OsStr) -> Vec<String> {
    let rules: Vec<&FileRule> = match &source.what {
        What::Files(files) => files.checks.iter().collect(),
        What::Commands(commands) => commands.iter().flat_map(|command| &command.checks).collect(),
    };
    let run = rules.iter().flat_map(|rule| &rule.tests).filter_map(|test| match test {
        ContentTest::Command(argv) => argv.first(),
        _ => None,
    });
    let programs: BTreeSet<&String> = run.filter(|program| !is_there(program, path)).collect();
    let say = |program: &&String| {
        let name = &source.name;
        format!(
            "its check {program:?} is not on this machine, and nothing new of {name} passes without it: install it, or take the check away"
        )
    };
    programs.iter().map(say).collect()
}

/// As execvp(3) looks for it.
fn is_there(program: &str, path: &OsStr) -> bool {
    if program.contains('/') {
        // Checks run in `/`.
        return is_executable(&Path::new("/").join(program));
    }
    std::env::split_paths(path).any(|folder| is_executable(&folder.join(program)))
}

fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::config::Config;

    #[test]
    fn programs_are_found_in_the_path_or_where_they_are_said_to_be_and_must_be_executable() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mode) in [("good", 0o755), ("text", 0o644)] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let here = dir.path().display();
        let check =
            |program: &str| format!("[[source.check]]\nfiles = \"/etc/*\"\ncommand = [\"{program}\", \"{{file}}\"]\n");
        let programs = ["good", "text", "none", "none", &format!("{here}/good"), &format!("{here}/none")];
        let checks: String = programs.iter().map(|program| check(program)).collect();
        let text = format!(
            "state_dir = \"state\"\n[repository]\npassword_file = \"p\"\n[stack]\nregion = \"eu-central-1\"\nstart = \"a\"\n\
             session = \"b\"\nreport = \"c\"\n[[source]]\nname = \"it\"\npaths = [\"/etc\"]\n{checks}"
        );
        let config = Config::parse(&text, &dir.path().join("drawbridge.toml")).unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), dir.path()]).unwrap();
        let missing = missing(config.sources.first().unwrap(), &path);
        let named: Vec<&str> = missing.iter().filter_map(|fix| fix.split('"').nth(1)).collect();
        assert_eq!(named, [format!("{here}/none").as_str(), "none", "text"]);
        assert!(missing.concat().contains("install it, or take the check away"), "{missing:?}");
    }
}
