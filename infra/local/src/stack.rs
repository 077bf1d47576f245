//! The local stack: emulator, deployment and machines, brought up in this order and ended in the reverse one.
//!
//! Invariants: everything that was started belongs to a [`Process`] of this value, so that dropping it leaves nothing
//! running; `stack.json` exists only while the stack is ready.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::agent_config::{AgentFiles, Source};
use crate::error::Context;
use crate::owner::Owner;
use crate::package::FUNCTIONS;
use crate::sshd::free_port;
use crate::{Problem, Process, Requirements, Result, Workspace, interpreter, package};

/// The account that the emulator plays.
const ACCOUNT: &str = "123456789012";
/// The region that the emulator plays.
const REGION: &str = "eu-central-1";

/// How a local stack differs from the template's defaults: it is young, near and short-lived.
const LOCAL_PARAMETERS: [(&str, &str); 8] = [
    ("Platform", "emulator"),
    // The emulator has no prefix lists; any well-formed id will do.
    ("S3PrefixListId", "pl-00000000"),
    ("AllowedCidr", "127.0.0.0/8"),
    // Running twice in a row is what one does with a local stack.
    ("SlotSeconds", "1"),
    ("MaxRunsPerDay", "1000"),
    ("BootSeconds", "60"),
    ("HeartbeatSeconds", "15"),
    ("SweepRate", "rate(1 minute)"),
];

/// What to bring up, and where.
#[derive(Debug, Clone)]
pub struct UpOptions {
    /// Where everything is kept; emptied first.
    pub state_dir: PathBuf,
    /// Template parameters, over the local ones.
    pub set: Vec<(String, String)>,
    /// The emulator's TCP port; any free one if `None`.
    pub port: Option<u16>,
    /// What the agent's configuration gathers.
    pub sources: Vec<Source>,
    /// Endpoints for some callers instead of the emulator's own, for a test that listens in between: a function's role
    /// (`start`, `verify`, ...), `states` for what the state machine calls, `box` and `agent`.
    pub routes: BTreeMap<String, String>,
}

/// Which interpreter runs the state machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Interpreter {
    /// moto's, with our repairs: heartbeats, the role, and what else AWS does.
    #[default]
    Repaired,
    /// MiniStack's own: a second opinion about the definition, without heartbeats and without the role's rights.
    Stock,
}

/// `stack.json`: all that one needs to work with the stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StackDescription {
    /// The emulator.
    pub endpoint_url: String,
    /// The region that it plays.
    pub region: String,
    /// The account that it plays.
    pub account: String,
    /// The template's parameter `Site`.
    pub site: String,
    /// The vault's bucket.
    pub vault: String,
    /// Whose executions are the runs.
    pub state_machine_arn: String,
    /// The security group of the boxes.
    pub security_group: String,
    /// The names of the seven functions.
    pub functions: Functions,
    /// What the backup VM has.
    pub agent: AgentAccess,
    /// What the operator has.
    pub admin: Credentials,
    /// The process that holds the stack up.
    pub owner: Owner,
}

/// The names of the deployed functions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Functions {
    pub start: String,
    pub provision: String,
    pub ready: String,
    pub session: String,
    pub report: String,
    pub verify: String,
    pub destroy: String,
}

/// An access key of the emulator's, enforced like AWS's.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Credentials {
    /// Its id.
    pub access_key_id: String,
    /// Its secret; it opens nothing but this emulator.
    pub secret_access_key: String,
}

/// The agent's access key and a configuration that works as it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentAccess {
    /// The access key.
    #[serde(flatten)]
    pub credentials: Credentials,
    /// The path of the agent's configuration.
    pub config: PathBuf,
}

/// What `deploy` writes.
#[derive(Deserialize)]
struct Deployment {
    outputs: BTreeMap<String, String>,
    agent: Credentials,
    admin: Credentials,
}

/// A stack that is up. Dropping it takes it down.
#[derive(Debug)]
pub struct LocalStack {
    description: StackDescription,
    description_path: PathBuf,
    // Dropped in this order: boxes before the EC2 that launched them.
    machines: Process,
    emulator: Process,
}

impl LocalStack {
    /// Builds, packages, starts, deploys. `tell` hears what is going on.
    ///
    /// # Errors
    /// When any step fails; nothing is left running then.
    pub fn up(workspace: &Workspace, options: &UpOptions, tell: &dyn Fn(&str)) -> Result<Self> {
        Self::up_with(workspace, options, Interpreter::default(), tell)
    }

    /// As [`LocalStack::up`], with another interpreter.
    ///
    /// # Errors
    /// As [`LocalStack::up`].
    pub fn up_with(
        workspace: &Workspace,
        options: &UpOptions,
        interprets: Interpreter,
        tell: &dyn Fn(&str),
    ) -> Result<Self> {
        let state_dir = options.state_dir.as_path();
        // Said before the minutes that a first build takes.
        let port = options.port.map_or_else(free_port, ours)?;
        tell("preparing Python");
        let python = interpreter(workspace, Requirements::Emulator)?;
        tell("building the functions, the gate and the agent");
        package::build(workspace)?;
        clear(state_dir)?;
        let description_path = state_dir.join("stack.json");
        let packages = state_dir.join("packages");
        package::package(workspace, &packages)?;

        tell("starting the local AWS");
        let module = Module { python, workspace: workspace.clone(), state_dir: state_dir.to_path_buf() };
        let (emulator, endpoint_url) = module.serve(port, interprets, &options.routes)?;
        tell("deploying infra/template.yaml");
        let deployment = module.deploy(&endpoint_url, &packages, &options.set)?;
        tell("starting EC2's stand-in");
        let machines = module.machines(&endpoint_url, options.routes.get("box"))?;

        let description = describe(endpoint_url, deployment, &AgentFiles::new(state_dir), options)?;
        let text = serde_json::to_string_pretty(&description).context(|| "cannot describe the stack".to_owned())?;
        write_private(&description_path, &text)?;
        Ok(Self { description, description_path, machines, emulator })
    }

    /// All that one needs to work with the stack.
    #[must_use]
    pub const fn description(&self) -> &StackDescription {
        &self.description
    }

    /// Fails when a part of the stack has ended by itself.
    ///
    /// # Errors
    /// Names the part, with the end of its log.
    pub fn check(&mut self) -> Result<()> {
        self.emulator.check()?;
        self.machines.check()
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        // Whoever reads it from now on would be told of a stack that isn't there.
        let _absent_already = fs::remove_file(&self.description_path);
        self.machines.end();
        self.emulator.end();
    }
}

impl StackDescription {
    /// Reads `stack.json` from a stack's folder.
    ///
    /// # Errors
    /// When there is none: no stack is up there.
    pub fn read(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join("stack.json");
        let text = fs::read_to_string(&path).map_err(|error| {
            Problem::because(
                format!("no local stack is up in {} (start one: cargo local up)", state_dir.display()),
                error,
            )
        })?;
        serde_json::from_str(&text).context(|| format!("{} is damaged", path.display()))
    }
}

/// The Python package's three commands, with a clean environment: functions inherit the emulator's.
struct Module {
    python: PathBuf,
    workspace: Workspace,
    state_dir: PathBuf,
}

impl Module {
    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.args(["-m", "drawbridge_emulator", verb, "--region", REGION, "--account", ACCOUNT]);
        command.env_clear().env("PYTHONPATH", self.workspace.emulator()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("HOME", &self.state_dir).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(&self.state_dir);
        command
    }

    fn serve(
        &self,
        port: u16,
        interprets: Interpreter,
        routes: &BTreeMap<String, String>,
    ) -> Result<(Process, String)> {
        #[derive(Deserialize)]
        struct Ready {
            endpoint_url: String,
        }
        let mut command = self.command("serve");
        command.arg("--port").arg(port.to_string()).arg("--state-dir").arg(&self.state_dir).arg("--end-with-stdin");
        if interprets == Interpreter::Stock {
            command.arg("--stock-interpreter");
        }
        for (caller, url) in routes {
            command.arg("--route").arg(format!("{caller}={url}"));
        }
        let log = self.state_dir.join("serve.log");
        let (process, line) = Process::start_and_read_line("the local AWS", &mut command, &log)?;
        let ready: Ready = serde_json::from_str(&line).context(|| format!("the local AWS said {line:?}"))?;
        Ok((process, ready.endpoint_url))
    }

    fn deploy(&self, endpoint_url: &str, packages: &Path, set: &[(String, String)]) -> Result<Deployment> {
        let out = self.state_dir.join("deployment.json");
        let mut command = self.command("deploy");
        command.args(["--endpoint-url", endpoint_url, "--stack-name", "drawbridge"]);
        command.args([OsStr::new("--template"), self.workspace.template().as_os_str()]);
        command.args([OsStr::new("--packages"), packages.as_os_str(), OsStr::new("--out"), out.as_os_str()]);
        command.arg("--set");
        let mut parameters: BTreeMap<&str, &str> = LOCAL_PARAMETERS.into_iter().collect();
        parameters.extend(set.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        command.args(parameters.iter().map(|(name, value)| format!("{name}={value}")));
        let output = command.output().context(|| "cannot run the deployment".to_owned())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(Problem::because("the template could not be deployed", said));
        }
        let text = fs::read_to_string(&out).context(|| format!("cannot read {}", out.display()))?;
        serde_json::from_str(&text).context(|| format!("{} is not what a deployment writes", out.display()))
    }

    fn machines(&self, endpoint_url: &str, box_endpoint_url: Option<&String>) -> Result<Process> {
        let mut command = self.command("machines");
        command.args(["--endpoint-url", endpoint_url]).arg("--state-dir").arg(&self.state_dir).arg("--end-with-stdin");
        if let Some(url) = box_endpoint_url {
            command.args(["--box-endpoint-url", url]);
        }
        Process::start("EC2's stand-in", &mut command, &self.state_dir.join("machines.log"))
    }
}

fn describe(
    endpoint_url: String,
    deployment: Deployment,
    files: &AgentFiles,
    options: &UpOptions,
) -> Result<StackDescription> {
    let output = |name: &str| {
        deployment.outputs.get(name).cloned().ok_or_else(|| Problem::new(format!("the template has no output {name}")))
    };
    let names = FUNCTIONS.map(|function| {
        let mut letters = function.chars();
        let capital: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
        output(&format!("{capital}FunctionName"))
    });
    let [start, provision, ready, session, report, verify, destroy] = names;
    let functions = Functions {
        start: start?,
        provision: provision?,
        ready: ready?,
        session: session?,
        report: report?,
        verify: verify?,
        destroy: destroy?,
    };
    let agents_endpoint = options.routes.get("agent").unwrap_or(&endpoint_url);
    files.write(agents_endpoint, REGION, &functions, &deployment.agent, &options.sources)?;
    Ok(StackDescription {
        endpoint_url,
        region: REGION.to_owned(),
        account: ACCOUNT.to_owned(),
        site: output("Site")?,
        vault: output("VaultName")?,
        state_machine_arn: output("StateMachineArn")?,
        security_group: output("SecurityGroupId")?,
        functions,
        agent: AgentAccess { credentials: deployment.agent, config: files.config() },
        admin: deployment.admin,
        owner: Owner::this(),
    })
}

/// Empties the folder of an earlier stack. Refuses one that is in use, or that something else lives in.
fn clear(state_dir: &Path) -> Result<()> {
    const MARKER: &str = ".drawbridge-local";
    if let Ok(description) = StackDescription::read(state_dir)
        && description.owner.is_alive()
    {
        let at = state_dir.display();
        let pid = description.owner.pid;
        return Err(Problem::new(format!(
            "a local stack is up in {at} (process {pid}); take it down: cargo local down"
        )));
    }
    let doing = || format!("cannot prepare {}", state_dir.display());
    if state_dir.exists() {
        let empty = fs::read_dir(state_dir).context(doing)?.next().is_none();
        if !empty && !state_dir.join(MARKER).exists() {
            let at = state_dir.display();
            return Err(Problem::new(format!(
                "{at} is not empty and no local stack's folder; name another --state-dir"
            )));
        }
        fs::remove_dir_all(state_dir).context(doing)?;
    }
    fs::create_dir_all(state_dir).context(doing)?;
    fs::write(state_dir.join(MARKER), "cargo local may empty this folder\n").context(doing)
}

/// The wanted port, if nobody listens there.
fn ours(port: u16) -> Result<u16> {
    TcpListener::bind(("127.0.0.1", port))
        .map(|_| port)
        .context(|| format!("port {port} of 127.0.0.1 is taken; name another with --port, or none for any free one"))
}

/// Writes a file that only we can read.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let doing = || format!("cannot write {}", path.display());
    let mut file = fs::File::options().create(true).truncate(true).write(true).mode(0o600).open(path).context(doing)?;
    file.write_all(text.as_bytes()).context(doing)
}
