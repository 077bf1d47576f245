//! The servers of a rig's connections, one process tree each.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tree;
use crate::need;

/// The variable that marks what a server's sessions run.
pub(super) const MARK: &str = "DRAWBRIDGE_RIG";

/// The servers of the connections.
#[derive(Debug)]
pub(super) struct Servers {
    folder: PathBuf,
    mark: String,
    pub(super) stopping: AtomicBool,
    pub(super) connections: AtomicUsize,
    children: Mutex<Vec<Child>>,
}

impl Servers {
    pub(super) fn new(folder: &Path, mark: String) -> Self {
        Self {
            folder: folder.to_owned(),
            mark,
            stopping: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
            children: Mutex::new(Vec::new()),
        }
    }

    pub(super) fn accept(&self, listener: &TcpListener) {
        let program = need("sshd", "openssh-server");
        while let Ok((stream, _)) = listener.accept() {
            if self.stopping.load(Ordering::SeqCst) {
                return;
            }
            self.connections.fetch_add(1, Ordering::SeqCst);
            let child = self.serve(&program, stream);
            let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            children.push(child);
        }
    }

    fn serve(&self, program: &Path, stream: TcpStream) -> Child {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("sshd.log")).unwrap();
        let again = stream.try_clone().unwrap();
        Command::new(program)
            .args(["-i", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::from(OwnedFd::from(stream)))
            .stdout(Stdio::from(OwnedFd::from(again)))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap()
    }

    pub(super) fn end_all(&self) {
        let mut children = std::mem::take(&mut *self.children.lock().unwrap_or_else(PoisonError::into_inner));
        for child in &mut children {
            tree::end(child);
        }
        tree::end_marked(&format!("{MARK}={}", self.mark));
    }
}
