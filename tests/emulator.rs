//! The local AWS's own tests: what the other tests stand on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::Command;

use drawbridge_local::{Requirements, Workspace, interpreter};

#[test]
fn the_emulator_does_what_the_tests_rely_on() {
    let workspace = Workspace::here();
    let python = interpreter(&workspace, Requirements::Emulator).unwrap();
    let output = Command::new(python)
        .args(["-m", "unittest", "discover", "--start-directory", "tests"])
        .current_dir(workspace.emulator())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let ran = said.lines().find_map(|line| line.strip_prefix("Ran ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(ran.unwrap_or_default() > 0, "no test ran: {said}");
}
