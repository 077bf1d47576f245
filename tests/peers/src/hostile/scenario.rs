//! What a hostile server serves.

use std::collections::BTreeMap;
use std::sync::Arc;

/// File types in `st_mode`, POSIX's `sys/stat.h` as Linux numbers them.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// The longest name, in bytes.
const NAME_BYTES: usize = 255;

/// [`Lie::Deep`] goes down as far as here: from a longer path to the longest, 4,095 bytes, there is room for another name.
const LONGEST_WAY: usize = 3500;

/// 2017-07-14, for everything that has no other time.
const SOME_TIME: u32 = 1_500_000_000;

/// What the server says about an entry; `None` is left out of its answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Bytes.
    pub size: Option<u64>,
    /// User and group.
    pub owner: Option<(u32, u32)>,
    /// Type and permissions, as `st_mode`.
    pub mode: Option<u32>,
    /// Last read and last changed, in seconds.
    pub times: Option<(u32, u32)>,
}

impl Attributes {
    /// Nothing said.
    pub const NONE: Self = Self { size: None, owner: None, mode: None, times: None };

    fn new(mode: u32, size: u64) -> Self {
        Self { size: Some(size), owner: Some((0, 0)), mode: Some(mode), times: Some((SOME_TIME, SOME_TIME)) }
    }
}

/// An entry of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    /// What is said about it.
    pub attributes: Attributes,
    /// A file's content; behind its end come zeros as far as the size says.
    pub content: Arc<[u8]>,
    /// Where a link leads.
    pub target: Vec<u8>,
}

impl Node {
    /// A file.
    #[must_use]
    pub fn file(content: &[u8]) -> Self {
        let attributes = Attributes::new(FILE | 0o644, content.len() as u64);
        Self { attributes, content: content.into(), target: Vec::new() }
    }

    /// A file of zeros that claims this size.
    #[must_use]
    pub fn sparse(size: u64) -> Self {
        Self { attributes: Attributes::new(FILE | 0o644, size), ..Self::file(b"") }
    }

    /// A folder.
    #[must_use]
    pub fn folder() -> Self {
        Self { attributes: Attributes::new(FOLDER | 0o755, 4096), ..Self::file(b"") }
    }

    /// A symbolic link.
    #[must_use]
    pub fn link(target: &[u8]) -> Self {
        let attributes = Attributes::new(LINK | 0o777, target.len() as u64);
        Self { attributes, target: target.to_vec(), ..Self::file(b"") }
    }

    /// Something with this `st_mode`: a device, a fifo, a socket, or what no system has.
    #[must_use]
    pub fn special(mode: u32) -> Self {
        Self { attributes: Attributes::new(mode, 0), ..Self::file(b"") }
    }

    /// The same with another time of its last change.
    #[must_use]
    pub fn changed_at(mut self, mtime: u32) -> Self {
        self.attributes.times = Some((mtime, mtime));
        self
    }

    /// The same with other attributes.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Attributes)) -> Self {
        change(&mut self.attributes);
        self
    }
}

/// What the server does beside serving its tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Lie {
    /// Nothing.
    #[default]
    None,
    /// Folders list new names for ever.
    EndlessListing,
    /// Every folder holds another, `deeper`.
    EndlessDepth,
    /// The folder at [`Scenario::ROOT`] lists this many empty files.
    Entries(u64),
    /// The folder at [`Scenario::ROOT`] lists this many folders, each of which lists new names for ever.
    EndlessListings(u64),
    /// The folder at [`Scenario::ROOT`] lists this many links, each with a target of so many bytes.
    Links(u64, usize),
    /// Below [`Scenario::ROOT`] lies a folder with the longest path that a system allows, nearly, and it lists this many
    /// folders with names of so many bytes. They are empty.
    Deep(u64, usize),
    /// The same, and the folders have gone when somebody looks into them.
    DeepAndGone(u64, usize),
    /// Files grow by a chunk whenever their end is read, and never end.
    EndlessFiles,
    /// A file has another size and time whenever it is asked for, and its content is another at each reading.
    EverChangingFiles,
    /// No answer to any READ beyond this offset, and the connection stays.
    HangsAt(u64),
    /// The server ends at a READ beyond this offset.
    ExitsAt(u64),
    /// A READ is answered with one byte more than asked for.
    LongAnswers,
    /// A READ is answered with no byte at all.
    EmptyAnswers,
    /// Answers bear the id of no request.
    WrongIds,
    /// The first LSTAT or STAT is answered twice.
    DoubleAnswers,
    /// The answer to the first OPEN claims a length of 4 GiB.
    GiantPacket,
    /// The answer to the first OPEN claims a handle longer than the packet.
    GiantString,
    /// A READDIR is answered with a batch of no names, again and again.
    EmptyBatches,
    /// READDIR says that everything is a file; asked alone, it is what it is.
    ListedAsFiles,
    /// Instead of the version comes a line of text, as from a login script.
    Chatter,
}

/// Whether [`Lie::Deep`] names this folder so.
fn leads_down(folder: &[u8]) -> bool {
    folder.iter().rev().take_while(|byte| **byte == b'd').count() == NAME_BYTES
}

/// What a server serves.
#[derive(Debug, Clone, Default)]
pub struct Scenario {
    nodes: BTreeMap<Vec<u8>, Node>,
    listings: BTreeMap<Vec<u8>, Vec<(Vec<u8>, Attributes)>>,
    /// What it does beside.
    pub(super) lie: Lie,
}

impl Scenario {
    /// The folder of each scenario's tree.
    pub const ROOT: &'static str = "/data";

    /// An empty [`Scenario::ROOT`].
    #[must_use]
    pub fn new() -> Self {
        Self::default().node("/", Node::folder()).node(Self::ROOT, Node::folder())
    }

    /// The same with a lie.
    #[must_use]
    pub fn lying(mut self, lie: Lie) -> Self {
        self.lie = lie;
        self
    }

    /// With an entry at an absolute path.
    #[must_use]
    pub fn node(mut self, path: impl AsRef<[u8]>, node: Node) -> Self {
        self.nodes.insert(path.as_ref().to_vec(), node);
        self
    }

    /// With a file at an absolute path.
    #[must_use]
    pub fn file(self, path: &str, content: &[u8]) -> Self {
        self.node(path, Node::file(content))
    }

    /// A folder's listing says that this name is there, too, whatever a name may be; whoever asks for `folder/name`
    /// gets the node.
    #[must_use]
    pub fn listed(mut self, folder: &str, name: &[u8], node: Node) -> Self {
        let listing = self.listings.entry(folder.as_bytes().to_vec()).or_default();
        listing.push((name.to_vec(), node.attributes.clone()));
        let path = [folder.as_bytes(), b"/", name].concat();
        self.nodes.insert(path, node);
        self
    }

    /// What is at a path.
    pub(super) fn find(&self, path: &[u8]) -> Option<Node> {
        if let Some(node) = self.nodes.get(path) {
            return Some(node.clone());
        }
        let below = path.starts_with(Self::ROOT.as_bytes());
        match self.lie {
            Lie::EndlessDepth if below && path.ends_with(b"/deeper") => Some(Node::folder()),
            Lie::EndlessListing | Lie::Entries(_) if below => Some(Node::file(b"")),
            Lie::EndlessListings(_) if below => Some(Node::folder()),
            Lie::Links(_, length) if below => Some(Node::link(&vec![b'x'; length])),
            Lie::Deep(..) if below => Some(Node::folder()),
            Lie::DeepAndGone(..) if below && leads_down(path) => Some(Node::folder()),
            _ => None,
        }
    }

    /// The batch of a folder's listing that begins at `from`; an empty one is the end.
    pub(super) fn list(&self, folder: &[u8], from: u64) -> Vec<(Vec<u8>, Attributes)> {
        let numbered = |count: u64, length: usize, node: Node| {
            let numbers = from..(from + 100).min(count);
            let name = |number: u64| format!("{:x<length$}", format!("entry-{number}-")).into_bytes();
            numbers.map(|number| (name(number), node.attributes.clone())).collect()
        };
        let is_root = folder == Self::ROOT.as_bytes();
        match self.lie {
            Lie::EndlessListing => return numbered(u64::MAX, 0, Node::file(b"")),
            Lie::Entries(count) if is_root => return numbered(count, 0, Node::file(b"")),
            Lie::EndlessListings(count) if is_root => return numbered(count, 0, Node::folder()),
            Lie::EndlessListings(_) => return numbered(u64::MAX, 0, Node::file(b"")),
            Lie::Links(count, length) if is_root => return numbered(count, 0, Node::link(&vec![b'x'; length])),
            Lie::Deep(count, length) | Lie::DeepAndGone(count, length) => {
                return match folder.len() < LONGEST_WAY {
                    _ if !is_root && !leads_down(folder) => Vec::new(),
                    true if from > 0 => Vec::new(),
                    true => vec![(vec![b'd'; NAME_BYTES], Node::folder().attributes)],
                    false => numbered(count, length, Node::folder()),
                };
            }
            _ if from > 0 => return Vec::new(),
            _ => {}
        }
        let mut entries = self.children(folder);
        entries.extend(self.listings.get(folder).cloned().unwrap_or_default());
        if self.lie == Lie::EndlessDepth {
            entries.push((b"deeper".to_vec(), Node::folder().attributes));
        }
        if self.lie == Lie::ListedAsFiles {
            entries.iter_mut().for_each(|(_, attributes)| attributes.mode = Some(FILE | 0o644));
        }
        entries
    }

    /// The nodes right below a folder that no listing of its own names.
    fn children(&self, folder: &[u8]) -> Vec<(Vec<u8>, Attributes)> {
        let listed = self.listings.get(folder);
        let listed = |name: &[u8]| listed.is_some_and(|entries| entries.iter().any(|(other, _)| other == name));
        let prefix = if folder == b"/" { b"/".to_vec() } else { [folder, b"/"].concat() };
        let below = self.nodes.iter().filter_map(|(path, node)| Some((path.strip_prefix(&prefix[..])?, node)));
        below
            .filter(|(name, _)| !name.is_empty() && !name.contains(&b'/') && !listed(name))
            .map(|(name, node)| (name.to_vec(), node.attributes.clone()))
            .collect()
    }
}
