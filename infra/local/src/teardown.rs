//! `cargo local measure-teardown`: how long a box outlives the agent's last word.
#![allow(clippy::print_stdout, reason = "the measurement is what it prints")]

use std::collections::BTreeMap;
use std::process::Command;

use clap::Args;
use jiff::SignedDuration;

use crate::agent_config::Source;
use crate::commands::Interrupt;
use crate::error::Context;
use crate::timeline::{Passage, timeline};
use crate::{Clients, LocalStack, Problem, Result, StackDescription, UpOptions, Workspace};

/// The state that the agent's last callback ends.
const AWAIT: &str = "AwaitUpload";
/// The state that terminates the box.
const DESTROY: &str = "DestroyJumpBox";

/// How to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// How many runs
    #[arg(long, default_value = "20", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
}

/// Makes runs on a stack of its own and prints what they took.
///
/// # Errors
/// When a run fails: what failed is not measured.
pub async fn measure(workspace: &Workspace, options: &Options) -> Result<()> {
    let _ends_the_stack_on_a_signal = Interrupt::new()?;
    // Something small: what crosses is not what is measured.
    let source = Source { name: "files".to_owned(), paths: vec![workspace.root().join("infra")], ..Source::default() };
    let state_dir = workspace.target().join("teardown");
    let up = UpOptions { state_dir, set: Vec::new(), port: None, sources: vec![source], routes: BTreeMap::new() };
    let for_the_stack = workspace.clone();
    let stack = tokio::task::spawn_blocking(move || LocalStack::up(&for_the_stack, &up, &|step| eprintln!("{step}")))
        .await
        .context(|| "the start was interrupted".to_owned())??;
    let clients = Clients::new(stack.description(), &stack.description().admin).await;
    let mut taken = Vec::new();
    for run in 1..=options.runs {
        run_agent(workspace, stack.description())?;
        let passages = latest(&clients, stack.description()).await?;
        let (verified, destroyed) = since_the_last_word(&passages)?;
        println!(
            "run {run:>2}: verified after {} ms, destroyed after {} ms",
            verified.as_millis(),
            destroyed.as_millis()
        );
        taken.push(destroyed);
    }
    taken.sort_unstable();
    let middle = taken.get(taken.len() / 2).copied().unwrap_or_default();
    let most = taken.last().copied().unwrap_or_default();
    println!(
        "{} runs, from the agent's last callback until destroy has answered: median {} ms, maximum {} ms",
        options.runs,
        middle.as_millis(),
        most.as_millis()
    );
    Ok(())
}

fn run_agent(workspace: &Workspace, stack: &StackDescription) -> Result<()> {
    let mut agent = Command::new(workspace.program("drawbridge"));
    let output = agent.arg("--config").arg(&stack.agent.config).arg("run").output();
    let output = output.context(|| "cannot run the agent".to_owned())?;
    if output.status.success() {
        return Ok(());
    }
    Err(Problem::because(format!("the agent ended with {}", output.status), String::from_utf8_lossy(&output.stderr)))
}

async fn latest(clients: &Clients, stack: &StackDescription) -> Result<Vec<Passage>> {
    let list = clients.sfn.list_executions().state_machine_arn(&stack.state_machine_arn).max_results(1).send().await;
    let list = list.context(|| "cannot list the executions".to_owned())?;
    let execution = list.executions().first().ok_or_else(|| Problem::new("there was no execution"))?;
    timeline(&clients.sfn, execution.execution_arn()).await
}

/// From the callback that ended AwaitUpload until the box was on its way out, and how much of it the verification took.
/// TerminateInstances is the first that `destroy` does to a box, so its answer comes after that.
fn since_the_last_word(passages: &[Passage]) -> Result<(SignedDuration, SignedDuration)> {
    let missing = |state| Problem::new(format!("the execution has not passed {state}"));
    let await_upload = passages.iter().position(|passage| passage.state == AWAIT).ok_or_else(|| missing(AWAIT))?;
    let said = passages.get(await_upload + 1).ok_or_else(|| missing(DESTROY))?.entered;
    let destroy = passages.iter().find(|passage| passage.state == DESTROY).ok_or_else(|| missing(DESTROY))?;
    let took = SignedDuration::from_millis(destroy.milliseconds.ok_or_else(|| missing(DESTROY))?);
    let verified = destroy.entered.duration_since(said);
    Ok((verified, verified + took))
}
