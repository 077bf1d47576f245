//! Safeguards of the template that nothing on this machine can try: the emulator has no prefix lists and no slow retries, and of
//! several conditions that each forbid the same launch it takes all to be gone before one is allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use drawbridge_local::Workspace;
use serde_yaml_ng::Value as Yaml;

fn resources() -> Yaml {
    let text = std::fs::read_to_string(Workspace::here().template()).unwrap();
    serde_yaml_ng::from_str::<Yaml>(&text).unwrap()["Resources"].clone()
}

/// A value as text, with CloudFormation's tags.
fn text(value: &Yaml) -> String {
    serde_yaml_ng::to_string(value).unwrap().trim().to_owned()
}

#[test]
fn a_box_reaches_s3s_prefix_list_over_tls_and_nothing_else() {
    let group = &resources()["BoxSecurityGroup"]["Properties"];
    let [rule] = group["SecurityGroupEgress"].as_sequence().unwrap().as_slice() else { panic!("{group:?}") };
    assert_eq!(text(&rule["DestinationPrefixListId"]), "!Ref S3PrefixListId");
    assert_eq!((&rule["IpProtocol"], &rule["FromPort"], &rule["ToPort"]), (&"tcp".into(), &443.into(), &443.into()));
    for wider in ["CidrIp", "CidrIpv6", "DestinationSecurityGroupId"] {
        assert!(rule.get(wider).is_none(), "{rule:?}");
    }
}

#[test]
fn every_part_of_a_launch_is_bound_to_the_stacks_template() {
    let policies = &resources()["ProvisionFunction"]["Properties"]["Policies"];
    let statements = policies[0]["Statement"].as_sequence().unwrap();
    let launches: Vec<_> = statements.iter().filter(|statement| statement["Action"] == "ec2:RunInstances").collect();
    assert!(launches.len() > 1, "{statements:?}");
    for statement in launches {
        let bound = text(&statement["Condition"]["ArnEquals"]["ec2:LaunchTemplate"]);
        assert!(bound.ends_with(":launch-template/${BoxTemplate}"), "{bound}");
    }
}

#[test]
fn an_event_that_destroy_fails_at_is_tried_three_times_within_the_hour() {
    let invocations = &resources()["DestroyFunction"]["Properties"]["EventInvokeConfig"];
    assert_eq!(invocations["MaximumRetryAttempts"], 2, "beyond the first; the most that Lambda does");
    assert_eq!(invocations["MaximumEventAgeInSeconds"], 3600);
}
