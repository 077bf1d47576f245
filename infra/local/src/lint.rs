//! The linters for what is deployed: cfn-lint for the template, statelint for the state machine.

use std::path::Path;
use std::process::{Command, Output};

use crate::error::Context;
use crate::{Problem, Requirements, Result, Workspace, interpreter};

/// statelint's one known false alarm: it was made before JSONata, where these two may be expressions.
/// Source: Amazon States Language specification, "Task State", `TimeoutSeconds` and `HeartbeatSeconds`.
fn is_false_alarm(line: &str) -> bool {
    let field = [".TimeoutSeconds is \"{%", ".HeartbeatSeconds is \"{%"].iter().any(|field| line.contains(field));
    field && line.ends_with("%}\" but should be an Integer")
}

/// Runs both linters.
///
/// # Errors
/// What they found.
pub fn lint(workspace: &Workspace) -> Result<()> {
    let python = interpreter(workspace, Requirements::Linters)?;
    let tool = |name: &str| python.with_file_name(name);
    let template = run(&tool("cfn-lint"), &workspace.template())?;
    if !template.status.success() {
        return Err(Problem::because("cfn-lint finds fault with infra/template.yaml", text(&template)));
    }
    let machine = workspace.root().join("statemachine/backup.asl.json");
    let said = text(&run(&tool("statelint"), &machine)?);
    let found: Vec<&str> = said.lines().map(str::trim).filter(|line| is_finding(line)).collect();
    if found.is_empty() {
        Ok(())
    } else {
        Err(Problem::because("statelint finds fault with the state machine", found.join("\n")))
    }
}

/// Whether a line of statelint's is a finding; it also counts them, in a line of its own.
fn is_finding(line: &str) -> bool {
    let counts = line.ends_with(" errors:") || line == "One error:";
    !line.is_empty() && !counts && !is_false_alarm(line)
}

fn run(program: &Path, file: &Path) -> Result<Output> {
    Command::new(program).arg(file).output().context(|| format!("cannot run {}", program.display()))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_known_false_alarm_is_let_through() {
        assert!(!is_finding(" State Machine.States.A.TimeoutSeconds is \"{% 60 %}\" but should be an Integer".trim()));
        assert!(!is_finding("2 errors:"));
        assert!(is_finding("State Machine.States.A.TimeoutSeconds is \"sixty\" but should be an Integer"));
        assert!(is_finding("State Machine.States.A.Retry[0].BackoffRate is 2 but should be a Float"));
        assert!(is_finding("No transition found to state B"));
    }
}
