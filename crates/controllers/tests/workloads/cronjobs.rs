//! CronJobs over the hours.

use crate::faults::{Fault, Faults};
use crate::rig::Rig;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use plimsoll_controllers::supervisor::{Context, start_all};
use serde_json::{Value, json};
use std::time::Duration;

impl Rig {
    fn cron_jobs(&self) -> Api<DynamicObject> {
        self.api("default", ("batch", "v1"), "cronjobs", "CronJob")
    }

    /// Creates the CronJob `tick` with these fields in its spec.
    async fn cron_job(&self, change: Value) {
        let mut cron_job = json!({
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": {"name": "tick", "namespace": "default"},
            "spec": {"schedule": "* * * * *", "jobTemplate": {
                "metadata": {"labels": {"of": "tick"}, "annotations": {"a": "b"}},
                "spec": {"template": {"spec": {
                    "restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}],
                }}},
            }},
        });
        json_patch::merge(&mut cron_job["spec"], &change);
        self.create(&self.cron_jobs(), cron_job).await;
    }

    async fn job_names(&self) -> Vec<String> {
        let jobs = self.list(&self.jobs()).await;
        jobs.into_iter()
            .filter_map(|job| job.metadata.name)
            .collect()
    }

    async fn tick_status(&self) -> Value {
        self.cron_jobs().get("tick").await.unwrap().data["status"].clone()
    }

    /// Lets every pod that has not ended succeed.
    async fn succeed(&self) {
        let pods = self.pods();
        for pod in self.list(&pods).await {
            if pod.data["status"]["phase"] != "Succeeded" {
                let patch = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
                let name = pod.metadata.name.unwrap();
                pods.patch_status(&name, &PatchParams::default(), &patch)
                    .await
                    .unwrap();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_starts_every_minute() {
    let rig = Rig::start().await;
    rig.cron_job(json!({})).await;
    let took = rig
        .see("a job", async || rig.job_names().await == ["tick-1"])
        .await;
    assert!((59..=61).contains(&took.as_secs()), "{took:?}");
    let job = rig.jobs().get("tick-1").await.unwrap();
    let annotations = job.metadata.annotations.as_ref().unwrap();
    let planned = &annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"];
    assert_eq!(
        (planned.as_str(), annotations["a"].as_str()),
        ("1970-01-01T00:01:00Z", "b")
    );
    assert_eq!(job.metadata.labels.as_ref().unwrap()["of"], "tick");
    let owner = &job.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!(
        (owner.kind.as_str(), owner.controller),
        ("CronJob", Some(true))
    );
    rig.see("it says so", async || {
        rig.tick_status().await["active"][0]["name"] == "tick-1"
    })
    .await;
    let status = rig.tick_status().await;
    assert_eq!(status["lastScheduleTime"], "1970-01-01T00:01:00Z");
    rig.succeed().await;
    rig.see("its end is seen", async || {
        let status = rig.tick_status().await;
        status["active"].is_null() && status["lastSuccessfulTime"].is_string()
    })
    .await;
    rig.see("the next", async || {
        rig.job_names().await == ["tick-1", "tick-2"]
    })
    .await;
    rig.see("events", async || {
        !rig.events("SawCompletedJob").await.is_empty()
    })
    .await;
    assert_eq!(
        rig.events("SawCompletedJob").await,
        ["Saw completed job: tick-1, condition: Complete"]
    );
}

#[tokio::test(start_paused = true)]
async fn the_history_has_limits() {
    let rig = Rig::start().await;
    rig.cron_job(json!({"successfulJobsHistoryLimit": 2})).await;
    for minute in 1..=4 {
        let name = format!("tick-{minute}");
        rig.see("a job", async || rig.job_names().await.contains(&name))
            .await;
        rig.see("its pod", async || rig.count(&rig.pods()).await > 0)
            .await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.succeed().await;
    }
    rig.see("two are left", async || {
        rig.job_names().await == ["tick-3", "tick-4"]
    })
    .await;
    rig.see("their pods are", async || rig.count(&rig.pods()).await == 2)
        .await;
}

#[tokio::test(start_paused = true)]
async fn forbidden_overlap_leaves_the_new_one_out() {
    let rig = Rig::start().await;
    rig.cron_job(json!({"concurrencyPolicy": "Forbid"})).await;
    rig.see("a job", async || rig.job_names().await == ["tick-1"])
        .await;
    tokio::time::sleep(Duration::from_secs(130)).await;
    assert_eq!(rig.job_names().await, ["tick-1"]);
    let told = "Not starting job because prior execution is running and concurrency policy is \
                Forbid";
    assert_eq!(rig.events("JobAlreadyActive").await, [told]);
}

#[tokio::test(start_paused = true)]
async fn replacing_deletes_the_earlier_one() {
    let rig = Rig::start().await;
    rig.cron_job(json!({"concurrencyPolicy": "Replace"})).await;
    rig.see("a job", async || rig.job_names().await == ["tick-1"])
        .await;
    rig.see("the next alone", async || {
        rig.job_names().await == ["tick-2"]
    })
    .await;
    assert_eq!(rig.tick_status().await["active"][0]["name"], "tick-2");
    rig.see("events", async || {
        !rig.events("SuccessfulDelete").await.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_suspended_one_makes_up_for_the_last_start_only() {
    let rig = Rig::start().await;
    rig.cron_job(json!({"suspend": true})).await;
    tokio::time::sleep(Duration::from_secs(6200)).await;
    assert_eq!(rig.count(&rig.jobs()).await, 0);
    rig.patch(
        &rig.cron_jobs(),
        "tick",
        json!({"spec": {"suspend": false}}),
    )
    .await;
    rig.see("a job", async || rig.job_names().await == ["tick-103"])
        .await;
    rig.see("events", async || {
        !rig.events("TooManyMissedTimes").await.is_empty()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_start_missed_by_more_than_the_deadline_is_gone() {
    let rig = Rig::start().await;
    rig.cron_job(json!({
        "schedule": "0 * * * *", "suspend": true, "startingDeadlineSeconds": 60,
    }))
    .await;
    tokio::time::sleep(Duration::from_secs(3600 + 90)).await;
    rig.patch(
        &rig.cron_jobs(),
        "tick",
        json!({"spec": {"suspend": false}}),
    )
    .await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(rig.count(&rig.jobs()).await, 0);
    assert_eq!(
        rig.events("MissSchedule").await,
        ["Missed scheduled time to start a job: Thu, 01 Jan 1970 01:00:00 +0000"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_history_that_cannot_be_tidied_keeps_no_job_from_its_start() {
    let mut rig = Rig::start().await;
    rig.tasks.abort_all();
    let faults = Faults::none();
    let client = faults.client(rig.client.clone());
    faults.set(|method, uri| {
        let refused = method == "DELETE" && uri.contains("/jobs/");
        refused.then(|| Fault::Answer(500, "{\"kind\":\"Status\",\"code\":500}".into()))
    });
    let context = Context::start(client, rig.clock, 7, rig.context.options.clone());
    rig.tasks = start_all(&context);
    rig.cron_job(json!({"successfulJobsHistoryLimit": 0})).await;
    let mut late = 0;
    for minute in 1..=12 {
        let name = format!("tick-{minute}");
        rig.see("a job", async || rig.job_names().await.contains(&name))
            .await;
        let now = rig.clock.now().as_second();
        late = late.max(now - 60 * minute);
        tokio::time::sleep(Duration::from_secs(5)).await;
        rig.succeed().await;
    }
    assert!(late <= 1, "{late} s late");
    assert!(!rig.events("FailedDelete").await.is_empty());
}
