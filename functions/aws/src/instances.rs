use std::net::Ipv4Addr;

use aws_sdk_ec2::types::{
    Filter, Instance as SdkInstance, InstanceNetworkInterfaceSpecification, InstanceStateName, InstanceType,
    LaunchTemplateSpecification, ResourceType, Tag, TagSpecification,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use drawbridge_domain::launch::{Candidate, Instance, InstanceState};
use drawbridge_domain::tags::{APP, APP_VALUE, RUN, SITE, Tags};
use drawbridge_wire::{InstanceId, RunId, Site};

use crate::convert::{field, timestamp};
use crate::retry::CapacityIsFinal;
use crate::{Aws, AwsError};

/// One launch. Image, role, metadata options and shutdown behaviour are the launch template's.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The stack's launch template.
    pub template_id: &'a str,
    /// What, where, and the token that makes it happen once.
    pub candidate: &'a Candidate,
    /// The box's security group.
    pub security_group: &'a str,
    /// What it runs at boot, in plain text.
    pub user_data: &'a str,
    /// What it, its volume and its network interface are found by.
    pub tags: &'a Tags,
}

/// Boxes.
pub trait Instances {
    /// Every box that carries the tags of this run, in whatever state.
    async fn of_run(&self, site: &Site, run: &RunId) -> Result<Vec<Instance>, AwsError>;

    /// Every box that carries this stack's tags, in whatever state.
    async fn of_site(&self, site: &Site) -> Result<Vec<Instance>, AwsError>;

    /// Launches a box. [`crate::Kind::Capacity`] is a definite refusal; after any other error there may be a box.
    async fn launch(&self, launch: &Launch<'_>) -> Result<InstanceId, AwsError>;

    /// Terminates one box. One at a time, because EC2 refuses a whole batch for one id that it doesn't see.
    async fn terminate(&self, id: &InstanceId) -> Result<(), AwsError>;
}

const DESCRIBE: &str = "ec2:DescribeInstances";
const RUN_INSTANCES: &str = "ec2:RunInstances";

impl Instances for Aws {
    async fn of_run(&self, site: &Site, run: &RunId) -> Result<Vec<Instance>, AwsError> {
        self.with_tags(&[(APP, APP_VALUE), (SITE, site.as_str()), (RUN, run.as_str())]).await
    }

    async fn of_site(&self, site: &Site) -> Result<Vec<Instance>, AwsError> {
        self.with_tags(&[(APP, APP_VALUE), (SITE, site.as_str())]).await
    }

    async fn launch(&self, launch: &Launch<'_>) -> Result<InstanceId, AwsError> {
        let tagged = [ResourceType::Instance, ResourceType::Volume, ResourceType::NetworkInterface];
        let launched = self
            .ec2
            .run_instances()
            .min_count(1)
            .max_count(1)
            .client_token(&launch.candidate.client_token)
            .launch_template(
                LaunchTemplateSpecification::builder()
                    .launch_template_id(launch.template_id)
                    .version("$Latest")
                    .build(),
            )
            .instance_type(InstanceType::from(launch.candidate.instance_type.as_str()))
            .network_interfaces(
                InstanceNetworkInterfaceSpecification::builder()
                    .device_index(0)
                    .subnet_id(&launch.candidate.subnet.id)
                    .groups(launch.security_group)
                    .associate_public_ip_address(true)
                    .delete_on_termination(true)
                    .build(),
            )
            .user_data(STANDARD.encode(launch.user_data))
            .set_tag_specifications(Some(tagged.map(|of| tag_specification(of, launch.tags)).into()))
            .customize()
            .config_override(aws_sdk_ec2::config::Builder::new().retry_classifier(CapacityIsFinal))
            .send()
            .await
            .map_err(|error| AwsError::sdk(RUN_INSTANCES, error))?;
        let instance = field(RUN_INSTANCES, "instance", launched.instances().first())?;
        instance_id(RUN_INSTANCES, instance)
    }

    async fn terminate(&self, id: &InstanceId) -> Result<(), AwsError> {
        let request = self.ec2.terminate_instances().instance_ids(id.as_str());
        request.send().await.map_err(|error| AwsError::sdk("ec2:TerminateInstances", error))?;
        Ok(())
    }
}

impl Aws {
    async fn with_tags(&self, tags: &[(&str, &str)]) -> Result<Vec<Instance>, AwsError> {
        let filters =
            tags.iter().map(|(key, value)| Filter::builder().name(format!("tag:{key}")).values(*value).build());
        let request = self.ec2.describe_instances().set_filters(Some(filters.collect()));
        let mut pages = request.into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| AwsError::sdk(DESCRIBE, error))?;
            for instance in page.reservations().iter().flat_map(|reservation| reservation.instances()) {
                found.push(read(instance)?);
            }
        }
        Ok(found)
    }
}

fn read(instance: &SdkInstance) -> Result<Instance, AwsError> {
    let state = field(DESCRIBE, "instance state", instance.state().and_then(|state| state.name()))?;
    let state = match state {
        InstanceStateName::Pending => InstanceState::Pending,
        InstanceStateName::Running => InstanceState::Running,
        InstanceStateName::Stopping => InstanceState::Stopping,
        InstanceStateName::Stopped => InstanceState::Stopped,
        InstanceStateName::ShuttingDown => InstanceState::ShuttingDown,
        InstanceStateName::Terminated => InstanceState::Terminated,
        other => return Err(AwsError::unexpected(DESCRIBE, format!("unknown instance state {other}"))),
    };
    Ok(Instance {
        id: instance_id(DESCRIBE, instance)?,
        state,
        launched_at: timestamp(DESCRIBE, field(DESCRIBE, "launch time", instance.launch_time())?)?,
        address: address(instance.public_ip_address())?,
        tags: read_tags(instance.tags()),
    })
}

fn instance_id(operation: &'static str, instance: &SdkInstance) -> Result<InstanceId, AwsError> {
    let id = field(operation, "instance id", instance.instance_id())?;
    id.parse().map_err(|error| AwsError::unreadable(operation, "no instance id", Box::new(error)))
}

fn address(text: Option<&str>) -> Result<Option<Ipv4Addr>, AwsError> {
    let text = text.filter(|text| !text.is_empty());
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|error| AwsError::unreadable(DESCRIBE, "no public address", Box::new(error)))
}

pub(crate) fn read_tags(tags: &[Tag]) -> Tags {
    let named = |tag: &Tag| Some((tag.key()?.to_owned(), tag.value().unwrap_or_default().to_owned()));
    tags.iter().filter_map(named).collect()
}

pub(crate) fn tag_specification(of: ResourceType, tags: &Tags) -> TagSpecification {
    let tags = tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
    TagSpecification::builder().resource_type(of).set_tags(Some(tags.collect())).build()
}
