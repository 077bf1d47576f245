//! A wrong clock on the machines that boot from now on.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The library that fakes the time shares it between processes by a semaphore that only its maker may open. The gate runs as
/// nobody: it gets a semaphore of its own, in a process of its own.
const SETPRIV: &str = r#"#!/bin/bash
faked=$LD_PRELOAD
unset LD_PRELOAD FAKETIME_SHARED
least=()
while [[ $1 == --* ]]; do least+=("$1"); shift; done
/usr/bin/setpriv "${least[@]}" /usr/bin/env LD_PRELOAD="$faked" "$@"
"#;

/// Sets what machines find in their environment, or takes it back. `machines` is the emulator's folder of them.
pub(crate) fn set(machines: &Path, clock: Option<Vec<(String, String)>>) {
    let programs = machines.join("clock");
    fs::create_dir_all(&programs).unwrap();
    let setpriv = programs.join("setpriv");
    fs::write(&setpriv, SETPRIV).unwrap();
    fs::set_permissions(&setpriv, fs::Permissions::from_mode(0o755)).unwrap();
    let mut lines = clock.unwrap_or_default();
    if !lines.is_empty() {
        let (ours, theirs) = (programs.display(), machines.join("bin"));
        lines.push(("PATH".to_owned(), format!("{ours}:{}:/usr/sbin:/usr/bin:/sbin:/bin", theirs.display())));
    }
    let text: String = lines.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    fs::write(machines.join("environment"), text).unwrap();
}
