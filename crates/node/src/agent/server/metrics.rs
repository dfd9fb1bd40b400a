//! Prometheus texts of a node.

use super::super::board::Shown;
use super::super::{Agents, Node};
use super::reading::Reading;
use std::fmt::{Display, Write};

/// `/metrics`: what the node's agent knows of itself.
pub(super) fn own(agents: &Agents, node: &Node) -> String {
    let pods = agents.shared.board.of_node(&node.name);
    let containers = || pods.iter().flat_map(|(_, entry)| &entry.containers);
    let running = containers().filter(|c| matches!(c.shown, Shown::Running(..)));
    let ended = containers().filter(|c| matches!(c.shown, Shown::Ended));
    let (running, ended) = (running.count(), ended.count());
    let mut text = Text::default();
    text.family(
        "kubelet_node_name",
        "gauge",
        "The node's name. The count is always 1.",
    );
    text.sample("kubelet_node_name", &[("node", &node.name)], 1, None);
    text.family(
        "kubelet_running_pods",
        "gauge",
        "Pods that have a running container.",
    );
    let alive = pods.iter().filter(|(_, entry)| {
        let mut containers = entry.containers.iter();
        containers.any(|c| matches!(c.shown, Shown::Running(..)))
    });
    text.sample("kubelet_running_pods", &[], alive.count(), None);
    let help = "Containers by state.";
    text.family("kubelet_running_containers", "gauge", help);
    for (state, count) in [("running", running), ("exited", ended)] {
        let labels = [("container_state", state)];
        text.sample("kubelet_running_containers", &labels, count, None);
    }
    text.0
}

/// `/metrics/resource`: what metrics-server reads.
pub(super) fn resource(reading: &Reading) -> String {
    let mut text = Text::default();
    let at = Some(reading.at.as_millisecond());
    let counter = "container_cpu_usage_seconds_total";
    text.family(
        counter,
        "counter",
        "CPU time used by the container, in core-seconds.",
    );
    each(reading, |labels, used| {
        text.sample(counter, labels, seconds(used.counters.cpu_nanos), at);
    });
    let gauge = "container_memory_working_set_bytes";
    text.family(gauge, "gauge", "Working set of the container, in bytes.");
    each(reading, |labels, used| {
        text.sample(gauge, labels, used.counters.memory_bytes, at);
    });
    let start = "container_start_time_seconds";
    text.family(
        start,
        "gauge",
        "When the container started, in seconds since 1970.",
    );
    each(reading, |labels, used| {
        let since = millis(used.since.as_millisecond());
        text.sample(start, labels, since, None);
    });
    let total = "node_cpu_usage_seconds_total";
    text.family(
        total,
        "counter",
        "CPU time used on the node, in core-seconds.",
    );
    text.sample(total, &[], seconds(reading.total.cpu_nanos), at);
    let total = "node_memory_working_set_bytes";
    text.family(total, "gauge", "Working set of the node, in bytes.");
    text.sample(total, &[], reading.total.memory_bytes, at);
    of_pods(reading, &mut text);
    let failed = u8::from(reading.failed);
    for name in ["resource_scrape_error", "scrape_error"] {
        text.family(name, "gauge", "1 if usage could not be read, 0 otherwise.");
        text.sample(name, &[], failed, None);
    }
    text.0
}

fn of_pods(reading: &Reading, text: &mut Text) {
    let at = Some(reading.at.as_millisecond());
    let cpu = "pod_cpu_usage_seconds_total";
    text.family(cpu, "counter", "CPU time used by the pod, in core-seconds.");
    for pod in &reading.pods {
        let labels = [("namespace", &*pod.name.0), ("pod", &*pod.name.1)];
        text.sample(cpu, &labels, seconds(pod.total().cpu_nanos), at);
    }
    let memory = "pod_memory_working_set_bytes";
    text.family(memory, "gauge", "Working set of the pod, in bytes.");
    for pod in &reading.pods {
        let labels = [("namespace", &*pod.name.0), ("pod", &*pod.name.1)];
        text.sample(memory, &labels, pod.total().memory_bytes, at);
    }
}

/// `/metrics/cadvisor`: the series that dashboards are built on.
pub(super) fn cadvisor(reading: &Reading) -> String {
    let mut text = Text::default();
    let at = Some(reading.at.as_millisecond());
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Row<'_>) -> String| {
        text.family(name, kind, help);
        for row in rows(reading) {
            let labels = [
                ("container", row.container),
                ("id", row.id),
                ("image", ""),
                ("name", row.id.rsplit('/').next().unwrap_or_default()),
                ("namespace", row.namespace),
                ("pod", row.pod),
            ];
            text.sample(name, &labels, value(&row), at);
        }
    };
    let (cpu, memory) = (
        "CPU time used, in core-seconds.",
        "Memory in use, in bytes.",
    );
    family(
        "container_cpu_usage_seconds_total",
        "counter",
        cpu,
        &|row| seconds(row.counters.cpu_nanos),
    );
    for name in [
        "container_memory_rss",
        "container_memory_usage_bytes",
        "container_memory_working_set_bytes",
    ] {
        family(name, "gauge", memory, &|row| {
            row.counters.memory_bytes.to_string()
        });
    }
    let start = "When it started, in seconds since 1970.";
    family("container_start_time_seconds", "gauge", start, &|row| {
        millis(row.since.as_millisecond())
    });
    text.family("machine_cpu_cores", "gauge", "Cores of the node.");
    text.sample(
        "machine_cpu_cores",
        &[],
        thousandths(reading.cpu_milli),
        None,
    );
    text.family(
        "machine_memory_bytes",
        "gauge",
        "Memory of the node, in bytes.",
    );
    text.sample("machine_memory_bytes", &[], reading.memory_bytes, None);
    text.0
}

/// One group of processes: the node, a pod, or a container.
struct Row<'a> {
    container: &'a str,
    id: &'a str,
    namespace: &'a str,
    pod: &'a str,
    counters: crate::runtime::Counters,
    since: jiff::Timestamp,
}

fn rows(reading: &Reading) -> impl Iterator<Item = Row<'_>> {
    let node = Row {
        container: "",
        id: "/",
        namespace: "",
        pod: "",
        counters: reading.total,
        since: reading.since,
    };
    let pods = reading.pods.iter().flat_map(|pod| {
        pod.containers.iter().map(|used| Row {
            container: &used.name,
            id: &used.id,
            namespace: &pod.name.0,
            pod: &pod.name.1,
            counters: used.counters,
            since: used.since,
        })
    });
    std::iter::once(node).chain(pods)
}

fn each(reading: &Reading, mut put: impl FnMut(&[(&str, &str)], &super::reading::Used)) {
    for pod in &reading.pods {
        for used in &pod.containers {
            let labels = [
                ("container", &*used.name),
                ("namespace", &*pod.name.0),
                ("pod", &*pod.name.1),
            ];
            put(&labels, used);
        }
    }
}

/// Nanoseconds as seconds.
fn seconds(nanos: u64) -> String {
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

/// Milliseconds as seconds.
fn millis(millis: i64) -> String {
    thousandths(u64::try_from(millis).unwrap_or_default())
}

fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}

/// A text in Prometheus' form.
#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// Adds a value, read at a time in milliseconds.
    fn sample(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        value: impl Display,
        at: Option<i64>,
    ) {
        self.put(format_args!("{name}"));
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"");
            self.put(format_args!("{before}{label}=\"{text}\""));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.put(format_args!(" {value}"));
        if let Some(at) = at {
            self.put(format_args!(" {at}"));
        }
        self.0.push('\n');
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        self.0.write_fmt(text).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Used, UsedByPod};
    use super::*;
    use crate::runtime::Counters;

    fn reading() -> Reading {
        let at = |second| jiff::Timestamp::from_second(second).unwrap();
        let counters = Counters {
            cpu_nanos: 1_500_000_000,
            memory_bytes: 4096,
        };
        Reading {
            node: "n1".into(),
            at: at(100),
            since: at(0),
            cpu_milli: 1500,
            memory_bytes: 1 << 30,
            total: counters,
            pods: vec![UsedByPod {
                name: ("default".into(), "web".into()),
                uid: "u".into(),
                containers: vec![Used {
                    name: "main".into(),
                    id: "plimsoll://abc".into(),
                    since: at(90),
                    counters,
                }],
            }],
            failed: false,
        }
    }

    #[rstest::rstest]
    #[case::container(
        "container_cpu_usage_seconds_total{container=\"main\",namespace=\"default\",pod=\"web\"} 1.500000000 100000"
    )]
    #[case::start(
        "container_start_time_seconds{container=\"main\",namespace=\"default\",pod=\"web\"} 90.000"
    )]
    #[case::pod("pod_memory_working_set_bytes{namespace=\"default\",pod=\"web\"} 4096 100000")]
    #[case::node("node_memory_working_set_bytes 4096 100000")]
    #[case::success("scrape_error 0")]
    fn what_metrics_server_reads_is_there(#[case] line: &str) {
        let text = resource(&reading());
        assert!(text.lines().any(|one| one == line), "{text}");
    }

    #[test]
    fn cadvisors_series_name_the_container_and_the_node() {
        let text = cadvisor(&reading());
        let start = "container_memory_working_set_bytes{container=\"main\",id=\"plimsoll://abc\",image=\"\",name=\"abc\"";
        assert!(text.lines().any(|line| line.starts_with(start)), "{text}");
        assert!(text.contains("container_cpu_usage_seconds_total{container=\"\",id=\"/\""));
        assert!(text.contains("machine_cpu_cores 1.500\n"));
    }
}
