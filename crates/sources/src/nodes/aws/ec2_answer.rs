//! EC2's answers, as far as they are read.

use super::model::{LaunchFacts, Shape};
use crate::nodes::catalog;
use quick_xml::DeError;
use quick_xml::de::from_str;
use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct List<T> {
    #[serde(rename = "item")]
    items: Vec<T>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versions {
    #[serde(default = "empty")]
    launch_template_version_set: List<Version>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Types {
    #[serde(default = "empty")]
    instance_type_set: List<Type>,
}

fn empty<T>() -> List<T> {
    List { items: Vec::new() }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Version {
    launch_template_data: Data,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Data {
    instance_type: Option<String>,
    instance_requirements: Option<Requirements>,
    block_device_mapping_set: List<Mapping>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Requirements {
    v_cpu_count: AtLeast,
    #[serde(rename = "memoryMiB")]
    memory_mib: AtLeast,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AtLeast {
    min: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Mapping {
    ebs: Option<Ebs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Ebs {
    volume_size: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Type {
    #[serde(rename = "instanceType")]
    name: String,
    v_cpu_info: Cpu,
    memory_info: Memory,
    processor_info: Processor,
    network_info: Network,
    gpu_info: Gpus,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cpu {
    default_v_cpus: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Memory {
    size_in_mi_b: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Processor {
    supported_architectures: List<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Network {
    maximum_network_interfaces: u32,
    ipv4_addresses_per_interface: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gpus {
    gpus: List<Gpu>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Gpu {
    manufacturer: String,
    count: u32,
}

/// The first version that an answer to `DescribeLaunchTemplateVersions` has.
pub(super) fn launch_template(xml: &str) -> Result<Option<LaunchFacts>, DeError> {
    let versions: Versions = from_str(xml)?;
    let data = versions
        .launch_template_version_set
        .items
        .into_iter()
        .next();
    Ok(data
        .map(|version| version.launch_template_data)
        .map(|data| LaunchFacts {
            kind: data.instance_type.map(Into::into),
            requirements: data.instance_requirements.map(|wanted| {
                let vcpus = u32::try_from(wanted.v_cpu_count.min).unwrap_or(u32::MAX);
                (vcpus, wanted.memory_mib.min)
            }),
            disk_gib: data
                .block_device_mapping_set
                .items
                .iter()
                .find_map(|mapping| mapping.ebs.as_ref()?.volume_size),
        }))
}

/// The first type that an answer to `DescribeInstanceTypes` has.
pub(super) fn instance_type(xml: &str) -> Result<Option<Shape>, DeError> {
    let types: Types = from_str(xml)?;
    Ok(types.instance_type_set.items.into_iter().next().map(shape))
}

fn shape(found: Type) -> Shape {
    let network = &found.network_info;
    let addresses = network.ipv4_addresses_per_interface.saturating_sub(1);
    let pods = network
        .maximum_network_interfaces
        .saturating_mul(addresses)
        .saturating_add(2);
    let architectures = &found.processor_info.supported_architectures.items;
    let is = |name: &str| architectures.iter().any(|found| found == name);
    let arch = if is("arm64") { "arm64" } else { "amd64" };
    let gpus = &found.gpu_info.gpus.items;
    let resource = gpus
        .first()
        .map(|gpu| match gpu.manufacturer.to_ascii_lowercase().as_str() {
            "amd" => "amd.com/gpu",
            _ => "nvidia.com/gpu",
        });
    Shape {
        vcpus: found.v_cpu_info.default_v_cpus,
        memory_mib: found.memory_info.size_in_mi_b,
        arch: (!architectures.is_empty()).then(|| arch.into()),
        max_pods: (network.maximum_network_interfaces > 0).then_some(pods),
        gpus: gpus.iter().map(|gpu| gpu.count).sum(),
        gpu_resource: resource.map(Into::into),
        price_per_hour: catalog::lookup(&found.name).map(|known| known.price_per_hour),
        kind: Some(found.name.into()),
        disk_gib: None,
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Refusal {
    errors: Errors,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Errors {
    error: Problem,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Problem {
    code: String,
    message: String,
}

/// Code and message of an answer that is no success; empty where it has none.
pub(super) fn refusal(xml: &str) -> (String, String) {
    let found: Refusal = from_str(xml).unwrap_or_default();
    (found.errors.error.code, found.errors.error.message)
}

#[cfg(test)]
mod tests {
    use super::{instance_type, launch_template, refusal};
    use crate::nodes::aws::model::LaunchFacts;
    use proptest::proptest;

    #[test]
    fn reads_launch_templates() {
        let xml = r#"<?xml version="1.0" encoding="UTF-8"?>
            <DescribeLaunchTemplateVersionsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">
              <requestId>1</requestId>
              <launchTemplateVersionSet><item>
                <createTime>2026-01-01T00:00:00.000Z</createTime><versionNumber>3</versionNumber>
                <launchTemplateData>
                  <imageId>ami-1</imageId><instanceType>m5.large</instanceType>
                  <blockDeviceMappingSet><item><deviceName>/dev/xvda</deviceName>
                    <ebs><volumeSize>80</volumeSize><volumeType>gp3</volumeType></ebs></item></blockDeviceMappingSet>
                  <tagSpecificationSet/>
                </launchTemplateData>
              </item></launchTemplateVersionSet>
            </DescribeLaunchTemplateVersionsResponse>"#;
        let want = LaunchFacts {
            kind: Some("m5.large".into()),
            requirements: None,
            disk_gib: Some(80),
        };
        assert_eq!(launch_template(xml).unwrap(), Some(want));
    }

    #[test]
    fn reads_templates_that_select_by_attributes() {
        let xml = "<R><launchTemplateVersionSet><item><launchTemplateData><instanceRequirements>\
            <vCpuCount><min>4</min><max>8</max></vCpuCount><memoryMiB><min>8192</min></memoryMiB>\
            </instanceRequirements></launchTemplateData></item></launchTemplateVersionSet></R>";
        let found = launch_template(xml).unwrap().unwrap();
        assert_eq!((found.kind, found.requirements), (None, Some((4, 8192))));
    }

    #[test]
    fn reads_instance_types() {
        let xml = r"<DescribeInstanceTypesResponse><instanceTypeSet><item>
            <instanceType>g4dn.xlarge</instanceType>
            <vCpuInfo><defaultVCpus>4</defaultVCpus><defaultCores>2</defaultCores></vCpuInfo>
            <memoryInfo><sizeInMiB>16384</sizeInMiB></memoryInfo>
            <processorInfo><supportedArchitectures><item>x86_64</item></supportedArchitectures></processorInfo>
            <networkInfo><maximumNetworkInterfaces>3</maximumNetworkInterfaces><ipv4AddressesPerInterface>10</ipv4AddressesPerInterface></networkInfo>
            <gpuInfo><gpus><item><name>T4</name><manufacturer>NVIDIA</manufacturer><count>1</count></item></gpus></gpuInfo>
            </item></instanceTypeSet></DescribeInstanceTypesResponse>";
        let found = instance_type(xml).unwrap().unwrap();
        assert_eq!(
            (found.vcpus, found.memory_mib, found.max_pods, found.gpus),
            (4, 16384, Some(29), 1)
        );
        assert_eq!(
            (found.arch.as_deref(), found.gpu_resource.as_deref()),
            (Some("amd64"), Some("nvidia.com/gpu"))
        );
    }

    #[test]
    fn an_empty_answer_is_none() {
        assert_eq!(
            launch_template("<R><launchTemplateVersionSet/></R>").unwrap(),
            None
        );
        assert_eq!(
            instance_type("<R><requestId>1</requestId></R>").unwrap(),
            None
        );
    }

    #[test]
    fn reads_refusals() {
        let xml = "<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>You may not</Message></Error></Errors><RequestID>1</RequestID></Response>";
        assert_eq!(
            refusal(xml),
            ("UnauthorizedOperation".to_owned(), "You may not".to_owned())
        );
        assert_eq!(refusal("Bad gateway"), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn no_answer_ends_the_program(text in "(<[a-zA-Z/]{0,24}>|[0-9]{0,4}|<item>){0,12}") {
            drop(launch_template(&text));
            drop(instance_type(&text));
            drop(refusal(&text));
        }
    }
}
