//! The SDK's types in our own.

use super::model::{
    Activity, Launch, LaunchFacts, Machine, Phase, Progress, ScalingGroup, Tags, TemplateRef, Units,
};
use super::weights;
use aws_sdk_autoscaling::types::{
    self as sdk, AutoScalingGroup, LaunchConfiguration, LaunchTemplateOverrides,
    LaunchTemplateSpecification, LifecycleState, MixedInstancesPolicy, ScalingActivityStatusCode,
};
use jiff::Timestamp;
use std::sync::Arc;

/// A group; `None` if it has no name.
pub(super) fn group(group: &AutoScalingGroup) -> Option<ScalingGroup> {
    let name: Arc<str> = group.auto_scaling_group_name()?.into();
    let mut zones: Vec<Arc<str>> = group
        .availability_zones()
        .iter()
        .map(|zone| zone.as_str().into())
        .collect();
    zones.sort_unstable();
    let units = weights::units(group, overrides(group.mixed_instances_policy()));
    let instances = group.instances().iter();
    let suspended = group.suspended_processes().iter();
    Some(ScalingGroup {
        min: size(group.min_size()),
        max: size(group.max_size()),
        desired: size(group.desired_capacity()),
        zones,
        machines: instances.filter_map(|one| machine(one, &units)).collect(),
        tags: tags(group.tags()),
        launch: launch(group),
        suspended: suspended
            .filter_map(|process| process.process_name().map(str::to_owned))
            .collect(),
        units,
        deleting: group
            .status()
            .is_some_and(|status| status.starts_with("Delete")),
        name,
    })
}

fn size(value: Option<i32>) -> usize {
    value
        .and_then(|value| usize::try_from(value).ok())
        .unwrap_or_default()
}

fn tags(tags: &[sdk::TagDescription]) -> Tags {
    let pair = |tag: &sdk::TagDescription| {
        Some((
            tag.key()?.to_owned(),
            tag.value().unwrap_or_default().to_owned(),
        ))
    };
    tags.iter().filter_map(pair).collect()
}

/// An instance; `None` if it is not part of the group any more, or waits in a warm pool.
fn machine(instance: &sdk::Instance, units: &Units) -> Option<Machine> {
    let unweighed = usize::from(!matches!(units, Units::Lacking { .. }));
    Some(Machine {
        id: instance.instance_id()?.into(),
        zone: instance.availability_zone().unwrap_or_default().into(),
        kind: instance.instance_type().map(Into::into),
        phase: phase(instance.lifecycle_state()?)?,
        weight: weights::weight(instance, units).unwrap_or(unweighed),
    })
}

/// What an instance in this state is doing; `None` where it is not part of the group.
pub(super) fn phase(state: &LifecycleState) -> Option<Phase> {
    match state.as_str() {
        "InService" => Some(Phase::Serving),
        "Standby" | "EnteringStandby" => Some(Phase::Standby),
        "Detached" => None,
        state if state.starts_with("Warmed:") => None,
        state if state.starts_with("Pending") => Some(Phase::Coming),
        _ => Some(Phase::Leaving),
    }
}

fn overrides(policy: Option<&MixedInstancesPolicy>) -> &[LaunchTemplateOverrides] {
    let template = policy.and_then(MixedInstancesPolicy::launch_template);
    template
        .map(sdk::LaunchTemplate::overrides)
        .unwrap_or_default()
}

fn launch(group: &AutoScalingGroup) -> Launch {
    let policy = group.mixed_instances_policy();
    let overrides = overrides(policy);
    let types: Vec<Arc<str>> = overrides
        .iter()
        .filter_map(|found| found.instance_type().map(Into::into))
        .collect();
    if !types.is_empty() {
        return Launch::Types(types);
    }
    if let Some(wanted) = overrides
        .iter()
        .find_map(LaunchTemplateOverrides::instance_requirements)
    {
        return requirements(wanted);
    }
    let mixed = policy.and_then(MixedInstancesPolicy::launch_template);
    let mixed = mixed.and_then(sdk::LaunchTemplate::launch_template_specification);
    if let Some(found) = mixed.or_else(|| group.launch_template()) {
        return Launch::Template(template(found));
    }
    let configuration = group.launch_configuration_name();
    configuration.map_or(Launch::Unknown, |name| {
        Launch::Configuration(name.to_owned())
    })
}

fn requirements(wanted: &sdk::InstanceRequirements) -> Launch {
    let least = |value: Option<i32>| {
        value
            .and_then(|value| u32::try_from(value).ok())
            .unwrap_or_default()
    };
    Launch::Requirements {
        vcpus: least(wanted.v_cpu_count().and_then(sdk::VCpuCountRequest::min)),
        memory_mib: least(wanted.memory_mib().and_then(sdk::MemoryMiBRequest::min)).into(),
        accelerators: least(
            wanted
                .accelerator_count()
                .and_then(sdk::AcceleratorCountRequest::min),
        ),
    }
}

fn template(found: &LaunchTemplateSpecification) -> TemplateRef {
    TemplateRef {
        id: found.launch_template_id().unwrap_or_default().to_owned(),
        name: found.launch_template_name().unwrap_or_default().to_owned(),
        version: found.version().unwrap_or("$Default").to_owned(),
    }
}

/// What a launch configuration says.
pub(super) fn launch_configuration(found: &LaunchConfiguration) -> LaunchFacts {
    let volume = found
        .block_device_mappings()
        .iter()
        .find_map(sdk::BlockDeviceMapping::ebs);
    let volume = volume.and_then(sdk::Ebs::volume_size);
    LaunchFacts {
        kind: found.instance_type().map(Into::into),
        requirements: None,
        disk_gib: volume.and_then(|size| u64::try_from(size).ok()),
    }
}

/// A scaling activity; `None` if it has no time.
pub(super) fn activity(activity: &sdk::Activity) -> Option<Activity> {
    let description = activity.description().unwrap_or_default();
    let message = activity.status_message().unwrap_or_default();
    Some(Activity {
        started: Timestamp::from_second(activity.start_time()?.secs()).ok()?,
        launches: description.starts_with("Launching") || description.starts_with("Starting"),
        progress: progress(activity.status_code()?, description),
        message: message.to_owned(),
    })
}

fn progress(code: &ScalingActivityStatusCode, description: &str) -> Progress {
    // As soon as there is an instance the description names it.
    let names_one = description.contains("i-") && !description.contains("placeholder");
    match code.as_str() {
        "Failed" | "Cancelled" => Progress::Failed,
        "Successful" => Progress::Underway,
        _ if names_one => Progress::Underway,
        _ => Progress::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::{activity, group};
    use crate::nodes::aws::model::{Launch, Phase, Progress, TemplateRef};
    use aws_sdk_autoscaling::primitives::DateTime;
    use aws_sdk_autoscaling::types::{
        Activity, AutoScalingGroup, Instance, InstanceRequirements, LaunchTemplate,
        LaunchTemplateOverrides, LaunchTemplateSpecification, LifecycleState, MemoryMiBRequest,
        MixedInstancesPolicy, ScalingActivityStatusCode, VCpuCountRequest,
    };
    use rstest::rstest;

    fn base() -> LaunchTemplateSpecification {
        LaunchTemplateSpecification::builder()
            .launch_template_id("lt-1")
            .version("3")
            .build()
    }

    fn mixed(overrides: Vec<LaunchTemplateOverrides>) -> MixedInstancesPolicy {
        let template = LaunchTemplate::builder().launch_template_specification(base());
        let template = template.set_overrides(Some(overrides)).build();
        MixedInstancesPolicy::builder()
            .launch_template(template)
            .build()
    }

    fn launch_of(policy: MixedInstancesPolicy) -> Launch {
        let with = AutoScalingGroup::builder()
            .auto_scaling_group_name("a")
            .mixed_instances_policy(policy);
        group(&with.build()).unwrap().launch
    }

    #[test]
    fn overrides_come_before_the_template_they_override() {
        let of = |kind: &str| {
            LaunchTemplateOverrides::builder()
                .instance_type(kind)
                .build()
        };
        let types = vec!["m5.large".into(), "m5a.large".into()];
        assert_eq!(
            launch_of(mixed(vec![of("m5.large"), of("m5a.large")])),
            Launch::Types(types)
        );
        let template = TemplateRef {
            id: "lt-1".into(),
            name: String::new(),
            version: "3".into(),
        };
        assert_eq!(launch_of(mixed(Vec::new())), Launch::Template(template));
    }

    #[test]
    fn attributes_count_by_their_least() {
        let wanted = InstanceRequirements::builder()
            .v_cpu_count(VCpuCountRequest::builder().min(4).max(16).build())
            .memory_mib(MemoryMiBRequest::builder().min(8192).build());
        let wanted = LaunchTemplateOverrides::builder()
            .instance_requirements(wanted.build())
            .build();
        let want = Launch::Requirements {
            vcpus: 4,
            memory_mib: 8192,
            accelerators: 0,
        };
        assert_eq!(launch_of(mixed(vec![wanted])), want);
    }

    #[rstest]
    #[case("InService", Some(Phase::Serving))]
    #[case("Pending:Wait", Some(Phase::Coming))]
    #[case("Terminating:Proceed", Some(Phase::Leaving))]
    #[case("Terminated", Some(Phase::Leaving))]
    #[case("Standby", Some(Phase::Standby))]
    #[case("Warmed:Stopped", None)]
    #[case("Detached", None)]
    fn reads_instances(#[case] state: &str, #[case] want: Option<Phase>) {
        let instance = Instance::builder()
            .instance_id("i-1")
            .availability_zone("us-east-1a");
        let instance = instance
            .lifecycle_state(LifecycleState::from(state))
            .build();
        let with = AutoScalingGroup::builder()
            .auto_scaling_group_name("a")
            .instances(instance);
        let found = group(&with.build()).unwrap();
        assert_eq!(found.machines.first().map(|machine| machine.phase), want);
    }

    #[rstest]
    #[case("Launching a new EC2 instance", "Failed", Progress::Failed)]
    #[case("Launching a new EC2 instance: i-0abc", "Cancelled", Progress::Failed)]
    #[case(
        "Launching a new EC2 instance",
        "WaitingForSpotInstanceId",
        Progress::Waiting
    )]
    #[case(
        "Launching a new EC2 instance: i-0abc",
        "PreInService",
        Progress::Underway
    )]
    #[case(
        "Launching a new EC2 instance: i-0abc",
        "Successful",
        Progress::Underway
    )]
    fn reads_activities(#[case] description: &str, #[case] code: &str, #[case] want: Progress) {
        let read = Activity::builder()
            .description(description)
            .start_time(DateTime::from_secs(7));
        let read = read
            .status_code(ScalingActivityStatusCode::from(code))
            .build();
        let found = activity(&read).unwrap();
        assert_eq!(
            (found.progress, found.launches, found.started.as_second()),
            (want, true, 7)
        );
    }

    #[test]
    fn a_group_without_a_name_is_none() {
        assert_eq!(group(&AutoScalingGroup::builder().build()), None);
    }
}
