//! The drain rules, and what each blocker's remedy names.

use crate::cast::{annotated, at, budget, owner, pod};
use plimsoll_engine::cluster::{
    BlockerReason, DAEMON_SET_POD, DrainContext, DrainOptions, Drainability, OwnerKind,
    RemainingBudgets, RunningPod, SAFE_LOCAL_VOLUMES, SAFE_TO_EVICT, drainability, judge_all,
};
use plimsoll_engine::placement::{BudgetFacts, PodFacts};
use rstest::rstest;

const DAY: i64 = 86_400;

fn judged(pod: &RunningPod, budgets: &[BudgetFacts], options: &DrainOptions) -> Drainability {
    let budgets = RemainingBudgets::new(budgets);
    let context = DrainContext {
        options,
        budgets: &budgets,
        now: at(DAY),
    };
    drainability(pod, &context)
}

fn plain() -> RunningPod {
    pod("web", "n1", 100)
}

fn bare() -> RunningPod {
    RunningPod {
        owner: None,
        ..plain()
    }
}

fn owned(kind: OwnerKind, exists: bool) -> RunningPod {
    let mut owner = owner(kind);
    owner.exists = Some(exists);
    RunningPod {
        owner: Some(owner),
        ..plain()
    }
}

/// A pod of kube-system so many seconds old.
fn system(age: i64) -> RunningPod {
    let pod = plain();
    RunningPod {
        pod: PodFacts {
            namespace: "kube-system".into(),
            ..pod.pod.clone()
        },
        created: Some(at(DAY - age)),
        ..pod
    }
}

fn local() -> RunningPod {
    RunningPod {
        local_volumes: vec!["data".into(), "cache".into()],
        ..plain()
    }
}

fn blocked(reason: BlockerReason) -> Drainability {
    Drainability::Blocked(reason)
}

#[rstest]
#[case::replicated(plain(), Drainability::Undefined)]
#[case::mirror(RunningPod { mirror: true, ..bare() }, Drainability::Skip)]
#[case::overdue(RunningPod { deletion: Some(at(DAY - 61)), ..bare() }, Drainability::Skip)]
#[case::leaving(RunningPod { deletion: Some(at(DAY - 60)), ..plain() }, Drainability::Undefined)]
#[case::bare(bare(), blocked(BlockerReason::NotReplicated))]
#[case::custom_controller(owned(OwnerKind::Other, true), blocked(BlockerReason::NotReplicated))]
#[case::controller_gone(
    owned(OwnerKind::Job, false),
    blocked(BlockerReason::ControllerNotFound)
)]
#[case::daemon_set(owned(OwnerKind::DaemonSet, true), Drainability::Ok)]
#[case::daemon_set_gone(
    owned(OwnerKind::DaemonSet, false),
    blocked(BlockerReason::ControllerNotFound)
)]
#[case::daemon_by_annotation(annotated(bare(), DAEMON_SET_POD, "true"), Drainability::Ok)]
#[case::safe(annotated(bare(), SAFE_TO_EVICT, "true"), Drainability::Ok)]
#[case::done(RunningPod { terminal: true, ..bare() }, Drainability::Ok)]
#[case::waited_for(annotated(bare(), SAFE_TO_EVICT, "on-completion"), Drainability::Wait)]
#[case::young_system(system(3600), blocked(BlockerReason::UnmovableKubeSystemPod))]
#[case::old_system(system(3601), Drainability::Ok)]
#[case::not_safe(
    annotated(plain(), SAFE_TO_EVICT, "false"),
    blocked(BlockerReason::NotSafeToEvictAnnotation)
)]
#[case::local_data(local(), blocked(BlockerReason::LocalStorageRequested))]
#[case::some_data_safe(
    annotated(local(), SAFE_LOCAL_VOLUMES, "data"),
    blocked(BlockerReason::LocalStorageRequested)
)]
#[case::all_data_safe(
    annotated(local(), SAFE_LOCAL_VOLUMES, "cache, data"),
    Drainability::Undefined
)]
fn the_first_decisive_rule_speaks(#[case] pod: RunningPod, #[case] want: Drainability) {
    assert_eq!(judged(&pod, &[], &DrainOptions::default()), want);
}

#[test]
fn an_old_system_pod_is_not_asked_for_more() {
    let pod = annotated(system(3601), SAFE_TO_EVICT, "false");
    assert_eq!(
        judged(&pod, &[], &DrainOptions::default()),
        Drainability::Ok
    );
}

#[test]
fn a_system_pod_with_a_budget_is_like_any_other() {
    let mut of_system = budget(1);
    of_system.namespace = "kube-system".to_owned();
    let options = DrainOptions::default();
    let budgets = [of_system.clone()];
    assert_eq!(
        judged(&system(1), &budgets, &options),
        Drainability::Undefined
    );
    of_system.allowed = 0;
    let want = blocked(BlockerReason::NotEnoughPdb);
    assert_eq!(judged(&system(1), &[of_system], &options), want);
}

#[test]
fn flags_switch_rules_off() {
    let off = DrainOptions {
        skip_system_pods: false,
        skip_local_storage: false,
        skip_custom_controllers: false,
        ..DrainOptions::default()
    };
    let custom_gone = owned(OwnerKind::Other, false);
    for pod in [
        local(),
        system(1),
        owned(OwnerKind::Job, false),
        custom_gone,
    ] {
        assert_eq!(judged(&pod, &[], &off), Drainability::Undefined, "{pod:?}");
    }
    assert_eq!(
        judged(&bare(), &[], &off),
        blocked(BlockerReason::NotReplicated)
    );
}

#[test]
fn a_controller_with_too_few_replicas_keeps_its_pods() {
    let options = DrainOptions {
        min_replicas: 4,
        ..DrainOptions::default()
    };
    let want = blocked(BlockerReason::MinReplicasReached);
    assert_eq!(judged(&plain(), &[], &options), want);
    let stateful = owned(OwnerKind::StatefulSet, true);
    assert_eq!(judged(&stateful, &[], &options), Drainability::Undefined);
}

#[rstest]
#[case::bare(bare(), &["default/web", "safe-to-evict=true", "no controller"])]
#[case::custom(owned(OwnerKind::Other, true), &["controller/web", "--skip-nodes-with-custom-controller-pods=false"])]
#[case::gone(owned(OwnerKind::Job, false), &["job/web", "does not exist"])]
#[case::not_safe(annotated(plain(), SAFE_TO_EVICT, "false"), &["remove the annotation", "safe-to-evict=false"])]
#[case::local(local(), &["volume data", "safe-to-evict-local-volumes=data", "--skip-nodes-with-local-storage=false"])]
#[case::system(system(600), &["PodDisruptionBudget in kube-system", "1970-01-02T00:50:00Z", "--skip-nodes-with-system-pods=false"])]
#[case::budget(plain(), &["poddisruptionbudget default/web", "minAvailable"])]
fn a_remedy_names_object_and_flag(#[case] pod: RunningPod, #[case] words: &[&str]) {
    let budgets = RemainingBudgets::new(&[budget(0)]);
    let context = DrainContext {
        options: &DrainOptions::default(),
        budgets: &budgets,
        now: at(DAY),
    };
    let blocker = judge_all([&pod], &context).unwrap_err();
    for word in words {
        assert!(blocker.remedy.contains(word), "{}", blocker.remedy);
    }
}
