//! Removals among faults of all kinds at random: when the storm is over, no node is left marked,
//! and no budget was overdrawn at any moment.

use super::machines::Mood;
use super::stage::{Stage, removal};
use crate::faults::Fault;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rstest::rstest;
use serde_json::json;
use std::time::Duration;

const NODES: [&str; 6] = ["n0", "n1", "n2", "n3", "n4", "n5"];
/// Pods labelled `app=web`, and how many of them must stay.
const PODS: usize = 12;
const KEPT: usize = 8;

struct Storm {
    stage: Stage,
    dice: StdRng,
    made: usize,
}

impl Storm {
    async fn new(seed: u64) -> Self {
        let stage = Stage::new().await;
        stage.join(&NODES).await;
        let mut storm = Self {
            stage,
            dice: StdRng::seed_from_u64(seed),
            made: 0,
        };
        for _ in 0..PODS {
            storm.make_pod().await;
        }
        let kept = i32::try_from(KEPT).unwrap();
        storm.stage.protect(kept).await;
        storm
    }

    /// A pod on a node where pods may go.
    async fn make_pod(&mut self) {
        let nodes = self.stage.rig.list(&self.stage.nodes()).await;
        let open = nodes
            .iter()
            .filter(|node| node.data["spec"]["unschedulable"] != true);
        let open: Vec<_> = open.filter_map(|node| node.metadata.name.clone()).collect();
        if open.is_empty() {
            return;
        }
        let node = &open[self.dice.random_range(0..open.len())];
        let grace = self.dice.random_range(1..40);
        let extra = json!({"spec": {"terminationGracePeriodSeconds": grace}});
        self.stage
            .run(&format!("p{}", self.made), node, extra)
            .await;
        self.made += 1;
    }

    /// What a controller does: missing pods come back, one at a time.
    async fn replace(&mut self) {
        if self.count_alive().await < PODS {
            self.make_pod().await;
        }
    }

    /// Pods that nobody told to leave. On a dead node they are not ready, but that is no eviction.
    async fn count_alive(&self) -> usize {
        let pods = self.stage.rig.list(&self.stage.rig.pods()).await;
        let alive = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none());
        alive.count()
    }

    fn turn_weather(&mut self) {
        let share = self.dice.random_range(0.0..0.5);
        let mut dice = StdRng::seed_from_u64(self.dice.random());
        self.stage.faults.set(move |method, _| {
            if method == "GET" || !dice.random_bool(share) {
                return None;
            }
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "code": 503, "reason": "ServiceUnavailable", "message": "storm"});
            Some(match dice.random_range(0..6) {
                0 => Fault::Silence,
                1 => Fault::Reset,
                2 => Fault::Lost,
                3 => Fault::Late(Duration::from_secs(dice.random_range(1..50))),
                _ => Fault::Answer(503, status.to_string()),
            })
        });
        *self.stage.machines.mood.lock() = match self.dice.random_range(0..5) {
            0 => Mood::Refuses(vec!["n1", "n3"]),
            1 => Mood::IsSilent,
            2 => Mood::Lies,
            _ => Mood::Obeys,
        };
    }

    /// Somebody wants one or two nodes gone.
    async fn plan(&mut self) {
        let at = self.dice.random_range(0..NODES.len() - 1);
        let pods = self.stage.rig.list(&self.stage.rig.pods()).await;
        for node in &NODES[at..at + 2] {
            let here = pods
                .iter()
                .filter(|pod| pod.data["spec"]["nodeName"] == *node);
            let names: Vec<_> = here
                .filter_map(|pod| pod.metadata.name.as_deref())
                .collect();
            let removal = removal(node, &names);
            if names.is_empty() {
                self.stage.start(&[removal], &[]);
            } else {
                self.stage.start(&[], &[removal]);
            }
        }
    }

    async fn step(&mut self) {
        match self.dice.random_range(0..40) {
            0 => self.stage.crash().await,
            1 => drop(self.stage.actuator.clean_up_leftovers().await),
            2 => self.turn_weather(),
            3..8 => self.plan().await,
            8 => {
                let node = NODES[self.dice.random_range(0..NODES.len())];
                if self.stage.node(node).await.is_some() {
                    self.stage.set_ready(node, "Unknown").await;
                }
            }
            9 => {
                let node = NODES[self.dice.random_range(0..NODES.len())];
                if self.stage.node(node).await.is_some() {
                    self.stage.set_ready(node, "True").await;
                }
            }
            _ => {}
        }
        self.replace().await;
        if self.dice.random_bool(0.5) {
            self.stage.rig.tend_pods().await;
        }
        tokio::time::sleep(Duration::from_millis(self.dice.random_range(1..4000))).await;
    }
}

#[rstest]
#[tokio::test(start_paused = true)]
async fn after_the_storm_nothing_is_left(
    #[values(1, 2, 3, 4)] seed: u64,
    #[values(false, true)] ends_with_a_crash: bool,
) {
    let mut storm = Storm::new(seed).await;
    for _ in 0..100 {
        storm.step().await;
        let alive = storm.count_alive().await;
        assert!(alive >= KEPT, "seed {seed}: {alive} pods");
    }
    storm.stage.faults.set(|_, _| None);
    *storm.stage.machines.mood.lock() = Mood::Obeys;
    if ends_with_a_crash {
        storm.stage.crash().await;
    }
    storm.stage.actuator.clean_up_leftovers().await.unwrap();
    storm.stage.settled().await;
    let nodes = storm.stage.rig.list(&storm.stage.nodes()).await;
    for node in nodes {
        let name = node.metadata.name.unwrap();
        if storm.stage.machines.state(&name)
            != Some(plimsoll_api::nodegroup::InstanceState::Deleting)
        {
            assert!(
                storm.stage.is_free(&name).await,
                "seed {seed}: {name} {}",
                node.data["spec"]
            );
        }
    }
}
