//! What the program says, in three forms: to a person at a terminal, to a log, to a machine.
//!
//! Invariants:
//! - standard output holds results only, and with `--json` nothing but one JSON object a line;
//! - everything else that is for people goes to standard error;
//! - progress never slows the work: counting is one atomic addition, and only some additions write.

mod gathering;
mod pace;
mod paint;
mod transfer;

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use indicatif::MultiProgress;
use serde::Serialize;
use serde_json::json;

pub use gathering::Gathering;
use paint::{bold, paint, printable};
pub use transfer::Transfer;

/// The program's voice. Cheap to clone; clones speak in turn.
#[derive(Clone)]
pub struct Ui(Arc<Inner>);

struct Inner {
    form: Form,
    /// Standard output takes colours.
    colour: bool,
    out: Mutex<Box<dyn Write + Send>>,
    err: Mutex<Box<dyn Write + Send>>,
}

/// To whom the program speaks.
#[derive(Debug, Clone)]
pub enum Form {
    /// To a person at a terminal: bars.
    Terminal(MultiProgress),
    /// To a log, or through a pipe: plain lines.
    Plain,
    /// To a machine: JSON lines.
    Json,
}

impl fmt::Debug for Ui {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ui").field(&self.0.form).finish()
    }
}

impl Ui {
    /// On the process's own standard output and standard error, in the form that suits them.
    #[must_use]
    pub fn on_stdio(json: bool) -> Self {
        let form = if json {
            Form::Json
        } else if io::stderr().is_terminal() {
            Form::Terminal(MultiProgress::new())
        } else {
            Form::Plain
        };
        // https://no-color.org: set to anything but nothing, it means no.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colour = !json && !unwanted && io::stdout().is_terminal();
        Self::with(form, colour, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// In the form `form`, results to `out` and the rest to `err`.
    #[must_use]
    pub fn new(form: Form, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self::with(form, false, out, err)
    }

    fn with(form: Form, colour: bool, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Inner { form, colour, out: Mutex::new(out), err: Mutex::new(err) }))
    }

    /// Says nothing to anybody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Form::Plain, Box::new(io::sink()), Box::new(io::sink()))
    }

    /// Whether a machine listens.
    #[must_use]
    pub fn is_json(&self) -> bool {
        matches!(self.0.form, Form::Json)
    }

    /// A new part of the work begins, for example "Gathering".
    pub fn stage(&self, text: &str) {
        self.event("stage", text, "");
    }

    /// Something worth knowing that needs nobody.
    pub fn note(&self, text: &str) {
        self.event("note", text, "  ");
    }

    /// Something that somebody should look at.
    pub fn warn(&self, text: &str) {
        self.event("warning", text, "warning: ");
    }

    /// Begins to count bytes: `total` of them, or nobody knows how many.
    #[must_use]
    pub fn transfer(&self, label: &str, total: Option<u64>) -> Transfer {
        Transfer::new(self.clone(), label, total)
    }

    /// Begins to count what comes of the source `label`.
    #[must_use]
    pub fn gathering(&self, label: &str) -> Gathering {
        Gathering::new(self.clone(), label)
    }

    /// A unified difference as a result: the lines `head`, then `body`; in colours where standard output takes them. For people only.
    pub fn patch(&self, head: &str, body: &str) {
        let (head, body) = (printable(head), printable(body.strip_suffix('\n').unwrap_or(body)));
        let (head, body) = if self.0.colour { (bold(&head), paint(&body)) } else { (head, body) };
        let text = if body.is_empty() { head } else { format!("{head}\n{body}") };
        self.write_printable(&self.0.out, &text);
    }

    /// One result: for a machine `{"event": <kind>, ...value}`, for a person `human`.
    pub fn result(&self, kind: &str, value: &impl Serialize, human: &impl fmt::Display) {
        if !self.is_json() {
            return self.out_line(&human.to_string());
        }
        match serde_json::to_value(value) {
            Ok(serde_json::Value::Object(mut fields)) => {
                fields.insert("event".to_owned(), json!(kind));
                self.out_line(&serde_json::Value::Object(fields).to_string());
            }
            Ok(other) => self.out_line(&json!({"event": kind, "value": other}).to_string()),
            Err(error) => self.error(&error),
        }
    }

    /// An error and everything that caused it.
    pub fn error(&self, error: &(dyn Error + 'static)) {
        let because: Vec<String> = causes(error);
        if self.is_json() {
            return self
                .out_line(&json!({"event": "error", "message": error.to_string(), "because": because}).to_string());
        }
        let mut text = format!("error: {error}");
        for cause in because {
            text.push_str("\n  because: ");
            text.push_str(&cause);
        }
        self.err_line(&text);
    }

    fn event(&self, kind: &str, text: &str, prefix: &str) {
        if self.is_json() {
            self.out_line(&json!({"event": kind, "text": text}).to_string());
        } else {
            self.err_line(&format!("{prefix}{text}"));
        }
    }

    fn out_line(&self, text: &str) {
        self.write_line(&self.0.out, text);
    }

    fn err_line(&self, text: &str) {
        self.write_line(&self.0.err, text);
    }

    fn write_line(&self, to: &Mutex<Box<dyn Write + Send>>, text: &str) {
        self.write_printable(to, &printable(text));
    }

    fn write_printable(&self, to: &Mutex<Box<dyn Write + Send>>, text: &str) {
        let write = || {
            let mut to = to.lock().unwrap_or_else(PoisonError::into_inner);
            // A reader that has gone, as with `drawbridge run | head`, is no reason to end a backup; and there is nobody
            // left to tell.
            let _gone = writeln!(to, "{text}").and_then(|()| to.flush());
        };
        match &self.0.form {
            Form::Terminal(bars) => bars.suspend(write),
            Form::Plain | Form::Json => write(),
        }
    }
}

/// Every cause below `error`, nearest first, without those that repeat what is above them.
fn causes(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut above = error.to_string();
    let mut because = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !above.contains(&text) {
            because.push(text.clone());
            above = text;
        }
        next = cause.source();
    }
    because
}

/// Bytes for people: `987 B`, `1.5 MiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

#[cfg(test)]
mod tests;
