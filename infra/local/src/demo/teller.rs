use std::io::IsTerminal;
use std::time::Instant;

/// Tells what happens now and how long it has taken so far.
#[derive(Debug, Clone)]
pub(super) struct Teller {
    began: Instant,
    bold: bool,
}

impl Teller {
    pub(super) fn new() -> Self {
        let bold = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { began: Instant::now(), bold }
    }

    /// The beginning and the end.
    pub(super) fn headline(&self, text: &str) {
        println!("\n{}\n", self.emphasised(text));
    }

    /// A part of the demo begins.
    pub(super) fn step(&self, text: &str) {
        println!("\n{} {}", self.elapsed(), self.emphasised(text));
    }

    /// Something that one should know.
    pub(super) fn note(&self, text: &str) {
        println!("{} {text}", self.elapsed());
    }

    /// A row of a table.
    pub(super) fn row(&self, text: &str) {
        println!("         {text}");
    }

    fn elapsed(&self) -> String {
        format!("{:>7.1}s", self.began.elapsed().as_secs_f32())
    }

    fn emphasised(&self, text: &str) -> String {
        if self.bold { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
