//! Jobs and CronJobs with containers that really end, as kubectl starts, awaits and shows them.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};

pub(crate) fn whole(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "1"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    completes(&k)?;
    fails(&k)?;
    indexed(&k)?;
    by_schedule(&k)?;
    refuses(&k)
}

/// One pod, awaited, described, with its output, and gone with its Job.
fn completes(k: &Kubectl) -> Outcome {
    let out = k.run("create job hello --image=busybox -- echo hi");
    check!(out.ok && out.out == "job.batch/hello created\n", "{out:?}");
    check!(!out.err.contains("Warning"), "{}", out.err);
    k.ok("wait --for=condition=complete job/hello --timeout=60s")?;
    let logs = k.ok("logs job/hello")?;
    check!(logs == "hi\n", "{logs}");
    let row = k.ok("get job hello --no-headers")?;
    let cells: Vec<&str> = row.split_whitespace().collect();
    check!(cells.get(1..3) == Some(&["Complete", "1/1"][..]), "{row}");
    let told = k.ok("describe job hello")?;
    for wanted in [
        "0 Active (0 Ready) / 1 Succeeded / 0 Failed",
        "Completion Mode:  NonIndexed",
        "SuccessfulCreate",
        "Job completed",
    ] {
        check!(told.contains(wanted), "no {wanted} in:\n{told}");
    }
    k.ok("delete job hello")?;
    k.until("get pods -l job-name=hello -o name", 30, str::is_empty)
        .map(drop)
}

/// A container that fails, without a second attempt.
fn fails(k: &Kubectl) -> Outcome {
    let job = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "broken"},
        "spec": {"backoffLimit": 0, "ttlSecondsAfterFinished": 3, "template": {"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "busybox", "command": ["false"]}]}}}}"#;
    let created = k.feed("create -f -", job);
    check!(created.ok, "{created:?}");
    k.ok("wait --for=condition=failed job/broken --timeout=60s")?;
    let path = "{.status.failed} {.status.conditions[?(@.type==\"Failed\")].reason}";
    let status = k.ok(&format!("get job broken -o 'jsonpath={path}'"))?;
    check!(status == "1 BackoffLimitExceeded", "{status}");
    k.until("get jobs,pods -o name", 30, str::is_empty)
        .map(drop)
}

/// Every index is worked off, and each pod knows its own.
fn indexed(k: &Kubectl) -> Outcome {
    let job = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "parts"},
        "spec": {"completions": 3, "parallelism": 2, "completionMode": "Indexed", "template": {"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "busybox", "command": ["env"]}]}}}}"#;
    let created = k.feed("create -f -", job);
    check!(created.ok, "{created:?}");
    k.ok("wait --for=condition=complete job/parts --timeout=60s")?;
    let done = k.ok("get job parts -o jsonpath={.status.completedIndexes}")?;
    check!(done == "0-2", "{done}");
    let label = "batch.kubernetes.io/job-completion-index=2";
    let logs = k.ok(&format!("logs -l {label}"))?;
    check!(logs.contains("JOB_COMPLETION_INDEX=2"), "{logs}");
    check!(logs.contains("HOSTNAME=parts-2"), "{logs}");
    k.ok("delete job parts").map(drop)
}

/// A Job every second, and one by hand.
fn by_schedule(k: &Kubectl) -> Outcome {
    k.ok("create cronjob tick --image=busybox '--schedule=@every 1s' -- true")?;
    let seen = "get events --field-selector reason=SawCompletedJob -o jsonpath={.items[0].message}";
    k.until(seen, 60, |text| text.contains("condition: Complete"))?;
    let out = k.ok("create job --from=cronjob/tick by-hand")?;
    check!(out == "job.batch/by-hand created\n", "{out}");
    k.ok("wait --for=condition=complete job/by-hand --timeout=60s")?;
    k.ok("patch cronjob tick -p {\"spec\":{\"suspend\":true}}")?;
    let row = k.ok("get cronjob tick --no-headers")?;
    check!(row.contains("@every 1s") && row.contains("True"), "{row}");
    let told = k.ok("describe cronjob tick")?;
    check!(told.contains("Successful Job History Limit:  3"), "{told}");
    check!(told.contains("Created job tick-"), "{told}");
    k.ok("delete cronjob tick")?;
    k.until("get jobs,pods -o name", 30, str::is_empty)
        .map(drop)
}

/// What can never start is refused in upstream's words.
fn refuses(k: &Kubectl) -> Outcome {
    for (schedule, why) in [
        ("70 * * * *", "end of range (70) above maximum (59): 70"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        (
            "TZ=UTC * * * * *",
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        ),
    ] {
        let line = format!("create cronjob bad --image=busybox '--schedule={schedule}' -- true");
        let refused = k.run(&line);
        check!(!refused.ok && refused.err.contains(why), "{refused:?}");
    }
    Ok(())
}
