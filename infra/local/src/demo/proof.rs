//! What the demo has to show: each function fails unless it held.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use aws_sdk_sfn::types::ExecutionStatus;
use walkdir::WalkDir;

use super::teller::Teller;
use crate::agent_config::Source;
use crate::compare::{SET_ID_BITS, compare_mirror, same_contents};
use crate::error::Context;
use crate::restore::{LATEST, fetch, restore_snapshot};
use crate::timeline::timeline;
use crate::{AgentFiles, Clients, Problem, Result, StackDescription};

/// One run, as Step Functions knows it.
#[derive(Debug)]
pub(super) struct Run {
    name: String,
    arn: String,
    repository: String,
}

impl Run {
    /// The newest execution, which must have succeeded.
    pub(super) async fn latest(clients: &Clients, stack: &StackDescription) -> Result<Self> {
        let list =
            clients.sfn.list_executions().state_machine_arn(&stack.state_machine_arn).max_results(1).send().await;
        let list = list.context(|| "cannot list the executions".to_owned())?;
        let execution = list.executions().first().ok_or_else(|| Problem::new("there was no execution"))?;
        if execution.status() != &ExecutionStatus::Succeeded {
            return Err(Problem::new(format!("{} ended as {}", execution.name(), execution.status())));
        }
        let arn = execution.execution_arn();
        let described = clients.sfn.describe_execution().execution_arn(arn).send().await;
        let described = described.context(|| format!("cannot describe {arn}"))?;
        let input: serde_json::Value = serde_json::from_str(described.input().unwrap_or_default())
            .context(|| "the input is not JSON".to_owned())?;
        let repository = input.get("repository").and_then(serde_json::Value::as_str);
        let repository = repository.ok_or_else(|| Problem::new("the execution's input names no repository"))?;
        Ok(Self { name: execution.name().to_owned(), arn: arn.to_owned(), repository: repository.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn arn(&self) -> &str {
        &self.arn
    }

    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) async fn show_timeline(&self, clients: &Clients, teller: &Teller) -> Result<()> {
        let passages = timeline(&clients.sfn, &self.arn).await?;
        for passage in &passages {
            #[allow(clippy::cast_precision_loss, reason = "seconds for a person to read")]
            let seconds = passage.milliseconds.map_or_else(String::new, |ms| format!("{:.2}s", ms as f64 / 1000.0));
            let outcome = passage.error.as_deref().unwrap_or("ok");
            teller.row(&format!("{:<20} {seconds:>9}   {outcome}", passage.state));
        }
        match passages.last() {
            Some(last) if last.state == "BackupVerified" => Ok(()),
            last => Err(Problem::new(format!("the last state was {:?}", last.map(|passage| &passage.state)))),
        }
    }

    /// Fetches the repository from the vault and restores its latest snapshot; answers where.
    pub(super) async fn restore(
        &self,
        clients: &Clients,
        stack: &StackDescription,
        files: &AgentFiles,
        target: &Path,
        teller: &Teller,
    ) -> Result<PathBuf> {
        let copy = target.with_file_name("vault-copy");
        let prefix = format!("repo/{}/", self.repository);
        let fetched = fetch(&clients.s3, &stack.vault, &prefix, &copy).await?;
        teller.note(&format!("{} objects, {} fetched from the vault", fetched.objects, bytes(fetched.bytes)));
        let (repository, password, to) = (copy, files.password_file(), target.to_path_buf());
        tokio::task::spawn_blocking(move || restore_snapshot(&repository, &password, LATEST, &to))
            .await
            .context(|| "the restore was interrupted".to_owned())??;
        Ok(target.to_path_buf())
    }
}

/// Everything that was gathered is in the restored tree, the same.
pub(super) fn compare_with_mirror(mirror: &Path, restored: &Path, teller: &Teller) -> Result<()> {
    let comparison = compare_mirror(mirror, restored)?;
    comparison.verdict()?;
    teller.note(&format!(
        "identical to what was gathered: {} files ({}), {} folders, {} links; contents, names, modes, owners, times",
        comparison.files,
        bytes(comparison.bytes),
        comparison.folders,
        comparison.links
    ));
    Ok(())
}

/// Every restored file equals the machine's own, unless that changed meanwhile (logs do).
pub(super) fn compare_with_source(sources: &[Source], restored: &Path, teller: &Teller) -> Result<()> {
    let (mut same, mut changed) = (0_u64, 0_u64);
    for source in sources {
        let root = restored.join(&source.name);
        for entry in WalkDir::new(&root).follow_links(false) {
            let entry = entry.context(|| format!("cannot read {}", root.display()))?;
            let original = Path::new("/").join(entry.path().strip_prefix(&root).unwrap_or(entry.path()));
            has_set_id_bits_of(entry.path(), &original)?;
            if !entry.file_type().is_file() {
                continue;
            }
            if is_unchanged(entry.path(), &original) {
                if !same_contents(entry.path(), &original)? {
                    return Err(Problem::new(format!("{} was restored with other bytes", original.display())));
                }
                same += 1;
            } else {
                changed += 1;
            }
        }
    }
    if same == 0 {
        return Err(Problem::new("not one restored file could be held against the machine's own"));
    }
    teller.note(&format!("identical to this machine's own files: {same}; changed or gone since: {changed}"));
    Ok(())
}

/// What the mirror can't show: that the set-id bits are restored as they were. Only root can set them for everybody.
fn has_set_id_bits_of(restored: &Path, original: &Path) -> Result<()> {
    let bits = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.mode() & SET_ID_BITS);
    match (bits(restored), bits(original)) {
        (Ok(then), Ok(now)) if then != now && rustix::process::geteuid().is_root() => {
            Err(Problem::new(format!("{} was restored with other set-id bits than it has", original.display())))
        }
        _ => Ok(()),
    }
}

/// Whether size and modification time are still those that were gathered. SFTP tells times in whole seconds.
fn is_unchanged(restored: &Path, original: &Path) -> bool {
    match (fs::metadata(restored), fs::symlink_metadata(original)) {
        (Ok(then), Ok(now)) => now.is_file() && then.len() == now.len() && then.mtime() == now.mtime(),
        _ => false,
    }
}

/// No box, no inbound rule, no parameter.
pub(super) async fn nothing_left(
    clients: &Clients,
    stack: &StackDescription,
    run: &Run,
    teller: &Teller,
) -> Result<()> {
    let filter = aws_sdk_ec2::types::Filter::builder().name("tag:drawbridge:run").values(run.name()).build();
    let boxes = clients.ec2.describe_instances().filters(filter).send().await;
    let boxes = boxes.context(|| "cannot list the run's instances".to_owned())?;
    for instance in boxes.reservations().iter().flat_map(|reservation| reservation.instances()) {
        let state = instance.state().and_then(|state| state.name()).map_or("unknown", |name| name.as_str());
        teller.note(&format!("the run's jump box {} is {state}", instance.instance_id().unwrap_or("?")));
    }
    let left = clients.leftovers(stack).await?;
    if !left.is_empty() {
        return Err(Problem::new(format!("something is left: {left:?}")));
    }
    teller.note("left: 0 jump boxes, 0 inbound rules, 0 parameters");
    Ok(())
}

/// Bytes for a person to read.
fn bytes(count: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "for a person to read")]
    let count = count as f64;
    if count < 1e6 { format!("{:.1} kB", count / 1e3) } else { format!("{:.1} MB", count / 1e6) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn set_id_bits_that_were_not_restored_are_named_to_root() {
        let (restored, original) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        has_set_id_bits_of(restored.path(), original.path()).unwrap();
        fs::set_permissions(original.path(), fs::Permissions::from_mode(0o2755)).unwrap();
        let held = has_set_id_bits_of(restored.path(), original.path());
        assert_eq!(held.is_err(), rustix::process::geteuid().is_root(), "only root could have restored them");
    }
}
