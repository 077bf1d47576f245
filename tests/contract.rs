//! The state machine, the template and the code, held against each other. What the state machine must be in itself, whatever
//! the code, is in `model/`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use drawbridge_local::Workspace;
use drawbridge_wire as wire;
use serde_json::Value;
use serde_yaml_ng::Value as Yaml;

fn machine() -> Value {
    let path = Workspace::here().root().join("statemachine/backup.asl.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn states(machine: &Value) -> BTreeMap<String, Value> {
    machine["States"].as_object().unwrap().iter().map(|(name, state)| (name.clone(), state.clone())).collect()
}

fn tasks(machine: &Value) -> BTreeMap<String, Value> {
    let tasks: BTreeMap<_, _> = states(machine).into_iter().filter(|(_, state)| state["Type"] == "Task").collect();
    assert!(tasks.len() >= 4, "{tasks:?}");
    tasks
}

/// The template's YAML with CloudFormation's tags.
fn template() -> Yaml {
    serde_yaml_ng::from_str(&std::fs::read_to_string(Workspace::here().template()).unwrap()).unwrap()
}

fn parameter(template: &Yaml, name: &str, field: &str) -> u64 {
    template["Parameters"][name][field].as_u64().unwrap_or_else(|| panic!("{name} has no {field}"))
}

#[test]
fn success_needs_a_good_verdict_and_is_never_the_default() {
    let states = states(&machine());
    let judge = &states["JudgeRun"];
    assert_eq!(judge["Default"], "BackupFailed");
    for choice in judge["Choices"].as_array().unwrap() {
        let condition = choice["Condition"].as_str().unwrap();
        assert!(condition.contains("$verdict.verdict = 'good'") && condition.contains("$not($exists($failure.error))"));
    }
    let error = states["BackupFailed"]["Error"].as_str().unwrap();
    assert!(error.contains(&format!("'{}'", wire::VERDICT_BAD)), "the agent knows a bad verdict by this name: {error}");
    let good = serde_json::to_value(wire::Verdict::Good).unwrap();
    assert_eq!(good, "good", "the condition names the verdict as verify writes it");
}

#[test]
fn every_substitution_is_in_the_template_and_the_other_way_round() {
    let text = machine().to_string();
    let used: BTreeSet<&str> =
        text.split("${").skip(1).map(|rest| rest.split_once('}').expect("a closed substitution").0).collect();
    let template = template();
    let substitutions = template["Resources"]["Backup"]["Properties"]["DefinitionSubstitutions"].as_mapping().unwrap();
    let given: BTreeSet<&str> = substitutions.keys().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(used, given);
}

/// The names of the fields that a wire type writes.
fn fields(value: impl serde::Serialize) -> BTreeSet<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn what_the_states_send_is_what_the_functions_parse() {
    let tasks = tasks(&machine());
    let payload = |state: &str| {
        let payload = tasks[state]["Arguments"]["Payload"].as_object().unwrap();
        payload.keys().cloned().collect::<BTreeSet<String>>()
    };
    let run: wire::RunId = "home-20261123T203000Z".parse().unwrap();
    let repository: wire::VaultRepository = "2026-11-0123456789abcdef".parse().unwrap();
    let digest = wire::Sha256Digest::from_bytes([7; 32]);
    let input = wire::RunInput {
        repository: repository.clone(),
        public_key: String::new(),
        source_cidr: "127.0.0.1/32".parse().unwrap(),
        objects: 1,
        bytes: 1,
        manifest_sha256: digest,
        window_seconds: 60,
        unusual: Some(wire::Unusual { usual_bytes: 1 }),
    };
    let text = machine().to_string();
    for (field, _) in text.match_indices("$states.context.Execution.Input.") {
        let name = &text[field + "$states.context.Execution.Input.".len()..];
        let name: String =
            name.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_' || c.is_ascii_digit()).collect();
        assert!(fields(&input).contains(&name), "the states read {name} from the input");
    }
    let provision = wire::ProvisionEvent {
        run: run.clone(),
        execution_arn: String::new(),
        started_at: wire::Timestamp::UNIX_EPOCH,
        task_token: String::new().into(),
        input,
    };
    assert_eq!(payload("ProvisionJumpBox"), fields(provision));
    assert_eq!(
        payload("VerifyBackup"),
        fields(wire::VerifyEvent { run: run.clone(), repository, manifest_sha256: digest })
    );
    assert_eq!(payload("DestroyJumpBox"), fields(wire::DestroyRequest::Run(run)));
    let record = tasks["AwaitUpload"]["Arguments"]["Value"].as_str().unwrap();
    for field in ["'task_token'", "'bridge'"] {
        assert!(record.contains(field), "{record}");
    }
}

#[test]
fn the_defaults_keep_their_promises() {
    let template = template();
    let default = |name: &str| parameter(&template, name, "Default");
    assert!(
        default("HeartbeatSeconds") * 2 < default("WindowBaseSeconds"),
        "a heartbeat fits the shortest window twice"
    );
    assert_eq!(template["Parameters"]["Platform"]["Default"], "aws", "it deploys on AWS as it is");
}

#[test]
fn the_box_is_bound_by_its_template() {
    let template = template();
    let resources = &template["Resources"];
    let group = &resources["BoxSecurityGroup"]["Properties"];
    assert!(group.get("SecurityGroupIngress").is_none(), "no inbound rule at rest");
    assert_eq!(group["SecurityGroupEgress"].as_sequence().unwrap().len(), 1, "one way out");
    let data = &resources["BoxTemplate"]["Properties"]["LaunchTemplateData"];
    assert_eq!(data["InstanceInitiatedShutdownBehavior"], "terminate");
    assert_eq!(data["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(data["MetadataOptions"]["HttpPutResponseHopLimit"], 1);
    let vault = &resources["Vault"];
    assert_eq!((&vault["DeletionPolicy"], &vault["UpdateReplacePolicy"]), (&"Retain".into(), &"Retain".into()));
    assert_eq!(vault["Properties"]["VersioningConfiguration"]["Status"], "Enabled");
    assert_eq!(vault["Properties"]["ObjectLockEnabled"], true);
    let role = &resources["BoxRole"]["Properties"]["Policies"];
    let statements = role[0]["PolicyDocument"]["Statement"].as_sequence().unwrap();
    assert_eq!(statements.len(), 1);
    assert_eq!(statements[0]["Action"], "s3:PutObject", "the box can put and nothing else");
}

#[test]
fn the_vault_denies_what_nobody_may() {
    let template = template();
    let policy = &template["Resources"]["VaultPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    let deny = |sid: &str| {
        // Behind a condition, what holds on AWS is the first of two.
        let on_aws = |statement: &'_ Yaml| match statement {
            Yaml::Tagged(condition) => condition.value[1].clone(),
            plain => plain.clone(),
        };
        let statement = policy.as_sequence().unwrap().iter().map(on_aws).find(|statement| statement["Sid"] == sid);
        let statement = statement.unwrap_or_else(|| panic!("no statement {sid}"));
        assert_eq!(statement["Effect"], "Deny", "{sid}");
        statement
    };
    let tls = deny("TlsOnly");
    assert_eq!((&tls["Principal"], &tls["Action"]), (&"*".into(), &"s3:*".into()));
    assert_eq!(tls["Condition"]["Bool"]["aws:SecureTransport"], "false");
    let endpoint = deny("TheBoxPutsOnlyThroughTheEndpoint");
    assert!(endpoint["Condition"]["StringNotEquals"].get("aws:SourceVpce").is_some());
    assert!(endpoint["Principal"].get("AWS").is_some(), "a Deny for everybody would lock everybody out");
    let overwrites = deny("TheBoxNeverOverwrites");
    assert_eq!(overwrites["Condition"]["Null"]["s3:if-none-match"], "true");
    let exempt = "s3:ObjectCreationOperation would let the parts of a multipart upload pass";
    assert_eq!(overwrites["Condition"].as_mapping().unwrap().len(), 1, "{exempt}");
    let block = &template["Resources"]["Vault"]["Properties"]["PublicAccessBlockConfiguration"];
    for setting in ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"] {
        assert_eq!(block[setting], true, "{setting}");
    }
    let retention =
        &template["Resources"]["Vault"]["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"];
    assert!(retention.get("Mode").is_some() && retention.get("Days").is_some());
}

/// The statuses that a rule's pattern waits for.
fn statuses(pattern: &Yaml) -> Vec<&str> {
    assert_eq!(pattern["detail-type"][0], "Step Functions Execution Status Change");
    let statuses = pattern["detail"]["status"].as_sequence().unwrap_or_else(|| panic!("no statuses: {pattern:?}"));
    statuses.iter().filter_map(Yaml::as_str).collect()
}

#[test]
fn every_bad_end_reaches_destroy_and_the_topic_and_the_sweeper_asks_for_a_sweep() {
    let template = template();
    let resources = &template["Resources"];
    let events = &resources["DestroyFunction"]["Properties"]["Events"];
    assert_eq!(statuses(&events["RunEndedBadly"]["Properties"]["Pattern"]), ["FAILED", "TIMED_OUT", "ABORTED"]);
    assert_eq!(
        statuses(&resources["FailedRule"]["Properties"]["EventPattern"]),
        ["FAILED"],
        "the others destroy tells"
    );
    let answers = &resources["DestroyFunction"]["Properties"]["EventInvokeConfig"]["DestinationConfig"]["OnSuccess"];
    assert!(format!("{answers:?}").contains(":event-bus/default"), "{answers:?}");
    let notices = &resources["NoticeRule"]["Properties"];
    let answer = wire::DestroyAnswer { notice: Some("a word".into()), ..wire::DestroyAnswer::default() };
    let told = |answer: &wire::DestroyAnswer| serde_json::to_value(answer).unwrap().get("notice").is_some();
    assert!(told(&answer) && !told(&wire::DestroyAnswer::default()), "an answer without a notice passes no rule");
    assert_eq!(notices["EventPattern"]["detail"]["responsePayload"]["notice"][0]["exists"], true);
    assert_eq!(notices["Targets"][0]["InputPath"], "$.detail.responsePayload.notice");
    assert_eq!(events["Sweep"]["Type"], "ScheduleV2");
    let input = events["Sweep"]["Properties"]["Input"].as_str().expect("the sweeper's input");
    let request: wire::DestroyRequest = serde_json::from_str(input).unwrap();
    assert_eq!(request, wire::DestroyRequest::Sweep {});
}

#[test]
fn nothing_that_tells_of_an_end_is_dropped_in_silence() {
    let template = template();
    let resources = &template["Resources"];
    let destroy = &resources["DestroyFunction"]["Properties"];
    let of_rule = |rule: &str| &resources[rule]["Properties"]["Targets"][0];
    let events = ["RunEndedBadly", "Sweep"].map(|event| &destroy["Events"][event]["Properties"]);
    for delivery in events.into_iter().chain(["FailedRule", "NoticeRule", "UnusualRule"].map(of_rule)) {
        let dead_letters = delivery["DeadLetterConfig"]["Arn"].clone();
        assert!(format!("{dead_letters:?}").contains("Undelivered.Arn"), "{delivery:?}");
        for bound in ["MaximumRetryAttempts", "MaximumEventAgeInSeconds"] {
            assert!(delivery["RetryPolicy"][bound].as_u64().is_some_and(|most| most > 0), "{delivery:?}");
        }
    }
    let gave_up = &destroy["EventInvokeConfig"]["DestinationConfig"]["OnFailure"];
    let alarm = &resources["UndeliveredAlarm"]["Properties"]["AlarmActions"][0];
    for told in [&gave_up["Destination"], alarm] {
        assert!(format!("{told:?}").contains("FailureTopic"), "{told:?}");
    }
}

#[test]
fn the_state_machines_log_carries_no_execution_data() {
    let template = template();
    let logging = &template["Resources"]["Backup"]["Properties"]["Logging"];
    assert_eq!(logging["IncludeExecutionData"], false, "AwaitUpload's would be its task token");
}

#[test]
fn the_agents_policy_is_three_functions_to_invoke() {
    let template = template();
    let statements = &template["Resources"]["AgentPolicy"]["Properties"]["PolicyDocument"]["Statement"];
    assert_eq!(statements.as_sequence().unwrap().len(), 1);
    assert_eq!(statements[0]["Action"], "lambda:InvokeFunction");
    assert_eq!(statements[0]["Resource"].as_sequence().unwrap().len(), 3);
}

#[test]
fn the_endpoint_lets_the_box_add_and_fetch_the_gate_and_names_nobody_as_principal() {
    let template = template();
    let statements = &template["Resources"]["S3Endpoint"]["Properties"]["PolicyDocument"]["Statement"];
    let statements = statements.as_sequence().unwrap();
    let actions: Vec<_> = statements.iter().map(|statement| statement["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["s3:PutObject", "s3:GetObject"]);
    assert!(statements.iter().all(|statement| statement["Principal"] == "*"), "a gateway endpoint matches no other");
    assert!(statements[0]["Condition"]["ArnEquals"].get("aws:PrincipalArn").is_some());
}

/// Every mapping in a document, at any depth.
fn mappings(value: &Yaml) -> Vec<&serde_yaml_ng::Mapping> {
    match value {
        Yaml::Mapping(mapping) => std::iter::once(mapping).chain(mapping.values().flat_map(mappings)).collect(),
        Yaml::Sequence(items) => items.iter().flat_map(mappings).collect(),
        Yaml::Tagged(tagged) => mappings(&tagged.value),
        _ => Vec::new(),
    }
}

#[test]
fn nothing_that_watches_is_switched_off() {
    let template = template();
    for mapping in mappings(&template["Resources"]) {
        assert!(mapping.get("State").is_none_or(|state| state == "ENABLED"), "{mapping:?}");
        assert!(mapping.get("ActionsEnabled").is_none_or(|enabled| *enabled == Yaml::Bool(true)), "{mapping:?}");
    }
}

#[test]
fn what_changes_ec2_is_bound_to_this_stacks_tags() {
    let template = template();
    let listed = |value: &Yaml| match value {
        Yaml::Sequence(items) => items.iter().filter_map(Yaml::as_str).map(str::to_owned).collect(),
        other => other.as_str().map(str::to_owned).into_iter().collect::<Vec<_>>(),
    };
    let (mut terminations, mut launches) = (0, 0);
    for statement in mappings(&template["Resources"]).into_iter().filter(|mapping| mapping.contains_key("Action")) {
        let tagged = |kind: &str| {
            let equals = &statement.get("Condition").unwrap_or_else(|| panic!("{statement:?}"))["StringEquals"];
            assert_eq!(equals[format!("{kind}/drawbridge:app").as_str()], "drawbridge", "{statement:?}");
            assert!(equals.get(format!("{kind}/drawbridge:site").as_str()).is_some(), "{statement:?}");
        };
        let actions = listed(&statement["Action"]);
        if actions.iter().any(|action| action == "ec2:TerminateInstances") {
            terminations += 1;
            tagged("ec2:ResourceTag");
        }
        let resources = format!("{:?}", statement.get("Resource"));
        if actions.iter().any(|action| action == "ec2:RunInstances") && resources.contains(":instance/") {
            launches += 1;
            tagged("aws:RequestTag");
        }
        let any = actions.iter().find(|action| action.ends_with('*') && *action != "s3:*");
        assert!(any.is_none(), "{any:?} in {statement:?}");
    }
    assert!(terminations >= 2 && launches == 1, "{terminations} and {launches}");
}
