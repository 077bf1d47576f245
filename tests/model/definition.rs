//! The definition and the template that fills it in, as values that a test may break.

use drawbridge_local::Workspace;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

/// The state machine's file, and the template whose parameters and functions stand in it.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    pub(crate) machine: Value,
    pub(crate) template: Yaml,
}

impl Model {
    /// What this checkout would deploy.
    pub(crate) fn here() -> Self {
        let workspace = Workspace::here();
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap();
        Self {
            machine: serde_json::from_str(&read(workspace.root().join("statemachine/backup.asl.json"))).unwrap(),
            template: serde_yaml_ng::from_str(&read(workspace.template())).unwrap(),
        }
    }

    pub(crate) fn start(&self) -> &str {
        self.machine["StartAt"].as_str().unwrap_or_default()
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.machine["States"].as_object().into_iter().flatten().map(|(name, state)| (name.as_str(), state))
    }

    pub(crate) fn state(&self, name: &str) -> Option<&Value> {
        self.machine["States"].get(name)
    }

    pub(crate) fn tasks(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.states().filter(|(_, state)| state["Type"] == "Task")
    }

    /// A parameter's `Default`, `MinValue` or `MaxValue`.
    pub(crate) fn parameter(&self, name: &str, field: &str) -> Result<u64, String> {
        self.template["Parameters"][name][field].as_u64().ok_or_else(|| format!("the parameter {name} has no {field}"))
    }

    /// The template's function that a task invokes, if it invokes one.
    pub(crate) fn function(&self, task: &Value) -> Option<&Yaml> {
        let name = task["Arguments"]["FunctionName"].as_str()?.strip_prefix("${")?.strip_suffix('}')?;
        let arn = &self.template["Resources"]["Backup"]["Properties"]["DefinitionSubstitutions"][name];
        let resource = plain(arn).as_str()?.split('.').next()?;
        self.template["Resources"].get(resource)
    }
}

/// A value without the tag of CloudFormation's short form.
pub(crate) fn plain(value: &Yaml) -> &Yaml {
    match value {
        Yaml::Tagged(tagged) => &tagged.value,
        other => other,
    }
}

/// The elements of a list field; none when there is no such field.
pub(crate) fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value[field].as_array().into_iter().flatten()
}

/// The names that a retrier or a catcher matches.
pub(crate) fn matched(matcher: &Value) -> impl Iterator<Item = &str> {
    list(matcher, "ErrorEquals").filter_map(Value::as_str)
}

/// Whether a retrier or a catcher takes an error. Source: "Handling errors in Step Functions workflows".
pub(crate) fn takes(matcher: &Value, error: &str) -> bool {
    let timeout = ["States.Timeout", "States.HeartbeatTimeout"].contains(&error);
    matched(matcher).any(|name| name == error || name == "States.ALL" || (name == "States.TaskFailed" && !timeout))
}

/// Whether a task ends only when somebody returns its token.
pub(crate) fn waits(task: &Value) -> bool {
    task["Resource"].as_str().is_some_and(|resource| resource.ends_with(".waitForTaskToken"))
}

/// Whether this is the task that destroys the jump box.
pub(crate) fn destroys(state: &Value) -> bool {
    state["Arguments"]["FunctionName"] == "${DestroyFunctionArn}"
}
