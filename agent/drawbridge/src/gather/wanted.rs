use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

/// Which parts of a tree are wanted: the configured paths, taken apart. Its root is `/`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Wanted with all it holds; then `children` is empty.
    pub(super) whole: bool,
    /// The ways down to what is wanted.
    pub(super) children: BTreeMap<OsString, Wanted>,
}

impl Wanted {
    /// What `paths`, which are absolute, name together.
    pub(super) fn new(paths: &[PathBuf]) -> Self {
        let mut root = Self::default();
        for path in paths {
            root.add(path);
        }
        root
    }

    fn add(&mut self, path: &Path) {
        let mut node = self;
        for part in path.components() {
            if node.whole {
                return;
            }
            if let Component::Normal(name) = part {
                node = node.children.entry(name.to_owned()).or_default();
            }
        }
        *node = Self { whole: true, children: BTreeMap::new() };
    }

    /// Of the entry `name`; all of it, when all of this is wanted.
    pub(super) fn child(&self, name: &OsStr) -> Option<&Self> {
        if self.whole { Some(self) } else { self.children.get(name) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_within_another_adds_nothing() {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
        let var = Wanted::new(&paths(&["/var"]));
        assert_eq!(Wanted::new(&paths(&["/var", "/var/log"])), var);
        assert_eq!(Wanted::new(&paths(&["/var/log", "/var"])), var);
        let both = Wanted::new(&paths(&["/etc", "/var/log"]));
        assert!(both.child(OsStr::new("etc")).is_some_and(|etc| etc.whole));
        assert!(both.child(OsStr::new("var")).is_some_and(|var| !var.whole && var.child(OsStr::new("log")).is_some()));
        assert!(both.child(OsStr::new("home")).is_none());
    }
}
