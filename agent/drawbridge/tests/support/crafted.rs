//! Real repositories whose snapshots say what no mirror holds.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustic_backend::LocalBackend;
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustic_core::{
    BackupOptions, ConfigOptions, Credentials, KeyOptions, ReadSource, ReadSourceEntry, ReadSourceOpen, Repository,
    RepositoryBackends, RepositoryOptions, RusticResult, SnapshotOptions,
};

/// An entry of a snapshot: where the engine is told that it lies, and what the snapshot then says.
#[derive(Debug, Clone)]
pub struct Item {
    path: PathBuf,
    node: Node,
    content: Option<String>,
}

impl Item {
    fn new(path: &str, name: &str, node_type: NodeType, content: Option<&str>) -> Self {
        let size = content.map_or(0, |content| content.len() as u64);
        let mode = Some(if content.is_some() { 0o644 } else { 0o755 });
        let meta = Metadata { size, mode, ..Metadata::default() };
        let mut node = Node::new_node("x".as_ref(), node_type, meta);
        // As it is written into the tree, escapes and all.
        node.name = name.to_owned();
        Self { path: Path::new("/").join(path), node, content: content.map(str::to_owned) }
    }

    pub fn folder(path: &str, name: &str) -> Self {
        Self::new(path, name, NodeType::Dir, None)
    }

    pub fn file(path: &str, name: &str, content: &str) -> Self {
        Self::new(path, name, NodeType::File, Some(content))
    }

    /// As long as the snapshot says.
    pub fn of_size(mut self, size: u64) -> Self {
        self.node.meta.size = size;
        self
    }

    pub fn link(path: &str, name: &str, to: &str) -> Self {
        Self::new(path, name, NodeType::from_link(Path::new(to)), None)
    }
}

struct Content(String);

impl ReadSourceOpen for Content {
    type Reader = Cursor<Vec<u8>>;

    fn open(self) -> RusticResult<Self::Reader> {
        Ok(Cursor::new(self.0.into_bytes()))
    }
}

struct Items(Vec<Item>);

impl ReadSource for Items {
    type Open = Content;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Content>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(None)
    }

    fn entries(&self) -> Self::Iter {
        let entry =
            |item: Item| Ok(ReadSourceEntry { path: item.path, node: item.node, open: item.content.map(Content) });
        self.0.iter().cloned().map(entry).collect::<Vec<_>>().into_iter()
    }
}

/// A repository in `folder` whose one snapshot says what `items` say.
pub fn repository(folder: &Path, password: &str, items: &[Item]) -> PathBuf {
    let backend = LocalBackend::new(folder.to_str().unwrap(), []).unwrap();
    let backends = RepositoryBackends::new(Arc::new(backend), None);
    let options = RepositoryOptions::default().no_cache(true);
    let (key, config) = (KeyOptions::default(), ConfigOptions::default().set_version(2));
    let repository = Repository::new(&options, &backends).unwrap();
    let repository = repository.init(&Credentials::password(password), &key, &config).unwrap();
    let options = BackupOptions::default().as_path(PathBuf::from("/")).no_scan(true);
    let snapshot = SnapshotOptions::default().to_snapshot().unwrap();
    let (items, paths) = (Items(items.to_vec()), [PathBuf::from("/")]);
    repository.to_indexed_ids().unwrap().archive(&options, &items, snapshot, &paths).unwrap();
    folder.to_owned()
}
