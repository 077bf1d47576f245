//! Whatever a source calls its entries, and whatever they turn into: the mirror is the legal part of it, and nothing else on
//! this machine changes.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::collect::collect;
use crate::room::Held;
use crate::tree::{Followed, Pace, Tree, TreeError, TreeFile, check_name};

/// What a liar's tree has under a name.
#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>),
    Link(Vec<u8>),
    Folder(Nodes),
}

type Nodes = BTreeMap<Vec<u8>, Node>;

/// `/d` holds `nodes`.
struct Liar {
    nodes: Nodes,
    seconds: i64,
}

impl Liar {
    fn meta(&self, kind: Kind, size: usize) -> Meta {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let mtime = Mtime { seconds: self.seconds, nanoseconds: 0 };
        Meta { kind, size: size as u64, allocated: None, mode: 0o755, uid, gid, mtime }
    }

    fn meta_of(&self, node: &Node) -> Meta {
        match node {
            Node::File(content) => self.meta(Kind::File, content.len()),
            Node::Link(target) => self.meta(Kind::Symlink, target.len()),
            Node::Folder(_) => self.meta(Kind::Directory, 0),
        }
    }

    /// The folder with these names on its way, below `/d`.
    fn at(&self, names: &[Vec<u8>]) -> &Nodes {
        let below = names.iter().skip(1);
        below.fold(&self.nodes, |nodes, name| match &nodes[name] {
            Node::Folder(nodes) => nodes,
            other => panic!("{name:?} is asked for as a folder, and is {other:?}"),
        })
    }
}

impl Tree for Liar {
    type Dir = Vec<Vec<u8>>;
    type File = Content;

    fn pace(&self) -> Pace {
        Pace { files: 3, folders: 2 }
    }

    async fn root(&self) -> Result<(Self::Dir, Meta), TreeError> {
        Ok((Vec::new(), self.meta(Kind::Directory, 0)))
    }

    async fn stat(&self, _: &Self::Dir, name: &OsStr) -> Result<Meta, TreeError> {
        assert_eq!(name, "d", "no other name is in the pattern");
        Ok(self.meta(Kind::Directory, 0))
    }

    async fn open_dir(&self, dir: &Self::Dir, name: &OsStr) -> Result<Self::Dir, TreeError> {
        Ok(dir.iter().cloned().chain([name.as_bytes().to_vec()]).collect())
    }

    async fn list(&self, dir: &Self::Dir, held: &mut Held) -> Result<Vec<(OsString, Meta)>, TreeError> {
        let named = |(name, node): (&Vec<u8>, &Node)| (OsString::from_vec(name.clone()), self.meta_of(node));
        let entries: Vec<_> = self.at(dir).iter().map(named).collect();
        entries.iter().try_for_each(|(name, _)| held.take_entry(name))?;
        Ok(entries)
    }

    async fn read_link(&self, dir: &Self::Dir, name: &OsStr) -> Result<OsString, TreeError> {
        match &self.at(dir)[name.as_bytes()] {
            Node::Link(target) => Ok(OsString::from_vec(target.clone())),
            other => panic!("{other:?} is read as a link"),
        }
    }

    async fn open_file(&self, dir: &Self::Dir, name: &OsStr) -> Result<Content, TreeError> {
        match &self.at(dir)[name.as_bytes()] {
            Node::File(content) => Ok(Content { left: content.clone(), meta: self.meta(Kind::File, content.len()) }),
            other => panic!("{other:?} is read as a file"),
        }
    }

    async fn follow(&self, _: &Self::Dir, _: &OsStr) -> Result<Followed, TreeError> {
        panic!("links are kept")
    }
}

struct Content {
    left: Vec<u8>,
    meta: Meta,
}

impl TreeFile for Content {
    fn read(&mut self, from: u64, _: u64) {
        assert_eq!(from, 0, "no file of this source grows");
    }

    async fn next(&mut self) -> Result<Option<Bytes>, TreeError> {
        Ok(Some(Bytes::from(std::mem::take(&mut self.left))).filter(|bytes| !bytes.is_empty()))
    }

    async fn after(&mut self) -> Result<Meta, TreeError> {
        Ok(self.meta.clone())
    }
}

/// What a mirror holds below a folder, or has to: one line an entry, links with their targets, files with their content.
fn legal(nodes: &Nodes, at: &Path, lines: &mut Vec<(PathBuf, String)>) {
    for (name, node) in nodes.iter().filter(|(name, _)| check_name(OsStr::from_bytes(name)).is_ok()) {
        let path = at.join(OsStr::from_bytes(name));
        match node {
            Node::File(content) => lines.push((path, format!("{content:?}"))),
            Node::Link(target) if target.is_empty() || target.contains(&0) || target.len() > 4095 => {}
            Node::Link(target) => lines.push((path, format!("-> {:?}", OsStr::from_bytes(target)))),
            Node::Folder(nodes) => {
                lines.push((path.clone(), "folder".to_owned()));
                legal(nodes, &path, lines);
            }
        }
    }
}

fn mirrored(root: &Path) -> Vec<(PathBuf, String)> {
    let entries = walkdir::WalkDir::new(root).min_depth(1).into_iter().map(Result::unwrap);
    let line = |entry: walkdir::DirEntry| {
        let path = entry.path();
        let what = if entry.path_is_symlink() {
            format!("-> {:?}", fs::read_link(path).unwrap().as_os_str())
        } else if path.is_dir() {
            "folder".to_owned()
        } else {
            format!("{:?}", fs::read(path).unwrap())
        };
        (path.strip_prefix(root).unwrap().to_owned(), what)
    };
    entries.map(line).collect()
}

/// Names that repeat, so that the same one is a file, a link and a folder from one gathering to the next.
fn names() -> impl Strategy<Value = Vec<u8>> {
    let odd: [&[u8]; 14] = [
        b"..",
        b".",
        b"",
        b"/",
        b"../outside",
        b"../../outside/sentinel",
        b"a/b",
        b"/etc",
        b"a\0",
        b"\xff\xfe",
        b"\n",
        b"-rf",
        b"...",
        b"\x1b[2J",
    ];
    prop_oneof![
        6 => proptest::sample::select(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec(), b"d".to_vec()]),
        4 => proptest::sample::select(odd.map(<[u8]>::to_vec).to_vec()),
        1 => (254_usize..=300).prop_map(|length| vec![b'x'; length]),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
    ]
}

fn trees() -> impl Strategy<Value = Nodes> {
    let targets = proptest::sample::select(vec![
        b"a".to_vec(),
        b"..".to_vec(),
        b"../../../outside".to_vec(),
        b"/OUTSIDE".to_vec(),
        b"/OUTSIDE/sentinel".to_vec(),
        b"".to_vec(),
        b"a\0b".to_vec(),
        vec![b'y'; 4095],
        vec![b'y'; 4096],
    ]);
    let leaf =
        prop_oneof![proptest::collection::vec(any::<u8>(), 0..20).prop_map(Node::File), targets.prop_map(Node::Link),];
    let node = leaf
        .prop_recursive(4, 24, 5, |inner| proptest::collection::btree_map(names(), inner, 0..5).prop_map(Node::Folder));
    proptest::collection::btree_map(names(), node, 0..6)
}

/// Lets links lead to the folder that nobody may touch.
fn aim(nodes: &mut Nodes, outside: &Path) {
    for node in nodes.values_mut() {
        match node {
            Node::Link(target) => {
                if let Some(rest) = target.strip_prefix(b"/OUTSIDE") {
                    *target = [outside.as_os_str().as_bytes(), rest].concat();
                }
            }
            Node::Folder(nodes) => aim(nodes, outside),
            Node::File(_) => {}
        }
    }
}

fn gather_liar(state: &Path, liar: &Liar) -> SourceOutcome {
    let site = Site::new(state);
    site.prepare().unwrap();
    let shared = one::Shared {
        site,
        settings: Settings { accept_vanished: true, ..Settings::default() },
        throttle: Throttle::new(None),
        called_off: AtomicBool::new(false),
        was_settled: true,
        boot: "this".to_owned(),
    };
    let source = Source {
        name: "h".to_owned(),
        place: Place::Local { require_mount: Vec::new() },
        what: What::Files(Files { paths: vec![Pattern::new("/d").unwrap()], ..Files::none() }),
        limits: Limits::default(),
        rule: SourceRule::default(),
        max_age: None,
    };
    let once = async |job: &collect::Job<'_>| Ok(collect(liar, job).await?);
    run_alone(one::gather_by(&shared, &source, &Deaf, once)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn the_mirror_is_the_legal_part_of_any_tree_and_nothing_else_changes(
        rounds in proptest::collection::vec(trees(), 1..4),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (state, outside) = (dir.path().join("state"), dir.path().join("outside"));
        fs::create_dir(&state).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("sentinel"), "untouched").unwrap();
        let before = tree(&outside);
        let mut ever = HashSet::new();
        for (round, mut nodes) in rounds.into_iter().enumerate() {
            aim(&mut nodes, &outside);
            let mut expected = Vec::new();
            legal(&nodes, Path::new(""), &mut expected);
            expected.sort();
            ever.extend(expected.iter().cloned());
            let liar = Liar { nodes, seconds: 1_500_000_000 + i64::try_from(round).unwrap() };
            let outcome = gather_liar(&state, &liar);
            let mut mirror = mirrored(&state.join("mirror/h/d"));
            mirror.sort();
            match outcome.state {
                SourceState::Complete => prop_assert_eq!(mirror, expected),
                // Of a source that wasn't read completely, nothing leaves the mirror.
                SourceState::Partial { .. } => {
                    let missing = expected.iter().find(|line| !mirror.contains(line));
                    prop_assert!(missing.is_none(), "{:?} is missing", missing);
                    let invented = mirror.iter().find(|line| !ever.contains(*line));
                    prop_assert!(invented.is_none(), "{:?} was never there", invented);
                }
                SourceState::Failed { error } => prop_assert!(false, "{}", error),
            }
            prop_assert_eq!(&tree(&outside), &before);
            let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            prop_assert_eq!(names, ["outside", "state"]);
        }
    }
}
