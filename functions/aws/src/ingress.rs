use aws_sdk_ec2::types::{Filter, IpPermission, IpRange, ResourceType, SecurityGroupRule};
use drawbridge_domain::destruction::Rule;
use drawbridge_domain::tags::Tags;
use drawbridge_wire::Ipv4Net;

use crate::convert::field;
use crate::instances::{read_tags, tag_specification};
use crate::{Aws, AwsError};

/// Who is let in, and where.
#[derive(Debug, Clone)]
pub struct Opening<'a> {
    /// The security group.
    pub group: &'a str,
    /// From where.
    pub cidr: Ipv4Net,
    /// To which TCP port.
    pub port: u16,
    /// What the rule is found by.
    pub tags: &'a Tags,
}

/// Ingress rules of a security group.
pub trait Ingress {
    /// Lets somebody in; [`crate::Kind::AlreadyExists`] when a rule does so already, whoever made it.
    async fn open(&self, opening: &Opening<'_>) -> Result<(), AwsError>;

    /// Every ingress rule of the group.
    async fn rules(&self, group: &str) -> Result<Vec<Rule>, AwsError>;

    /// Revokes one rule.
    async fn revoke(&self, group: &str, rule: &str) -> Result<(), AwsError>;
}

const AUTHORIZE: &str = "ec2:AuthorizeSecurityGroupIngress";
const DESCRIBE: &str = "ec2:DescribeSecurityGroupRules";
const REVOKE: &str = "ec2:RevokeSecurityGroupIngress";

impl Ingress for Aws {
    async fn open(&self, opening: &Opening<'_>) -> Result<(), AwsError> {
        let port = i32::from(opening.port);
        let permission = IpPermission::builder().ip_protocol("tcp").from_port(port).to_port(port).ip_ranges(
            IpRange::builder().cidr_ip(opening.cidr.to_string()).description("the agent of one run").build(),
        );
        self.ec2
            .authorize_security_group_ingress()
            .group_id(opening.group)
            .ip_permissions(permission.build())
            .tag_specifications(tag_specification(ResourceType::SecurityGroupRule, opening.tags))
            .send()
            .await
            .map_err(|error| AwsError::sdk(AUTHORIZE, error))?;
        Ok(())
    }

    async fn rules(&self, group: &str) -> Result<Vec<Rule>, AwsError> {
        let of_group = Filter::builder().name("group-id").values(group).build();
        let mut pages = self.ec2.describe_security_group_rules().filters(of_group).into_paginator().send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::sdk(DESCRIBE, error))?;
            let ours = |rule: &&SecurityGroupRule| rule.is_egress() != Some(true) && rule.group_id() == Some(group);
            for rule in page.security_group_rules().iter().filter(ours) {
                rules.push(read(rule)?);
            }
        }
        Ok(rules)
    }

    async fn revoke(&self, group: &str, rule: &str) -> Result<(), AwsError> {
        let request = self.ec2.revoke_security_group_ingress().group_id(group).security_group_rule_ids(rule);
        request.send().await.map_err(|error| AwsError::sdk(REVOKE, error))?;
        Ok(())
    }
}

fn read(rule: &SecurityGroupRule) -> Result<Rule, AwsError> {
    Ok(Rule {
        id: field(DESCRIBE, "rule id", rule.security_group_rule_id())?.to_owned(),
        cidr: rule.cidr_ipv4().map(str::to_owned),
        port: rule.from_port().and_then(|port| u16::try_from(port).ok()),
        tags: read_tags(rule.tags()),
    })
}
