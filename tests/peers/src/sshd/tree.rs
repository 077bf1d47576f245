//! Ending processes with all that descends from them, by their ids.

use std::collections::BTreeSet;
use std::fs;
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

/// Ends a child and its descendants, and waits for the child.
pub(super) fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let root = i32::try_from(child.id()).unwrap();
        let mut stopped = BTreeSet::from([root]);
        signal(root, Signal::STOP);
        // One that is stopped starts no others; after the round that finds no new ones there are none.
        loop {
            let new: Vec<i32> = parents()
                .into_iter()
                .filter(|(process, parent)| stopped.contains(parent) && !stopped.contains(process))
                .map(|(process, _)| process)
                .collect();
            if new.is_empty() {
                break;
            }
            new.iter().for_each(|process| signal(*process, Signal::STOP));
            stopped.extend(new);
        }
        stopped.iter().for_each(|process| signal(*process, Signal::KILL));
    }
    let _reaped = child.wait();
}

/// Ends every process whose environment has `mark`, a whole `NAME=VALUE`.
pub(super) fn end_marked(mark: &str) {
    for process in processes() {
        let environment = fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
        if environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()) {
            signal(process, Signal::KILL);
        }
    }
}

fn signal(process: i32, signal: Signal) {
    if let Some(process) = Pid::from_raw(process) {
        // An error means that it has ended by itself.
        let _gone = kill_process(process, signal);
    }
}

/// All processes, each with its parent.
fn parents() -> Vec<(i32, i32)> {
    processes().filter_map(|process| Some((process, parent(process)?))).collect()
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn parent(process: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // proc_pid_stat(5): the name, in brackets, may hold anything; behind it the state, then the parent.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
