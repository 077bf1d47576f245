//! A restore from the vault alone: what S3 holds, the repository's password, and nothing of the VM's.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::Client;
use rustic_backend::LocalBackend;
use rustic_core::{
    Credentials, LocalDestination, LsOptions, Repository, RepositoryBackends, RepositoryOptions, RestoreOptions,
};

use crate::error::Context;
use crate::{Problem, Result};

/// What [`fetch`] brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched {
    /// Objects.
    pub objects: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// Copies everything below `prefix` of a bucket into `folder`.
///
/// # Errors
/// When S3 doesn't answer, the disk doesn't take it, or there is nothing.
pub async fn fetch(s3: &Client, bucket: &str, prefix: &str, folder: &Path) -> Result<Fetched> {
    let mut fetched = Fetched { objects: 0, bytes: 0 };
    let mut pages = s3.list_objects_v2().bucket(bucket).prefix(prefix).into_paginator().send();
    while let Some(page) = pages.next().await {
        let page = page.context(|| format!("cannot list {prefix} in the vault"))?;
        for key in page.contents().iter().filter_map(|object| object.key()) {
            let name = key.strip_prefix(prefix).unwrap_or(key);
            fetched.bytes += fetch_object(s3, bucket, key, &folder.join(name)).await?;
            fetched.objects += 1;
        }
    }
    if fetched.objects == 0 {
        return Err(Problem::new(format!("the vault holds nothing below {prefix}")));
    }
    Ok(fetched)
}

async fn fetch_object(s3: &Client, bucket: &str, key: &str, to: &Path) -> Result<u64> {
    let object = s3.get_object().bucket(bucket).key(key).send().await.context(|| format!("cannot get {key}"))?;
    let body = object.body.collect().await.context(|| format!("cannot read {key}"))?.into_bytes();
    let doing = || format!("cannot write {}", to.display());
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).context(doing)?;
    }
    fs::write(to, &body).context(doing)?;
    Ok(body.len() as u64)
}

/// The word for the snapshot that bears the latest time.
pub const LATEST: &str = "latest";

/// Restores a snapshot, named by its id or [`LATEST`], of the repository in `repository` into the empty folder `target`. Blocks.
///
/// # Errors
/// When there is no such snapshot, the target isn't empty, the password is wrong, or anything of the snapshot is missing or damaged.
pub fn restore_snapshot(repository: &Path, password_file: &Path, snapshot: &str, target: &Path) -> Result<()> {
    fs::create_dir_all(target).context(|| format!("cannot create {}", target.display()))?;
    // The engine joins names from the repository unchecked; in an empty folder there is nothing to overwrite.
    if fs::read_dir(target).context(|| format!("cannot read {}", target.display()))?.next().is_some() {
        return Err(Problem::new(format!("{} is not empty", target.display())));
    }
    let password = fs::read_to_string(password_file).context(|| format!("cannot read {}", password_file.display()))?;
    restore_with_rustic(&text(repository)?, password.trim_end_matches(['\r', '\n']), snapshot, &text(target)?)
        .context(|| format!("cannot restore from {}", repository.display()))
}

fn restore_with_rustic(
    repository: &str,
    password: &str,
    snapshot: &str,
    target: &str,
) -> std::result::Result<(), Box<rustic_core::RusticError>> {
    let backends = RepositoryBackends::new(Arc::new(LocalBackend::new(repository, [])?), None);
    let repository = Repository::new(&RepositoryOptions::default().no_cache(true), &backends)?
        .open(&Credentials::password(password))?
        .to_indexed()?;
    let root = repository.node_from_snapshot_path(snapshot, |_| true)?;
    let all = LsOptions::default();
    let mut options = RestoreOptions::default();
    options.numeric_id = true;
    let destination = LocalDestination::new(target, true, false)?;
    let plan = repository.prepare_restore(&options, repository.ls(&root, &all)?, &destination, false)?;
    repository.restore(plan, &options, repository.ls(&root, &all)?, &destination)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| Problem::new(format!("{} is not UTF-8", path.display())))
}
