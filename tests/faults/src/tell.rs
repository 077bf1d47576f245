//! How a campaign is followed: a bar on a terminal, lines elsewhere.
#![allow(clippy::print_stdout, reason = "progress without a terminal goes where the result goes")]

use std::io::IsTerminal;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

use crate::campaign::Tell;
use crate::fault::Case;
use crate::report::Report;

/// Tells on standard error if that is a terminal, else on standard output.
#[derive(Debug, Default)]
pub struct Progress {
    bar: OnceLock<ProgressBar>,
    played: AtomicUsize,
    cases: AtomicUsize,
    only_broken: bool,
}

impl Progress {
    /// Without a terminal, tells only of cases that broke something: the rest would bury them.
    #[must_use]
    pub fn of_what_breaks() -> Self {
        Self { only_broken: true, ..Self::default() }
    }
}

impl Tell for Progress {
    fn begin(&self, cases: usize) {
        self.cases.store(cases, Ordering::Relaxed);
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(cases as u64);
            if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} (then {eta})  {msg}") {
                bar.set_style(style);
            }
            // Once a campaign.
            let _already = self.bar.set(bar);
        }
    }

    fn played(&self, case: &Case, report: &Report) {
        let number = self.played.fetch_add(1, Ordering::Relaxed) + 1;
        let all = self.cases.load(Ordering::Relaxed);
        let word = if report.broken.is_empty() { "ok" } else { "BROKEN" };
        let swept = if report.swept { " (swept)" } else { "" };
        let line = format!("{word:<6} {:>5.1}s {:?}{swept}  {}", report.seconds, report.outcomes, case.name);
        match self.bar.get() {
            Some(bar) => {
                bar.inc(1);
                bar.set_message(case.name.chars().take(60).collect::<String>());
                if !report.broken.is_empty() {
                    bar.println(line);
                }
            }
            None if self.only_broken && report.broken.is_empty() => {}
            None => println!("{number:>4}/{all} {line}"),
        }
        for broken in &report.broken {
            let line = format!("       {} {}", broken.invariant, broken.what);
            match self.bar.get() {
                Some(bar) => bar.println(line),
                None => println!("{line}"),
            }
        }
    }
}
