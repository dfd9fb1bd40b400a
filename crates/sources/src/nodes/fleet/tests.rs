//! The life of machines, on paused time.

use super::*;
use rstest::rstest;
use std::collections::BTreeSet;
use tokio::time::{advance, sleep};

/// Remembers who is there.
#[derive(Debug, Default)]
struct Hall {
    present: Mutex<BTreeSet<String>>,
    /// How often removals fail before they work.
    stuck: Mutex<u32>,
    full: bool,
}

#[async_trait]
impl Machines for Hall {
    async fn add(&self, machine: &Machine) -> Result<(), MachineError> {
        if self.full {
            let message = "no room".to_owned();
            return Err(MachineError { message });
        }
        self.present.lock().insert(machine.name.to_string());
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), MachineError> {
        let mut stuck = self.stuck.lock();
        if *stuck > 0 {
            *stuck -= 1;
            let message = "busy".to_owned();
            return Err(MachineError { message });
        }
        self.present.lock().remove(name);
        Ok(())
    }
}

impl Hall {
    fn names(&self) -> Vec<String> {
        self.present.lock().iter().cloned().collect()
    }
}

#[derive(Debug)]
struct Honest;

impl Conduct for Honest {
    fn fate(&self, group: &GroupConfig) -> Fate {
        Fate::Boots(group.boot)
    }
}

const BOOT: Duration = Duration::from_secs(20);

fn fleet(hall: &Arc<Hall>, (min, max): (usize, usize)) -> Fleet {
    let machines: Arc<dyn Machines> = Arc::<Hall>::clone(hall);
    let config = GroupConfig::new("workers", (min, max), Shape::default()).with_boot(BOOT);
    Fleet::new([config], machines, Arc::new(Honest))
}

fn node(name: &str) -> NodeRef {
    NodeRef {
        name: name.into(),
        provider_id: provider_id("workers", name).into(),
        labels: Vec::new(),
        annotations: Vec::new(),
    }
}

fn only(fleet: &Fleet) -> NodeGroup {
    fleet.groups().remove(0)
}

fn states(fleet: &Fleet) -> Vec<InstanceState> {
    let group = only(fleet);
    group.instances.iter().filter_map(|i| i.state).collect()
}

/// Lets the tasks run without letting time pass beyond a moment.
async fn breathe() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_starts_with_its_minimum_at_once() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (2, 4));
    let names = fleet.start(&[]).await.unwrap();
    assert_eq!(names, ["workers-1".into(), "workers-2".into()]);
    assert_eq!(hall.names(), ["workers-1", "workers-2"]);
    breathe().await;
    assert_eq!(states(&fleet), [InstanceState::Running; 2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_there_before_comes_back_and_names_go_on() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (1, 5));
    let existing = ["workers-7", "node-1", "workers-x", "workers-07"].map(Arc::from);
    assert_eq!(fleet.start(&existing).await.unwrap(), ["workers-7".into()]);
    fleet.increase("workers", 1).unwrap();
    sleep(BOOT * 2).await;
    assert_eq!(hall.names(), ["workers-7", "workers-8"]);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_machine_joins_after_its_boot() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (0, 3));
    fleet.increase("workers", 2).unwrap();
    assert_eq!(only(&fleet).target, 2);
    breathe().await;
    advance(BOOT / 2).await;
    breathe().await;
    assert_eq!(states(&fleet), [InstanceState::Creating; 2]);
    assert!(hall.names().is_empty());
    advance(BOOT / 2).await;
    breathe().await;
    assert_eq!(states(&fleet), [InstanceState::Running; 2]);
    assert_eq!(hall.names(), ["workers-1", "workers-2"]);
}

#[rstest]
#[case::nothing(0, "workers cannot grow by nothing")]
#[case::beyond(4, "workers cannot grow to 4: its maximum is 3")]
#[case::absurd(
    usize::MAX,
    "workers cannot grow to 18446744073709551615: its maximum is 3"
)]
#[tokio::test(start_paused = true)]
async fn growth_is_bounded(#[case] delta: usize, #[case] says: &str) {
    let fleet = fleet(&Arc::default(), (0, 3));
    let error = fleet.increase("workers", delta).unwrap_err();
    assert_eq!((error.class, &*error.message), (ErrorClass::Invalid, says));
    assert_eq!(only(&fleet).target, 0);
    let error = fleet.increase("others", 1).unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test(start_paused = true)]
async fn deletion_lowers_the_target_at_once_and_is_idempotent() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (1, 5));
    fleet.start(&[]).await.unwrap();
    fleet.increase("workers", 2).unwrap();
    sleep(BOOT * 2).await;
    let gone = [node("workers-2")];
    fleet.delete("workers", &gone, Floor::Minimum).unwrap();
    assert_eq!(only(&fleet).target, 2);
    fleet.delete("workers", &gone, Floor::Minimum).unwrap();
    assert_eq!(only(&fleet).target, 2);
    breathe().await;
    assert_eq!(hall.names(), ["workers-1", "workers-3"]);
    assert_eq!(fleet.group_of(&gone[0]), None);
    fleet.delete("workers", &gone, Floor::Minimum).unwrap();
    assert_eq!(only(&fleet).target, 2);
}

#[tokio::test(start_paused = true)]
async fn the_minimum_and_other_groups_are_kept() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (2, 5));
    fleet.start(&[]).await.unwrap();
    let error = fleet
        .delete("workers", &[node("workers-1")], Floor::Minimum)
        .unwrap_err();
    assert_eq!(
        error.message,
        "workers cannot shrink to 1: its minimum is 2"
    );
    let stranger = NodeRef {
        provider_id: "plimsoll://node-1".into(),
        ..node("node-1")
    };
    let error = fleet
        .delete("workers", &[stranger], Floor::None)
        .unwrap_err();
    assert_eq!(error.message, "node \"node-1\" is not of group workers");
    breathe().await;
    assert_eq!(hall.names().len(), 2);
    fleet
        .delete("workers", &[node("workers-1")], Floor::None)
        .unwrap();
    breathe().await;
    assert_eq!(hall.names(), ["workers-2"]);
}

#[tokio::test(start_paused = true)]
async fn only_machines_on_the_way_are_given_up() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (1, 5));
    fleet.start(&[]).await.unwrap();
    fleet.increase("workers", 2).unwrap();
    breathe().await;
    let error = fleet.decrease_target("workers", 3).unwrap_err();
    assert_eq!(
        error.message,
        "workers cannot give up 3 machine(s): 2 are on the way"
    );
    fleet.decrease_target("workers", 1).unwrap();
    assert_eq!(only(&fleet).target, 2);
    sleep(BOOT * 2).await;
    assert_eq!(hall.names(), ["workers-1", "workers-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_cannot_be_made_says_why_until_it_is_deleted() {
    let hall = Arc::new(Hall {
        full: true,
        ..Hall::default()
    });
    let fleet = fleet(&hall, (0, 5));
    fleet.increase("workers", 1).unwrap();
    sleep(BOOT * 2).await;
    let problem = only(&fleet).instances[0].problem.clone().unwrap();
    assert_eq!(&*problem.message, "no room");
    fleet
        .delete("workers", &[node("workers-1")], Floor::Minimum)
        .unwrap();
    breathe().await;
    assert!(only(&fleet).instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_fails_is_tried_again() {
    let hall = Arc::new(Hall {
        stuck: Mutex::new(2),
        ..Hall::default()
    });
    let fleet = fleet(&hall, (0, 5));
    fleet.start(&["workers-1".into()]).await.unwrap();
    fleet
        .delete("workers", &[node("workers-1")], Floor::Minimum)
        .unwrap();
    breathe().await;
    assert_eq!(states(&fleet), [InstanceState::Deleting]);
    assert_eq!(hall.names(), ["workers-1"]);
    sleep(Duration::from_secs(4)).await;
    assert!(hall.names().is_empty() && states(&fleet).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closed_fleet_adds_and_removes_nothing() {
    let hall = Arc::default();
    let fleet = fleet(&hall, (0, 5));
    fleet.start(&["workers-1".into()]).await.unwrap();
    fleet.increase("workers", 1).unwrap();
    breathe().await;
    drop(fleet);
    sleep(BOOT * 2).await;
    assert_eq!(hall.names(), ["workers-1"]);
}

#[tokio::test(start_paused = true)]
async fn every_step_is_a_change_to_those_who_follow() {
    let fleet = fleet(&Arc::default(), (0, 5));
    let mut changes = fleet.changes();
    fleet.increase("workers", 1).unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    sleep(BOOT * 2).await;
    assert!(changes.has_changed().unwrap());
}

#[test]
fn a_machine_of_the_catalogue_has_its_size_and_price() {
    let shape = Shape::of_type("m5.large").unwrap();
    assert_eq!((shape.cpu_milli, shape.memory_bytes), (2000, 8 << 30));
    assert!(shape.price_per_hour.is_some_and(|price| price > 0.0));
    let node = shape.node("n");
    let label = &node["metadata"]["labels"]["node.kubernetes.io/instance-type"];
    assert_eq!(label, "m5.large");
    let gpus = Shape::of_type("g4dn.xlarge").unwrap();
    assert_eq!(gpus.extended.get("nvidia.com/gpu"), Some(&1));
    assert_eq!(gpus.labels.get(GPU_LABEL).map(String::as_str), Some("T4"));
    assert_eq!(Shape::of_type("m5.tiny"), None);
}
