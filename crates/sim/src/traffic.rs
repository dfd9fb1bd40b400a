//! The closed loop: requests go to the pods that are ready, and their CPU is what that costs.
//!
//! A fluid model in steps of at most a second. Requests are spread evenly over the ready pods; each
//! pod works off its own queue as fast as its limit and its share of the node allow. CPU is counted
//! in millicore-seconds.

use crate::load::Load;
use crate::scenario::Scenario;
use crate::server::Server;
use crate::share::{Demand, divide};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use plimsoll_clock::Clock;
use plimsoll_node::runtime::simulated::{PodKey, UsageModel};
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest step.
const STEP: SignedDuration = SignedDuration::from_secs(1);
/// Working set of every simulated container.
const MEMORY_BYTES: u64 = 32 << 20;

/// What happened since the reading before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Reading {
    /// Requests that arrived.
    pub(crate) requests: f64,
    /// Requests nobody served.
    pub(crate) unserved: f64,
    /// CPU used by pods that were ready.
    pub(crate) used: f64,
    /// CPU that the pods that were ready had requested.
    pub(crate) requested: f64,
    /// Seconds that pods existed.
    pub(crate) pod_seconds: f64,
    /// Pods that exist now.
    pub(crate) pods: usize,
    /// Pods that serve now.
    pub(crate) ready: usize,
    /// Longest wait of a new request now, in seconds.
    pub(crate) wait_seconds: f64,
}

/// The load on the pods of a scenario, and their answer to it.
#[derive(Debug)]
pub(crate) struct Traffic {
    clock: Clock,
    start: Timestamp,
    /// Before this, nothing is asked of the pods.
    opens: Timestamp,
    seed: u64,
    load: Load,
    cost: f64,
    longest_wait: f64,
    node_milli: f64,
    start_delay: Duration,
    namespace: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    until: Timestamp,
    pods: BTreeMap<String, Server>,
    /// When the serving container of a pod has started.
    started: BTreeMap<String, Timestamp>,
    /// Millicores of the nodes that came later.
    nodes: BTreeMap<String, f64>,
    /// Whether pods of one node can want more than it has; none when pods or nodes have changed.
    crowding: Option<Crowding>,
    reading: Reading,
}

/// Where pods could get in each other's way.
#[derive(Debug, Clone, Copy)]
struct Crowding {
    /// The limits of the pods of some node add up to more than it has.
    possible: bool,
    /// Millicores of the smallest node with pods.
    smallest: f64,
}

impl Traffic {
    pub(crate) fn new(scenario: &Scenario, clock: Clock) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "no node has 2^53 millicores")]
        let node_milli = scenario.nodes.cpu_milli as f64;
        let warm_up = SignedDuration::try_from(scenario.warm_up).unwrap_or_default();
        Self {
            clock,
            start: scenario.start,
            opens: scenario
                .start
                .checked_add(warm_up)
                .unwrap_or(Timestamp::MAX),
            seed: scenario.seed,
            load: scenario.load.clone(),
            // A millisecond of a core is a millicore-second.
            cost: scenario.cost_per_request_milli_seconds,
            longest_wait: scenario.longest_wait.as_secs_f64(),
            node_milli,
            start_delay: scenario.start_delay,
            namespace: scenario.target.namespace.clone(),
            state: Mutex::new(State {
                until: scenario.start,
                pods: BTreeMap::new(),
                started: BTreeMap::new(),
                nodes: BTreeMap::new(),
                crowding: None,
                reading: Reading::default(),
            }),
        }
    }

    /// Takes in a serving pod, new or changed.
    pub(crate) fn set(&self, name: &str, pod: &Pod) {
        let now = self.clock.now();
        let mut state = self.state.lock();
        self.advance(&mut state, now);
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node_milli = self.capacity(&state.nodes, node.unwrap_or_default());
        let Some(server) = Server::of(pod, node_milli, now) else {
            return;
        };
        state.crowding = None;
        let Some(known) = state.pods.get_mut(name) else {
            state.pods.insert(name.to_owned(), server);
            return;
        };
        let lost = if known.is_ready && !server.is_ready {
            known.backlog
        } else {
            0.0
        };
        *known = Server {
            backlog: known.backlog - lost,
            untold: known.untold,
            told: known.told,
            ..server
        };
        state.reading.unserved += lost / self.cost;
    }

    /// Takes in that a serving pod is gone.
    pub(crate) fn remove(&self, name: &str) {
        let mut state = self.state.lock();
        self.advance(&mut state, self.clock.now());
        state.started.remove(name);
        state.crowding = None;
        if let Some(gone) = state.pods.remove(name) {
            state.reading.unserved += gone.backlog / self.cost;
        }
    }

    /// A node has joined that has so many millicores.
    pub(crate) fn joined(&self, node: &str, cpu_milli: u64) {
        #[expect(clippy::cast_precision_loss, reason = "no node has 2^53 millicores")]
        let milli = cpu_milli as f64;
        let mut state = self.state.lock();
        state.nodes.insert(node.to_owned(), milli);
        state.crowding = None;
    }

    /// A node that had joined is gone.
    pub(crate) fn left(&self, node: &str) {
        let mut state = self.state.lock();
        self.advance(&mut state, self.clock.now());
        state.nodes.remove(node);
        state.crowding = None;
    }

    /// Millicores of a node.
    fn capacity(&self, nodes: &BTreeMap<String, f64>, node: &str) -> f64 {
        nodes.get(node).copied().unwrap_or(self.node_milli)
    }

    fn crowding(&self, state: &State) -> Crowding {
        let mut limits: BTreeMap<&str, f64> = BTreeMap::new();
        for server in state.pods.values() {
            *limits.entry(&server.node).or_default() += server.limit;
        }
        let mut crowding = Crowding {
            possible: false,
            smallest: f64::MAX,
        };
        for (node, limits) in limits {
            let capacity = self.capacity(&state.nodes, node);
            crowding.possible |= limits > capacity;
            crowding.smallest = crowding.smallest.min(capacity);
        }
        crowding
    }

    /// What happened since the reading before.
    pub(crate) fn read(&self) -> Reading {
        let mut state = self.state.lock();
        self.advance(&mut state, self.clock.now());
        let ready = state.pods.values().filter(|server| server.is_ready);
        let waits = ready.clone().map(|server| server.backlog / server.limit);
        let now = Reading {
            pods: state.pods.len(),
            ready: ready.clone().count(),
            wait_seconds: waits.fold(0.0, f64::max),
            ..state.reading
        };
        state.reading = Reading::default();
        now
    }

    fn advance(&self, state: &mut State, now: Timestamp) {
        while state.until < now {
            let from = state.until;
            let length = now.duration_since(from).min(STEP);
            let middle = from.checked_add(length / 2).unwrap_or(from);
            let is_open = middle >= self.opens;
            let rate = is_open.then(|| self.load.at(self.start, middle, self.seed));
            self.step(state, rate.unwrap_or_default(), length.as_secs_f64());
            state.until = from.checked_add(length).unwrap_or(now);
        }
    }

    fn step(&self, state: &mut State, rate: f64, seconds: f64) {
        let requests = rate * seconds;
        let crowding = state.crowding.unwrap_or_else(|| self.crowding(state));
        state.crowding = Some(crowding);
        let State {
            pods,
            reading,
            nodes,
            ..
        } = state;
        reading.requests += requests;
        let ready = count(pods.values().filter(|server| server.is_ready));
        if ready > 0.0 {
            let work = requests * self.cost / ready;
            for server in pods.values_mut().filter(|server| server.is_ready) {
                server.backlog += work;
            }
        } else {
            reading.unserved += requests;
        }
        let done = self.share_out(pods, (&*nodes, crowding), seconds);
        for (server, done) in pods.values_mut().zip(done) {
            server.backlog -= done;
            server.untold += done;
            reading.used += done;
        }
        reading.pod_seconds += count(pods.values()) * seconds;
        for server in pods.values_mut().filter(|server| server.is_ready) {
            reading.requested += server.request * seconds;
            let most = server.limit * self.longest_wait;
            if server.backlog > most {
                reading.unserved += (server.backlog - most) / self.cost;
                server.backlog = most;
            }
        }
    }

    /// The work each pod gets done, in their order.
    fn share_out(
        &self,
        pods: &BTreeMap<String, Server>,
        (nodes, crowding): (&BTreeMap<String, f64>, Crowding),
        seconds: f64,
    ) -> Vec<f64> {
        let wanted = |server: &Server| server.backlog.min(server.limit * seconds);
        let undisturbed: Vec<f64> = pods.values().map(wanted).collect();
        // Nobody is in anybody's way, or even one node could do it all.
        if !crowding.possible || undisturbed.iter().sum::<f64>() <= crowding.smallest * seconds {
            return undisturbed;
        }
        let mut by_node: BTreeMap<&str, (Vec<usize>, Vec<Demand>)> = BTreeMap::new();
        for (index, server) in pods.values().enumerate() {
            let (indices, demands) = by_node.entry(&server.node).or_default();
            indices.push(index);
            demands.push(Demand {
                wanted: wanted(server),
                // As cgroup weights: in proportion to the request, and never nothing.
                weight: server.request.max(2.0),
            });
        }
        let mut done = vec![0.0; pods.len()];
        for (node, (indices, demands)) in &by_node {
            let given = divide(self.capacity(nodes, node) * seconds, demands);
            for (index, given) in indices.iter().zip(given) {
                if let Some(slot) = done.get_mut(*index) {
                    *slot = given;
                }
            }
        }
        done
    }
}

impl UsageModel for Traffic {
    fn start_delay(&self, pod: PodKey<'_>, _container: &str) -> Duration {
        if pod.namespace == self.namespace {
            let delay = SignedDuration::try_from(self.start_delay).unwrap_or_default();
            let now = self.clock.now();
            let starts = now.checked_add(delay).unwrap_or(now);
            self.state
                .lock()
                .started
                .insert(pod.name.to_owned(), starts);
        }
        self.start_delay
    }

    fn usage(&self, pod: PodKey<'_>, container: &str, now: Timestamp) -> (u64, u64) {
        let mut state = self.state.lock();
        self.advance(&mut state, now);
        let State { pods, started, .. } = &mut *state;
        let server = pods
            .get_mut(pod.name)
            .filter(|server| pod.namespace == self.namespace && server.container == container);
        let Some(server) = server else {
            return (0, MEMORY_BYTES);
        };
        let started = started.get(pod.name).copied().unwrap_or(server.told);
        let since = server.told.max(started);
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds <= 0.0 {
            return (0, MEMORY_BYTES);
        }
        let milli = (server.untold / seconds).round().clamp(0.0, server.limit);
        // What rounding leaves is told the next time.
        server.untold -= milli * seconds;
        server.told = now;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and a node's capacity"
        )]
        let milli = milli as u64;
        (milli, MEMORY_BYTES)
    }
}

fn count<T>(of: impl Iterator<Item = T>) -> f64 {
    of.fold(0.0, |sum, _| sum + 1.0)
}

#[cfg(test)]
#[path = "traffic_tests.rs"]
mod tests;
