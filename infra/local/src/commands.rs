//! The commands of `cargo local`.
#![allow(clippy::print_stdout, reason = "a command's result goes to standard output")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

use crate::agent_config::Source;
use crate::error::Context;
use crate::{LocalStack, Problem, Result, StackDescription, UpOptions, Workspace, demo, lint, teardown};

/// How long `down` waits for a stack to end what it started.
const DOWN_PATIENCE: Duration = Duration::from_secs(40);

/// Drawbridge on one machine: emulated AWS, deployed template, real functions, real gate, real agent.
#[derive(Debug, Parser)]
#[command(name = "cargo local", bin_name = "cargo local", version)]
pub struct Arguments {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Bring the local stack up and keep it up until interrupted; target/local/stack.json tells how to reach it.
    Up(Up),
    /// Take a local stack down.
    Down(Where),
    /// Tell whether a local stack is up, and how to reach it.
    Status(Where),
    /// The main job, complete: back this machine up over the bridge, restore it from the vault, compare every byte.
    Demo(demo::Options),
    /// Measure how long a box outlives the agent's last callback.
    MeasureTeardown(teardown::Options),
    /// Lint infra/template.yaml and the state machine with the pinned linters.
    Lint,
}

#[derive(Debug, Args)]
struct Where {
    /// The stack's folder instead of target/local
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Up {
    #[command(flatten)]
    place: Where,
    /// Override a parameter of infra/template.yaml; repeatable
    #[arg(long, value_name = "PARAMETER=VALUE", value_parser = parameter)]
    set: Vec<(String, String)>,
    /// The TCP port of the emulated AWS instead of any free one
    #[arg(long)]
    port: Option<u16>,
    /// What the agent's ready-made configuration gathers; repeatable
    #[arg(long, value_name = "PATH", default_value = "/etc")]
    source: Vec<PathBuf>,
}

impl Where {
    fn resolve(&self, workspace: &Workspace) -> Result<PathBuf> {
        self.state_dir.as_deref().map_or_else(|| Ok(workspace.state_dir()), absolute)
    }
}

/// A path as the processes that we start will understand it, whatever folder they run in.
pub(crate) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context(|| format!("{} is no path", path.display()))
}

/// `Parameter=value`.
fn parameter(text: &str) -> std::result::Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected Parameter=value, for example HeartbeatSeconds=5".to_owned()),
    }
}

/// Does what the command line asks for.
///
/// # Errors
/// One clear message that says what to do.
pub async fn execute(arguments: Arguments) -> Result<()> {
    let workspace = Workspace::here();
    match arguments.command {
        Verb::Up(up) => bring_up(&workspace, up).await,
        Verb::Down(place) => take_down(&place.resolve(&workspace)?),
        Verb::Status(place) => status(&place.resolve(&workspace)?),
        Verb::Demo(options) => demo::run(&workspace, &options).await,
        Verb::MeasureTeardown(options) => teardown::measure(&workspace, &options).await,
        Verb::Lint => {
            lint::lint(&workspace)?;
            println!("The template and the state machine are clean.");
            Ok(())
        }
    }
}

async fn bring_up(workspace: &Workspace, up: Up) -> Result<()> {
    let paths = up.source.iter().map(|path| absolute(path)).collect::<Result<_>>()?;
    let source = Source { name: "this-machine".to_owned(), paths, ..Source::default() };
    let options = UpOptions {
        state_dir: up.place.resolve(workspace)?,
        set: up.set,
        port: up.port,
        sources: vec![source],
        routes: std::collections::BTreeMap::new(),
    };
    // Armed before anything is started, so that an interrupt always takes down what is there.
    let interrupt = Interrupt::new()?;
    let began = Instant::now();
    let workspace = workspace.clone();
    let mut stack = tokio::task::spawn_blocking(move || {
        LocalStack::up(&workspace, &options, &|step| eprintln!("{:>5.1}s {step}", began.elapsed().as_secs_f32()))
    })
    .await
    .context(|| "the start was interrupted".to_owned())??;
    describe(stack.description());
    println!("\nIt stays up until you press Ctrl-C.");
    interrupt.hold(&mut stack).await
}

/// The signals that end a stack.
pub(crate) struct Interrupt {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupt {
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context(|| "cannot listen for signals".to_owned());
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Waits for a signal, as long as every part of the stack lives.
    pub(crate) async fn hold(mut self, stack: &mut LocalStack) -> Result<()> {
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => break,
                _ = self.terminate.recv() => break,
                _ = look.tick() => stack.check()?,
            }
        }
        eprintln!("taking the local stack down");
        Ok(())
    }
}

fn describe(stack: &StackDescription) {
    println!("\nThe local stack is up.");
    println!("  endpoint    {}", stack.endpoint_url);
    println!("  vault       s3://{}", stack.vault);
    println!("  agent       target/debug/drawbridge --config {} run", stack.agent.config.display());
}

fn status(state_dir: &Path) -> Result<()> {
    let stack = StackDescription::read(state_dir)?;
    if !stack.owner.is_alive() {
        let at = state_dir.display();
        return Err(Problem::new(format!("the local stack in {at} was killed; start it again: cargo local up")));
    }
    describe(&stack);
    Ok(())
}

fn take_down(state_dir: &Path) -> Result<()> {
    let stack = StackDescription::read(state_dir)?;
    let owner = stack.owner;
    let pid = i32::try_from(owner.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| Problem::new(format!("{} is no process id", owner.pid)))?;
    if owner.is_alive() {
        kill_process(pid, Signal::TERM).context(|| format!("cannot end process {}", owner.pid))?;
    }
    let until = Instant::now() + DOWN_PATIENCE;
    while owner.is_alive() {
        if Instant::now() > until {
            return Err(Problem::new(format!("process {} does not end", owner.pid)));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("The local stack is down.");
    Ok(())
}
