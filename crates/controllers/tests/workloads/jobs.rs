//! Jobs from their first pod to their end.

use crate::rig::{Rig, condition};
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use std::time::Duration;

const TRACKING: &str = "batch.kubernetes.io/job-tracking";
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

impl Rig {
    pub(crate) fn jobs(&self) -> Api<DynamicObject> {
        self.api("default", ("batch", "v1"), "jobs", "Job")
    }

    /// Creates the Job `work` with these fields in its spec.
    async fn job(&self, change: Value) {
        let mut job = json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {"name": "work", "namespace": "default"},
            "spec": {"template": {"spec": {
                "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
            }}},
        });
        json_patch::merge(&mut job["spec"], &change);
        self.create(&self.jobs(), job).await;
    }

    /// Like [`Rig::until`], looking ten times a second: Jobs take minutes.
    pub(crate) async fn see(&self, what: &str, mut check: impl AsyncFnMut() -> bool) -> Duration {
        let start = tokio::time::Instant::now();
        while !check().await {
            assert!(start.elapsed() < Duration::from_secs(1200), "never: {what}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        start.elapsed()
    }

    async fn work(&self) -> DynamicObject {
        self.jobs().get("work").await.unwrap()
    }

    async fn work_status(&self) -> Value {
        self.work().await.data["status"].clone()
    }

    /// Pods that have not ended and are not being deleted, in name order.
    async fn running(&self) -> Vec<DynamicObject> {
        let mut pods = self.list(&self.pods()).await;
        pods.retain(|pod| {
            let phase = pod.data["status"]["phase"].as_str().unwrap_or_default();
            pod.metadata.deletion_timestamp.is_none() && !matches!(phase, "Succeeded" | "Failed")
        });
        pods
    }

    async fn until_running(&self, count: usize) -> Vec<DynamicObject> {
        self.see("the pods are there", async || {
            self.running().await.len() == count
        })
        .await;
        self.running().await
    }

    /// Ends a pod as a node agent does: its container exits with this code.
    async fn end_pod(&self, pod: &DynamicObject, code: i32) {
        let name = pod.metadata.name.as_deref().unwrap();
        let now = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let phase = if code == 0 { "Succeeded" } else { "Failed" };
        let patch = json!({"status": {"phase": phase, "containerStatuses": [{
            "name": "c", "ready": false, "restartCount": 0, "image": "i", "imageID": "",
            "state": {"terminated": {"exitCode": code, "finishedAt": now}},
        }]}});
        self.pods()
            .patch_status(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await
            .unwrap();
    }

    /// Lets pods that are being deleted go, as node agents do.
    async fn reap(&self) {
        for pod in self.list(&self.pods()).await {
            let ended = matches!(
                pod.data["status"]["phase"].as_str(),
                Some("Succeeded" | "Failed")
            );
            if pod.metadata.deletion_timestamp.is_some() {
                if !ended {
                    self.end_pod(&pod, 137).await;
                }
                let now = DeleteParams::default().grace_period(0);
                drop(self.pods().delete(&pod.metadata.name.unwrap(), &now).await);
            }
        }
    }

    async fn until_condition(&self, kind: &str, reason: &str) -> Duration {
        self.see(kind, async || {
            self.reap().await;
            let (status, found, _) = condition(&self.work().await, kind);
            status == "True" && found == reason
        })
        .await
    }
}

fn index(pod: &DynamicObject) -> u32 {
    let annotations = pod.metadata.annotations.as_ref().unwrap();
    annotations[INDEX].parse().unwrap()
}

fn is_tracked(pod: &DynamicObject) -> bool {
    let finalizers = pod.metadata.finalizers.iter().flatten();
    finalizers.into_iter().any(|name| name == TRACKING)
}

#[tokio::test(start_paused = true)]
async fn a_job_completes() {
    let rig = Rig::start().await;
    rig.job(json!({})).await;
    let pods = rig.until_running(1).await;
    assert!(is_tracked(&pods[0]));
    assert!(
        pods[0]
            .metadata
            .name
            .as_deref()
            .unwrap()
            .starts_with("work-")
    );
    rig.see("it says so", async || {
        rig.work_status().await["active"] == 1
    })
    .await;
    let status = rig.work_status().await;
    let want = json!({
        "active": 1, "ready": 0, "terminating": 0, "uncountedTerminatedPods": {},
        "startTime": "1970-01-01T00:00:00Z",
    });
    assert_eq!(status, want);
    rig.end_pod(&pods[0], 0).await;
    rig.until_condition("Complete", "CompletionsReached").await;
    let status = rig.work_status().await;
    assert_eq!(status["succeeded"], 1);
    assert_eq!(status["active"], Value::Null);
    assert!(status["completionTime"].is_string());
    let kinds: Vec<_> = status["conditions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["type"])
        .collect();
    assert_eq!(kinds, ["SuccessCriteriaMet", "Complete"]);
    assert!(!is_tracked(&rig.list(&rig.pods()).await[0]));
    let name = pods[0].metadata.name.as_deref().unwrap();
    rig.see("it tells", async || {
        !rig.events("Completed").await.is_empty()
    })
    .await;
    assert_eq!(
        rig.events("SuccessfulCreate").await,
        [format!("Created pod: {name}")]
    );
    assert_eq!(rig.events("Completed").await, ["Job completed"]);
}

#[tokio::test(start_paused = true)]
async fn no_more_pods_run_than_are_wanted() {
    let rig = Rig::start().await;
    rig.job(json!({"parallelism": 3, "completions": 5})).await;
    for left in [5, 4, 3, 2, 1] {
        let pods = rig.until_running(left.min(3)).await;
        rig.end_pod(&pods[0], 0).await;
        assert!(rig.running().await.len() < 3);
    }
    rig.until_condition("Complete", "CompletionsReached").await;
    assert_eq!(rig.work_status().await["succeeded"], 5);
    assert_eq!(rig.count(&rig.pods()).await, 5);
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_with_growing_pauses() {
    let rig = Rig::start().await;
    rig.job(json!({"backoffLimit": 2})).await;
    let mut pauses = Vec::new();
    for _ in 0..3 {
        let start = tokio::time::Instant::now();
        let pods = rig.until_running(1).await;
        pauses.push(start.elapsed().as_secs());
        rig.end_pod(&pods[0], 1).await;
    }
    // The times of ends are whole seconds, so a pause may look up to one shorter.
    let around = [0..=0, 9..=10, 19..=20];
    let fits = std::iter::zip(&pauses, &around).all(|(pause, range)| range.contains(pause));
    assert!(fits, "{pauses:?}");
    rig.until_condition("Failed", "BackoffLimitExceeded").await;
    let work = rig.work().await;
    assert_eq!(work.data["status"]["failed"], 3);
    assert_eq!(condition(&work, "FailureTarget").1, "BackoffLimitExceeded");
    let message = "Job has reached the specified backoff limit";
    assert_eq!(condition(&work, "Failed").2, message);
    rig.see("it tells", async || {
        !rig.events("BackoffLimitExceeded").await.is_empty()
    })
    .await;
    assert_eq!(rig.events("BackoffLimitExceeded").await, [message]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_stops_what_runs() {
    let rig = Rig::start().await;
    rig.job(json!({"parallelism": 2, "completions": 2, "activeDeadlineSeconds": 30}))
        .await;
    rig.until_running(2).await;
    let took = rig.until_condition("Failed", "DeadlineExceeded").await;
    assert!((29..=32).contains(&took.as_secs()), "{took:?}");
    assert_eq!(rig.work_status().await["failed"], 2);
    assert!(rig.running().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn indexes_are_worked_off_each_once() {
    let rig = Rig::start().await;
    rig.job(json!({"parallelism": 2, "completions": 4, "completionMode": "Indexed"}))
        .await;
    let pods = rig.until_running(2).await;
    let first = &pods[0];
    assert_eq!(pods.iter().map(index).collect::<Vec<_>>(), [0, 1]);
    assert!(
        first
            .metadata
            .name
            .as_deref()
            .unwrap()
            .starts_with("work-0-")
    );
    assert_eq!(first.data["spec"]["hostname"], "work-0");
    assert_eq!(first.metadata.labels.as_ref().unwrap()[INDEX], "0");
    let variable = &first.data["spec"]["containers"][0]["env"][0];
    assert_eq!(variable["name"], "JOB_COMPLETION_INDEX");
    let path = format!("metadata.labels['{INDEX}']");
    assert_eq!(
        variable["valueFrom"]["fieldRef"]["fieldPath"],
        path.as_str()
    );
    rig.end_pod(&pods[1], 0).await;
    rig.see("the next index", async || {
        rig.running().await.iter().any(|pod| index(pod) == 2)
    })
    .await;
    assert_eq!(rig.work_status().await["completedIndexes"], "1");
    rig.end_pod(first, 1).await;
    rig.see("the index again", async || {
        rig.running().await.iter().any(|pod| index(pod) == 0)
    })
    .await;
    rig.see("all done", async || {
        for pod in rig.running().await {
            rig.end_pod(&pod, 0).await;
        }
        condition(&rig.work().await, "Complete").0 == "True"
    })
    .await;
    let status = rig.work_status().await;
    assert_eq!(status["completedIndexes"], "0-3");
    assert_eq!(
        (&status["succeeded"], &status["failed"]),
        (&json!(4), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn a_suspended_job_stops_and_begins_anew() {
    let rig = Rig::start().await;
    rig.job(json!({"suspend": true, "activeDeadlineSeconds": 60}))
        .await;
    rig.until_condition("Suspended", "JobSuspended").await;
    assert_eq!(rig.count(&rig.pods()).await, 0);
    assert_eq!(rig.work_status().await["startTime"], Value::Null);
    rig.patch(&rig.jobs(), "work", json!({"spec": {"suspend": false}}))
        .await;
    rig.until_running(1).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    rig.patch(&rig.jobs(), "work", json!({"spec": {"suspend": true}}))
        .await;
    rig.see("it stops", async || {
        rig.reap().await;
        rig.count(&rig.pods()).await == 0
    })
    .await;
    // What was stopped has not failed.
    assert_eq!(rig.work_status().await["failed"], Value::Null);
    rig.see("it says so", async || {
        condition(&rig.work().await, "Suspended").0 == "True"
    })
    .await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    rig.patch(&rig.jobs(), "work", json!({"spec": {"suspend": false}}))
        .await;
    let pods = rig.until_running(1).await;
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert_eq!(condition(&rig.work().await, "Failed").0, "");
    rig.end_pod(&pods[0], 0).await;
    rig.until_condition("Complete", "CompletionsReached").await;
    assert_eq!(condition(&rig.work().await, "Suspended").1, "JobResumed");
    assert_eq!(rig.events("Suspended").await, ["Job suspended"]);
    assert_eq!(rig.events("Resumed").await, ["Job resumed"]);
}

#[tokio::test(start_paused = true)]
async fn a_finished_job_goes_when_its_time_is_over() {
    let rig = Rig::start().await;
    rig.job(json!({"ttlSecondsAfterFinished": 100})).await;
    let pods = rig.until_running(1).await;
    rig.end_pod(&pods[0], 0).await;
    rig.until_condition("Complete", "CompletionsReached").await;
    let jobs = rig.jobs();
    let took = rig
        .see("it goes", async || {
            jobs.get_opt("work").await.unwrap().is_none()
        })
        .await;
    assert!((99..=101).contains(&took.as_secs()), "{took:?}");
    assert_eq!(rig.count(&rig.pods()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn pods_of_a_deleted_job_wait_for_nobody() {
    let rig = Rig::start().await;
    rig.job(json!({"parallelism": 2, "completions": 2})).await;
    rig.until_running(2).await;
    let background = DeleteParams::background();
    rig.jobs().delete("work", &background).await.unwrap();
    rig.see("all gone", async || {
        rig.reap().await;
        rig.count(&rig.pods()).await == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_pods_are_counted_together() {
    let rig = Rig::start().await;
    rig.job(json!({"parallelism": 500, "completions": 500}))
        .await;
    let pods = rig.until_running(500).await;
    let before = rig.work().await.metadata.resource_version.unwrap();
    for pod in &pods {
        rig.end_pod(pod, 0).await;
    }
    let took = rig.until_condition("Complete", "CompletionsReached").await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(rig.work_status().await["succeeded"], 500);
    let writes = rig.server.store().revision() - before.parse::<u64>().unwrap();
    // Two for each pod (its end, its finalizer), and few for the Job.
    assert!((1000..1100).contains(&writes), "{writes}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_policy_ends_the_job_or_looks_away() {
    let rig = Rig::start().await;
    rig.job(json!({
        "parallelism": 2, "completions": 2, "backoffLimit": 0,
        "podFailurePolicy": {"rules": [
            {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}},
            {"action": "Ignore", "onExitCodes": {"operator": "In", "values": [7]}},
        ]},
    }))
    .await;
    let pods = rig.until_running(2).await;
    rig.end_pod(&pods[0], 7).await;
    let pods = rig.until_running(2).await;
    assert_eq!(rig.work_status().await["failed"], Value::Null);
    rig.end_pod(&pods[1], 42).await;
    rig.until_condition("Failed", "PodFailurePolicy").await;
    let name = pods[1].metadata.name.as_deref().unwrap();
    let message = format!(
        "Container c for pod default/{name} failed with exit code 42 matching FailJob rule at \
         index 0"
    );
    assert_eq!(condition(&rig.work().await, "Failed").2, message);
}

#[tokio::test(start_paused = true)]
async fn an_index_has_its_own_limit_and_hands_its_failures_on() {
    let rig = Rig::start().await;
    rig.job(json!({
        "completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimitPerIndex": 1,
    }))
    .await;
    let count = "batch.kubernetes.io/job-index-failure-count";
    for failures in ["0", "1"] {
        let pods = rig.until_running(2).await;
        let first = pods.iter().find(|pod| index(pod) == 0).unwrap();
        assert_eq!(
            first.metadata.annotations.as_ref().unwrap()[count],
            failures
        );
        rig.end_pod(first, 1).await;
    }
    rig.see("the index fails", async || {
        rig.work_status().await["failedIndexes"] == "0"
    })
    .await;
    let rest = rig.until_running(1).await;
    rig.end_pod(&rest[0], 0).await;
    rig.until_condition("Failed", "FailedIndexes").await;
    let status = rig.work_status().await;
    assert_eq!(
        (&status["failed"], &status["succeeded"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test(start_paused = true)]
async fn partial_success_is_enough() {
    let rig = Rig::start().await;
    rig.job(json!({
        "completions": 3, "parallelism": 3, "completionMode": "Indexed",
        "successPolicy": {"rules": [{"succeededIndexes": "1"}]},
    }))
    .await;
    let pods = rig.until_running(3).await;
    rig.end_pod(&pods[1], 0).await;
    rig.until_condition("Complete", "SuccessPolicy").await;
    let status = rig.work_status().await;
    assert_eq!(status["completedIndexes"], "1");
    assert_eq!(
        status["failed"],
        Value::Null,
        "what is stopped has not failed"
    );
    assert!(rig.running().await.is_empty());
    assert_eq!(
        condition(&rig.work().await, "Complete").2,
        "Matched rules at index 0"
    );
}

#[tokio::test(start_paused = true)]
async fn another_manager_keeps_its_jobs() {
    let rig = Rig::start().await;
    rig.job(json!({"managedBy": "example.com/other"})).await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(rig.count(&rig.pods()).await, 0);
    assert_eq!(rig.work_status().await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_selector_by_hand_takes_orphans_in() {
    let rig = Rig::start().await;
    let orphan = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "stray", "namespace": "default", "labels": {"of": "work"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]},
    });
    rig.create(&rig.pods(), orphan).await;
    rig.job(json!({
        "manualSelector": true, "selector": {"matchLabels": {"of": "work"}},
        "template": {"metadata": {"labels": {"of": "work"}}},
    }))
    .await;
    rig.see("it is taken in", async || {
        is_tracked(&rig.pods().get("stray").await.unwrap())
    })
    .await;
    let stray = rig.pods().get("stray").await.unwrap();
    rig.end_pod(&stray, 0).await;
    rig.until_condition("Complete", "CompletionsReached").await;
    assert_eq!(rig.count(&rig.pods()).await, 1);
    // Left alone, its pods are nobody's.
    let orphaning = DeleteParams {
        propagation_policy: Some(kube::api::PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    rig.jobs().delete("work", &orphaning).await.unwrap();
    rig.see("it goes", async || {
        rig.jobs().get_opt("work").await.unwrap().is_none()
    })
    .await;
    assert_eq!(rig.count(&rig.pods()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_pod_deleted_before_it_had_a_node_is_replaced_once_it_is_marked() {
    let rig = Rig::start().await;
    rig.job(json!({"podReplacementPolicy": "Failed"})).await;
    let first = rig.until_running(1).await.remove(0).metadata.name.unwrap();
    let begun = tokio::time::Instant::now();
    let now = DeleteParams::default();
    rig.pods().delete(&first, &now).await.unwrap();
    rig.see("another", async || {
        let running = rig.running().await;
        running.len() == 1 && running[0].metadata.name.as_ref() != Some(&first)
    })
    .await;
    let took = begun.elapsed().as_secs();
    assert!((20..40).contains(&took), "{took} s");
    assert_eq!(rig.work_status().await["failed"], 1);
    assert!(rig.pods().get_opt(&first).await.unwrap().is_none());
}
