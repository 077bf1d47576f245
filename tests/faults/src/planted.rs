//! What isn't ours, put where a careless `destroy` would find it.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::{IpPermission, IpRange, ResourceType, Tag, TagSpecification};
use aws_sdk_ssm::types::ParameterType;
use drawbridge_local::{Clients, Leftovers, StackDescription};

/// Neighbours of a stack.
#[derive(Debug)]
pub struct Planted {
    instances: Vec<String>,
    rule: String,
    parameters: BTreeMap<String, String>,
}

impl Planted {
    /// An instance without tags and one of another site, a rule without tags in the boxes' own security group, and
    /// parameters beside those of the site.
    pub async fn plant(clients: &Clients, stack: &StackDescription) -> Self {
        let mut instances = Vec::new();
        for site in [None, Some("elsewhere")] {
            let request = clients.ec2.run_instances().min_count(1).max_count(1).image_id("ami-0123456789abcdef0");
            let tags = site.map(|site| {
                let tag = |key: &str, value: &str| Tag::builder().key(key).value(value).build();
                TagSpecification::builder()
                    .resource_type(ResourceType::Instance)
                    .tags(tag("drawbridge:app", "drawbridge"))
                    .tags(tag("drawbridge:site", site))
                    .tags(tag("drawbridge:run", &format!("{site}-20260101T000000Z")))
                    .build()
            });
            let launched = request.set_tag_specifications(tags.map(|tags| vec![tags])).send().await.unwrap();
            instances.push(launched.instances()[0].instance_id().unwrap().to_owned());
        }
        let from = IpRange::builder().cidr_ip("203.0.113.9/32").build();
        let permission =
            IpPermission::builder().ip_protocol("tcp").from_port(2222).to_port(2222).ip_ranges(from).build();
        let opened = clients.ec2.authorize_security_group_ingress().group_id(&stack.security_group);
        let opened = opened.ip_permissions(permission).send().await.unwrap();
        let rule = opened.security_group_rules()[0].security_group_rule_id().unwrap().to_owned();
        let mut parameters = BTreeMap::new();
        let site = &stack.site;
        for name in [
            "/drawbridge/elsewhere/elsewhere-20260101T000000Z/session".to_owned(),
            format!("/drawbridge/{site}2/{site}2-20260101T000000Z/session"),
            "/something/else".to_owned(),
        ] {
            let put = clients.ssm.put_parameter().name(&name).value(format!("planted at {name}"));
            put.r#type(ParameterType::String).send().await.unwrap();
            parameters.insert(name.clone(), format!("planted at {name}"));
        }
        Self { instances, rule, parameters }
    }

    /// Takes the planted rule out of what was found in the site's own security group.
    pub fn without(&self, mut left: Leftovers) -> Leftovers {
        left.rules.retain(|rule| *rule != self.rule);
        left
    }

    /// A sentence for everything that was touched. `rules` are those of the security group.
    pub async fn touched(&self, clients: &Clients, stack: &StackDescription) -> Vec<String> {
        let mut touched = Vec::new();
        let found =
            clients.ec2.describe_instances().set_instance_ids(Some(self.instances.clone())).send().await.unwrap();
        for instance in found.reservations().iter().flat_map(|reservation| reservation.instances()) {
            let state = instance.state().and_then(|state| state.name()).map_or("gone", |name| name.as_str());
            if !["pending", "running"].contains(&state) {
                touched.push(format!("a foreign instance is {state}"));
            }
        }
        if !clients.leftovers(stack).await.unwrap().rules.contains(&self.rule) {
            touched.push("a foreign rule is gone".to_owned());
        }
        for (name, value) in &self.parameters {
            let now = clients.ssm.get_parameter().name(name).send().await;
            let now = now.ok().and_then(|answer| answer.parameter?.value);
            if now.as_ref() != Some(value) {
                touched.push(format!("the foreign parameter {name} is {now:?}"));
            }
        }
        touched
    }
}
