#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use std::io::Write;
use std::sync::{Arc, Mutex};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::{Value, json};

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

fn ui(form: Form) -> (Ui, Captured, Captured) {
    let (out, err) = (Captured::default(), Captured::default());
    (Ui::new(form, Box::new(out.clone()), Box::new(err.clone())), out, err)
}

fn say_everything(ui: &Ui) {
    ui.stage("Gathering");
    ui.note("1 file changed while it was read");
    ui.warn("dns: no route to host");
    let transfer = ui.transfer("this-host", Some(10));
    transfer.clone().advance(6);
    transfer.advance(4);
    transfer.finish();
    transfer.finish();
    ui.error(&io::Error::other("it broke"));
    ui.result("snapshots", &json!({"count": 2}), &"2 snapshots");
}

#[test]
fn plain_results_go_to_stdout_and_the_rest_to_stderr() {
    let (ui, out, err) = ui(Form::Plain);
    say_everything(&ui);
    assert_eq!(out.text(), "2 snapshots\n");
    let err = err.text();
    assert!(err.contains("Gathering\n") && err.contains("warning: dns") && err.contains("error: it broke"), "{err}");
    assert_eq!(err.matches("this-host: 10 B in").count(), 1, "{err}");
    assert!(!err.contains('\u{1b}'), "no colours in a log: {err}");
}

#[test]
fn json_is_one_object_a_line_on_stdout_and_nothing_else_anywhere() {
    let (ui, out, err) = ui(Form::Json);
    say_everything(&ui);
    assert_eq!(err.text(), "");
    let lines: Vec<Value> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["stage", "note", "warning", "progress", "error", "snapshots"]);
    assert_eq!((&lines[3]["bytes"], &lines[3]["done"]), (&json!(10), &json!(true)));
    assert_eq!(lines[5]["count"], json!(2));
}

#[test]
fn the_templates_of_both_bars_are_valid_and_show_bytes() {
    let (ui, _, err) = ui(Form::Terminal(MultiProgress::with_draw_target(ProgressDrawTarget::hidden())));
    for total in [Some(2048), None] {
        let transfer = ui.transfer("a label that is longer than its column", total);
        transfer.advance(2048);
        transfer.rewind(1024);
        assert_eq!(transfer.bytes(), 1024);
        transfer.finish();
    }
    assert_eq!(err.text().matches("1.00 KiB in").count(), 2, "{}", err.text());
    for template in [transfer::KNOWN, transfer::UNKNOWN, gathering::LINE] {
        indicatif::ProgressStyle::with_template(template).unwrap();
    }
}

#[test]
fn an_aborted_transfer_does_not_say_that_it_is_done() {
    let (ui, _, err) = ui(Form::Plain);
    ui.transfer("this-host", None).advance(1);
    assert_eq!(err.text(), "");
}

#[test]
fn control_characters_of_strange_file_names_do_not_reach_the_terminal() {
    let (ui, _, err) = ui(Form::Plain);
    ui.warn("evil\u{1b}[2Jname\r");
    assert_eq!(err.text(), "warning: evil\u{fffd}[2Jname\u{fffd}\n");
}

#[test]
fn an_error_names_its_causes_without_repeating_them() {
    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] io::Error);
    #[derive(Debug, thiserror::Error)]
    #[error("repeats: root")]
    struct Repeats(#[source] io::Error);

    assert_eq!(causes(&Outer(io::Error::other("root"))), ["root"]);
    assert!(causes(&Repeats(io::Error::other("root"))).is_empty());
}

#[test]
fn a_source_that_comes_along_is_told_with_files_and_bytes_and_ends_with_its_summary() {
    let (ui, _, err) = ui(Form::Plain);
    let gathering = ui.gathering("dns");
    let clone = gathering.clone();
    clone.total_hint(3, 4096);
    clone.advance(3000);
    clone.rewind(952);
    clone.file_done();
    gathering.say("2 files changed while they were read");
    gathering.finish("1 file, 2.00 KiB");
    clone.finish("again");
    assert_eq!(err.text(), "  dns: 2 files changed while they were read\n  dns: 1 file, 2.00 KiB\n");
}

#[test]
fn a_machine_hears_of_a_source_in_events() {
    let (ui, out, _) = ui(Form::Json);
    let gathering = ui.gathering("dns");
    gathering.advance(10);
    gathering.file_done();
    gathering.finish("1 file");
    let event: Value = serde_json::from_str(&out.text()).unwrap();
    assert_eq!((&event["event"], &event["label"]), (&json!("progress"), &json!("dns")));
    assert_eq!((&event["files"], &event["bytes"], &event["done"]), (&json!(1), &json!(10), &json!(true)));
    assert_eq!((&event["total"], &event["summary"]), (&json!(null), &json!("1 file")));
}

/// A terminal that keeps all that was ever written to it.
#[derive(Clone, Default)]
struct Screen(Captured);

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Screen")
    }
}

impl indicatif::TermLike for Screen {
    fn width(&self) -> u16 {
        120
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, text: &str) -> io::Result<()> {
        self.write_str(text)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.clone().write_all(text.as_bytes())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_on_a_terminal_shows_files_bytes_and_name() {
    let terminal = Screen::default();
    let lines = MultiProgress::with_draw_target(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
    let (ui, _, _) = ui(Form::Terminal(lines));
    let gathering = ui.gathering("firewall");
    gathering.total_hint(4, 1 << 20);
    gathering.file_done();
    gathering.advance(2048);
    // Drawn by the next event, or by the tick.
    while !terminal.0.text().contains("2.00 KiB of 1.00 MiB") {
        std::thread::yield_now();
    }
    let shown = terminal.0.text();
    assert!(shown.contains("firewall") && shown.contains("1 of 4 files"), "{shown}");
}

#[test]
fn a_difference_is_coloured_for_a_terminal_only_and_its_own_escapes_never_pass() {
    let body = "@@ -1 +1 @@\n-old\n+new\u{1b}[2J\u{202e}\n";
    let (plain, out, _) = ui(Form::Plain);
    plain.patch("changed x", body);
    assert_eq!(out.text(), "changed x\n@@ -1 +1 @@\n-old\n+new\u{fffd}[2J\u{fffd}\n");
    let out = Captured::default();
    let coloured = Ui::with(Form::Plain, true, Box::new(out.clone()), Box::new(io::sink()));
    coloured.patch("changed x", body);
    let expected = "\u{1b}[1mchanged x\u{1b}[0m\n\u{1b}[36m@@ -1 +1 @@\u{1b}[0m\n\u{1b}[31m-old\u{1b}[0m\n\u{1b}[32m+new\u{fffd}[2J\u{fffd}\u{1b}[0m\n";
    assert_eq!(out.text(), expected);
}
