//! A program of this machine that judges a file.
//!
//! It gets the file's path as an argument and nothing else: no shell, no standard input, none of this process's environment.
//! It and whatever it started in its process group are gone before the check returns, also when the check is abandoned.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use super::{Rejection, tidy};

/// How much of what it says is kept, in bytes; the rest is read and thrown away.
const MAX_KEPT: usize = 4096;
/// How long its last words are waited for once its process group is gone: something that left the group may hold the pipe.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// What stands for the file.
const FILE: &[u8] = b"{file}";
/// Where programs are looked for when this process has no `PATH` itself.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Ends a process group when it is dropped.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.take() {
            // That nobody is left is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

pub(super) async fn run(argv: &[String], file: &Path, patience: Duration) -> Result<(), Rejection> {
    let Some((program, arguments)) = argv.split_first() else {
        return Err(Rejection("its check is a command without a program".to_owned()));
    };
    let wrong = |why: String| Rejection(format!("its check {program:?} {why}"));
    let file = std::path::absolute(file).map_err(|error| wrong(format!("can't be run: {error}")))?;
    let mut child = match spawn(program, arguments, &file) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(wrong("is not on this machine: install it, or take the check away".to_owned()));
        }
        Err(error) => return Err(wrong(format!("can't be run: {error}"))),
    };
    let group = Group(child.id().and_then(|id| Pid::from_raw(id.cast_signed())));
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let ended = {
        let mut hearing = pin!(async { tokio::join!(hear(out, &mut said), hear(err, &mut complained)) });
        let mut heard = false;
        let waiting = async {
            loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = hearing.as_mut(), if !heard => heard = true,
                }
            }
        };
        let ended = tokio::time::timeout(patience, waiting).await;
        drop(group);
        if !heard {
            // What was said by then counts.
            let _ = tokio::time::timeout(LAST_WORDS, hearing).await;
        }
        ended
    };
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(wrong(refusal(status, &complained, &said))),
        Ok(Err(error)) => Err(wrong(format!("can't be waited for: {error}"))),
        Err(_) => {
            // It was killed; this takes it off the list of processes.
            child.wait().await.map_err(|error| wrong(format!("can't be waited for: {error}")))?;
            Err(wrong(format!("took longer than {} s and was ended", patience.as_secs_f32())))
        }
    }
}

/// Where the programs of checks are looked for, as `PATH` has it.
#[must_use]
pub fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

fn spawn(program: &str, arguments: &[String], file: &Path) -> io::Result<Child> {
    Command::new(program)
        .args(arguments.iter().map(|argument| fill(argument, file.as_os_str())))
        .env_clear()
        .env("PATH", search_path())
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

/// `argument` with the file's path in every place that asks for it; the path may be any bytes.
fn fill(argument: &str, file: &OsStr) -> OsString {
    let (mut filled, mut rest) = (Vec::new(), argument.as_bytes());
    while let Some(at) = rest.windows(FILE.len()).position(|part| part == FILE) {
        let (before, after) = rest.split_at(at);
        filled.extend_from_slice(before);
        filled.extend_from_slice(file.as_bytes());
        rest = after.get(FILE.len()..).unwrap_or_default();
    }
    filled.extend_from_slice(rest);
    OsString::from_vec(filled)
}

/// Reads to the end, so that nobody waits for a full pipe, and keeps the beginning.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 8192];
    // A pipe that can't be read has nothing more to say; the exit status decides.
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        let room = MAX_KEPT.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
}

fn refusal(status: ExitStatus, complained: &[u8], said: &[u8]) -> String {
    let words = [complained, said].map(|bytes| tidy(&String::from_utf8_lossy(bytes)));
    match words.into_iter().find(|words| !words.is_empty()) {
        Some(words) => format!("refuses it ({status}): {words}"),
        None => format!("refuses it ({status}) and says nothing"),
    }
}

#[cfg(test)]
mod tests;
