//! Changes, for people and machines.

use std::fmt::{self, Write};
use std::path::Path;

use drawbridge_gather::one_line;
use drawbridge_wire::Timestamp;
use serde::Serialize;

use super::compare::Change;
use super::text::Contents;
use crate::engine::{EntryFacts, EntryKind, SnapshotInfo};
use crate::ui::{Ui, human_bytes};

/// There is nothing to compare with.
#[derive(Debug, Serialize)]
pub(super) struct NoSnapshot;

impl fmt::Display for NoSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("No snapshot yet, so there is nothing to compare the mirror with: `drawbridge run` makes one.")
    }
}

/// How much changed in all.
#[derive(Debug, Serialize)]
pub(super) struct Totals {
    snapshot: String,
    time: Timestamp,
    added: u64,
    removed: u64,
    changed: u64,
}

impl Totals {
    pub(super) fn of(snapshot: &SnapshotInfo) -> Self {
        Self { snapshot: snapshot.id.clone(), time: snapshot.time, added: 0, removed: 0, changed: 0 }
    }

    pub(super) const fn count(&mut self, change: &Change) {
        match (&change.before, &change.after) {
            (None, _) => self.added += 1,
            (_, None) => self.removed += 1,
            _ => self.changed += 1,
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { snapshot, time, added, removed, changed } = self;
        let id = snapshot.get(..8).unwrap_or(snapshot);
        let since = format!("since snapshot {id} of {}", time.strftime("%Y-%m-%dT%H:%M:%SZ"));
        if added + removed + changed == 0 {
            return write!(f, "Nothing changed {since}.");
        }
        write!(f, "{added} added, {removed} removed, {changed} changed {since}.")
    }
}

/// A change as a machine gets it. Times are of the source, modes are octal.
#[derive(Serialize)]
struct Event<'a> {
    source: String,
    path: String,
    change: &'static str,
    before: Option<Facts>,
    after: Option<Facts>,
    content: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<&'a str>,
}

#[derive(Serialize)]
struct Facts {
    kind: &'static str,
    size: u64,
    mode: String,
    uid: u32,
    gid: u32,
    modified: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

impl Facts {
    fn of(facts: &EntryFacts) -> Self {
        let target = match &facts.kind {
            EntryKind::Link(target) => Some(target.to_string_lossy().into_owned()),
            _ => None,
        };
        let EntryFacts { size, mode, uid, gid, modified, .. } = *facts;
        Self { kind: facts.kind.word(), size, mode: format!("{mode:04o}"), uid, gid, modified, target }
    }
}

/// Says one change.
pub(super) fn change(ui: &Ui, change: &Change) {
    let (source, path) = halves(&change.path);
    let diff = match &change.contents {
        Contents::Text(diff) => Some(diff.as_str()),
        _ => None,
    };
    if !ui.is_json() {
        ui.patch(&head(change), diff.unwrap_or_default());
        return;
    }
    let event = Event {
        source,
        path,
        change: word(change),
        before: change.before.as_ref().map(Facts::of),
        after: change.after.as_ref().map(Facts::of),
        content: match change.contents {
            Contents::None => "none",
            Contents::Same => "same",
            Contents::Text(_) => "text",
            Contents::Binary => "binary",
            Contents::Large => "large",
        },
        diff,
    };
    ui.result("change", &event, &"");
}

const fn word(change: &Change) -> &'static str {
    match (&change.before, &change.after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "changed",
    }
}

fn halves(path: &Path) -> (String, String) {
    let mut parts = path.components();
    let source = parts.next().map(|source| source.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    (source, format!("/{}", parts.as_path().to_string_lossy()))
}

/// The lines above a difference: what became of which entry, and, if there is one, whose sides it has.
fn head(change: &Change) -> String {
    let path = one_line(&change.path);
    let mut head = format!("{} {path}", word(change));
    let parts = details(change);
    if !parts.is_empty() {
        let _infallible = write!(head, ": {}", parts.join(", "));
    }
    if matches!(&change.contents, Contents::Text(diff) if !diff.is_empty()) {
        let side = |name: &str, facts: &Option<EntryFacts>| match facts {
            Some(facts) => format!("{name}/{path}\t{}", moment(facts.modified)),
            None => "/dev/null".to_owned(),
        };
        let _infallible = write!(head, "\n--- {}\n+++ {}", side("a", &change.before), side("b", &change.after));
    }
    head
}

fn details(change: &Change) -> Vec<String> {
    let mut parts = Vec::new();
    match (&change.before, &change.after) {
        (Some(old), Some(new)) => {
            compared("was a", "now a", old.kind.word(), new.kind.word(), &mut parts);
            if change.contents.differ() {
                parts.push(format!("{} -> {}", human_bytes(old.size), human_bytes(new.size)));
            }
            if let (EntryKind::Link(old), EntryKind::Link(new)) = (&old.kind, &new.kind) {
                compared("link", "->", &one_line(old), &one_line(new), &mut parts);
            } else {
                compared("mode", "->", &format!("{:04o}", old.mode), &format!("{:04o}", new.mode), &mut parts);
            }
            let owner = |facts: &EntryFacts| format!("{}:{}", facts.uid, facts.gid);
            compared("owner", "->", &owner(old), &owner(new), &mut parts);
            if new.kind == EntryKind::File && old.modified != new.modified {
                parts.push(format!("time {} -> {}", moment(old.modified), moment(new.modified)));
            }
        }
        (Some(facts), None) | (None, Some(facts)) => match &facts.kind {
            EntryKind::File => parts.push(human_bytes(facts.size)),
            EntryKind::Link(target) => parts.push(format!("link -> {}", one_line(target))),
            EntryKind::Folder | EntryKind::Other => parts.push(facts.kind.word().to_owned()),
        },
        (None, None) => {}
    }
    match change.contents {
        Contents::Binary => parts.push("binary".to_owned()),
        Contents::Large => parts.push("too large to show".to_owned()),
        _ => {}
    }
    parts
}

fn compared(name: &str, then: &str, old: &str, new: &str, parts: &mut Vec<String>) {
    if old != new {
        parts.push(format!("{name} {old} {then} {new}"));
    }
}

fn moment(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "unknown".to_owned(), |time| time.strftime("%Y-%m-%dT%H:%M:%S%.fZ").to_string())
}
