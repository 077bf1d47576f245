use std::fs;

use serde::{Deserialize, Serialize};

/// A process, told apart from a later one that got the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its id.
    pub pid: u32,
    /// When it was started, in clock ticks since boot; field 22 of proc(5)'s `stat`.
    started: u64,
}

impl Owner {
    /// The process that asks.
    #[must_use]
    pub fn this() -> Self {
        let pid = std::process::id();
        Self { pid, started: state_and_start(pid).map_or(0, |(_, started)| started) }
    }

    /// Whether it still runs. One that has ended and that nobody has waited for doesn't.
    #[must_use]
    pub fn is_alive(self) -> bool {
        state_and_start(self.pid).is_some_and(|(state, started)| started == self.started && !matches!(state, 'Z' | 'X'))
    }
}

fn state_and_start(pid: u32) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; the fields follow the last one, the third first.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_ends_and_is_not_its_successor() {
        assert!(Owner::this().is_alive());
        assert!(!Owner { started: Owner::this().started + 1, ..Owner::this() }.is_alive());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let (_, started) = state_and_start(pid).unwrap();
        while (Owner { pid, started }).is_alive() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(!Owner { pid, started }.is_alive());
    }
}
