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
    for template in [transfer::KNOWN, transfer::UNKNOWN] {
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
