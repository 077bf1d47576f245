//! A child process that can't outlive its owner.
//!
//! Invariants: the child leads a process group of its own, and ending it ends the whole group; its standard input is a
//! pipe that nobody writes to, so that it sees the end of file and stops by itself when we are killed.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::Context;
use crate::{Problem, Result};

/// How long a child may take to end what it started, before the group is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A running child and its process group.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its error output in `log`, and its standard output too unless `stdout` says otherwise.
    ///
    /// # Errors
    /// When the program or the log can't be opened.
    pub fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        Self::spawn(name, command, log, None)
    }

    /// As [`Process::start`], and waits for the first line that the program prints.
    ///
    /// # Errors
    /// When it can't be started, or ends without printing a line; the message carries the end of its log.
    pub fn start_and_read_line(name: &'static str, command: &mut Command, log: &Path) -> Result<(Self, String)> {
        let mut process = Self::spawn(name, command, log, Some(Stdio::piped()))?;
        let mut line = String::new();
        if let Some(stdout) = process.child.stdout.take() {
            let mut reader = BufReader::new(stdout);
            reader.read_line(&mut line).context(|| format!("cannot read what {name} says"))?;
            // Whatever follows is read and dropped, or the child would block on a full pipe.
            std::thread::spawn(move || std::io::copy(&mut reader, &mut std::io::sink()));
        }
        if line.is_empty() {
            let tail = process.log_tail();
            return Err(Problem::because(format!("{name} did not start"), tail));
        }
        Ok((process, line))
    }

    fn spawn(name: &'static str, command: &mut Command, log: &Path, stdout: Option<Stdio>) -> Result<Self> {
        let open = || File::options().create(true).append(true).open(log);
        let doing = || format!("cannot open {}", log.display());
        let errors = open().context(doing)?;
        let stdout = match stdout {
            Some(stdout) => stdout,
            None => open().context(doing)?.into(),
        };
        let child = command
            .stdin(Stdio::piped())
            .stdout(stdout)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .context(|| format!("cannot start {name} ({})", Path::new(command.get_program()).display()))?;
        Ok(Self { name, child, log: log.to_path_buf() })
    }

    /// Its process id, which is also its group's.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Fails when the process has ended by itself.
    ///
    /// # Errors
    /// When it has, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => {
                Err(Problem::because(format!("{} ended unexpectedly with {status}", self.name), self.log_tail()))
            }
            Err(error) => Err(Problem::because(format!("cannot look after {}", self.name), error)),
        }
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("\n");
        format!("{tail}\n(whole log: {})", self.log.display())
    }

    /// Ends the process and everything in its group, and waits until it is gone.
    pub fn end(&mut self) {
        let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) else { return };
        drop(self.child.stdin.take());
        // An error here means that the group is gone already, which is what we want.
        let _gone = kill_process_group(group, Signal::TERM);
        let until = Instant::now() + GRACE;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _gone = kill_process_group(group, Signal::KILL);
        let _reaped = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
