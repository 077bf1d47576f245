use std::path::Path;
use std::process::Command;

use drawbridge_local::compare::{Comparison, compare_mirror};

use crate::{Execution, Rig, need};

/// Stock restic with a repository that lies in a folder.
///
/// # Errors
/// When it fails: what it was asked, and what it says.
pub fn restic(password: &Path, repository: &Path, arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new(need("restic", "restic"));
    command.args(["--no-cache", "--quiet", "--password-file"]).arg(password).arg("-r").arg(repository).args(arguments);
    let output = command.output().unwrap();
    if output.status.success() {
        return Ok(());
    }
    Err(format!("restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

impl Rig {
    /// Copies the vault's repository of an execution to `name`, and restores its latest snapshot with stock restic; fails
    /// unless that is the mirror. Answers what was compared.
    pub async fn restores_from_the_vault(&self, execution: &Execution, name: &str) -> Comparison {
        let copy = self.vault_copy(execution, name).await;
        let password = self.files().password_file();
        restic(&password, &copy, &["check", "--read-data"]).unwrap();
        let restored = self.folder().join(format!("{name}-restored"));
        restic(&password, &copy, &["restore", "latest", "--target", restored.to_str().unwrap()]).unwrap();
        let comparison = compare_mirror(&self.mirror(), &restored).unwrap();
        comparison.verdict().unwrap();
        comparison
    }

    /// The snapshots of the local repository of an execution, the last one made last. By the files' times, which are the kernel's: a
    /// snapshot's own comes from a clock that may be wrong.
    pub fn local_snapshots(&self, execution: &Execution) -> Vec<String> {
        let id = execution.repository().rsplit('-').next().unwrap();
        let folder = self.files().state_dir().join("repository").join(id).join("snapshots");
        let entries = std::fs::read_dir(folder).into_iter().flatten().map(Result::unwrap);
        let mut made: Vec<_> = entries.map(|entry| (entry.metadata().unwrap().modified().unwrap(), entry)).collect();
        made.sort_by_key(|(at, _)| *at);
        made.into_iter().map(|(_, entry)| entry.file_name().into_string().unwrap()).collect()
    }
}
