//! Settings: a name, something between, a value. INI, YAML, JSON, TOML, shell, XML attributes, command lines, and the `name value` of
//! most daemons and routers, told apart by what stands around the name rather than by the file's name.

mod after;
mod carry;

use std::ops::Range;
use std::path::Path;

use super::key::{self, Key};
use super::{Spans, cut, head, lines, value};
use after::{Found, Reach, after};
use carry::{Carry, indent_of};

/// Adds the values in `text` whose names are those of secrets to `spans`.
pub(super) fn find(text: &str, path: &Path, spans: &mut Spans) {
    let kind = Kind::of(path);
    if kind == Kind::NoSecrets {
        return;
    }
    let mut scan =
        Scan { kind, secret_kind: is_kubernetes_secret(text), section: false, named: false, carry: Carry::None, spans };
    for (at, line) in lines(text) {
        scan.line(at, line);
    }
}

/// What is known of a file by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A configuration, or anything else.
    Any,
    /// Sentences, in which the word "password" is mostly not followed by one.
    Log,
    /// PAM: `password` is a stage there.
    Pam,
    /// Every line has a word for secrets and none is one.
    NoSecrets,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let below = |folder: &str| path.parent().is_some_and(|parent| parent.iter().any(|part| part == folder));
        match name.as_str() {
            "nsswitch.conf" => Self::NoSecrets,
            _ if below("pam.d") || name == "pam.conf" || name.starts_with("common-") => Self::Pam,
            "syslog" | "messages" | "secure" => Self::Log,
            _ if below("log") || below("logs") || name.contains(".log") || name.ends_with(".md") => Self::Log,
            _ => Self::Any,
        }
    }
}

fn is_kubernetes_secret(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim().replace(['"', ','], "");
        line.strip_prefix("kind:").is_some_and(|kind| kind.trim() == "Secret")
    })
}

struct Scan<'a> {
    kind: Kind,
    /// `data` and `stringData` hold secrets in this file.
    secret_kind: bool,
    /// The section is one of secrets, whatever their names.
    section: bool,
    /// A `name` was that of a secret; the `value` that comes next is one.
    named: bool,
    carry: Carry,
    spans: &'a mut Spans,
}

impl Scan<'_> {
    fn line(&mut self, at: usize, line: &str) {
        let from = match self.carry.take(line, |range| self.spans.push(at + range.start..at + range.end)) {
            Some(from) => from,
            None => return,
        };
        let lead = Lead::of(line);
        if from == 0 && self.is_section(cut(line, lead.end..line.len())) {
            return;
        }
        let mut from = from.max(lead.end);
        while let Some(name) = next_name(line, from) {
            from = name.end;
            if let Some(found) = self.secret(line, &lead, name) {
                from = found.range.end.max(from);
                self.spans.push(at + found.range.start..at + found.range.end);
                self.carry = found.carry;
            }
        }
    }

    /// `[secrets]`: whether the line begins a section, and what it says of those that follow.
    fn is_section(&mut self, line: &str) -> bool {
        let Some(name) = line.strip_prefix('[').and_then(|rest| rest.trim_end().strip_suffix(']')) else {
            return false;
        };
        if name.contains(['"', ',', '=']) && !name.contains(' ') {
            return false;
        }
        let last = name.trim_matches(['[', ']']).rsplit(['.', ' ']).next().unwrap_or_default();
        self.section = last.ends_with('s') && key::judge(last) == Key::Secret || last == "admins";
        true
    }

    fn secret(&mut self, line: &str, lead: &Lead, name: Range<usize>) -> Option<Found> {
        let word = cut(line, name.clone());
        let mut verdict = self.judge(word);
        let first = lead.leads_to(line, name.start);
        if verdict == Key::Plain && self.section && first {
            verdict = Key::Secret;
        }
        if verdict == Key::Plain {
            self.note_name(line, word, name.end);
            return None;
        }
        let about = Reach { first, comment: lead.comment, indent: indent_of(line) };
        let found = after(line, name, about, |rest| self.follows(rest, word, verdict, lead, first))?;
        let text = cut(line, found.range.clone());
        match verdict {
            Key::Perhaps if !value::is_opaque(text) => None,
            _ if value::is_harmless(text) && found.carry.is_over(text) => None,
            _ if lead.comment && found.colon && value::is_prose(text) => None,
            _ => Some(found),
        }
    }

    fn judge(&mut self, word: &str) -> Key {
        if self.named && matches!(word, "value" | "Value" | "VALUE" | "content") {
            self.named = false;
            return Key::Secret;
        }
        if self.secret_kind && matches!(word, "data" | "stringData") {
            return Key::Secret;
        }
        if matches!(word, "PWD" | "OLDPWD") { Key::Plain } else { key::judge(word) }
    }

    /// `"name": "DB_PASSWORD", "value": ...`, on one line or two.
    fn note_name(&mut self, line: &str, word: &str, end: usize) {
        if matches!(word, "name" | "Name" | "key" | "Key" | "variable") {
            let rest = cut(line, end..line.len()).trim_start_matches(['"', '\'', ':', '=', ' ', '\t']);
            let named = next_name(rest, 0).filter(|name| name.start == 0);
            self.named = named.is_some_and(|name| key::judge(cut(rest, name)) == Key::Secret);
        }
    }

    /// Whether, behind a name and white space, `rest` is its value although nothing stands between them.
    fn follows(&self, rest: &str, word: &str, verdict: Key, lead: &Lead, first: bool) -> bool {
        let mut words = rest.split_whitespace();
        let (Some(next), second) = (words.next(), words.next()) else { return false };
        let quoted = value::opening_quote(next).is_some();
        let last = key::words(word).pop().unwrap_or_default();
        // In `password for root`, the name must itself be the word.
        let speaks = key::judge(&last) == Key::Secret && verdict == Key::Secret;
        let forwards = matches!(
            word,
            "proxy_pass" | "fastcgi_pass" | "uwsgi_pass" | "scgi_pass" | "grpc_pass" | "memcached_pass" | "ProxyPass"
        );
        if !speaks || forwards || self.kind == Kind::Pam || next.starts_with(['[', '(', '{', '|', '>', '&', '<']) {
            return false;
        }
        if self.kind == Kind::Log || (lead.comment && second.is_some()) {
            return quoted || (lead.comment && value::is_opaque(next) && first);
        }
        if lead.comment {
            return first && (lead.tight || quoted || value::is_opaque(next));
        }
        if word == "pass" && matches!(next, "in" | "out" | "on" | "proto" | "inet" | "inet6" | "from" | "to" | "all") {
            return false;
        }
        quoted || !value::goes_on(next) || (first && second.is_none() && last != "pass")
    }
}

/// What stands on a line before it says anything.
struct Lead {
    end: usize,
    comment: bool,
    /// Nothing stands between the sign of a comment and its text: a setting that was switched off.
    tight: bool,
}

impl Lead {
    fn of(line: &str) -> Self {
        let mut lead = Self { end: indent_of(line), comment: false, tight: false };
        let rest = cut(line, lead.end..line.len());
        let text = rest.trim_start_matches(['#', ';', '!', '/', '\'']);
        let signs = rest.len() - text.len();
        // One slash begins a path.
        if signs > 0 && !(rest.starts_with('/') && signs == 1) && !rest.starts_with('\'') {
            lead.comment = true;
            lead.tight = !text.starts_with(char::is_whitespace);
            lead.end += signs + (text.len() - text.trim_start().len());
        }
        lead
    }

    /// Whether nothing but words, such as `export`, `set` or `ldap bind`, stands between the lead and `at`.
    fn leads_to(&self, line: &str, at: usize) -> bool {
        /// Further from the beginning of a line, in bytes, than such words reach.
        const FAR: usize = 100;
        if at.saturating_sub(self.end) > FAR {
            return false;
        }
        let before = cut(line, self.end..at);
        let before =
            before.trim_start_matches(['-', '"', '\'', '$', '%', '@', '+', '?', '*', '.', ' ', '\t', '{', ',']);
        before.split_whitespace().count() <= 3
            && before.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '\t' | '-' | '_'))
    }
}

/// The next run of letters, digits and what joins them, from `from` on.
fn next_name(line: &str, from: usize) -> Option<Range<usize>> {
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let rest = line.get(from..)?;
    let skipped = rest.find(|c: char| c.is_alphanumeric() || c == '_')?;
    let begin = from + skipped;
    let word = line.get(begin..)?;
    let length = word.find(|c| !joins(c)).unwrap_or(word.len());
    let word = cut(line, begin..begin + length).trim_end_matches(['-', '.']);
    Some(begin..begin + word.len().max(1))
}
