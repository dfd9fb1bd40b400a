//! The order of pending pods, and when they are tried again.

use super::*;
use proptest::prelude::*;

const ONE: ClassId = ClassId::of(1);
const TWO: ClassId = ClassId::of(2);

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("default", name)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A queue with time that the test moves.
struct Watch {
    queue: Queue,
    now: Instant,
}

impl Watch {
    fn new() -> Self {
        Self {
            queue: Queue::default(),
            now: Instant::now(),
        }
    }

    fn add(&mut self, name: &str, priority: i32, class: ClassId) {
        self.queue.add(&key(name), priority, class, self.now);
    }

    fn take(&mut self, count: usize) -> Vec<String> {
        let taken = self.queue.take(count, self.now).into_iter();
        taken.map(|taken| taken.key.name.to_string()).collect()
    }

    fn try_in_vain(&mut self, name: &str) {
        assert_eq!(self.take(1), [name]);
        self.queue.park(&key(name), self.now);
    }
}

#[test]
fn priority_comes_before_age() {
    let mut watch = Watch::new();
    watch.add("old", 0, ONE);
    watch.add("new", 0, ONE);
    watch.add("urgent", 10, TWO);
    watch.add("old", 0, ONE);
    assert_eq!(watch.take(9), ["urgent", "old", "new"]);
    assert!(watch.take(9).is_empty());
}

#[test]
fn a_parked_pod_waits_for_what_can_help_its_class() {
    let mut watch = Watch::new();
    watch.add("a", 0, ONE);
    watch.add("b", 0, TWO);
    watch.try_in_vain("a");
    watch.try_in_vain("b");
    assert!(watch.take(9).is_empty());
    assert_eq!(watch.queue.hopeful(), [ONE, TWO]);
    watch.queue.wake(TWO, watch.now);
    assert_eq!(watch.take(9), ["b"]);
}

#[test]
fn who_was_tried_moments_ago_lets_others_go_first() {
    let mut watch = Watch::new();
    watch.add("tried", 5, ONE);
    watch.try_in_vain("tried");
    watch.queue.wake(ONE, watch.now);
    watch.add("fresh", 0, TWO);
    assert_eq!(watch.take(9), ["fresh"]);
    // Nobody else is in line.
    assert_eq!(watch.take(9), ["tried"]);
}

#[test]
fn a_back_off_ends() {
    let mut watch = Watch::new();
    watch.add("tried", 5, ONE);
    watch.try_in_vain("tried");
    watch.queue.wake(ONE, watch.now);
    watch.add("fresh", 0, TWO);
    watch.now += seconds(1);
    assert_eq!(watch.take(9), ["tried", "fresh"]);
}

#[test]
fn failures_sit_out_a_back_off_that_doubles_up_to_ten_seconds() {
    let mut watch = Watch::new();
    watch.add("a", 0, ONE);
    for pause in [1, 2, 4, 8, 10, 10] {
        assert_eq!(watch.take(1), ["a"]);
        watch.queue.fail(&key("a"), watch.now);
        let due = watch.now + seconds(pause);
        assert_eq!(watch.queue.next_due(), Some(due));
        watch.now = due - Duration::from_millis(1);
        assert!(watch.take(1).is_empty(), "before {pause} s");
        watch.now = due;
    }
}

#[test]
fn what_happens_during_an_attempt_counts() {
    let mut watch = Watch::new();
    watch.add("a", 0, ONE);
    assert_eq!(watch.take(1), ["a"]);
    watch.queue.wake(ONE, watch.now);
    watch.queue.park(&key("a"), watch.now);
    assert_eq!(watch.take(1), ["a"]);
}

#[test]
fn after_five_minutes_a_parked_pod_is_tried_anyway() {
    let mut watch = Watch::new();
    watch.add("a", 0, ONE);
    watch.try_in_vain("a");
    let due = watch.now + FLUSH;
    assert_eq!(watch.queue.next_due(), Some(due));
    watch.now = due;
    assert_eq!(watch.take(1), ["a"]);
}

#[test]
fn a_class_that_fits_nowhere_is_parked_whole_but_for_who_has_not_heard() {
    let mut watch = Watch::new();
    for name in ["a", "b"] {
        watch.add(name, 0, ONE);
        watch.try_in_vain(name);
    }
    watch.queue.wake(ONE, watch.now);
    watch.add("new", 0, ONE);
    assert_eq!(watch.take(1), ["new"]);
    watch.queue.park(&key("new"), watch.now);
    watch.add("newer", 0, ONE);
    watch.queue.settle(ONE, |pod| *pod == key("b"), watch.now);
    assert_eq!(watch.take(9), ["newer"]);
    assert_eq!(watch.take(9), ["b"]);
}

#[test]
fn a_pod_that_changes_while_it_waits_keeps_its_age() {
    let mut watch = Watch::new();
    watch.add("first", 0, ONE);
    watch.add("second", 0, ONE);
    watch.add("first", 0, TWO);
    assert_eq!(watch.queue.class_of(&key("first")), Some(TWO));
    assert_eq!(watch.take(9), ["first", "second"]);
}

#[test]
fn a_forgotten_pod_is_nowhere() {
    let mut watch = Watch::new();
    watch.add("a", 0, ONE);
    watch.add("b", 0, ONE);
    watch.try_in_vain("a");
    watch.queue.forget(&key("a"));
    watch.queue.forget(&key("b"));
    assert!(watch.take(9).is_empty());
    assert_eq!((watch.queue.len(), watch.queue.next_due()), (0, None));
    assert!(!watch.queue.has_class(ONE));
}

#[derive(Debug, Clone)]
enum Step {
    Add(u8, i32, u64),
    Take(usize),
    Park(u8),
    Fail(u8),
    Wake(u64),
    Settle(u64),
    Forget(u8),
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let pod = 0_u8..6;
    let class = 0_u64..3;
    let step = prop_oneof![
        (pod.clone(), -1..2, class.clone()).prop_map(|(p, i, c)| Step::Add(p, i, c)),
        (1_usize..4).prop_map(Step::Take),
        pod.clone().prop_map(Step::Park),
        pod.clone().prop_map(Step::Fail),
        class.clone().prop_map(Step::Wake),
        class.prop_map(Step::Settle),
        pod.prop_map(Step::Forget),
        (0_u64..400).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happens, a pod that was added and not forgotten is handed out again within five
    /// minutes after it was given back, and never twice at once.
    #[test]
    fn nobody_is_lost_and_nobody_is_handed_out_twice(steps in steps()) {
        let mut watch = Watch::new();
        let mut known = BTreeSet::new();
        let mut out: BTreeSet<String> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Add(pod, priority, class) => {
                    watch.add(&pod.to_string(), priority, ClassId::of(class));
                    known.insert(pod.to_string());
                }
                Step::Take(count) => {
                    for name in watch.take(count) {
                        prop_assert!(known.contains(&name));
                        prop_assert!(out.insert(name));
                    }
                }
                Step::Park(pod) => {
                    if out.remove(&pod.to_string()) {
                        watch.queue.park(&key(&pod.to_string()), watch.now);
                    }
                }
                Step::Fail(pod) => {
                    if out.remove(&pod.to_string()) {
                        watch.queue.fail(&key(&pod.to_string()), watch.now);
                    }
                }
                Step::Wake(class) => watch.queue.wake(ClassId::of(class), watch.now),
                Step::Settle(class) => watch.queue.settle(ClassId::of(class), |_| false, watch.now),
                Step::Forget(pod) => {
                    watch.queue.forget(&key(&pod.to_string()));
                    known.remove(&pod.to_string());
                    out.remove(&pod.to_string());
                }
                Step::Pass(time) => watch.now += seconds(time),
            }
            prop_assert_eq!(watch.queue.len(), known.len());
        }
        watch.now += FLUSH;
        for name in watch.take(99).into_iter().chain(watch.take(99)) {
            prop_assert!(out.insert(name));
        }
        prop_assert_eq!(out, known);
    }
}
