//! Stock restic, which has to accept what we write.

use std::path::Path;
use std::process::Command;

use drawbridge_peers::need;

/// Runs restic on `repository` and returns what it printed; fails the test when it fails.
pub fn restic(repository: &Path, password: &str, arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new(need("restic", "restic"))
        .args(["-r", repository.to_str().unwrap(), "--no-lock", "--cache-dir", cache.path().to_str().unwrap()])
        .args(arguments)
        .env("RESTIC_PASSWORD", password)
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {out}{err}");
    out.into_owned()
}
