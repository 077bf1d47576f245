//! The VM is taken over while its bridge is down: whatever any part of the stack may do, the agent's key may not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_local::Workspace;
use drawbridge_local::timeline::task_tokens;
use drawbridge_tests::{OpenRun, Rig};
use serde_json::{Value, json};
use serde_yaml_ng::Value as Yaml;

/// Permissions without a call of their own: AWS asks for them when Step Functions is told to write its log.
const NO_CALLS: [&str; 5] = [
    "logs:CreateLogDelivery",
    "logs:GetLogDelivery",
    "logs:UpdateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:ListLogDeliveries",
];

/// Every action that a policy of the template allows somebody.
fn actions() -> BTreeSet<String> {
    let text = std::fs::read_to_string(Workspace::here().template()).unwrap();
    let template: Yaml = serde_yaml_ng::from_str(&text).unwrap();
    let mut found = BTreeSet::new();
    collect(&template["Resources"], &mut found);
    assert!(found.len() > 20 && found.contains("ec2:TerminateInstances"), "{found:?}");
    found
}

fn collect(value: &Yaml, found: &mut BTreeSet<String>) {
    match value {
        Yaml::Mapping(mapping) => {
            if mapping.get("Effect").is_some_and(|effect| effect == "Allow") {
                match &mapping["Action"] {
                    Yaml::Sequence(actions) => {
                        found.extend(actions.iter().map(|action| action.as_str().unwrap().to_owned()));
                    }
                    action => {
                        found.insert(action.as_str().unwrap().to_owned());
                    }
                }
            }
            mapping.values().for_each(|value| collect(value, found));
        }
        Yaml::Sequence(items) => items.iter().for_each(|item| collect(item, found)),
        Yaml::Tagged(tagged) => collect(&tagged.value, found),
        _ => (),
    }
}

/// A service, boto3's operation and its parameters.
type Call = (&'static str, &'static str, Value);

/// What a taken-over VM would call, with the names of what is really there.
struct Booty {
    instance: String,
    rule: String,
    role: String,
    token: String,
    object: String,
    execution: String,
}

impl Booty {
    async fn of(rig: &Rig, open: &OpenRun) -> Self {
        let found = rig.clients().leftovers(rig.stack()).await.unwrap();
        let execution = rig.latest_execution().await.arn;
        let roles = rig.call("iam", "list_roles", json!({}));
        let mut roles = roles["Roles"].as_array().unwrap().iter().map(|role| role["Arn"].as_str().unwrap());
        let manifest = open.file("manifest", &open.manifest);
        assert_eq!(open.forward().await.post("/manifest", &manifest).0, 200);
        Self {
            instance: found.instances[0].split(' ').next().unwrap().to_owned(),
            rule: found.rules[0].clone(),
            role: roles.find(|arn| arn.contains("BoxRole")).unwrap().to_owned(),
            token: task_tokens(&rig.clients().sfn, &execution).await.unwrap().pop().unwrap(),
            object: format!("runs/{}/manifest.json", open.run),
            execution,
        }
    }

    /// The calls that need an action.
    fn calls(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let (service, name) = action.split_once(':').unwrap();
        let calls = match service {
            "ec2" => self.of_ec2(rig, name),
            "s3" => self.of_s3(rig, name),
            "ssm" => self.of_ssm(rig, name),
            "states" => self.of_states(rig, name),
            _ => self.of_others(rig, action),
        };
        assert!(
            !calls.is_empty(),
            "the template allows somebody {action}: say here with which call the agent would try it"
        );
        calls
    }

    fn of_ec2(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let group = &rig.stack().security_group;
        let (operation, parameters) = match action {
            "AuthorizeSecurityGroupIngress" => {
                let ranges = json!([{"CidrIp": "0.0.0.0/0"}]);
                let door = json!([{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ranges}]);
                ("authorize_security_group_ingress", json!({"GroupId": group, "IpPermissions": door}))
            }
            "CreateTags" => {
                let tags = json!([{"Key": "drawbridge:run", "Value": "x"}]);
                ("create_tags", json!({"Resources": [self.instance], "Tags": tags}))
            }
            "DescribeInstances" => ("describe_instances", json!({})),
            "DescribeSecurityGroupRules" => ("describe_security_group_rules", json!({})),
            "RevokeSecurityGroupIngress" => {
                ("revoke_security_group_ingress", json!({"GroupId": group, "SecurityGroupRuleIds": [self.rule]}))
            }
            "RunInstances" => {
                ("run_instances", json!({"ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1}))
            }
            "TerminateInstances" => ("terminate_instances", json!({"InstanceIds": [self.instance]})),
            _ => return Vec::new(),
        };
        vec![("ec2", operation, parameters)]
    }

    fn of_s3(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let vault = &rig.stack().vault;
        let at = |operation: &'static str, key: &str| ("s3", operation, json!({"Bucket": vault, "Key": key}));
        let put = |key: &str| ("s3", "put_object", json!({"Bucket": vault, "Key": key, "Body": "x"}));
        match action {
            "GetObject" => vec![at("get_object", &self.object), at("head_object", &self.object)],
            "GetObjectRetention" => vec![at("get_object_retention", &self.object)],
            "GetObjectVersion" => {
                let version = json!({"Bucket": vault, "Key": self.object, "VersionId": "null"});
                vec![("s3", "get_object", version.clone()), ("s3", "head_object", version)]
            }
            "ListBucketVersions" => vec![("s3", "list_object_versions", json!({"Bucket": vault}))],
            "PutObjectRetention" => {
                let retention = json!({"Mode": "GOVERNANCE", "RetainUntilDate": "2020-01-01T00:00:00Z"});
                let shorter = json!({"Bucket": vault, "Key": self.object, "Retention": retention});
                vec![("s3", "put_object_retention", shorter)]
            }
            "ListBucket" => vec![("s3", "list_objects_v2", json!({"Bucket": vault}))],
            "PutObject" => vec![put("repo/2026-11-0123456789abcdef/config"), put(&self.object)],
            _ => Vec::new(),
        }
    }

    fn of_ssm(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let run = self.execution.rsplit(':').next().unwrap();
        let name = format!("/drawbridge/{}/{run}/session", rig.stack().site);
        let (operation, parameters) = match action {
            "DeleteParameter" => ("delete_parameter", json!({"Name": name})),
            "GetParameter" => ("get_parameter", json!({"Name": name, "WithDecryption": true})),
            "GetParameters" => ("get_parameters", json!({"Names": [name]})),
            "GetParametersByPath" => ("get_parameters_by_path", json!({"Path": "/drawbridge", "Recursive": true})),
            "PutParameter" => {
                ("put_parameter", json!({"Name": name, "Value": "x", "Type": "String", "Overwrite": true}))
            }
            _ => return Vec::new(),
        };
        vec![("ssm", operation, parameters)]
    }

    fn of_states(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let machine = json!({"stateMachineArn": rig.stack().state_machine_arn});
        let (operation, parameters) = match action {
            "DescribeExecution" => ("describe_execution", json!({"executionArn": self.execution})),
            "ListExecutions" => ("list_executions", machine),
            "SendTaskFailure" => ("send_task_failure", json!({"taskToken": self.token})),
            "SendTaskHeartbeat" => ("send_task_heartbeat", json!({"taskToken": self.token})),
            "SendTaskSuccess" => ("send_task_success", json!({"taskToken": self.token, "output": "{}"})),
            "StartExecution" => ("start_execution", machine),
            _ => return Vec::new(),
        };
        vec![("stepfunctions", operation, parameters)]
    }

    fn of_others(&self, rig: &Rig, action: &str) -> Vec<Call> {
        let (stack, functions) = (rig.stack(), &rig.stack().functions);
        let call = match action {
            "lambda:InvokeFunction" => {
                let others = [&functions.provision, &functions.ready, &functions.verify, &functions.destroy];
                return others.map(|name| ("lambda", "invoke", json!({"FunctionName": name, "Payload": "{}"}))).into();
            }
            // It has no call of its own; this is one that passes a role.
            "iam:PassRole" => {
                let empty = json!({"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="});
                let (runtime, handler) = ("provided.al2023", "bootstrap");
                let function = json!({"FunctionName": "theirs", "Runtime": runtime, "Handler": handler,
                    "Role": self.role, "Code": empty});
                ("lambda", "create_function", function)
            }
            "logs:DescribeLogGroups" => ("logs", "describe_log_groups", json!({})),
            "logs:DescribeResourcePolicies" => ("logs", "describe_resource_policies", json!({})),
            "logs:PutResourcePolicy" => {
                ("logs", "put_resource_policy", json!({"policyName": "x", "policyDocument": "{}"}))
            }
            "sns:Publish" => ("sns", "publish", json!({"TopicArn": rig.topic(), "Message": "all is well"})),
            "sqs:SendMessage" => {
                let queue = format!("{}/{}/drawbridge-{}-undelivered", stack.endpoint_url, stack.account, stack.site);
                ("sqs", "send_message", json!({"QueueUrl": queue, "MessageBody": "x"}))
            }
            "sts:AssumeRole" => ("sts", "assume_role", json!({"RoleArn": self.role, "RoleSessionName": "theirs"})),
            _ => return Vec::new(),
        };
        vec![call]
    }
}

#[tokio::test]
async fn while_a_gate_is_open_the_agent_may_do_nothing_that_another_part_of_the_stack_may() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "300"), ("SweepRate", "rate(365 days)")]).await;
    let open = OpenRun::begin(&rig).await;
    let booty = Booty::of(&rig, &open).await;
    let (stored, there) = (rig.versions("").await, rig.clients().leftovers(rig.stack()).await.unwrap());
    let mut tried: BTreeMap<String, Value> = BTreeMap::new();
    for action in actions().iter().filter(|action| !NO_CALLS.contains(&action.as_str())) {
        for (number, (service, operation, parameters)) in booty.calls(&rig, action).into_iter().enumerate() {
            let call = json!({"service": service, "operation": operation, "parameters": parameters});
            tried.insert(format!("{action} {number}"), call);
        }
    }
    let calls: Vec<Value> = tried.values().cloned().collect();
    let denied = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403"];
    for (what, code) in tried.keys().zip(rig.try_as_the_agent(&calls)) {
        let code = code.unwrap_or_else(|| panic!("the agent may {what}"));
        assert!(denied.contains(&code.as_str()), "{what} was not denied but failed: {code}");
    }
    assert_eq!(rig.versions("").await, stored, "nothing in the vault has changed");
    let now = rig.clients().leftovers(rig.stack()).await.unwrap();
    assert_eq!((now.instances, now.rules, now.parameters), (there.instances, there.rules, there.parameters));
    assert_eq!(rig.latest_execution().await.status, "RUNNING");
}
