//! Who may do what, tried with IAM enforced: each principal's own rights, and everything else denied.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Debug;

use aws_sdk_ec2::operation::run_instances::builders::RunInstancesFluentBuilder;
use aws_sdk_ec2::types::{
    HttpTokensState, IamInstanceProfileSpecification, InstanceMetadataOptionsRequest,
    InstanceNetworkInterfaceSpecification, InstanceType, IpPermission, IpRange, LaunchTemplateSpecification,
    ResourceType, Tag, TagSpecification,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use drawbridge_local::Clients;
use drawbridge_tests::{Rig, invoke};
use serde_json::{Value, json};

/// Fails unless AWS refused for want of rights.
#[track_caller]
fn denied<T: Debug, E: ProvideErrorMetadata + Debug, R: Debug>(what: &str, result: Result<T, SdkError<E, R>>) {
    let error = result.expect_err(what);
    let code = error.code().unwrap_or_default().to_owned();
    let words = ["AccessDenied", "AccessDeniedException", "UnauthorizedOperation"];
    assert!(words.contains(&code.as_str()), "{what} was not denied but failed: {code} {error:?}");
}

/// Every action of EC2, SSM and IAM that the stack's parts use between them.
async fn denied_elsewhere(rig: &Rig, who: &Clients, allowed: &[&str]) {
    let stack = rig.stack();
    let except = |action: &str| allowed.contains(&action);
    if !except("ec2:DescribeInstances") {
        denied("ec2:DescribeInstances", who.ec2.describe_instances().send().await);
    }
    denied("ec2:RunInstances", who.ec2.run_instances().image_id("ami-1").min_count(1).max_count(1).send().await);
    let id = "i-0123456789abcdef0";
    denied("ec2:TerminateInstances", who.ec2.terminate_instances().instance_ids(id).send().await);
    let group = &stack.security_group;
    denied(
        "ec2:Authorize",
        who.ec2.authorize_security_group_ingress().group_id(group).cidr_ip("0.0.0.0/0").send().await,
    );
    let name = format!("/drawbridge/{}/x/other", stack.site);
    denied("ssm:GetParameter", who.ssm.get_parameter().name(&name).send().await);
    if !except("ssm:PutParameter") {
        denied("ssm:PutParameter", who.ssm.put_parameter().name(&name).value("x").send().await);
    }
    denied("states:StopExecution", who.sfn.stop_execution().execution_arn(execution_arn(rig)).send().await);
}

async fn denied_in_the_vault(rig: &Rig, who: &Clients, put: &str) {
    let vault = &rig.stack().vault;
    denied("s3:ListBucket", who.s3.list_objects_v2().bucket(vault).send().await);
    denied("s3:GetObject", who.s3.get_object().bucket(vault).key("repo/planted").send().await);
    denied("s3:DeleteObject", who.s3.delete_object().bucket(vault).key("repo/planted").send().await);
    denied("s3:PutObject", who.s3.put_object().bucket(vault).key(put).body(vec![1].into()).send().await);
}

fn execution_arn(rig: &Rig) -> String {
    let machine = rig.stack().state_machine_arn.replace(":stateMachine:", ":execution:");
    format!("{machine}:home-20261123T203000Z")
}

async fn plant(rig: &Rig) {
    let vault = &rig.stack().vault;
    let put = rig.clients().s3.put_object().bucket(vault).key("repo/planted").body(vec![7].into());
    put.send().await.unwrap();
}

#[tokio::test]
async fn the_agent_may_ask_for_a_bridge_and_nothing_else() {
    let rig = Rig::up().await;
    plant(&rig).await;
    let agent = rig.agent_clients().await;
    let functions = &rig.stack().functions;
    // Its own three answer. What they answer to nonsense is an error of theirs, not of IAM's.
    for function in [&functions.start, &functions.session, &functions.report] {
        let answer = invoke::<Value>(&agent, function, &json!({"nonsense": true})).await.unwrap_err();
        assert!(answer.contains("InvalidRequest"), "{function}: {answer}");
    }
    // So does what one of them has no use for.
    let run = "home-20261123T203000Z";
    let heartbeat = json!({"run": run, "report": {"what": "heartbeat"}, "token": "theirs"});
    for (function, request) in
        [(&functions.session, json!({"run": run, "token": true})), (&functions.report, heartbeat)]
    {
        let answer = invoke::<Value>(&agent, function, &request).await.unwrap_err();
        assert!(answer.contains("InvalidRequest"), "{function}: {answer}");
    }
    let unknown = json!({"run": run});
    let answer = invoke::<Value>(&agent, &functions.session, &unknown).await.unwrap_err();
    assert!(answer.contains("UnknownRun"), "{answer}");
    // Everything else the stack uses is denied.
    for function in [&functions.provision, &functions.ready, &functions.verify, &functions.destroy] {
        let answer = invoke::<Value>(&agent, function, &json!({})).await.unwrap_err();
        assert!(answer.contains("AccessDenied"), "{function}: {answer}");
    }
    denied_in_the_vault(&rig, &agent, "repo/2026-11-0123456789abcdef/config").await;
    denied_elsewhere(&rig, &agent, &[]).await;
    let machine = &rig.stack().state_machine_arn;
    denied("states:StartExecution", agent.sfn.start_execution().state_machine_arn(machine).input("{}").send().await);
    denied("states:ListExecutions", agent.sfn.list_executions().state_machine_arn(machine).send().await);
    denied("states:DescribeExecution", agent.sfn.describe_execution().execution_arn(execution_arn(&rig)).send().await);
    denied("states:SendTaskSuccess", agent.sfn.send_task_success().task_token("x").output("{}").send().await);
    let history = agent.sfn.get_execution_history().execution_arn(execution_arn(&rig)).send().await;
    denied("states:GetExecutionHistory", history);
    let update = agent.lambda.update_function_configuration().function_name(&functions.start).timeout(3);
    denied("lambda:UpdateFunctionConfiguration", update.send().await);
    denied("lambda:ListFunctions", agent.lambda.list_functions().send().await);
}

#[tokio::test]
async fn the_box_may_add_to_the_vault_and_nothing_else() {
    let rig = Rig::up().await;
    plant(&rig).await;
    let jump_box = rig.role_clients("drawbridge-BoxRole").await;
    let vault = &rig.stack().vault;
    for key in ["repo/2026-11-0123456789abcdef/config", "runs/home-20261123T203000Z/manifest.json"] {
        jump_box
            .s3
            .put_object()
            .bucket(vault)
            .key(key)
            .if_none_match("*")
            .body(vec![1].into())
            .send()
            .await
            .expect(key);
    }
    denied_in_the_vault(&rig, &jump_box, "artifacts/0000").await;
    denied("s3:ListObjectVersions", jump_box.s3.list_object_versions().bucket(vault).send().await);
    let lift = jump_box.s3.put_object_retention().bucket(vault).key("repo/planted");
    denied("s3:PutObjectRetention", lift.send().await);
    denied_elsewhere(&rig, &jump_box, &[]).await;
    denied("states:SendTaskSuccess", jump_box.sfn.send_task_success().task_token("x").output("{}").send().await);
    let start = jump_box.lambda.invoke().function_name(&rig.stack().functions.start).send().await;
    denied("lambda:InvokeFunction", start);
}

#[tokio::test]
async fn each_functions_role_lacks_what_it_does_not_need() {
    let rig = Rig::up().await;
    plant(&rig).await;
    let vault = &rig.stack().vault;
    let put = "repo/2026-11-0123456789abcdef/config";

    let start = rig.role_clients("drawbridge-StartFunctionRole").await;
    denied_in_the_vault(&rig, &start, put).await;
    denied_elsewhere(&rig, &start, &[]).await;
    denied("states:SendTaskSuccess", start.sfn.send_task_success().task_token("x").output("{}").send().await);

    let provision = rig.role_clients("drawbridge-ProvisionFunctionRole").await;
    denied_in_the_vault(&rig, &provision, put).await;
    // Of what runs leave it sees the boxes' words and nothing else.
    let list = |prefix: &str| provision.s3.list_objects_v2().bucket(vault).prefix(prefix).send();
    list("runs/home-20261123T203000Z/ready/i-0123456789abcdef0.json").await.expect("provision looks for a word");
    denied("s3:ListBucket", list("runs/").await);
    let manifest = provision.s3.get_object().bucket(vault).key("runs/home-20261123T203000Z/manifest.json");
    denied("s3:GetObject", manifest.send().await);
    // The right to launch is bound to the template and to tags.
    denied_elsewhere(&rig, &provision, &["ec2:DescribeInstances", "ssm:PutParameter"]).await;
    let machine = &rig.stack().state_machine_arn;
    denied("states:StartExecution", provision.sfn.start_execution().state_machine_arn(machine).send().await);

    let ready = rig.role_clients("drawbridge-ReadyFunctionRole").await;
    denied_in_the_vault(&rig, &ready, put).await;
    denied_elsewhere(&rig, &ready, &["ec2:DescribeInstances"]).await;

    for name in ["drawbridge-SessionFunctionRole", "drawbridge-ReportFunctionRole"] {
        let role = rig.role_clients(name).await;
        denied_in_the_vault(&rig, &role, put).await;
        denied_elsewhere(&rig, &role, &[]).await;
    }

    let verify = rig.role_clients("drawbridge-VerifyFunctionRole").await;
    verify.s3.list_objects_v2().bucket(vault).send().await.expect("verify lists the vault");
    denied("s3:PutObject", verify.s3.put_object().bucket(vault).key(put).body(vec![1].into()).send().await);
    denied("s3:DeleteObject", verify.s3.delete_object().bucket(vault).key("repo/planted").send().await);
    denied_elsewhere(&rig, &verify, &[]).await;

    let destroy = rig.role_clients("drawbridge-DestroyFunctionRole").await;
    denied_in_the_vault(&rig, &destroy, put).await;
    denied("states:StartExecution", destroy.sfn.start_execution().state_machine_arn(machine).send().await);
    let name = format!("/drawbridge/{}/x/session", rig.stack().site);
    denied("ssm:PutParameter", destroy.ssm.put_parameter().name(name).value("x").send().await);
    // An instance without this stack's tags is not its business.
    let foreign = rig.clients().ec2.run_instances().image_id("ami-0123456789abcdef0").min_count(1).max_count(1);
    let foreign = foreign.send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    denied("ec2:TerminateInstances", destroy.ec2.terminate_instances().instance_ids(&foreign).send().await);
    rig.clients().ec2.terminate_instances().instance_ids(&foreign).send().await.unwrap();
}

fn tagged(of: ResourceType, site: &str) -> TagSpecification {
    let tag = |key: &str, value: &str| Tag::builder().key(format!("drawbridge:{key}")).value(value).build();
    TagSpecification::builder().resource_type(of).tags(tag("app", "drawbridge")).tags(tag("site", site)).build()
}

fn tagged_box(site: &str) -> Option<Vec<TagSpecification>> {
    let parts = [ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface];
    Some(parts.map(|part| tagged(part, site)).into())
}

/// A launch as `provision` makes it, with its role's rights; `change` makes another of it.
async fn launch(
    rig: &Rig,
    provision: &Clients,
    template: &str,
    change: impl FnOnce(RunInstancesFluentBuilder) -> RunInstancesFluentBuilder,
) -> Result<String, String> {
    let group = &rig.stack().security_group;
    let name = json!({"Filters": [{"Name": "tag:Name", "Values": [format!("drawbridge-{}-a", rig.stack().site)]}]});
    let subnet = rig.call("ec2", "describe_subnets", name)["Subnets"][0]["SubnetId"].as_str().unwrap().to_owned();
    let interface = InstanceNetworkInterfaceSpecification::builder().device_index(0).subnet_id(subnet).groups(group);
    let launch = provision
        .ec2
        .run_instances()
        .min_count(1)
        .max_count(1)
        .launch_template(LaunchTemplateSpecification::builder().launch_template_id(template).version("$Latest").build())
        .instance_type(InstanceType::T3Micro)
        .network_interfaces(interface.associate_public_ip_address(true).build())
        .set_tag_specifications(tagged_box(&rig.stack().site));
    match change(launch).send().await {
        Ok(launched) => Ok(launched.instances()[0].instance_id().unwrap().to_owned()),
        Err(error) => Err(error.code().unwrap_or("no code").to_owned()),
    }
}

#[tokio::test]
async fn provision_launches_this_stacks_boxes_and_no_others() {
    let rig = Rig::up().await;
    let site = rig.stack().site.clone();
    let provision = rig.role_clients("drawbridge-ProvisionFunctionRole").await;
    let templates = rig.call("ec2", "describe_launch_templates", json!({}));
    let template = templates["LaunchTemplates"][0]["LaunchTemplateId"].as_str().unwrap().to_owned();
    let other = json!({"LaunchTemplateName": "theirs", "LaunchTemplateData": {"ImageId": "ami-0123456789abcdef0"}});
    let other = rig.call("ec2", "create_launch_template", other);
    let other = other["LaunchTemplate"]["LaunchTemplateId"].as_str().unwrap().to_owned();
    let trust = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ]});
    rig.call("iam", "create_role", json!({"RoleName": "admin", "AssumeRolePolicyDocument": trust.to_string()}));
    rig.call("iam", "create_instance_profile", json!({"InstanceProfileName": "admin"}));
    rig.call("iam", "add_role_to_instance_profile", json!({"InstanceProfileName": "admin", "RoleName": "admin"}));

    let ours = launch(&rig, &provision, &template, |launch| launch).await.expect("its own box");
    let refused = Err("UnauthorizedOperation".to_owned());
    assert_eq!(launch(&rig, &provision, &other, |launch| launch).await, refused, "another template");
    let image = |launch: RunInstancesFluentBuilder| launch.set_launch_template(None).image_id("ami-0123456789abcdef0");
    assert_eq!(launch(&rig, &provision, &template, image).await, refused, "no template");
    let bare = |launch: RunInstancesFluentBuilder| launch.set_tag_specifications(None);
    assert_eq!(launch(&rig, &provision, &template, bare).await, refused, "no tags");
    let office = |launch: RunInstancesFluentBuilder| launch.set_tag_specifications(tagged_box("office"));
    assert_eq!(launch(&rig, &provision, &template, office).await, refused, "another site's tags");
    let dear = |launch: RunInstancesFluentBuilder| launch.instance_type(InstanceType::P548xlarge);
    assert_eq!(launch(&rig, &provision, &template, dear).await, refused, "another type");
    let tokens = InstanceMetadataOptionsRequest::builder().http_tokens(HttpTokensState::Optional).build();
    let open = |launch: RunInstancesFluentBuilder| launch.metadata_options(tokens);
    assert_eq!(launch(&rig, &provision, &template, open).await, refused, "metadata without a token");
    let profile = IamInstanceProfileSpecification::builder().name("admin").build();
    let admin = |launch: RunInstancesFluentBuilder| launch.iam_instance_profile(profile);
    assert_eq!(launch(&rig, &provision, &template, admin).await, refused, "another role");

    // What it didn't create it can't tag, so that it can't make a foreign box its own and terminate that.
    let foreign = rig.clients().ec2.run_instances().image_id("ami-0123456789abcdef0").min_count(1).max_count(1);
    let foreign = foreign.send().await.unwrap().instances()[0].instance_id().unwrap().to_owned();
    let tag = Tag::builder().key("drawbridge:app").value("drawbridge").build();
    denied("ec2:CreateTags", provision.ec2.create_tags().resources(&foreign).tags(tag).send().await);
    denied("ec2:TerminateInstances", provision.ec2.terminate_instances().instance_ids(&foreign).send().await);
    provision.ec2.terminate_instances().instance_ids(ours).send().await.expect("its own box");

    // A rule that nobody would find by its tags stays shut.
    let door = || {
        let range = IpRange::builder().cidr_ip("192.0.2.1/32").build();
        let port = IpPermission::builder().ip_protocol("tcp").from_port(2222).to_port(2222).ip_ranges(range).build();
        provision.ec2.authorize_security_group_ingress().group_id(&rig.stack().security_group).ip_permissions(port)
    };
    denied("a rule without tags", door().send().await);
    let office = tagged(ResourceType::SecurityGroupRule, "office");
    denied("a rule with another site's tags", door().tag_specifications(office).send().await);
    door().tag_specifications(tagged(ResourceType::SecurityGroupRule, &site)).send().await.expect("a tagged rule");
}
