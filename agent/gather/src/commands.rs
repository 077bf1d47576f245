//! What commands say, each into a file of its own.
//!
//! Invariants:
//! - an output is kept only when its command ended with 0: half of one never replaces a whole one;
//! - no command waits for input, and none runs longer than its source may take: what hangs is ended.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Stdio;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use drawbridge_hosts::{Ended, Host, Output, SshError};
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use crate::aside;
use crate::catalogue::{CatalogueWriter, Entry, Folder, Header};
use crate::collect::{CollectError, Collected, Errand, Job};
use crate::outcome::{Counts, Problems, in_one_line};
use crate::preview::{Coming, Why};
use crate::source::CommandOutput;
use crate::staging::Staging;
use crate::tree::{Kind, Meta, Mtime, TreeError};

/// How much of what a command complains about is told, in bytes.
const MAX_COMPLAINT_BYTES: usize = 400;

/// Where commands run.
pub(crate) enum Shell<'a> {
    /// On this machine, by `/bin/sh`.
    Here,
    /// On another one, by the user's shell.
    There(&'a Host),
}

/// A command didn't do what it should.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    #[error("the command can't be run")]
    Start(#[source] io::Error),
    #[error("the command's output can't be read")]
    Read(#[source] io::Error),
    #[error("the connection broke off")]
    Ssh(#[from] SshError),
    #[error("the command ended with {how}{complaint}")]
    Ended { how: String, complaint: String },
    #[error("the command says more than {0} bytes: raise max_file_size if it should")]
    TooMuch(u64),
    #[error("the command said nothing for {0} s and was ended")]
    Silent(u64),
    #[error("the output can't be kept")]
    Keep(#[source] io::Error),
    #[error("gathering was called off")]
    CalledOff,
}

/// Runs every command, one after another.
pub(crate) async fn collect(
    shell: &Shell<'_>,
    commands: &[CommandOutput],
    job: &Job<'_>,
) -> Result<Collected, CollectError> {
    let (mut counts, mut problems) = (Counts::default(), Problems::default());
    let Errand::Fetch { staging, aside, catalogue, place, boot } = &job.errand else {
        preview(commands, job);
        return Ok(Collected { draft: None, counts, problems, changed: Vec::new(), still_there: 0 });
    };
    let mut entries = Vec::new();
    for command in commands {
        let path = Path::new("/").join(&command.file);
        let old = job.old_entry(&path)?;
        match output(shell, command, &path, job, staging, aside).await {
            Ok(meta) => {
                let same = old.as_ref().is_some_and(|_| is_as_before(job, staging, &path));
                if same {
                    staging.forget(&path)
                } else {
                    counts.copied_files += 1
                };
                let meta = old.filter(|_| same).map_or(meta, |old| old.meta);
                counts.copied_bytes += if same { 0 } else { meta.size };
                entries.push(entry(&command.file, meta, !same));
            }
            Err(CommandError::Ssh(lost)) if lost.may_pass() => {
                return Err(CollectError::Source(TreeError::Lost(io::Error::other(in_one_line(&lost)))));
            }
            Err(CommandError::CalledOff) => return Err(CollectError::CalledOff),
            Err(error) => {
                counts.rejected += u64::from(matches!(error, CommandError::Keep(_)));
                problems.note(&path, &in_one_line(&error));
                entries.extend(old.map(|old| Entry { fetched: false, ..old }));
            }
        }
        job.progress.file();
    }
    counts.files = entries.len() as u64;
    counts.bytes = entries.iter().map(|entry| entry.meta.size).sum();
    let still_there = counts.files;
    let root = Meta { kind: Kind::Directory, mode: 0o700, ..meta_of(0) };
    let mut writer = CatalogueWriter::begin(
        catalogue,
        &Header {
            place: (*place).to_owned(),
            root: Meta { mtime: Mtime { seconds: 0, nanoseconds: 0 }, ..root },
            boot: (*boot).to_owned(),
        },
    )?;
    writer.add(&Folder::new(Path::new("/"), entries))?;
    Ok(Collected { draft: Some(writer.finish()?), counts, problems, changed: Vec::new(), still_there })
}

fn preview(commands: &[CommandOutput], job: &Job<'_>) {
    if let Errand::Preview(tell) = &job.errand {
        for command in commands {
            tell(Coming { path: Path::new("/").join(&command.file), bytes: 0, why: Why::Command });
        }
    }
}

fn entry(file: &str, meta: Meta, fetched: bool) -> Entry {
    Entry { name: OsString::from(file), meta, link: OsString::new(), fresh: false, fetched }
}

/// Runs one command and stages what it says.
async fn output(
    shell: &Shell<'_>,
    command: &CommandOutput,
    path: &Path,
    job: &Job<'_>,
    staging: &Staging,
    aside: &Path,
) -> Result<Meta, CommandError> {
    let growing = staging.begin().map_err(CommandError::Keep)?;
    let mut sink = Sink { file: &growing.file, length: 0, job };
    match shell {
        Shell::Here => run_here(command, &mut sink).await?,
        Shell::There(host) => run_there(host, command, &mut sink).await?,
    }
    let meta = meta_of(sink.length);
    for rule in command.checks.iter().filter(|rule| rule.concerns(path)) {
        if let Err(rejection) = rule.check(path, &growing.path()).await {
            let kept = aside::keep(aside, growing, path).map_err(CommandError::Keep)?;
            return Err(CommandError::Keep(io::Error::other(format!("{rejection}; the last good copy stays, {kept}"))));
        }
    }
    growing.keep(path, meta.clone(), meta, false, 0).map(|staged| staged.meta).map_err(CommandError::Keep)
}

/// The output of a command has no owner or time of its own: those of its making.
fn meta_of(size: u64) -> Meta {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Meta {
        kind: Kind::File,
        size,
        allocated: None,
        mode: 0o600,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Mtime { seconds: i64::try_from(now.as_secs()).unwrap_or(i64::MAX), nanoseconds: 0 },
    }
}

/// Where output goes.
struct Sink<'a> {
    file: &'a File,
    length: u64,
    job: &'a Job<'a>,
}

impl Sink<'_> {
    async fn take(&mut self, chunk: &[u8]) -> Result<(), CommandError> {
        let bytes = chunk.len() as u64;
        if self.length.saturating_add(bytes) > self.job.limits.file_bytes {
            return Err(CommandError::TooMuch(self.job.limits.file_bytes));
        }
        if self.job.called_off.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(CommandError::CalledOff);
        }
        for throttle in self.job.throttles {
            throttle.take(bytes).await;
        }
        self.file.write_all_at(chunk, self.length).map_err(CommandError::Keep)?;
        self.length += bytes;
        self.job.progress.bytes(bytes);
        Ok(())
    }
}

async fn run_here(command: &CommandOutput, sink: &mut Sink<'_>) -> Result<(), CommandError> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(&command.run).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own, so that everything it started ends with it.
    let mut child = shell.process_group(0).kill_on_drop(true).spawn().map_err(CommandError::Start)?;
    let group = Group(child.id());
    let silence = sink.job.limits.silence;
    let (Some(mut stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(CommandError::Start(io::Error::other("it has no output")));
    };
    let complaint = tokio::spawn(complaint(stderr));
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = tokio::time::timeout(silence, stdout.read(&mut buffer)).await;
        match read.map_err(|_| CommandError::Silent(silence.as_secs()))?.map_err(CommandError::Read)? {
            0 => break,
            read => sink.take(buffer.get(..read).unwrap_or_default()).await?,
        }
    }
    let status = tokio::time::timeout(silence, child.wait()).await;
    let status = status.map_err(|_| CommandError::Silent(silence.as_secs()))?.map_err(CommandError::Read)?;
    drop(group);
    if status.success() {
        return Ok(());
    }
    let complaint = complaint.await.unwrap_or_default();
    Err(CommandError::Ended { how: status.to_string(), complaint: in_words(&complaint) })
}

/// Ends everything that a command has left running.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id {
            // Mostly nobody is left.
            let _nobody = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

async fn complaint(mut stderr: impl tokio::io::AsyncRead + Unpin) -> Vec<u8> {
    let (mut said, mut buffer) = (Vec::new(), vec![0; 4096]);
    // All of it is read, so that the command isn't held up; little is kept.
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        let room = MAX_COMPLAINT_BYTES.saturating_sub(said.len()).min(read);
        said.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    said
}

async fn run_there(host: &Host, command: &CommandOutput, sink: &mut Sink<'_>) -> Result<(), CommandError> {
    let mut running = host.run(&command.run).await?;
    let mut said: Vec<u8> = Vec::new();
    while let Some(output) = running.next().await? {
        match output {
            Output::Stdout(chunk) => sink.take(&chunk).await?,
            Output::Stderr(chunk) => complain(&mut said, &chunk),
        }
    }
    match running.end().await? {
        Ended::Exit(0) => Ok(()),
        Ended::Exit(code) => {
            Err(CommandError::Ended { how: format!("exit status {code}"), complaint: in_words(&said) })
        }
        Ended::Signal(name) => Err(CommandError::Ended { how: format!("signal {name}"), complaint: in_words(&said) }),
    }
}

fn complain(said: &mut Vec<u8>, chunk: &Bytes) {
    let room = MAX_COMPLAINT_BYTES.saturating_sub(said.len()).min(chunk.len());
    said.extend_from_slice(chunk.get(..room).unwrap_or_default());
}

/// The first line of what a command complains about.
fn in_words(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    text.lines().find(|line| !line.trim().is_empty()).map_or_else(String::new, |line| format!(": {}", line.trim()))
}

/// Whether the output is the one that the mirror has: then nothing changes, not even its time.
fn is_as_before(job: &Job<'_>, staging: &Staging, path: &Path) -> bool {
    let Some(copy) = job.mirror.and_then(|mirror| mirror.open_path(path).ok()) else { return false };
    staging.reader(path).is_some_and(|staged| same(&copy, &staged).unwrap_or(false))
}

fn same(a: &File, b: &File) -> io::Result<bool> {
    let length = a.metadata()?.len();
    if length != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right, mut at) = (vec![0; 64 * 1024], vec![0; 64 * 1024], 0);
    while at < length {
        let most = usize::try_from(length - at).unwrap_or(usize::MAX).min(left.len());
        let (Some(left), Some(right)) = (left.get_mut(..most), right.get_mut(..most)) else { return Ok(false) };
        a.read_exact_at(left, at)?;
        b.read_exact_at(right, at)?;
        if left != right {
            return Ok(false);
        }
        at += most as u64;
    }
    Ok(true)
}
