//! `cargo demo`: the main job, complete and real, on one machine.
#![allow(clippy::print_stdout, reason = "the demo is what it prints")]

mod proof;
mod teller;

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;

use crate::agent_config::Source;
use crate::commands::{Interrupt, absolute};
use crate::error::Context;
use crate::sshd::Sshd;
use crate::{AgentFiles, Clients, LocalStack, Problem, Result, StackDescription, UpOptions, Workspace};
use proof::Run;
use teller::Teller;

/// What the second host is asked for, over SSH.
const SECOND_HOST_PATHS: [&str; 1] = ["/etc"];
/// The agent's exit code for "verified, but some source was not complete".
const PARTIAL: i32 = 3;

/// How to run the demo.
#[derive(Debug, Args)]
pub struct Options {
    /// What to back up instead of /etc and /var/log; repeatable
    #[arg(long, value_name = "PATH")]
    source: Vec<PathBuf>,
    /// Leave everything up at the end, to look around
    #[arg(long)]
    keep: bool,
    /// The demo's folder instead of target/demo
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

/// Runs the demo; succeeds only if all of it held.
///
/// # Errors
/// What didn't hold.
pub async fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let interrupt = Interrupt::new()?;
    let state_dir = match &options.state_dir {
        Some(path) => absolute(path)?,
        None => workspace.target().join("demo"),
    };
    let mut teller = Teller::new();
    teller.headline("Drawbridge demo: this machine's own files, over the bridge and back");

    let second_host = second_host(workspace, &mut teller)?;
    let sources = sources(options, second_host.as_ref())?;
    let mut stack = bring_up(workspace, state_dir.clone(), sources.clone(), &mut teller).await?;
    let files = AgentFiles::new(&state_dir);

    teller.step("Crossing: the real agent, `drawbridge run`");
    run_agent(&workspace.program("drawbridge"), stack.description(), &teller)?;

    let clients = Clients::new(stack.description(), &stack.description().admin).await;
    let run = Run::latest(&clients, stack.description()).await?;
    teller.step(&format!("The execution's history: {}", run.name()));
    run.show_timeline(&clients, &teller).await?;
    teller.step("Restoring from the vault's objects alone");
    let restored = run.restore(&clients, stack.description(), &files, &state_dir.join("restored"), &teller).await?;
    proof::compare_with_mirror(&files.state_dir().join("mirror"), &restored, &teller)?;
    proof::compare_with_source(&sources, &restored, &teller)?;
    teller.step("Looking for anything left behind");
    proof::nothing_left(&clients, stack.description(), &run, &teller).await?;

    teller.headline("All of it held: gathered, crossed, verified, restored byte for byte, and no box left.");
    where_to_look(stack.description(), &run, options.keep, &state_dir);
    if options.keep {
        println!("\nEverything stays up until you press Ctrl-C.");
        interrupt.hold(&mut stack).await?;
    }
    Ok(())
}

/// Starts the second host, where this machine has an SSH server to play it.
fn second_host(workspace: &Workspace, teller: &mut Teller) -> Result<Option<Sshd>> {
    if !Sshd::is_installed() {
        teller.note("no second host: there is no sshd here (on Debian, apt-get install openssh-server brings it)");
        return Ok(None);
    }
    let folder = workspace.target().join("second-host");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).context(|| format!("cannot empty {}", folder.display()))?;
    }
    let server = Sshd::start(&folder)?;
    teller.note("a second host answers over SSH on 127.0.0.1, its host key pinned");
    Ok(Some(server))
}

fn sources(options: &Options, second_host: Option<&Sshd>) -> Result<Vec<Source>> {
    let mut paths = options.source.iter().map(|path| absolute(path)).collect::<Result<Vec<_>>>()?;
    if paths.is_empty() {
        paths = ["/etc", "/var/log"].map(PathBuf::from).to_vec();
    }
    if let Some(missing) = paths.iter().find(|path| !path.exists()) {
        return Err(Problem::new(format!("{} does not exist; name another --source", missing.display())));
    }
    let mut sources = vec![Source { name: "this-machine".to_owned(), paths, ..Source::default() }];
    if let Some(server) = second_host {
        let paths = SECOND_HOST_PATHS.map(PathBuf::from).to_vec();
        sources.push(Source { name: "second-host".to_owned(), paths, host: Some(server.host()), ..Source::default() });
    }
    Ok(sources)
}

async fn bring_up(
    workspace: &Workspace,
    state_dir: PathBuf,
    sources: Vec<Source>,
    teller: &mut Teller,
) -> Result<LocalStack> {
    teller.step("The local stack: emulated AWS with IAM enforced, our template, the real functions");
    let routes = std::collections::BTreeMap::new();
    let options = UpOptions { state_dir, set: Vec::new(), port: None, sources, routes };
    let workspace = workspace.clone();
    let tell = teller.clone();
    tokio::task::spawn_blocking(move || LocalStack::up(&workspace, &options, &|step| tell.note(step)))
        .await
        .context(|| "the start was interrupted".to_owned())?
}

/// Runs the agent in this terminal, as its user would.
fn run_agent(agent: &Path, stack: &StackDescription, teller: &Teller) -> Result<()> {
    let status = Command::new(agent)
        .arg("--config")
        .arg(&stack.agent.config)
        .arg("run")
        .status()
        .context(|| format!("cannot run {}", agent.display()))?;
    match status.code() {
        Some(0) => Ok(()),
        // An ordinary user can't read everything below /etc; the agent says which, and backs up the rest.
        Some(PARTIAL) if !rustix::process::geteuid().is_root() => {
            teller.note("not everything was readable: you are not root. The rest was backed up and verified.");
            Ok(())
        }
        _ => Err(Problem::new(format!("the agent ended with {status}"))),
    }
}

fn where_to_look(stack: &StackDescription, run: &Run, keep: bool, state_dir: &Path) {
    println!("  execution   {}", run.arn());
    println!("  vault       s3://{}/repo/{}/", stack.vault, run.repository());
    println!("  restored    {}", state_dir.join("restored").display());
    println!("  logs        {}", state_dir.display());
    if keep {
        let aws = format!("aws --endpoint-url {} --region {}", stack.endpoint_url, stack.region);
        println!("\nTo look around (the operator's key is in {}/stack.json):", state_dir.display());
        println!("  {aws} s3 ls --recursive s3://{}/", stack.vault);
        println!("  {aws} stepfunctions get-execution-history --execution-arn {}", run.arn());
        println!("  {aws} s3 cp s3://{}/runs/{}/verdict.json -", stack.vault, run.name());
        println!("  target/debug/drawbridge --config {} snapshots", stack.agent.config.display());
    } else {
        println!("Run `cargo demo --keep` to leave it up and look around.");
    }
}
