//! Safeguards of the template that nothing on this machine can try: the emulator has no prefix lists and no slow retries, and of
//! several conditions that each forbid the same launch it takes all to be gone before one is allowed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;

use drawbridge_domain::generation::GenerationLength;
use drawbridge_domain::retention::{PROMISES, Retention, SLACK_DAYS};
use drawbridge_local::Workspace;
use serde_yaml_ng::Value as Yaml;

fn template() -> Yaml {
    serde_yaml_ng::from_str(&std::fs::read_to_string(Workspace::here().template()).unwrap()).unwrap()
}

fn resources() -> Yaml {
    template()["Resources"].clone()
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

/// One of a retention's two numbers.
type Days = fn(Retention) -> u32;

#[test]
fn every_cell_of_the_retention_tables_is_what_the_domain_derives() {
    let template = template();
    let allowed = |parameter: &str| template["Parameters"][parameter]["AllowedValues"].clone();
    assert_eq!(serde_yaml_ng::from_value::<Vec<u32>>(allowed("PromisedDays")).unwrap(), PROMISES);
    let lengths: Vec<String> = serde_yaml_ng::from_value(allowed("Generation")).unwrap();
    assert_eq!(lengths, GenerationLength::ALL.map(|length| length.to_string()));
    let tables: [(&str, Days); 2] = [("LockDays", |of| of.lock_days), ("ExpireDays", |of| of.expire_days)];
    for (table, days) in tables {
        let cells: BTreeMap<String, BTreeMap<String, u32>> =
            serde_yaml_ng::from_value(template["Mappings"][table].clone()).unwrap();
        let row = |length| PROMISES.map(|promise| (promise.to_string(), days(Retention::of(length, promise)))).into();
        let derived = GenerationLength::ALL.map(|length| (length.to_string(), row(length)));
        assert_eq!(cells, BTreeMap::from(derived), "{table}");
    }
}

#[test]
fn a_run_that_begins_in_the_last_moment_of_the_longest_slot_is_over_within_the_slack() {
    let slot = template()["Parameters"]["SlotSeconds"]["MaxValue"].as_u64().unwrap();
    let machine = std::fs::read(Workspace::here().root().join("statemachine/backup.asl.json")).unwrap();
    let machine: serde_json::Value = serde_json::from_slice(&machine).unwrap();
    let longest_run = machine["TimeoutSeconds"].as_u64().unwrap();
    assert!(slot + longest_run <= u64::from(SLACK_DAYS) * 86_400, "{slot} s and {longest_run} s");
}

#[test]
fn everything_in_the_vault_is_locked_and_forgotten_by_the_table_versions_and_delete_markers_too() {
    let vault = &resources()["Vault"]["Properties"];
    let looked_up = |table: &str| format!("!FindInMap\n- {table}\n- !Ref Generation\n- !Ref PromisedDays");
    let lock = &vault["ObjectLockConfiguration"]["Rule"]["DefaultRetention"];
    assert_eq!((text(&lock["Days"]), text(&lock["Mode"])), (looked_up("LockDays"), "!Ref LockMode".to_owned()));
    let rules = vault["LifecycleConfiguration"]["Rules"].as_sequence().unwrap();
    let [forget, tidy] = rules.as_slice() else { panic!("{rules:?}") };
    assert_eq!(text(&forget["ExpirationInDays"]), looked_up("ExpireDays"), "a current version gets a delete marker");
    let noncurrent = forget["NoncurrentVersionExpiration"].as_mapping().unwrap();
    assert_eq!(noncurrent.len(), 1, "versions beyond a number would stay: {noncurrent:?}");
    assert_eq!(noncurrent["NoncurrentDays"], 1, "what is behind a delete marker goes, once its lock has ended");
    assert_eq!(forget["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"], 1, "parts are no versions");
    assert_eq!(tidy["ExpiredObjectDeleteMarker"], true, "a delete marker with nothing behind it goes");
    for rule in rules {
        assert_eq!(rule["Status"], "Enabled", "{rule:?}");
        // A rule of some keys only would leave the others for ever: repo/, runs/ and artifacts/.
        for narrower in ["Prefix", "TagFilters", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "ExpirationDate"] {
            assert!(rule.get(narrower).is_none(), "{rule:?}");
        }
    }
}
