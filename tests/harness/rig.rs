use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use aws_sdk_ec2::types::{Filter, InstanceAttributeName};
use drawbridge_local::{
    AgentFiles, Clients, Credentials, Interpreter, LocalStack, Requirements, Source, StackDescription, UpOptions,
    Workspace, interpreter,
};
use tempfile::TempDir;

use crate::{Agent, Execution, wait_until};

/// A whole local stack of a test's own, with one source folder for its agent. Dropping it takes everything down.
pub struct Rig {
    // Dropped first: nothing may run in the folder that goes next.
    stack: LocalStack,
    clients: Clients,
    folder: TempDir,
}

/// Durations for tests: long enough for a busy machine, short enough to wait for.
const SHORT: [(&str, &str); 2] = [("BootSeconds", "90"), ("HeartbeatSeconds", "6")];

impl Rig {
    /// Brings a stack up whose agent gathers [`Rig::source`].
    pub async fn up() -> Self {
        Self::up_with(&[]).await
    }

    /// As [`Rig::up`], with further template parameters.
    pub async fn up_with(set: &[(&str, &str)]) -> Self {
        Self::up_as(Interpreter::default(), set, None, BTreeMap::new()).await
    }

    /// As [`Rig::up_with`], with this interpreter of state machines.
    pub async fn interpreted_by(interpreter: Interpreter, set: &[(&str, &str)]) -> Self {
        Self::up_as(interpreter, set, None, BTreeMap::new()).await
    }

    /// As [`Rig::up_with`], with the emulator at a port that is known beforehand and callers sent elsewhere, as
    /// [`UpOptions::routes`] says.
    pub async fn up_routed(set: &[(&str, &str)], port: Option<u16>, routes: BTreeMap<String, String>) -> Self {
        Self::up_as(Interpreter::default(), set, port, routes).await
    }

    async fn up_as(
        interpreter: Interpreter,
        set: &[(&str, &str)],
        port: Option<u16>,
        routes: BTreeMap<String, String>,
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("drawbridge-test-").tempdir().unwrap();
        let source = folder.path().join("source");
        std::fs::create_dir(&source).unwrap();
        let sources = vec![Source { name: "files".to_owned(), paths: vec![source], ..Source::default() }];
        let set = SHORT.iter().chain(set).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let options = UpOptions { state_dir: folder.path().join("stack"), set, port, sources, routes };
        let stack = tokio::task::spawn_blocking(move || {
            LocalStack::up_with(&Workspace::here(), &options, interpreter, &|_| ())
        })
        .await
        .unwrap()
        .unwrap_or_else(|problem| panic!("{problem}: {:?}", std::error::Error::source(&problem)));
        let clients = Clients::new(stack.description(), &stack.description().admin).await;
        Self { stack, clients, folder }
    }

    /// A folder that goes with the rig.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What the agent gathers; empty at first.
    pub fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    /// The agent's copy of [`Rig::source`], and of everything else it gathered.
    pub fn mirror(&self) -> PathBuf {
        self.files().state_dir().join("mirror")
    }

    /// The agent's files.
    pub fn files(&self) -> AgentFiles {
        AgentFiles::new(&self.folder.path().join("stack"))
    }

    /// The agent of this stack.
    pub fn agent(&self) -> Agent {
        Agent::new(self.stack.description().agent.config.clone())
    }

    /// The stack's description.
    pub fn stack(&self) -> &StackDescription {
        self.stack.description()
    }

    /// The operator's clients.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Clients with the agent's own key.
    pub async fn agent_clients(&self) -> Clients {
        Clients::new(self.stack(), &self.stack().agent.credentials).await
    }

    /// Clients that act as one of the stack's roles.
    pub async fn role_clients(&self, role: &str) -> Clients {
        let key = self.roles_key(role);
        Clients::with_session(self.stack(), &key.credentials, key.session_token).await
    }

    /// Everything that the functions have logged, each line behind its log group.
    pub fn function_logs(&self) -> String {
        self.operators_script("function_logs.py", &format!("/drawbridge/{}/", self.stack().site))
    }

    /// What a script of `harness/` prints, run with the operator's key.
    pub(crate) fn operators_script(&self, script: &str, argument: &str) -> String {
        self.script_as(&self.stack().admin, script, argument)
    }

    /// What a script of `harness/` prints, run with this key.
    pub(crate) fn script_as(&self, key: &Credentials, script: &str, argument: &str) -> String {
        let python = interpreter(&Workspace::here(), Requirements::Emulator).unwrap();
        let script = Workspace::here().root().join("tests/harness").join(script);
        let output = Command::new(python)
            .arg(script)
            .args([&self.stack().endpoint_url, &self.stack().region, &key.access_key_id, &key.secret_access_key])
            .arg(argument)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The user data of a run's box, as anyone with DescribeInstanceAttribute reads it.
    pub async fn user_data(&self, run: &str) -> String {
        let filter = Filter::builder().name("tag:drawbridge:run").values(run).build();
        let found = self.clients.ec2.describe_instances().filters(filter).send().await.unwrap();
        let instance = found.reservations()[0].instances()[0].instance_id().unwrap();
        user_data_of(&self.clients, instance).await.unwrap()
    }

    /// The newest execution.
    pub async fn latest_execution(&self) -> Execution {
        let list =
            self.clients.sfn.list_executions().state_machine_arn(&self.stack().state_machine_arn).send().await.unwrap();
        Execution::describe(&self.clients, list.executions().first().expect("an execution").execution_arn()).await
    }

    /// How many executions there are.
    pub async fn executions(&self) -> usize {
        let list =
            self.clients.sfn.list_executions().state_machine_arn(&self.stack().state_machine_arn).send().await.unwrap();
        list.executions().len()
    }

    /// Keys of the vault below a prefix, with every version's id: what may only ever grow.
    pub async fn versions(&self, prefix: &str) -> std::collections::BTreeSet<(String, String)> {
        let mut found = std::collections::BTreeSet::new();
        let (mut key_marker, mut version_marker) = (None, None);
        loop {
            let page = self.clients.s3.list_object_versions().bucket(&self.stack().vault).prefix(prefix);
            let page = page.set_key_marker(key_marker).set_version_id_marker(version_marker).send().await.unwrap();
            assert!(page.delete_markers().is_empty(), "nobody deletes: {:?}", page.delete_markers());
            for version in page.versions() {
                found.insert((version.key().unwrap().to_owned(), version.version_id().unwrap_or_default().to_owned()));
            }
            if page.is_truncated() != Some(true) {
                return found;
            }
            (key_marker, version_marker) =
                (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
        }
    }

    /// Waits until nothing of any run is left; fails when that takes longer than `seconds`.
    pub async fn nothing_is_left_within(&self, seconds: u64) {
        wait_until(seconds, "nothing is left of the run", async || {
            let left = self.clients.leftovers(self.stack()).await.unwrap();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
    }

    /// Copies the vault's repository of an execution into a folder of its own and answers that.
    pub async fn vault_copy(&self, execution: &Execution, name: &str) -> PathBuf {
        let copy = self.folder.path().join(name);
        let prefix = format!("repo/{}/", execution.repository());
        drawbridge_local::restore::fetch(&self.clients.s3, &self.stack().vault, &prefix, &copy).await.unwrap();
        copy
    }
}

/// How many rigs to have at once, where there is work for many: three a core, since most of them wait. Each takes some 400 MB.
pub fn rigs_at_once() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get() * 3)
}

/// The user data of a box; `None` if EC2 doesn't tell it.
pub async fn user_data_of(clients: &Clients, instance: &str) -> Option<String> {
    let attribute = clients.ec2.describe_instance_attribute().instance_id(instance);
    let attribute = attribute.attribute(InstanceAttributeName::UserData).send().await.ok()?;
    let data = aws_smithy_types::base64::decode(attribute.user_data()?.value()?).ok()?;
    String::from_utf8(data).ok()
}
