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

    /// The calls that need an action: the service, boto3's operation and its parameters.
    fn calls(&self, rig: &Rig, action: &str) -> Vec<(&'static str, &'static str, Value)> {
        let stack = rig.stack();
        let (vault, group, machine) = (&stack.vault, &stack.security_group, &stack.state_machine_arn);
        let parameter = format!("/drawbridge/{}/{}/session", stack.site, self.execution.rsplit(':').next().unwrap());
        let new = "repo/2026-11-0123456789abcdef/config";
        let door = json!({"GroupId": group, "IpPermissions": [
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
        ]});
        let launch = json!({"ImageId": "ami-0123456789abcdef0", "MinCount": 1, "MaxCount": 1});
        let others =
            [&stack.functions.provision, &stack.functions.ready, &stack.functions.verify, &stack.functions.destroy];
        let queue = format!("{}/{}/drawbridge-{}-undelivered", stack.endpoint_url, stack.account, stack.site);
        match action {
            "ec2:AuthorizeSecurityGroupIngress" => vec![("ec2", "authorize_security_group_ingress", door)],
            "ec2:CreateTags" => {
                let tags = json!({"Resources": [self.instance], "Tags": [{"Key": "drawbridge:run", "Value": "x"}]});
                vec![("ec2", "create_tags", tags)]
            }
            "ec2:DescribeInstances" => vec![("ec2", "describe_instances", json!({}))],
            "ec2:DescribeSecurityGroupRules" => vec![("ec2", "describe_security_group_rules", json!({}))],
            "ec2:RevokeSecurityGroupIngress" => {
                let rule = json!({"GroupId": group, "SecurityGroupRuleIds": [self.rule]});
                vec![("ec2", "revoke_security_group_ingress", rule)]
            }
            "ec2:RunInstances" => vec![("ec2", "run_instances", launch)],
            "ec2:TerminateInstances" => {
                vec![("ec2", "terminate_instances", json!({"InstanceIds": [self.instance]}))]
            }
            // It has no call of its own; this is one that passes a role.
            "iam:PassRole" => {
                let code = json!({"FunctionName": "theirs", "Runtime": "provided.al2023", "Handler": "bootstrap",
                    "Role": self.role, "Code": {"ZipFile": "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}});
                vec![("lambda", "create_function", code)]
            }
            "lambda:InvokeFunction" => {
                others.map(|name| ("lambda", "invoke", json!({"FunctionName": name, "Payload": "{}"}))).into()
            }
            "logs:DescribeLogGroups" => vec![("logs", "describe_log_groups", json!({}))],
            "logs:DescribeResourcePolicies" => vec![("logs", "describe_resource_policies", json!({}))],
            "logs:PutResourcePolicy" => {
                vec![("logs", "put_resource_policy", json!({"policyName": "x", "policyDocument": "{}"}))]
            }
            "s3:GetObject" => vec![
                ("s3", "get_object", json!({"Bucket": vault, "Key": self.object})),
                ("s3", "head_object", json!({"Bucket": vault, "Key": self.object})),
            ],
            "s3:GetObjectRetention" => {
                vec![("s3", "get_object_retention", json!({"Bucket": vault, "Key": self.object}))]
            }
            "s3:ListBucket" => vec![("s3", "list_objects_v2", json!({"Bucket": vault}))],
            "s3:PutObject" => {
                let put = |key: &str| ("s3", "put_object", json!({"Bucket": vault, "Key": key, "Body": "x"}));
                vec![put(new), put(&self.object)]
            }
            "sns:Publish" => vec![("sns", "publish", json!({"TopicArn": rig.topic(), "Message": "all is well"}))],
            "sqs:SendMessage" => vec![("sqs", "send_message", json!({"QueueUrl": queue, "MessageBody": "x"}))],
            "ssm:DeleteParameter" => vec![("ssm", "delete_parameter", json!({"Name": parameter}))],
            "ssm:GetParameter" => {
                vec![("ssm", "get_parameter", json!({"Name": parameter, "WithDecryption": true}))]
            }
            "ssm:GetParameters" => vec![("ssm", "get_parameters", json!({"Names": [parameter]}))],
            "ssm:GetParametersByPath" => {
                vec![("ssm", "get_parameters_by_path", json!({"Path": "/drawbridge", "Recursive": true}))]
            }
            "ssm:PutParameter" => {
                let put = json!({"Name": parameter, "Value": "x", "Type": "String", "Overwrite": true});
                vec![("ssm", "put_parameter", put)]
            }
            "states:DescribeExecution" => {
                vec![("stepfunctions", "describe_execution", json!({"executionArn": self.execution}))]
            }
            "states:ListExecutions" => {
                vec![("stepfunctions", "list_executions", json!({"stateMachineArn": machine}))]
            }
            "states:SendTaskFailure" => vec![("stepfunctions", "send_task_failure", json!({"taskToken": self.token}))],
            "states:SendTaskHeartbeat" => {
                vec![("stepfunctions", "send_task_heartbeat", json!({"taskToken": self.token}))]
            }
            "states:SendTaskSuccess" => {
                vec![("stepfunctions", "send_task_success", json!({"taskToken": self.token, "output": "{}"}))]
            }
            "states:StartExecution" => vec![("stepfunctions", "start_execution", json!({"stateMachineArn": machine}))],
            "sts:AssumeRole" => {
                vec![("sts", "assume_role", json!({"RoleArn": self.role, "RoleSessionName": "theirs"}))]
            }
            other => panic!("the template allows somebody {other}: say here with which call the agent would try it"),
        }
    }
}

#[tokio::test]
async fn while_a_gate_is_open_the_agent_may_do_nothing_that_another_part_of_the_stack_may() {
    let rig = Rig::up_with(&[("HeartbeatSeconds", "600"), ("SweepRate", "rate(365 days)")]).await;
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
