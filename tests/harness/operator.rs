use aws_sdk_s3::types::ChecksumAlgorithm;
use std::path::PathBuf;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{Rig, wait_until};

/// What an operator does with a stack by hand: calls to services that the product's own programs never speak to.
impl Rig {
    /// Puts other bytes under a key of the vault, with S3's checksum of them. Only an operator can: the box's role and the gate never
    /// overwrite.
    pub async fn overwrite(&self, key: &str, bytes: Vec<u8>) {
        let put = self.clients().s3.put_object().bucket(&self.stack().vault).key(key);
        put.checksum_algorithm(ChecksumAlgorithm::Sha256).body(bytes.into()).send().await.unwrap();
    }

    /// One call of boto3's, with the operator's rights.
    pub fn call(&self, service: &str, operation: &str, parameters: Value) -> Value {
        let call = json!({"service": service, "operation": operation, "parameters": parameters});
        serde_json::from_str(&self.operators_script("call.py", &call.to_string())).unwrap()
    }

    /// Tries each of boto3's calls with the agent's key: AWS's error code, or `None` if the call succeeded.
    pub fn try_as_the_agent(&self, calls: &[Value]) -> Vec<Option<String>> {
        let said = self.script_as(&self.stack().agent.credentials, "try_calls.py", &json!(calls).to_string());
        serde_json::from_str(&said).unwrap()
    }

    /// The ARN of the topic that hears of bad endings.
    pub fn topic(&self) -> String {
        let stack = self.stack();
        format!("arn:aws:sns:{}:{}:drawbridge-{}-failures", stack.region, stack.account, stack.site)
    }

    /// Takes away layer 2: the rule that destroys what a bad ending leaves.
    pub fn without_the_event_rule(&self) {
        let rules = self.call("events", "list_rules", json!({}));
        let names = rules["Rules"].as_array().unwrap().iter().map(|rule| rule["Name"].as_str().unwrap());
        let ours: Vec<_> = names.filter(|name| name.contains("RunEndedBadly")).collect();
        assert_eq!(ours.len(), 1, "{rules}");
        self.call("events", "disable_rule", json!({"Name": ours[0]}));
    }

    /// Keeps a run waiting for its box: `ready` may not pass the box's word on.
    pub fn without_readiness(&self) {
        self.deny("ReadyFunctionRole", "states:SendTaskSuccess");
    }

    /// Gives back what [`Rig::without_readiness`] took.
    pub fn with_readiness_again(&self) {
        self.deny_no_more("ReadyFunctionRole");
    }

    /// Takes away every means of ours to terminate a box: `destroy` may not, whoever calls it.
    pub fn without_terminations(&self) {
        self.deny("DestroyFunctionRole", "ec2:TerminateInstances");
    }

    /// Gives back what [`Rig::without_terminations`] took.
    pub fn with_terminations_again(&self) {
        self.deny_no_more("DestroyFunctionRole");
    }

    fn deny(&self, role: &str, action: &str) {
        let deny = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Deny", "Action": action, "Resource": "*"},
        ]});
        let role = self.role_name(role);
        let policy = json!({"RoleName": role, "PolicyName": "broken", "PolicyDocument": deny.to_string()});
        self.call("iam", "put_role_policy", policy);
    }

    fn deny_no_more(&self, role: &str) {
        let role = self.role_name(role);
        self.call("iam", "delete_role_policy", json!({"RoleName": role, "PolicyName": "broken"}));
    }

    /// The one role whose name contains this, as CloudFormation names them.
    fn role_name(&self, part: &str) -> String {
        let roles = self.call("iam", "list_roles", json!({}));
        let names = roles["Roles"].as_array().unwrap().iter().map(|role| role["RoleName"].as_str().unwrap());
        let ours: Vec<_> = names.filter(|name| name.contains(part)).collect();
        let [role] = ours.as_slice() else { panic!("{part}: {roles}") };
        (*role).to_owned()
    }

    /// Holds a function that has been invoked before: its process, which waits for the next invocation, stops.
    pub fn hold(&self, role: &str) -> Held {
        let function = format!("AWS_LAMBDA_FUNCTION_NAME=drawbridge-{}-{role}", self.stack().site);
        let endpoint = format!("AWS_ENDPOINT_URL={}", self.stack().endpoint_url);
        let is_it = |pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let variables: Vec<_> = environment.split(|byte| *byte == 0).collect();
            [&function, &endpoint].iter().all(|wanted| variables.contains(&wanted.as_bytes()))
        };
        let ids =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let pids: Vec<Pid> = ids.filter(is_it).filter_map(Pid::from_raw).collect();
        assert!(!pids.is_empty(), "no process of {role} waits");
        pids.iter().for_each(|pid| kill_process(*pid, Signal::STOP).unwrap());
        Held(pids)
    }

    /// The gate's process on the one machine that runs in place of a box.
    pub fn gate(&self) -> GateProcess {
        let room = format!("DRAWBRIDGE_MACHINES={}", self.folder().join("stack/machines").display());
        let processes =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let gates: Vec<_> = processes.filter_map(|pid| GateProcess::of(pid.parse().ok()?, &room)).collect();
        let [gate] = gates.as_slice() else { panic!("gates: {gates:?}") };
        gate.clone()
    }
}

/// A function that doesn't go on; it does when this is dropped.
#[derive(Debug)]
pub struct Held(Vec<Pid>);

impl Drop for Held {
    fn drop(&mut self) {
        for pid in &self.0 {
            // It may have come to its timeout.
            let _gone = kill_process(*pid, Signal::CONT);
        }
    }
}

/// A gate that runs.
#[derive(Debug, Clone)]
pub struct GateProcess {
    pid: Pid,
    /// The folder of its machine.
    machine: PathBuf,
}

impl GateProcess {
    fn of(pid: i32, room: &str) -> Option<Self> {
        let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).ok();
        let environment = String::from_utf8_lossy(&read("environ")?).into_owned();
        let is_gate = read("cmdline")?.starts_with(b"./drawbridge-gate");
        let mut variables = environment.split('\0');
        let machine = variables.clone().find_map(|variable| variable.strip_prefix("DRAWBRIDGE_MACHINE="))?;
        let is_ours = variables.any(|variable| variable == room);
        (is_gate && is_ours).then_some(Self { pid: Pid::from_raw(pid)?, machine: machine.into() })
    }

    /// It hangs from now on.
    pub fn hang(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
    }

    /// Takes away layer 4: the machine's power-off timer, as `shutdown -c` does.
    pub fn cancel_the_power_off(&self) {
        std::fs::remove_file(self.machine.join("power-off-at")).unwrap();
    }
}

/// A queue that hears everything that the topic says.
pub struct Inbox<'a> {
    rig: &'a Rig,
    url: String,
    heard: Vec<String>,
}

impl<'a> Inbox<'a> {
    /// Subscribes to the stack's topic.
    pub fn open(rig: &'a Rig) -> Self {
        let (topic, stack) = (rig.topic(), rig.stack());
        let arn = format!("arn:aws:sqs:{}:{}:inbox", stack.region, stack.account);
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage",
            "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }]});
        let queue = json!({"QueueName": "inbox", "Attributes": {"Policy": policy.to_string()}});
        let url = rig.call("sqs", "create_queue", queue)["QueueUrl"].as_str().unwrap().to_owned();
        let attributes = json!({"RawMessageDelivery": "true"});
        let subscription = json!({"TopicArn": topic, "Protocol": "sqs", "Endpoint": arn, "Attributes": attributes});
        rig.call("sns", "subscribe", subscription);
        Self { rig, url, heard: Vec::new() }
    }

    /// Waits for a message that contains all of `words`; answers it.
    pub async fn hears(&mut self, words: &[&str], seconds: u64) -> String {
        let says_it = |message: &&String| words.iter().all(|word| message.contains(word));
        wait_until(seconds, &format!("the topic says {words:?}"), async || {
            self.listen();
            if self.heard.iter().any(|message| says_it(&message)) { Ok(()) } else { Err(format!("{:#?}", self.heard)) }
        })
        .await;
        self.heard.iter().find(says_it).unwrap().clone()
    }

    /// Everything that has been said until now.
    pub fn everything(&mut self) -> &[String] {
        self.listen();
        &self.heard
    }

    fn listen(&mut self) {
        let ask = json!({"QueueUrl": self.url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 3600});
        let messages = self.rig.call("sqs", "receive_message", ask);
        let bodies = messages["Messages"].as_array().into_iter().flatten();
        self.heard.extend(bodies.map(|message| message["Body"].as_str().unwrap().to_owned()));
    }
}
