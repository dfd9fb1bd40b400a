//! No pod is lost or counted twice, and no more run than are wanted, whatever happens when.

use super::account::{account, finish, settle};
use super::backoff::Record;
use super::decide::{Act, NewPod, decide};
use super::seen::{Seen, Tally};
use super::testing::{both, exit, index, job, pod};
use super::view::{JobView, Uncounted};
use crate::pods::PodView;
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What happens between two writes of the controller.
#[derive(Debug, Clone)]
enum Event {
    /// The n-th pod ends, well or badly.
    End(usize, bool),
    /// Somebody deletes the n-th pod.
    Delete(usize),
    /// The n-th pod vanishes if nothing holds it and it has ended or is being deleted.
    Vanish(usize),
    /// The controller looks, and crashes after so many writes.
    Look(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (0_usize..8, any::<bool>()).prop_map(|(pod, good)| Event::End(pod, good)),
        (0_usize..8).prop_map(Event::Delete),
        (0_usize..8).prop_map(Event::Vanish),
        (0_usize..12).prop_map(Event::Look),
    ];
    prop::collection::vec(event, 0..60)
}

#[derive(Debug, Clone, Default)]
struct Pod {
    index: Option<u32>,
    ended: Option<bool>,
    tracked: bool,
    deleting: bool,
}

impl Pod {
    fn view(&self, name: &str) -> Arc<PodView> {
        let mut change = self.index.map_or_else(|| json!({}), index);
        if let Some(good) = self.ended {
            change = both(change, &exit(i32::from(!good), 0));
        }
        if !self.tracked {
            change = both(change, &json!({"metadata": {"finalizers": null}}));
        }
        if self.deleting {
            let at = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z"}});
            change = both(change, &at);
        }
        pod(name, &change)
    }
}

/// The API server, as far as it matters here, and how many writes are left before the crash.
#[derive(Debug)]
struct World {
    job: JobView,
    pods: BTreeMap<String, Pod>,
    created: usize,
    removed: usize,
    writes: usize,
}

/// The controller has crashed.
struct Crash;

impl World {
    fn new(spec: &Value) -> Self {
        Self {
            job: job(spec, &json!({})),
            pods: BTreeMap::new(),
            created: 0,
            removed: 0,
            writes: 0,
        }
    }

    fn views(&self) -> Vec<Arc<PodView>> {
        self.pods.iter().map(|(name, pod)| pod.view(name)).collect()
    }

    fn write(&mut self) -> Result<(), Crash> {
        self.writes = self.writes.checked_sub(1).ok_or(Crash)?;
        Ok(())
    }

    fn nth(&mut self, number: usize) -> Option<&mut Pod> {
        self.pods.values_mut().nth(number)
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::End(number, good) => {
                if let Some(pod) = self.nth(number) {
                    pod.ended = pod.ended.or(Some(good));
                }
            }
            Event::Delete(number) => {
                if let Some(pod) = self.nth(number) {
                    pod.deleting = true;
                }
            }
            Event::Vanish(number) => {
                let name = self.pods.keys().nth(number).cloned();
                let gone = |pod: &Pod| !pod.tracked && (pod.ended.is_some() || pod.deleting);
                if let Some(name) = name.filter(|name| gone(&self.pods[name])) {
                    self.pods.remove(&name);
                }
            }
            Event::Look(writes) => {
                self.writes = writes;
                drop(self.look());
            }
        }
    }

    /// What the shell does, with a crash instead of any write.
    fn look(&mut self) -> Result<(), Crash> {
        if self.job.is_finished() {
            return self.release(&self.views());
        }
        let (views, none) = (self.views(), BTreeSet::new());
        let now = Timestamp::from_second(1000).unwrap();
        let seen = Seen {
            job: &self.job,
            pods: &views,
            doomed: &none,
            now,
        };
        let tally = seen.tally();
        let decision = decide(&seen, &tally, Record::default());
        self.act(decision.act)?;
        let views = self.views();
        let seen = Seen {
            job: &self.job,
            pods: &views,
            doomed: &none,
            now,
        };
        let first = account(&seen, &seen.tally(), decision.end.as_ref());
        let mut status = first.status;
        if !first.release.is_empty() && status != self.job.status {
            self.write()?;
            self.job.status = status.clone();
        }
        self.release(&first.release)?;
        let views = self.views();
        let seen = Seen {
            job: &self.job,
            pods: &views,
            doomed: &none,
            now,
        };
        settle(&mut status, &seen.tracked());
        status.terminating = Some(seen.terminating().count());
        if let Some(end) = decision.end.filter(|_| first.whole) {
            finish(&mut status, &end, now);
        }
        if status != self.job.status {
            self.write()?;
            self.job.status = status;
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> Result<(), Crash> {
        match act {
            Act::Keep => {}
            Act::Create(pods) => {
                for NewPod { index, .. } in pods {
                    self.write()?;
                    self.created += 1;
                    let pod = Pod {
                        index,
                        tracked: true,
                        ..Pod::default()
                    };
                    self.pods.insert(format!("p{:03}", self.created), pod);
                }
            }
            Act::Remove(pods) => {
                for pod in &pods {
                    self.write()?;
                    let pod = self.pods.get_mut(pod.meta.name()).unwrap();
                    self.removed += usize::from(pod.tracked);
                    pod.tracked = false;
                }
                self.delete(&pods)?;
            }
            Act::Stop(pods) => self.delete(&pods)?,
        }
        Ok(())
    }

    fn delete(&mut self, pods: &[Arc<PodView>]) -> Result<(), Crash> {
        for pod in pods {
            self.write()?;
            self.pods.get_mut(pod.meta.name()).unwrap().deleting = true;
        }
        Ok(())
    }

    fn release(&mut self, pods: &[Arc<PodView>]) -> Result<(), Crash> {
        for pod in pods.iter().filter(|pod| super::is_tracked(pod)) {
            self.write()?;
            self.pods.get_mut(pod.meta.name()).unwrap().tracked = false;
        }
        Ok(())
    }

    fn active(&self) -> usize {
        let active = self
            .pods
            .values()
            .filter(|pod| pod.ended.is_none() && !pod.deleting);
        active.count()
    }

    /// Lets everything come to its end without further trouble.
    fn calm_down(&mut self) {
        for _ in 0..400 {
            if self.job.is_finished() && self.pods.values().all(|pod| !pod.tracked) {
                return;
            }
            self.happen(&Event::Look(1000));
            for pod in self.pods.values_mut() {
                pod.ended = pod.ended.or(Some(!pod.deleting));
            }
        }
        panic!("the job never ends: {self:#?}");
    }
}

fn counts_exactly(spec: &Value, events: &[Event]) -> Result<(), TestCaseError> {
    let mut world = World::new(spec);
    for event in events {
        world.happen(event);
        prop_assert!(world.active() <= world.job.spec.parallelism, "{world:#?}");
        let status = &world.job.status;
        let counted = status.succeeded + status.failed;
        prop_assert!(counted + world.removed <= world.created, "{world:#?}");
    }
    world.calm_down();
    let status = &world.job.status;
    let counted = status.succeeded + status.failed;
    if world.job.is_indexed() {
        // Of an index that succeeded twice, one success counts.
        prop_assert!(counted + world.removed <= world.created, "{world:#?}");
    } else {
        prop_assert_eq!(counted + world.removed, world.created, "{:#?}", world);
    }
    if status.holds("Complete").is_some() {
        // A pod that succeeds while being deleted may come on top of its successor.
        let wanted = usize::try_from(world.job.spec.completions.unwrap()).unwrap();
        prop_assert!(status.succeeded >= wanted, "{world:#?}");
    }
    Ok(())
}

#[test]
fn pods_stopped_by_success_have_not_failed() {
    let spec = json!({
        "completionMode": "Indexed", "completions": 2, "parallelism": 2,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    });
    let job = job(&spec, &json!({}));
    let ending = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z"}});
    let views = [
        pod("good", &both(index(0), &exit(0, 1))),
        pod("stopped", &both(index(1), &ending)),
    ];
    let seen = Seen {
        job: &job,
        pods: &views,
        doomed: &BTreeSet::new(),
        now: Timestamp::from_second(1000).unwrap(),
    };
    let tally = seen.tally();
    let end = decide(&seen, &tally, Record::default()).end;
    assert_eq!(end.as_ref().unwrap().reason, "SuccessPolicy");
    let account = account(&seen, &tally, end.as_ref());
    assert_eq!(account.release.len(), 2);
    assert_eq!(account.status.succeeded, 1);
    let failed = account.status.uncounted_terminated_pods.failed;
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn pods_that_will_be_new_again_are_not_recorded() {
    let all = ["listed", "held", "free"].map(|name| pod(name, &exit(1, 1)));
    let mut tally = Tally {
        newly_failed: all.to_vec(),
        ..Tally::default()
    };
    let list = Uncounted {
        failed: vec!["listed".into()],
        ..Uncounted::default()
    };
    let tracked = BTreeSet::from(["listed".into(), "held".into()]);
    tally.keep_counted(&list, &tracked);
    let names = tally.newly_failed.iter().map(|pod| pod.meta.name());
    assert_eq!(names.collect::<Vec<_>>(), ["listed", "free"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pods_alike_are_counted_once(events in events(), parallelism in 1_usize..4, limit in 0..6) {
        let spec = json!({"parallelism": parallelism, "completions": 4, "backoffLimit": limit});
        counts_exactly(&spec, &events)?;
    }

    #[test]
    fn pods_with_an_index_are_counted_once(events in events(), parallelism in 1_usize..4) {
        let spec = json!({
            "parallelism": parallelism, "completions": 4, "backoffLimit": 99,
            "completionMode": "Indexed",
        });
        counts_exactly(&spec, &events)?;
    }

    #[test]
    fn replacing_only_what_has_ended_counts_once(events in events(), parallelism in 1_usize..4) {
        let spec = json!({
            "parallelism": parallelism, "completions": 4, "backoffLimit": 99,
            "podReplacementPolicy": "Failed",
        });
        counts_exactly(&spec, &events)?;
    }
}
