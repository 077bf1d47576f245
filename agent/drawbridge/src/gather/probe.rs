//! Whether a source could be gathered, without gathering it.

use std::ffi::{OsStr, OsString};
use std::path::{Component, Path};

use super::local::LocalTree;
use super::outcome::in_one_line;
use super::sftp::SftpTree;
use super::ssh::log_in;
use super::tree::{Kind, Tree, TreeError, TreeFile};
use super::{GatherError, mirror_error};
use crate::config::{Config, Place, Source};

/// What is wrong with `source`, in words; nothing when it can be logged in on and every one of its paths can be opened.
///
/// # Errors
/// When it can't be tried at all.
pub async fn probe(config: &Config, source: &Source) -> Result<Vec<String>, GatherError> {
    let login = match &source.place {
        Place::Local => None,
        Place::Ssh(place) => match log_in(place).await {
            Ok(login) => Some(login),
            Err(error) => return Ok(vec![in_one_line(&error)]),
        },
    };
    let (source, state_dir, runtime) = (source.clone(), config.state_dir.clone(), tokio::runtime::Handle::current());
    tokio::task::spawn_blocking(move || match login {
        Some(login) => Ok(problems(&SftpTree::new(login, runtime), &source)),
        None => Ok(problems(&LocalTree::without(&state_dir).map_err(mirror_error(&state_dir))?, &source)),
    })
    .await?
}

fn problems<T: Tree>(tree: &T, source: &Source) -> Vec<String> {
    let mut problems = Vec::new();
    for path in &source.paths {
        if let Err(error) = open(tree, path) {
            problems.push(format!("{}: {}", path.display(), in_one_line(&error)));
        }
    }
    problems
}

fn open<T: Tree>(tree: &T, path: &Path) -> Result<(), TreeError> {
    let (mut dir, _) = tree.root()?;
    let parts: Vec<OsString> = path.components().filter_map(normal).collect();
    for (index, name) in parts.iter().enumerate() {
        match tree.stat(&dir, name)?.kind {
            Kind::Directory => dir = tree.open_dir(&dir, name)?,
            Kind::File if index + 1 == parts.len() => return tree.open_file(&dir, name)?.meta().map(|_| ()),
            Kind::Symlink => return refuse("it leads through a symbolic link: name the path that it links to"),
            Kind::File => return refuse("it leads through something that is not a directory"),
            Kind::Special => return refuse("it is neither a directory nor a file"),
        }
    }
    tree.list(&dir).map(|_| ())
}

fn refuse(why: &str) -> Result<(), TreeError> {
    Err(TreeError::Entry(std::io::Error::other(why.to_owned())))
}

fn normal(part: Component<'_>) -> Option<OsString> {
    match part {
        Component::Normal(name) => Some(OsStr::to_owned(name)),
        _ => None,
    }
}
