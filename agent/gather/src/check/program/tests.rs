#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use std::fs;

use super::*;

/// Long enough for a shell to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn shell(script: &str) -> Vec<String> {
    ["/bin/sh", "-c", script, "check", "{file}"].map(str::to_owned).to_vec()
}

async fn refused(argv: &[String], file: &Path, patience: Duration) -> String {
    run(argv, file, patience).await.expect_err("it should be refused").to_string()
}

/// Whether a process still is, and is no zombie.
fn lives(id: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim()));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

/// Waits until the process whose id stands in `file` is gone.
async fn gone(file: &Path) {
    let id = fs::read_to_string(file).expect("the process wrote its id");
    tokio::time::timeout(PATIENCE, async {
        while lives(&id) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("the process is still there");
}

#[tokio::test]
async fn a_program_judges_by_its_exit_status_and_its_first_line_is_told() {
    let file = Path::new("/etc/hostname");
    assert!(run(&shell("test -f \"$1\""), file, PATIENCE).await.is_ok());
    let refused =
        refused(&shell("echo out; echo >&2; printf 'bad \\033[31mline 3\\nmore\\n' >&2; exit 4"), file, PATIENCE).await;
    assert!(refused.contains("exit status: 4") && refused.contains("bad \u{fffd}[31mline 3"), "{refused}");
    assert!(!refused.contains("more") && !refused.contains("out"), "{refused}");
}

#[tokio::test]
async fn the_path_is_one_argument_whatever_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(OsStr::from_bytes(b"a $(touch pwned) ; '\"\xff {file} b"));
    fs::write(&file, "x").unwrap();
    assert!(run(&shell("test -f \"$1\" && test $# = 1"), &file, PATIENCE).await.is_ok());
    assert_eq!(fill("--in={file},{file}", OsStr::new("/f")), "--in=/f,/f");
    assert_eq!(fill("{fil}{file", OsStr::new("/f")), "{fil}{file");
}

#[tokio::test]
async fn a_program_gets_no_input_and_nothing_of_this_process() {
    let clean = shell("test -z \"$HOME$CARGO$USER\" && ! read line && test \"$(pwd)\" = /");
    run(&clean, Path::new("/etc/hostname"), PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_missing_program_is_named_with_what_to_do() {
    let refused =
        refused(&["no-such-program".to_owned(), "{file}".to_owned()], Path::new("/etc/hostname"), PATIENCE).await;
    assert!(refused.contains("\"no-such-program\" is not on this machine: install it"), "{refused}");
}

#[tokio::test]
async fn a_program_that_hangs_is_ended_with_what_it_started() {
    let dir = tempfile::tempdir().unwrap();
    let ids = dir.path().join("id");
    // The file's path is where it writes its child's id: the child is there before the time is up, or the read below fails.
    let refused = refused(&shell("sleep 60 & echo $! >\"$1\"; wait"), &ids, Duration::from_secs(2)).await;
    assert!(refused.contains("took longer than 2 s and was ended"), "{refused}");
    gone(&ids).await;
}

#[tokio::test]
async fn what_a_program_leaves_running_is_ended_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let ids = dir.path().join("id");
    // It holds the pipes, too.
    run(&shell("sleep 600 & echo $! >\"$1\"; exit 0"), &ids, Duration::from_secs(60)).await.unwrap();
    gone(&ids).await;
}

#[tokio::test]
async fn a_check_that_is_abandoned_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let ids = dir.path().join("id");
    let argv = shell("echo $$ >\"$1.new\"; mv \"$1.new\" \"$1\"; sleep 600; exit 0");
    {
        let mut running = pin!(run(&argv, &ids, Duration::from_secs(60)));
        while !ids.exists() {
            let slice = tokio::time::timeout(Duration::from_millis(5), running.as_mut()).await;
            assert!(slice.is_err(), "{slice:?}");
        }
    }
    gone(&ids).await;
}

#[tokio::test]
async fn a_program_that_prints_without_end_is_ended_and_little_of_it_kept() {
    let noisy = "head -c 100000 /dev/zero | tr '\\0' x >&2; exec cat /dev/zero";
    let refused = refused(&shell(noisy), Path::new("/etc/hostname"), Duration::from_secs(2)).await;
    assert!(refused.contains("was ended"), "{refused}");
    let mut kept = Vec::new();
    hear(Some(&vec![b'x'; MAX_KEPT + 1][..]), &mut kept).await;
    assert_eq!(kept.len(), MAX_KEPT);
    // The pipe is full twice over before it ends: somebody must be reading.
    let long = "head -c 200000 /dev/zero | tr '\\0' x >&2; exit 3";
    let refused = super::tests::refused(&shell(long), Path::new("/etc/hostname"), PATIENCE).await;
    assert!(refused.contains("exit status: 3") && refused.len() < 400, "{refused}");
}
