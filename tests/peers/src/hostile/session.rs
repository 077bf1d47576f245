//! One connection to a hostile server.

use std::collections::BTreeMap;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use super::scenario::{Attributes, Lie, Node, Scenario};
use super::wire::{self, Reply, Request};

/// The longest answer to a READ, in bytes; OpenSSH's is near it.
const LONGEST_READ: usize = 255 * 1024;

/// What the server does after a request.
enum Act {
    Answer(Vec<u8>),
    /// Nothing more is answered, and the connection stays.
    Hang,
    Exit,
}

/// Something open: a folder with how many of its entries have been listed, or a file.
enum Open {
    Folder { path: Vec<u8>, listed: u64 },
    File { node: Node },
}

struct Session<'a> {
    scenario: Scenario,
    asked: &'a Mutex<Vec<String>>,
    open: BTreeMap<u32, Open>,
    handles: u32,
    /// How often anything was answered; makes changing files change.
    turns: u32,
}

/// Serves until the client goes or the scenario ends it.
pub(super) fn serve(stream: &TcpStream, scenario: Scenario, asked: &Mutex<Vec<String>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut requests, mut replies) = (BufReader::new(stream), BufWriter::new(stream));
    let mut session = Session { scenario, asked, open: BTreeMap::new(), handles: 0, turns: 0 };
    while let Some(request) = Request::read(&mut requests)? {
        match session.act(request) {
            Act::Answer(bytes) => replies.write_all(&bytes)?,
            Act::Exit => return replies.flush(),
            Act::Hang => {
                replies.flush()?;
                io::copy(&mut requests.by_ref(), &mut io::sink())?;
                return Ok(());
            }
        }
        if requests.buffer().is_empty() {
            replies.flush()?;
        }
    }
    Ok(())
}

impl Session<'_> {
    fn act(&mut self, mut request: Request) -> Act {
        self.turns += 1;
        let lie = self.scenario.lie;
        let id = if lie == Lie::WrongIds { request.id.wrapping_add(1000) } else { request.id };
        let reply = match request.kind {
            wire::INIT if lie == Lie::Chatter => {
                return Act::Answer(b"Welcome to this host!\r\nYou have no new mail.\r\n".to_vec());
            }
            wire::INIT => Reply::version(),
            wire::OPEN => return self.open_file(id, path(&mut request)),
            wire::OPENDIR => self.open_folder(id, path(&mut request)),
            wire::READ => return self.read(id, &mut request),
            wire::READDIR => self.list(id, &request.string()),
            wire::LSTAT => return self.look(id, "LSTAT", &path(&mut request)),
            wire::STAT => return self.look(id, "STAT", &path(&mut request)),
            wire::FSTAT => self.look_at_open(id, &request.string()),
            wire::READLINK => self.read_link(id, &path(&mut request)),
            wire::REALPATH => {
                let path = request.string();
                let path = if path.first() == Some(&b'/') { path } else { b"/".to_vec() };
                Reply::names(id, &[(path, Attributes::NONE)])
            }
            wire::CLOSE => {
                self.open.remove(&number(&request.string()));
                Reply::status(id, wire::OK)
            }
            _ => Reply::status(id, wire::UNSUPPORTED),
        };
        Act::Answer(reply.packet())
    }

    fn note(&self, what: &str, path: &[u8]) {
        let line = format!("{what} {}", String::from_utf8_lossy(path));
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    fn handle(&mut self, id: u32, open: Open) -> Reply {
        self.handles += 1;
        self.open.insert(self.handles, open);
        Reply::handle(id, self.handles)
    }

    fn open_file(&mut self, id: u32, path: Vec<u8>) -> Act {
        self.note("OPEN", &path);
        match self.scenario.lie {
            Lie::GiantPacket => return Act::Answer(vec![0xff, 0xff, 0xff, 0xf0, 102]),
            // Nine bytes: a handle, its id, and the length of a string that isn't there.
            Lie::GiantString => {
                return Act::Answer([&[0, 0, 0, 9, 102][..], &id.to_be_bytes(), &[0xff, 0xff, 0xff, 0xf0]].concat());
            }
            _ => {}
        }
        let reply = match self.scenario.find(&path) {
            Some(node) => self.handle(id, Open::File { node }),
            None => Reply::status(id, wire::NO_SUCH_FILE),
        };
        Act::Answer(reply.packet())
    }

    fn open_folder(&mut self, id: u32, path: Vec<u8>) -> Reply {
        self.note("OPENDIR", &path);
        match self.scenario.find(&path) {
            Some(_) => self.handle(id, Open::Folder { path, listed: 0 }),
            None => Reply::status(id, wire::NO_SUCH_FILE),
        }
    }

    fn list(&mut self, id: u32, handle: &[u8]) -> Reply {
        if self.scenario.lie == Lie::EmptyBatches {
            return Reply::names(id, &[]);
        }
        let Some(Open::Folder { path, listed }) = self.open.get_mut(&number(handle)) else {
            return Reply::status(id, wire::FAILURE);
        };
        let batch = self.scenario.list(path, *listed);
        *listed += batch.len() as u64;
        if batch.is_empty() { Reply::status(id, wire::EOF) } else { Reply::names(id, &batch) }
    }

    fn look(&mut self, id: u32, what: &str, path: &[u8]) -> Act {
        self.note(what, path);
        let reply = match self.scenario.find(path) {
            Some(node) => Reply::attributes_of(id, &self.now(&node)),
            None => Reply::status(id, wire::NO_SUCH_FILE),
        };
        let packet = reply.packet();
        Act::Answer(if self.scenario.lie == Lie::DoubleAnswers { packet.repeat(2) } else { packet })
    }

    fn look_at_open(&mut self, id: u32, handle: &[u8]) -> Reply {
        match self.open.get(&number(handle)) {
            Some(Open::File { node }) => Reply::attributes_of(id, &self.now(node)),
            Some(Open::Folder { .. }) => Reply::attributes_of(id, &Node::folder().attributes),
            None => Reply::status(id, wire::FAILURE),
        }
    }

    /// What is said about a node at this moment.
    fn now(&self, node: &Node) -> Attributes {
        let mut attributes = node.attributes.clone();
        let is_file = node.attributes.mode.is_some_and(|mode| mode & 0o170_000 == 0o100_000);
        if self.scenario.lie == Lie::EverChangingFiles && is_file {
            attributes.size = attributes.size.map(|size| size + u64::from(self.turns));
            attributes.times = attributes.times.map(|(atime, mtime)| (atime, mtime + self.turns));
        }
        attributes
    }

    fn read_link(&mut self, id: u32, path: &[u8]) -> Reply {
        self.note("READLINK", path);
        match self.scenario.find(path) {
            Some(node) => Reply::names(id, &[(node.target, Attributes::NONE)]),
            None => Reply::status(id, wire::NO_SUCH_FILE),
        }
    }

    fn read(&mut self, id: u32, request: &mut Request) -> Act {
        let (handle, offset, length) = (request.string(), request.long(), request.number() as usize);
        let lie = self.scenario.lie;
        match lie {
            Lie::HangsAt(limit) if offset + length as u64 > limit => return Act::Hang,
            Lie::ExitsAt(limit) if offset + length as u64 > limit => return Act::Exit,
            _ => {}
        }
        let Some(Open::File { node }) = self.open.get_mut(&number(&handle)) else {
            return Act::Answer(Reply::status(id, wire::FAILURE).packet());
        };
        let asked = length;
        let length = length.min(LONGEST_READ);
        let mut size = node.attributes.size.unwrap_or(node.content.len() as u64);
        if lie == Lie::EndlessFiles {
            size = size.max(offset + length as u64);
            node.attributes.size = Some(size + length as u64);
        }
        if offset >= size {
            return Act::Answer(Reply::status(id, wire::EOF).packet());
        }
        let length = length.min(usize::try_from(size - offset).unwrap_or(usize::MAX));
        let mut data = content(node, offset, length);
        match lie {
            Lie::LongAnswers => data.resize(asked + 1, b'x'),
            Lie::EmptyAnswers => data.clear(),
            Lie::EverChangingFiles => data.fill(self.turns.to_le_bytes()[0]),
            _ => {}
        }
        Act::Answer(Reply::data(id, &data).packet())
    }
}

/// Part of a file's content; zeros where it has none.
fn content(node: &Node, offset: u64, length: usize) -> Vec<u8> {
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(node.content.len());
    let to = from.saturating_add(length).min(node.content.len());
    let mut data = node.content[from..to].to_vec();
    data.resize(length, 0);
    data
}

/// A path as the tree has it: clients like to end a folder's with a slash.
fn path(request: &mut Request) -> Vec<u8> {
    let mut path = request.string();
    while path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

/// The number that a handle is.
fn number(handle: &[u8]) -> u32 {
    handle.try_into().map_or(0, u32::from_be_bytes)
}
