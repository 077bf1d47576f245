//! The lists of `mutations/` can't rot: what each entry takes away is there, and so is the test that must notice.
//! `mutations/run.py` takes them away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use drawbridge_local::Workspace;
use serde::Deserialize;
use serde_json::Value;
use walkdir::WalkDir;

#[derive(Deserialize)]
struct List {
    mutation: Vec<Mutation>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mutation {
    name: String,
    removes: String,
    file: String,
    find: String,
    replace: String,
    target: String,
    test: String,
}

fn mutations() -> Vec<Mutation> {
    let folder = Workspace::here().root().join("tests/mutations");
    let lists = WalkDir::new(folder).into_iter().map(|entry| entry.unwrap().into_path());
    let lists = lists.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    let read = |path: PathBuf| toml::from_str::<List>(&std::fs::read_to_string(path).unwrap()).unwrap().mutation;
    let mutations: Vec<_> = lists.flat_map(read).collect();
    assert!(!mutations.is_empty());
    mutations
}

/// The Rust files of a target: a crate's sources, or a test target's file with the modules beside it.
fn sources(root: &Path, target: &str) -> Vec<PathBuf> {
    let (kind, name) = target.split_once(':').unwrap();
    let crates = ["functions", "agent"].map(|folder| root.join(folder));
    let folder_of = |name: &str| crates.iter().map(|folder| folder.join(name)).find(|path| path.is_dir());
    let roots: Vec<PathBuf> = match kind {
        "bin" | "lib" => {
            let folder =
                folder_of(name.strip_prefix("drawbridge-").unwrap_or(name)).unwrap_or_else(|| panic!("{target}"));
            vec![folder.join("src")]
        }
        "test" => {
            let all = crates.iter().flat_map(|folder| folder.read_dir().unwrap()).map(|entry| entry.unwrap().path());
            let folders = all
                .map(|folder| folder.join("tests"))
                .chain(["tests", "tests/faults/tests"].map(|path| root.join(path)));
            folders.flat_map(|folder| [folder.join(format!("{name}.rs")), folder.join(name)]).collect()
        }
        _ => panic!("{target} is no target"),
    };
    let files =
        roots.iter().filter(|path| path.exists()).flat_map(WalkDir::new).map(|entry| entry.unwrap().into_path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// The module that a file is in its target, as tests are named after it.
fn module(file: &Path, target: &str) -> String {
    if target.starts_with("test:") {
        // Named tests are in the target's own file.
        return String::new();
    }
    let path = file.with_extension("");
    let names: Vec<&str> = path.components().map(|part| part.as_os_str().to_str().unwrap()).collect();
    let inside = names.rsplit(|name| *name == "src").next().unwrap_or_default();
    let modules = inside.iter().filter(|name| !["main", "lib", "mod"].contains(name));
    modules.copied().collect::<Vec<_>>().join("::")
}

/// Whether a file has the test of this full name, in its own module or in a module `tests` in it.
fn has_test(file: &Path, target: &str, test: &str) -> bool {
    let (within, name) = test.rsplit_once("::").unwrap_or(("", test));
    let own = module(file, target);
    if within != own && within != format!("{own}::tests") {
        return false;
    }
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    lines.iter().enumerate().any(|(at, line)| {
        let function = line.trim_start_matches("async ").strip_prefix("fn ");
        function.is_some_and(|line| line.split('(').next() == Some(name))
            && lines[at.saturating_sub(4)..at].iter().any(is_test)
    })
}

#[test]
fn every_mutation_finds_its_text_once_and_its_test() {
    let root = Workspace::here().root().to_owned();
    let mut names = BTreeSet::new();
    for mutation in mutations() {
        let Mutation { name, removes, file, find, replace, target, test } = mutation;
        let text = std::fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{name}: {file}: {error}"));
        assert_eq!(text.matches(&find).count(), 1, "{name}: how often its text occurs in {file}");
        assert_ne!(find, replace, "{name}");
        assert!(!removes.is_empty(), "{name}");
        let found = sources(&root, &target).iter().any(|file| has_test(file, &target, &test));
        assert!(found, "{name}: {target} has no test {test}");
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
}

#[test]
fn every_catch_and_every_timeout_of_the_state_machine_is_taken_away_once() {
    let path = Workspace::here().root().join("statemachine/backup.asl.json");
    let machine: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let names: BTreeSet<String> = mutations().into_iter().map(|mutation| mutation.name).collect();
    for (state, definition) in machine["States"].as_object().unwrap() {
        let safeguards = [("catch", "Catch"), ("timeout", "TimeoutSeconds")];
        for (safeguard, _) in safeguards.iter().filter(|(_, field)| definition.get(field).is_some()) {
            let name = format!("{safeguard}-{state}");
            assert!(names.contains(&name), "no mutation is named {name}");
        }
    }
}

#[test]
fn the_program_reads_the_same_lists() {
    let root = Workspace::here().root().to_owned();
    let mut command = std::process::Command::new("python3");
    let output = command.arg(root.join("tests/mutations/run.py")).arg("--list").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let listed: BTreeSet<&str> =
        listed.lines().filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap()).collect();
    let names: Vec<String> = mutations().into_iter().map(|mutation| mutation.name).collect();
    assert_eq!(listed, names.iter().map(String::as_str).collect());
}
