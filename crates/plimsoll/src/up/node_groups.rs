//! Node groups of a local cluster on the command line.

use crate::run::duration;
use anyhow::{Result, ensure};
use clap::Args;
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Taint;
use plimsoll_api::nodegroup::OptionOverrides;
use plimsoll_quantity::Quantity;
use plimsoll_sources::nodes::fleet::{GroupConfig, Shape};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

/// Longest name of a group: what follows it in node names still makes a label.
const LONGEST_NAME: usize = 50;
/// Most nodes of one group.
const MOST_NODES: usize = 2000;

/// Groups of nodes that can be resized.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Node groups")]
pub(crate) struct NodeGroupArgs {
    /// A group of nodes that the node autoscaler may resize, from MIN to MAX; may be given several
    /// times. Options: cpu=1, memory=1Gi (as --node-cpu and --node-memory otherwise), pods=110,
    /// gpu=1, type=m5.large (size and price of that machine type), boot=20s (from order to node; at once by default), label=KEY=VALUE,
    /// taint=KEY=VALUE:EFFECT, price=0.05 (US dollars an hour), runtime=simulated, atomic (all
    /// nodes or none), utilization-threshold=0.5, unneeded-time=10m, unready-time=20m,
    /// provision-time=15m, startup-time=15m
    #[arg(long = "node-group", value_name = "NAME:MIN:MAX[:OPTION,…]")]
    groups: Vec<NodeGroupArg>,
    /// Let another autoscaler resize the node groups: serve them at ADDRESS:PORT by Cluster
    /// Autoscaler's external gRPC protocol. The cloud configuration for it is written to
    /// node-groups/cloud-config.yaml in the data directory
    #[arg(long, value_name = "ADDRESS:PORT", requires = "groups")]
    node_groups_grpc: Option<SocketAddr>,
}

impl NodeGroupArgs {
    /// Where to serve the groups to others.
    pub(super) fn served_at(&self) -> Option<SocketAddr> {
        self.node_groups_grpc
    }

    /// The groups, if no two have the same name, and nodes are not left to other programs.
    pub(super) fn checked(&self, without: &[String]) -> Result<Vec<NodeGroupArg>> {
        ensure!(
            self.groups.is_empty() || !without.iter().any(|part| part == "nodes"),
            "--node-group: there are no nodes to add with --without nodes"
        );
        let mut names = BTreeSet::new();
        for group in &self.groups {
            ensure!(
                names.insert(&group.name),
                "--node-group: there are two groups {:?}",
                group.name
            );
        }
        Ok(self.groups.clone())
    }
}

/// `NAME:MIN:MAX` with options.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NodeGroupArg {
    name: String,
    min: usize,
    max: usize,
    cpu_milli: Option<u64>,
    memory_bytes: Option<u64>,
    boot: Duration,
    /// CPU and memory in here do not count.
    shape: Shape,
    options: OptionOverrides,
}

impl NodeGroupArg {
    /// The group, whose nodes have these millicores and bytes where it does not say otherwise.
    pub(crate) fn config(&self, (cpu_milli, memory_bytes): (u64, u64)) -> GroupConfig {
        let shape = Shape {
            cpu_milli: self.cpu_milli.unwrap_or(cpu_milli),
            memory_bytes: self.memory_bytes.unwrap_or(memory_bytes),
            ..self.shape.clone()
        };
        let config = GroupConfig::new(&self.name, (self.min, self.max), shape);
        GroupConfig {
            options: self.options.clone(),
            ..config.with_boot(self.boot)
        }
    }

    /// `3 to 6 of workers`.
    pub(crate) fn summary(&self) -> String {
        format!("{} to {} of {}", self.min, self.max, self.name)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "type" => self.of_type(value)?,
            "cpu" => self.cpu_milli = Some(positive(quantity(value)?.milli())?),
            "memory" => self.memory_bytes = Some(positive(quantity(value)?.value())?),
            "pods" => self.shape.pods = number(value)?,
            "gpu" => {
                let shape = std::mem::take(&mut self.shape);
                self.shape = shape.with_gpus("nvidia.com/gpu", number(value)?, "nvidia");
            }
            "boot" => self.boot = duration(value)?,
            "label" | "labels" => self.labels(value)?,
            "taint" | "taints" => self.taints(value)?,
            "price" => self.shape.price_per_hour = Some(price(value)?),
            "runtime" => self.shape.simulated = simulated(value)?,
            _ => return self.option(key, value),
        }
        Ok(())
    }

    /// Everything that the catalogue says of a type; what was said before stays where it can.
    fn of_type(&mut self, name: &str) -> Result<(), String> {
        let found = Shape::of_type(name);
        let found = found.ok_or_else(|| "is no machine type in the table".to_owned())?;
        self.cpu_milli.get_or_insert(found.cpu_milli);
        self.memory_bytes.get_or_insert(found.memory_bytes);
        let said = std::mem::take(&mut self.shape);
        let mut shape = Shape {
            taints: said.taints,
            simulated: said.simulated,
            price_per_hour: said.price_per_hour.or(found.price_per_hour),
            ..found
        };
        shape.labels.extend(said.labels);
        shape.extended.extend(said.extended);
        self.shape = shape;
        Ok(())
    }

    fn labels(&mut self, text: &str) -> Result<(), String> {
        for one in text.split(';') {
            let pair = one.split_once('=').filter(|(key, _)| !key.is_empty());
            let (key, value) = pair.ok_or_else(|| format!("{one:?} is not KEY=VALUE"))?;
            self.shape.labels.insert(key.to_owned(), value.to_owned());
        }
        Ok(())
    }

    fn taints(&mut self, text: &str) -> Result<(), String> {
        for one in text.split(';') {
            self.shape.taints.push(taint(one)?);
        }
        Ok(())
    }

    fn option(&mut self, key: &str, value: &str) -> Result<(), String> {
        let options = &mut self.options;
        match key {
            "atomic" => options.zero_or_max_node_scaling = Some(true),
            "utilization-threshold" => {
                options.scale_down_utilization_threshold = Some(share(value)?);
            }
            "unneeded-time" => options.scale_down_unneeded_time = Some(signed(value)?),
            "unready-time" => options.scale_down_unready_time = Some(signed(value)?),
            "provision-time" => options.max_node_provision_time = Some(signed(value)?),
            "startup-time" => options.max_node_startup_time = Some(signed(value)?),
            _ => return Err(format!("there is no option {key:?}")),
        }
        Ok(())
    }
}

impl FromStr for NodeGroupArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.splitn(4, ':');
        let (Some(name), Some(min), Some(max)) = (parts.next(), parts.next(), parts.next()) else {
            return Err("is not NAME:MIN:MAX".to_owned());
        };
        let mut group = Self {
            name: name_of_group(name)?,
            min: number(min)?,
            max: number(max)?,
            cpu_milli: None,
            memory_bytes: None,
            boot: Duration::ZERO,
            shape: Shape::default(),
            options: OptionOverrides::default(),
        };
        if group.min > group.max {
            return Err(format!("the minimum {min} is above the maximum {max}"));
        }
        if group.max > MOST_NODES {
            return Err(format!("a group has at most {MOST_NODES} nodes"));
        }
        let options = parts.next().filter(|options| !options.is_empty());
        for option in options.iter().flat_map(|options| options.split(',')) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            group
                .set(key, value)
                .map_err(|why| format!("{option:?}: {why}"))?;
        }
        Ok(group)
    }
}

fn name_of_group(name: &str) -> Result<String, String> {
    let usual = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edges = !name.starts_with('-') && !name.ends_with('-');
    if name.is_empty() || name.len() > LONGEST_NAME || !edges || !name.bytes().all(usual) {
        return Err(format!(
            "{name:?} is no name of a group: at most {LONGEST_NAME} of a-z, 0-9 and -"
        ));
    }
    if name == "node" {
        return Err("nodes without a group are called node-1 and so on; take another name".into());
    }
    Ok(name.to_owned())
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn quantity(text: &str) -> Result<Quantity, String> {
    text.parse()
        .map_err(|_| format!("{text:?} is no quantity such as 500m or 1Gi"))
}

fn positive(amount: i64) -> Result<u64, String> {
    let amount = u64::try_from(amount).ok().filter(|amount| *amount > 0);
    amount.ok_or_else(|| "must be more than nothing".to_owned())
}

fn price(text: &str) -> Result<f64, String> {
    let price: f64 = number(text)?;
    let sensible = price.is_finite() && price >= 0.0;
    sensible
        .then_some(price)
        .ok_or_else(|| format!("{text:?} is no price"))
}

fn share(text: &str) -> Result<f64, String> {
    let share: f64 = number(text)?;
    let sensible = (0.0..=1.0).contains(&share);
    sensible
        .then_some(share)
        .ok_or_else(|| format!("{text:?} is not between 0 and 1"))
}

fn signed(text: &str) -> Result<SignedDuration, String> {
    SignedDuration::try_from(duration(text)?).map_err(|_| format!("{text:?} is too long"))
}

fn simulated(text: &str) -> Result<bool, String> {
    match text {
        "simulated" => Ok(true),
        "real" => Ok(false),
        _ => Err("is neither real nor simulated".to_owned()),
    }
}

/// `KEY[=VALUE]:EFFECT`, as kubectl takes it.
fn taint(text: &str) -> Result<Taint, String> {
    let wrong = || format!("{text:?} is not KEY=VALUE:EFFECT");
    let (pair, effect) = text.rsplit_once(':').ok_or_else(wrong)?;
    if !["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) {
        return Err(format!("there is no effect {effect:?}"));
    }
    let (key, value) = match pair.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (pair, None),
    };
    if key.is_empty() {
        return Err(wrong());
    }
    Ok(Taint {
        key: key.to_owned(),
        value,
        effect: effect.to_owned(),
        time_added: None,
    })
}

#[cfg(test)]
mod tests {
    use super::NodeGroupArg;
    use rstest::rstest;
    use std::time::Duration;

    #[test]
    fn a_group_is_as_it_is_written() {
        let text = "workers:3:6:cpu=1500m,memory=1Gi,boot=20s,label=a=b,labels=c=d;e=f,\
                    taint=x=y:NoSchedule,gpu=2,price=0.25,runtime=simulated,unneeded-time=30s,atomic";
        let group: NodeGroupArg = text.parse().unwrap();
        assert_eq!(group.summary(), "3 to 6 of workers");
        let config = group.config((8000, 1));
        let shape = &config.shape;
        assert_eq!((config.min, config.max), (3, 6));
        assert_eq!((shape.cpu_milli, shape.memory_bytes), (1500, 1 << 30));
        assert_eq!(config.boot, Duration::from_secs(20));
        let labels: Vec<_> = shape
            .labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        assert_eq!(
            labels,
            [
                "a=b",
                "c=d",
                "e=f",
                "plimsoll.dev/accelerator=nvidia",
                "plimsoll.dev/node-group=workers"
            ]
        );
        assert_eq!(shape.taints[0].key, "x");
        assert_eq!(shape.extended.get("nvidia.com/gpu"), Some(&2));
        assert_eq!(shape.price_per_hour, Some(0.25));
        assert!(shape.simulated);
        assert_eq!(config.options.zero_or_max_node_scaling, Some(true));
        let unneeded = config.options.scale_down_unneeded_time.unwrap();
        assert_eq!(unneeded.as_secs(), 30);
    }

    #[test]
    fn what_is_not_said_is_as_for_other_nodes() {
        let group: NodeGroupArg = "w:0:1".parse().unwrap();
        let config = group.config((8000, 77));
        assert_eq!(
            (config.shape.cpu_milli, config.shape.memory_bytes),
            (8000, 77)
        );
        assert_eq!((config.boot, config.shape.pods), (Duration::ZERO, 110));
    }

    #[test]
    fn a_machine_type_gives_what_is_not_said() {
        let group: NodeGroupArg = "w:0:1:cpu=1,type=m5.large,price=9".parse().unwrap();
        let shape = group.config((8000, 77)).shape;
        assert_eq!((shape.cpu_milli, shape.memory_bytes), (1000, 8 << 30));
        assert_eq!((shape.price_per_hour, shape.pods), (Some(9.0), 29));
    }

    #[rstest]
    #[case::no_type(
        "w:0:1:type=m5.tiny",
        "\"type=m5.tiny\": is no machine type in the table"
    )]
    #[case::no_sizes("workers", "is not NAME:MIN:MAX")]
    #[case::reversed("w:3:1", "the minimum 3 is above the maximum 1")]
    #[case::negative("w:-1:1", "\"-1\" is no number")]
    #[case::too_many("w:0:9999", "a group has at most 2000 nodes")]
    #[case::capital("W:0:1", "\"W\" is no name of a group: at most 50 of a-z, 0-9 and -")]
    #[case::taken(
        "node:0:1",
        "nodes without a group are called node-1 and so on; take another name"
    )]
    #[case::unknown("w:0:1:cpus=1", "\"cpus=1\": there is no option \"cpus\"")]
    #[case::nothing("w:0:1:cpu=0", "\"cpu=0\": must be more than nothing")]
    #[case::effect(
        "w:0:1:taint=a=b:Never",
        "\"taint=a=b:Never\": there is no effect \"Never\""
    )]
    #[case::share(
        "w:0:1:utilization-threshold=2",
        "\"utilization-threshold=2\": \"2\" is not between 0 and 1"
    )]
    #[case::price("w:0:1:price=NaN", "\"price=NaN\": \"NaN\" is no price")]
    fn nonsense_is_refused(#[case] text: &str, #[case] says: &str) {
        assert_eq!(text.parse::<NodeGroupArg>().unwrap_err(), says);
    }
}
