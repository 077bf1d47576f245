use std::path::Path;
use std::process::Command;

use drawbridge_local::compare::{Comparison, compare_mirror};

use crate::{Execution, Rig, need};

/// Stock restic with a repository that lies in a folder; fails unless it succeeds.
fn restic(password: &Path, repository: &Path, arguments: &[&str]) {
    let mut command = Command::new(need("restic", "restic"));
    command.args(["--no-cache", "--password-file"]).arg(password).arg("-r").arg(repository).args(arguments);
    let output = command.output().unwrap();
    assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Rig {
    /// Copies the vault's repository of an execution to `name`, and restores its latest snapshot with stock restic; fails
    /// unless that is the mirror. Answers what was compared.
    pub async fn restores_from_the_vault(&self, execution: &Execution, name: &str) -> Comparison {
        let copy = self.vault_copy(execution, name).await;
        let password = self.files().password_file();
        restic(&password, &copy, &["check", "--read-data"]);
        let restored = self.folder().join(format!("{name}-restored"));
        restic(&password, &copy, &["restore", "latest", "--target", restored.to_str().unwrap()]);
        let comparison = compare_mirror(&self.mirror(), &restored).unwrap();
        comparison.verdict().unwrap();
        comparison
    }
}
