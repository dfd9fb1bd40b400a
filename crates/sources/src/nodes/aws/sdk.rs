//! The calls, by the SDK; the few reads of EC2 and EKS go through [`Ec2`](super::ec2::Ec2) and
//! [`Eks`](super::eks::Eks).

use super::api::Api;
use super::connect::Connection;
use super::convert;
use super::error::failed;
use super::model::{Activity, LaunchFacts, Managed, ScalingGroup, Shape, TemplateRef};
use super::options::TagQuery;
use async_trait::async_trait;
use aws_sdk_autoscaling::types::Filter;
use jiff::Timestamp;
use plimsoll_api::nodegroup::{ErrorClass, ProviderError};
use std::sync::Arc;

/// Names that one call may ask for, and groups that one answer may hold.
const PAGE: usize = 100;
/// How many pages of activities are read; those that failed are among the newest.
const ACTIVITY_PAGES: usize = 5;

#[async_trait]
impl Api for Connection {
    async fn groups_by_name(&self, names: &[Arc<str>]) -> Result<Vec<ScalingGroup>, ProviderError> {
        let mut found = Vec::with_capacity(names.len());
        for names in names.chunks(PAGE) {
            let names = names.iter().map(ToString::to_string).collect();
            let call = self.scaling.describe_auto_scaling_groups();
            let call = call.set_auto_scaling_group_names(Some(names));
            let mut pages = call.max_records(full_page()).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page =
                    page.map_err(|error| failed("describing Auto Scaling groups", &error))?;
                found.extend(page.auto_scaling_groups().iter().filter_map(convert::group));
            }
        }
        Ok(found)
    }

    async fn groups_by_tags(&self, query: &TagQuery) -> Result<Vec<ScalingGroup>, ProviderError> {
        let call = self.scaling.describe_auto_scaling_groups();
        let call = call.set_filters(Some(filters(query)));
        let mut pages = call.max_records(full_page()).into_paginator().send();
        let mut found = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failed("discovering Auto Scaling groups", &error))?;
            found.extend(page.auto_scaling_groups().iter().filter_map(convert::group));
        }
        // Some stand-ins for the service know no filters.
        found.retain(|group| query.matches(&group.tags));
        Ok(found)
    }

    async fn activities(
        &self,
        group: &str,
        since: Timestamp,
    ) -> Result<Vec<Activity>, ProviderError> {
        let call = self.scaling.describe_scaling_activities();
        let call = call.auto_scaling_group_name(group).max_records(full_page());
        let mut pages = call.into_paginator().send();
        let mut found = Vec::new();
        for _ in 0..ACTIVITY_PAGES {
            let Some(page) = pages.next().await else {
                break;
            };
            let tried = || format!("describing scaling activities of {group}");
            let page = page.map_err(|error| failed(&tried(), &error))?;
            let read = page.activities().iter().filter_map(convert::activity);
            let before = found.len();
            found.extend(read.take_while(|activity| activity.started >= since));
            if found.len() - before < page.activities().len() {
                break;
            }
        }
        Ok(found)
    }

    async fn launch_configuration(&self, name: &str) -> Result<Option<LaunchFacts>, ProviderError> {
        let call = self.scaling.describe_launch_configurations();
        let answer = call.launch_configuration_names(name).send().await;
        let answer = answer
            .map_err(|error| failed(&format!("describing launch configuration {name}"), &error))?;
        Ok(answer
            .launch_configurations()
            .first()
            .map(convert::launch_configuration))
    }

    async fn launch_template(
        &self,
        template: &TemplateRef,
    ) -> Result<Option<LaunchFacts>, ProviderError> {
        self.ec2.launch_template(template).await
    }

    async fn instance_type(&self, name: &str) -> Result<Option<Shape>, ProviderError> {
        self.ec2.instance_type(name).await
    }

    async fn managed(&self, cluster: &str, name: &str) -> Result<Option<Managed>, ProviderError> {
        self.eks.nodegroup(cluster, name).await
    }

    async fn set_desired(&self, group: &str, desired: usize) -> Result<(), ProviderError> {
        let tried = format!("setting the desired capacity of {group} to {desired}");
        let too_large = |_| ProviderError::new(ErrorClass::Invalid, format!("{tried}: too large"));
        let capacity = i32::try_from(desired).map_err(too_large)?;
        let call = self
            .scaling
            .set_desired_capacity()
            .auto_scaling_group_name(group);
        let call = call.desired_capacity(capacity).honor_cooldown(false);
        let answer = call.send().await;
        answer.map(|_| ()).map_err(|error| failed(&tried, &error))
    }

    async fn terminate(&self, instance: &str) -> Result<(), ProviderError> {
        let call = self.scaling.terminate_instance_in_auto_scaling_group();
        let call = call
            .instance_id(instance)
            .should_decrement_desired_capacity(true);
        let answer = call.send().await;
        answer
            .map(|_| ())
            .map_err(|error| failed(&format!("terminating {instance}"), &error))
    }

    fn region(&self) -> &str {
        &self.region
    }
}

fn full_page() -> i32 {
    i32::try_from(PAGE).unwrap_or(i32::MAX)
}

/// Filters are joined by AND.
fn filters(query: &TagQuery) -> Vec<Filter> {
    let filter = |(key, value): &(String, Option<String>)| match value {
        Some(value) => Filter::builder()
            .name(format!("tag:{key}"))
            .values(value)
            .build(),
        None => Filter::builder().name("tag-key").values(key).build(),
    };
    query.tags.iter().map(filter).collect()
}
