//! Trouble, on paused time.

use super::*;
use crate::nodes::fleet::{Machine, Shape};
use plimsoll_api::nodegroup::InstanceState;
use std::collections::BTreeSet;

#[derive(Debug, Default)]
struct Hall(Mutex<BTreeSet<String>>);

#[async_trait]
impl Machines for Hall {
    async fn add(&self, machine: &Machine) -> Result<(), MachineError> {
        self.0.lock().insert(machine.name.to_string());
        Ok(())
    }

    async fn remove(&self, name: &str) -> Result<(), MachineError> {
        self.0.lock().remove(name);
        Ok(())
    }
}

const BOOT: Duration = Duration::from_secs(60);

fn provider(shape: Shape, behaviour: Behaviour) -> (Arc<Hall>, Simulated) {
    let hall: Arc<Hall> = Arc::default();
    let machines: Arc<dyn Machines> = Arc::<Hall>::clone(&hall);
    let group = GroupConfig::new("g", (0, 100), shape).with_boot(BOOT);
    (hall, Simulated::new([group], machines, behaviour))
}

fn usual() -> (Arc<Hall>, Simulated) {
    provider(Shape::default(), Behaviour::default())
}

fn throttled() -> ProviderError {
    ProviderError::new(ErrorClass::Throttled, "rate exceeded")
}

async fn only(provider: &Simulated) -> NodeGroup {
    provider.groups().await.unwrap().remove(0)
}

#[tokio::test(start_paused = true)]
async fn a_shortage_fails_each_machine_and_ends_with_it() {
    let (hall, provider) = usual();
    provider.disturb(|faults| faults.run_short("g", Shortage::PerMachine));
    provider.increase("g", 2).await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let group = only(&provider).await;
    let problems: Vec<_> = group.instances.iter().map(|i| i.problem.as_ref()).collect();
    assert!(
        problems
            .iter()
            .all(|p| p.is_some_and(|p| p.class == ErrorClass::OutOfResources))
    );
    assert_eq!(problems[0].unwrap().code, "InsufficientInstanceCapacity");
    provider.disturb(Faults::clear);
    provider.increase("g", 1).await.unwrap();
    sleep(BOOT * 2).await;
    assert_eq!(hall.0.lock().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_changes_nothing() {
    let (_, provider) = usual();
    provider.disturb(|faults| faults.run_short("g", Shortage::Refused));
    let error = provider.increase("g", 2).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::OutOfResources);
    assert_eq!(only(&provider).await.target, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_are_slow_and_fail_as_often_as_told() {
    let (_, provider) = usual();
    provider.disturb(|faults| {
        faults.answer_after = Duration::from_secs(7);
        faults.fail_writes(Some(1), throttled());
        faults.fail_reads(None, throttled());
    });
    let begun = tokio::time::Instant::now();
    assert_eq!(provider.increase("g", 1).await, Err(throttled()));
    assert_eq!(begun.elapsed(), Duration::from_secs(7));
    assert_eq!(provider.increase("g", 1).await, Ok(()));
    for _ in 0..3 {
        assert_eq!(provider.groups().await, Err(throttled()));
    }
    assert_eq!(provider.truth()[0].target, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_a_failure_that_happened() {
    let (_, provider) = usual();
    provider.disturb(|faults| faults.answers_lost = 1);
    let error = provider.increase("g", 3).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreachable);
    assert_eq!(only(&provider).await.target, 3);
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_joins_runs_all_the_same() {
    let (hall, provider) = usual();
    provider.disturb(|faults| faults.never_joining = 1);
    provider.increase("g", 2).await.unwrap();
    sleep(BOOT * 2).await;
    let group = only(&provider).await;
    let running = group
        .instances
        .iter()
        .filter(|i| i.state == Some(InstanceState::Running));
    assert_eq!((running.count(), hall.0.lock().len()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn lies_are_told_and_the_truth_stays() {
    let (_, provider) = usual();
    provider.increase("g", 3).await.unwrap();
    provider.disturb(|faults| {
        faults.target_off.insert("g".into(), -5);
        faults.untold.insert("g".into(), 2);
    });
    let told = only(&provider).await;
    assert_eq!((told.target, told.instances.len()), (0, 1));
    let truth = provider.truth().remove(0);
    assert_eq!((truth.target, truth.instances.len()), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_machine_is_replaced() {
    let (hall, provider) = usual();
    provider.start(&["g-1".into()]).await.unwrap();
    provider.interrupt("g", "g-1").unwrap();
    assert_eq!(only(&provider).await.target, 1);
    sleep(BOOT * 2).await;
    assert_eq!(*hall.0.lock(), BTreeSet::from(["g-2".to_owned()]));
    let error = provider.interrupt("g", "g-1").unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test(start_paused = true)]
async fn boots_vary_within_bounds_and_by_the_seed() {
    let behaviour = Behaviour {
        seed: 7,
        boot_spread: 0.5,
        ..Behaviour::default()
    };
    let mut runs = Vec::new();
    for _ in 0..2 {
        let (hall, provider) = provider(Shape::default(), behaviour.clone());
        provider.increase("g", 20).await.unwrap();
        let mut seen = Vec::new();
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
            seen.push(hall.0.lock().len());
        }
        runs.push(seen);
    }
    assert_eq!(runs[0], runs[1]);
    assert_eq!((runs[0][28], runs[0][91]), (0, 20));
    assert!(runs[0][58] > 0 && runs[0][58] < 20);
}

#[tokio::test(start_paused = true)]
async fn spot_machines_are_cheaper_and_sometimes_missing() {
    let full = Shape {
        price_per_hour: Some(1.0),
        ..Shape::default()
    };
    let behaviour = Behaviour {
        seed: 1,
        spot_shortage: 0.5,
        ..Behaviour::default()
    };
    let (hall, provider) = provider(spot(full, 0.25), behaviour);
    let template = provider.template("g").await.unwrap().unwrap();
    assert_eq!(template.price_per_hour, Some(0.25));
    assert_eq!(provider.price(&template.node), Some(0.25));
    provider.increase("g", 40).await.unwrap();
    sleep(BOOT * 2).await;
    let came = hall.0.lock().len();
    assert!((10..=30).contains(&came), "{came}");
}
