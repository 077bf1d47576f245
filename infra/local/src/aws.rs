//! The operator's view of the local AWS: clients with enforced admin credentials, and what a run may have left behind.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::types::Filter;
use aws_sdk_s3::config::Credentials as SdkCredentials;

use crate::error::Context;
use crate::{Credentials, Result, StackDescription};

/// One client a service, all with the same credentials.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct Clients {
    pub ec2: aws_sdk_ec2::Client,
    pub lambda: aws_sdk_lambda::Client,
    pub s3: aws_sdk_s3::Client,
    pub sfn: aws_sdk_sfn::Client,
    pub ssm: aws_sdk_ssm::Client,
}

/// What is there although no run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Boxes that aren't terminated or on their way there, with their states.
    pub instances: Vec<String>,
    /// Inbound rules of the boxes' security group.
    pub rules: Vec<String>,
    /// Parameters of runs.
    pub parameters: Vec<String>,
}

impl Leftovers {
    /// Whether nothing is left.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.rules.is_empty() && self.parameters.is_empty()
    }
}

impl Clients {
    /// Clients of a stack that act with `credentials`; the stack's admin, or anybody whose rights are to be tried.
    pub async fn new(stack: &StackDescription, credentials: &Credentials) -> Self {
        Self::with_session(stack, credentials, None).await
    }

    /// As [`Clients::new`], with the session token of temporary credentials.
    pub async fn with_session(stack: &StackDescription, credentials: &Credentials, token: Option<String>) -> Self {
        let (id, secret) = (&credentials.access_key_id, &credentials.secret_access_key);
        let config = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(stack.region.clone()))
            .endpoint_url(&stack.endpoint_url)
            .credentials_provider(SdkCredentials::new(id, secret, token, None, "local stack"))
            .load()
            .await;
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            lambda: aws_sdk_lambda::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            sfn: aws_sdk_sfn::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
        }
    }

    /// What is left of the site's runs. Looks at EC2 and SSM themselves, with no code of the functions'.
    ///
    /// # Errors
    /// When AWS doesn't answer.
    pub async fn leftovers(&self, stack: &StackDescription) -> Result<Leftovers> {
        Ok(Leftovers {
            instances: self.boxes(stack).await?,
            rules: self.rules(stack).await?,
            parameters: self.parameters(stack).await?,
        })
    }

    async fn boxes(&self, stack: &StackDescription) -> Result<Vec<String>> {
        let site = Filter::builder().name("tag:drawbridge:site").values(&stack.site).build();
        let alive = Filter::builder()
            .name("instance-state-name")
            .set_values(Some(["pending", "running", "stopping", "stopped"].map(str::to_owned).to_vec()))
            .build();
        let mut pages = self.ec2.describe_instances().filters(site).filters(alive).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context(|| "cannot list the instances".to_owned())?;
            for instance in page.reservations().iter().flat_map(|reservation| reservation.instances()) {
                let state = instance.state().and_then(|state| state.name()).map_or("unknown", |name| name.as_str());
                found.push(format!("{} ({state})", instance.instance_id().unwrap_or("?")));
            }
        }
        Ok(found)
    }

    async fn rules(&self, stack: &StackDescription) -> Result<Vec<String>> {
        let group = Filter::builder().name("group-id").values(&stack.security_group).build();
        let mut pages = self.ec2.describe_security_group_rules().filters(group).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context(|| "cannot list the security group's rules".to_owned())?;
            let inbound = page.security_group_rules().iter().filter(|rule| rule.is_egress() == Some(false));
            found.extend(inbound.map(|rule| rule.security_group_rule_id().unwrap_or("?").to_owned()));
        }
        Ok(found)
    }

    async fn parameters(&self, stack: &StackDescription) -> Result<Vec<String>> {
        let path = format!("/drawbridge/{}", stack.site);
        let mut pages = self.ssm.get_parameters_by_path().path(path).recursive(true).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.context(|| "cannot list the parameters".to_owned())?;
            found.extend(page.parameters().iter().map(|parameter| parameter.name().unwrap_or("?").to_owned()));
        }
        Ok(found)
    }
}
