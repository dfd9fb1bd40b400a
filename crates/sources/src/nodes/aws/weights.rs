//! What a group counts its capacity in, from what AWS says of it.
//!
//! Facts: `WeightedCapacity` of a policy's overrides and of instances, `DesiredCapacityType` of the
//! group (Auto Scaling API, version 2011-01-01).

use super::convert::phase;
use super::model::{Attribute, Phase, Units};
use crate::nodes::catalog;
use aws_sdk_autoscaling::types::{
    AutoScalingGroup, Instance, InstanceRequirements, LaunchTemplateOverrides, MemoryMiBRequest,
    VCpuCountRequest,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The units of a group whose policy has these overrides.
pub(super) fn units(group: &AutoScalingGroup, overrides: &[LaunchTemplateOverrides]) -> Units {
    let attribute = match group.desired_capacity_type() {
        None | Some("" | "units") => None,
        Some("vcpu") => Some(Attribute::Vcpus),
        Some("memory-mib") => Some(Attribute::MemoryMib),
        Some(_) => return Units::Unknown,
    };
    let units = match attribute {
        Some(attribute) => of_attribute(attribute, group.instances(), overrides),
        None => of_overrides(group.instances(), overrides),
    };
    let mut counted = group.instances().iter().filter(|one| counts(one));
    if counted.all(|instance| weight(instance, &units).is_some()) {
        return units;
    }
    match (attribute, units) {
        (Some(attribute), Units::Weights { least, of, .. }) => Units::Lacking {
            attribute,
            least,
            of,
        },
        // Departs: a machine that counts for too little would seem to lack others, and would be
        // ended when they are given up.
        _ => Units::Unknown,
    }
}

/// Whether an instance is part of the desired capacity: others need no weight.
fn counts(instance: &Instance) -> bool {
    let state = instance.lifecycle_state();
    state.is_none_or(|state| phase(state).is_some_and(Phase::is_active))
}

/// What an instance counts for; `None` where nobody tells.
pub(super) fn weight(instance: &Instance, units: &Units) -> Option<usize> {
    match units {
        Units::Machines => Some(1),
        Units::Weights { of, .. } | Units::Lacking { of, .. } => {
            let of_type = || of.get(instance.instance_type()?).copied();
            parsed(instance.weighted_capacity()).or_else(of_type)
        }
        Units::Unknown => None,
    }
}

impl Attribute {
    /// The least that the requirements allow.
    fn least(self, wanted: &InstanceRequirements) -> Option<usize> {
        let least = match self {
            Self::Vcpus => wanted.v_cpu_count().and_then(VCpuCountRequest::min),
            Self::MemoryMib => wanted.memory_mib().and_then(MemoryMiBRequest::min),
        };
        least.and_then(|least| usize::try_from(least).ok())
    }

    /// What a machine of a type has of it.
    fn of_type(self, kind: &str) -> Option<usize> {
        let found = catalog::lookup(kind)?;
        match self {
            Self::Vcpus => usize::try_from(found.vcpus).ok(),
            Self::MemoryMib => usize::try_from(found.memory_mib).ok(),
        }
    }
}

fn of_attribute(
    attribute: Attribute,
    instances: &[Instance],
    overrides: &[LaunchTemplateOverrides],
) -> Units {
    let wanted = overrides.iter();
    let wanted = wanted.filter_map(LaunchTemplateOverrides::instance_requirements);
    let least = wanted.filter_map(|wanted| attribute.least(wanted)).min();
    let Some(least) = least.filter(|least| *least > 0) else {
        return Units::Unknown;
    };
    let kinds = instances.iter().filter_map(Instance::instance_type);
    let of = kinds.filter_map(|kind| Some((Arc::from(kind), attribute.of_type(kind)?)));
    Units::Weights {
        least,
        of: of.collect(),
        uneven: true,
    }
}

fn of_overrides(instances: &[Instance], overrides: &[LaunchTemplateOverrides]) -> Units {
    let told = |found: &LaunchTemplateOverrides| parsed(found.weighted_capacity());
    let weights: Vec<usize> = overrides.iter().filter_map(told).collect();
    let named = overrides
        .iter()
        .filter_map(|found| Some((Arc::from(found.instance_type()?), told(found)?)));
    let mut of: BTreeMap<Arc<str>, usize> = named.collect();
    // Machines of types that the policy names no more keep the weight they had.
    let kept = instances.iter();
    let mut kept = kept.filter_map(|instance| parsed(instance.weighted_capacity()));
    if weights.iter().all(|weight| *weight == 1) && kept.all(|weight| weight == 1) {
        return Units::Machines;
    }
    let least = weights.iter().min().copied().unwrap_or(1);
    if weights.is_empty() {
        // Those that are not told count for one.
        let kinds = instances.iter().filter_map(Instance::instance_type);
        of.extend(kinds.map(|kind| (Arc::from(kind), 1)));
    }
    Units::Weights {
        least,
        uneven: weights.iter().any(|weight| *weight != least),
        of,
    }
}

/// A weight is a whole number from 1 on.
fn parsed(weight: Option<&str>) -> Option<usize> {
    weight?.parse().ok().filter(|weight| *weight > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn overrides(weights: &[(&str, Option<&str>)]) -> Vec<LaunchTemplateOverrides> {
        let of = |(kind, weight): &(&str, Option<&str>)| {
            LaunchTemplateOverrides::builder()
                .instance_type(*kind)
                .set_weighted_capacity(weight.map(str::to_owned))
                .build()
        };
        weights.iter().map(of).collect()
    }

    fn requirements(vcpus: i32, mib: i32) -> Vec<LaunchTemplateOverrides> {
        let wanted = InstanceRequirements::builder()
            .v_cpu_count(VCpuCountRequest::builder().min(vcpus).build())
            .memory_mib(MemoryMiBRequest::builder().min(mib).build());
        let built = LaunchTemplateOverrides::builder().instance_requirements(wanted.build());
        vec![built.build()]
    }

    fn group(unit: Option<&str>, machines: &[(&str, Option<&str>)]) -> AutoScalingGroup {
        let of = |(kind, weight): &(&str, Option<&str>)| {
            Instance::builder()
                .instance_type(*kind)
                .set_weighted_capacity(weight.map(str::to_owned))
                .build()
        };
        AutoScalingGroup::builder()
            .set_instances(Some(machines.iter().map(of).collect()))
            .set_desired_capacity_type(unit.map(str::to_owned))
            .build()
    }

    fn least(units: &Units) -> Option<usize> {
        match units {
            Units::Machines => Some(0),
            Units::Weights { least, .. } => Some(*least),
            Units::Lacking { .. } | Units::Unknown => None,
        }
    }

    const LARGE: (&str, Option<&str>) = ("m5.large", Some("2"));
    const XLARGE: (&str, Option<&str>) = ("m5.xlarge", Some("4"));

    // Zero stands for machines.
    #[rstest]
    #[case::no_policy(&[], None, &[("m5.large", None)], Some(0))]
    #[case::no_weights(&[("m5.large", None)], None, &[("m5.large", None)], Some(0))]
    #[case::all_one(&[("m5.large", Some("1"))], Some("units"), &[("m5.large", Some("1"))], Some(0))]
    #[case::weights(&[LARGE, XLARGE], None, &[XLARGE], Some(2))]
    #[case::weight_of_the_type(&[LARGE, XLARGE], None, &[("m5.large", None)], Some(2))]
    #[case::nobody_tells(&[LARGE, XLARGE], None, &[("c5.large", None)], None)]
    #[case::of_a_type_that_left(&[LARGE], None, &[("c5.large", Some("7"))], Some(2))]
    #[case::the_policy_left(&[], None, &[("c5.large", Some("7")), ("m5.large", None)], Some(1))]
    #[case::another_unit(&[LARGE], Some("accelerators"), &[], None)]
    #[case::nonsense(&[("m5.large", Some("0"))], None, &[], Some(0))]
    fn reads_weights(
        #[case] policy: &[(&str, Option<&str>)],
        #[case] unit: Option<&str>,
        #[case] machines: &[(&str, Option<&str>)],
        #[case] want: Option<usize>,
    ) {
        let group = group(unit, machines);
        assert_eq!(least(&units(&group, &overrides(policy))), want);
    }

    #[rstest]
    #[case::vcpus("vcpu", (4, 8192), Some(4), Some(4))]
    #[case::memory("memory-mib", (4, 8192), Some(8192), Some(16_384))]
    #[case::no_least("vcpu", (0, 0), None, None)]
    fn reads_attributes(
        #[case] unit: &str,
        #[case] wanted: (i32, i32),
        #[case] want: Option<usize>,
        #[case] of_machine: Option<usize>,
    ) {
        let group = group(Some(unit), &[("m5.xlarge", None)]);
        let found = units(&group, &requirements(wanted.0, wanted.1));
        assert_eq!(least(&found), want);
        let machine = group.instances().first().unwrap();
        assert_eq!(weight(machine, &found), of_machine);
    }

    #[test]
    fn only_instances_that_count_need_a_weight() {
        let of = |state: &str, kind: &str| {
            Instance::builder()
                .instance_type(kind)
                .lifecycle_state(state.into())
                .build()
        };
        let group = |kind: &str, unit: Option<&str>| {
            AutoScalingGroup::builder()
                .instances(of("Terminating", "x9.huge"))
                .instances(of("InService", kind))
                .set_desired_capacity_type(unit.map(str::to_owned))
                .build()
        };
        let policy = overrides(&[LARGE, XLARGE]);
        assert_eq!(least(&units(&group("m5.large", None), &policy)), Some(2));
        assert_eq!(least(&units(&group("x9.huge", None), &policy)), None);
        let asked = units(&group("x9.huge", Some("vcpu")), &requirements(4, 8192));
        assert!(
            matches!(
                asked,
                Units::Lacking {
                    attribute: Attribute::Vcpus,
                    least: 4,
                    ..
                }
            ),
            "{asked:?}"
        );
    }

    #[test]
    fn machines_that_count_alike_are_even() {
        let alike = overrides(&[LARGE, ("m5a.large", Some("2"))]);
        let found = units(&group(None, &[]), &alike);
        assert!(
            matches!(found, Units::Weights { uneven: false, .. }),
            "{found:?}"
        );
        let found = units(&group(None, &[]), &overrides(&[LARGE, XLARGE]));
        assert!(
            matches!(found, Units::Weights { uneven: true, .. }),
            "{found:?}"
        );
    }
}
