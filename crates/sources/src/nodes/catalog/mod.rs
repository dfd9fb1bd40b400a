//! Machine types with their size and price, for templates of nodes that do not exist yet, for
//! `top nodes` and for simulated groups.
//!
//! The table `types.tsv` holds one EC2 instance type a line: name, vCPUs, memory in MiB,
//! architecture, pods that its network interfaces have addresses for (interfaces × (addresses
//! each − 1) + 2), number of GPUs, maker and model of the GPU, price. Sizes were entered from Amazon's
//! public descriptions of its instance types, prices from its public list of on-demand prices of
//! [`REGION`] for Linux, in US dollars an hour, both as of about [`AS_OF`]; they were entered by hand
//! and not read from Amazon's price API, so a price that matters is to be checked there. Types and
//! prices that are newer, or of other regions, are not in it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The region whose prices the table has.
pub const REGION: &str = "us-east-1";

/// The month of the price list that was gone by; nothing was compared with it since.
pub const AS_OF: &str = "2025-06";

const TABLE: &str = include_str!("types.tsv");

static TYPES: LazyLock<BTreeMap<&'static str, InstanceType>> = LazyLock::new(|| {
    TABLE
        .lines()
        .filter_map(InstanceType::parse)
        .map(|found| (found.name, found))
        .collect()
});

/// A machine type.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceType {
    /// As `node.kubernetes.io/instance-type` has it, e.g. `m5.large`.
    pub name: &'static str,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Memory as sold; the operating system sees less.
    pub memory_mib: u64,
    /// As `kubernetes.io/arch` has it.
    pub arch: &'static str,
    /// How many pods its network interfaces have addresses for.
    pub max_pods: u32,
    /// How many GPUs.
    pub gpus: u32,
    /// Model of the GPUs, e.g. `T4`; empty without GPUs.
    pub gpu_model: &'static str,
    /// The extended resource that stands for its GPUs; `None` without GPUs.
    pub gpu_resource: Option<&'static str>,
    /// On-demand price of an hour in US dollars.
    pub price_per_hour: f64,
}

impl InstanceType {
    fn parse(line: &'static str) -> Option<Self> {
        let mut cells = line.split('\t');
        let mut next = || cells.next();
        let (name, vcpus, memory) = (next()?, next()?, next()?);
        let (arch, pods, gpus) = (next()?, next()?, next()?);
        let (gpu, price) = (next()?, next()?);
        let (maker, model) = gpu.split_once('/').unwrap_or_default();
        Some(Self {
            name,
            vcpus: vcpus.parse().ok()?,
            memory_mib: memory.parse().ok()?,
            arch,
            max_pods: pods.parse().ok()?,
            gpus: gpus.parse().unwrap_or_default(),
            gpu_model: model,
            gpu_resource: gpu_resource(maker),
            price_per_hour: price.parse().ok()?,
        })
    }
}

fn gpu_resource(maker: &str) -> Option<&'static str> {
    match maker {
        "nvidia" => Some("nvidia.com/gpu"),
        "amd" => Some("amd.com/gpu"),
        _ => None,
    }
}

/// The type of this name, if the table has it.
pub fn lookup(name: &str) -> Option<&'static InstanceType> {
    TYPES.get(name)
}

/// All types, by name.
pub fn all() -> impl Iterator<Item = &'static InstanceType> {
    TYPES.values()
}

#[cfg(test)]
mod tests {
    use super::{TABLE, all, lookup};
    use rstest::rstest;

    #[test]
    fn every_line_is_a_type_of_its_own() {
        assert_eq!(all().count(), TABLE.lines().count());
        assert!(all().count() > 500);
    }

    #[rstest]
    #[case("t2.micro", (1, 1024, "amd64"), (4, 0), 0.0116)]
    #[case("t3.medium", (2, 4096, "amd64"), (17, 0), 0.0416)]
    #[case("m5.large", (2, 8192, "amd64"), (29, 0), 0.096)]
    #[case("c4.8xlarge", (36, 61440, "amd64"), (234, 0), 1.591)]
    #[case("m6g.xlarge", (4, 16384, "arm64"), (58, 0), 0.154)]
    #[case("g4dn.xlarge", (4, 16384, "amd64"), (29, 1), 0.526)]
    #[case("g5.12xlarge", (48, 196_608, "amd64"), (737, 4), 5.672)]
    fn knows(
        #[case] name: &str,
        #[case] machine: (u32, u64, &str),
        #[case] pods_and_gpus: (u32, u32),
        #[case] price: f64,
    ) {
        let found = lookup(name).unwrap();
        assert_eq!((found.vcpus, found.memory_mib, found.arch), machine);
        assert_eq!((found.max_pods, found.gpus), pods_and_gpus);
        assert_eq!(found.gpu_resource.is_some(), found.gpus > 0);
        assert!((found.price_per_hour - price).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn does_not_guess() {
        assert_eq!(lookup("m5.humongous"), None);
        assert_eq!(lookup(""), None);
    }

    #[test]
    fn within_a_family_twice_the_size_costs_twice() {
        for small in all().filter(|kind| kind.name.ends_with(".xlarge") && kind.gpus == 0) {
            let double = small.name.replace(".xlarge", ".2xlarge");
            let Some(large) = lookup(&double) else {
                continue;
            };
            let ratio = large.price_per_hour / small.price_per_hour;
            assert!((1.98..2.02).contains(&ratio), "{double}: {ratio}");
        }
    }
}
