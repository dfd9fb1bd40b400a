//! Lab 5, step 1: the pods of a ReplicaSet and of a StatefulSet side by side.

use crate::cluster::Cluster;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};
use libtest_mimic::Failed;
use std::cell::RefCell;
use tokio::time::Instant;

const SETS: &str = include_str!("../../../../examples/stateful.yaml");

pub(crate) fn sets(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--nodes", "2"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    let made = k.feed("create -f -", SETS);
    check!(made.ok, "{}{}", made.out, made.err);
    names(&k)?;
    out(&k)?;
    replaced(&k)?;
    to_nothing(&k)
}

/// One with a name of chance, one with a number.
fn names(k: &Kubectl) -> Outcome {
    let pods = |app: &str| format!("get pods -l app={app} -o name");
    let random = k.until(&pods("replica-web"), 60, |out| out.lines().count() == 1)?;
    let suffix = random.trim().strip_prefix("pod/replica-web-");
    check!(suffix.is_some_and(|suffix| suffix.len() == 5), "{random}");
    let numbered = k.until(&pods("stateful-db"), 60, |out| out.lines().count() == 1)?;
    check!(numbered == "pod/stateful-db-0\n", "{numbered}");
    k.ok("rollout status sts/stateful-db --timeout=60s")?;
    let host = k.ok("exec stateful-db-0 -- hostname")?;
    check!(host == "stateful-db-0\n", "{host}");
    Ok(())
}

/// Creation times of a set's pods in the order of their names, and since when each is ready.
fn times(k: &Kubectl, app: &str) -> Result<Vec<(String, String)>, Failed> {
    let shown = "jsonpath={range.items[*]}{.metadata.creationTimestamp},{.status.conditions[?(@.type==\"Ready\")].lastTransitionTime}{\"\\n\"}{end}";
    let out = k.ok(&format!("get pods -l app={app} -o '{shown}'"))?;
    let pair = |line: &str| {
        let (created, ready) = line.split_once(',')?;
        Some((created.to_owned(), ready.to_owned()))
    };
    Ok(out.lines().filter_map(pair).collect())
}

/// From one to three: at once, and one by one in order.
fn out(k: &Kubectl) -> Outcome {
    k.ok("scale --replicas=3 rs/replica-web")?;
    k.ok("scale --replicas=3 sts/stateful-db")?;
    let ready = "get rs/replica-web sts/stateful-db -o jsonpath={.items[*].status.readyReplicas}";
    k.until(ready, 90, |out| out == "3 3")?;
    let names = k.ok("get pods -l app=stateful-db -o name")?;
    check!(
        names == "pod/stateful-db-0\npod/stateful-db-1\npod/stateful-db-2\n",
        "{names}"
    );
    let times = times(k, "stateful-db")?;
    check!(times.len() == 3, "{times:?}");
    for pair in times.windows(2) {
        let [(_, ready), (created, _)] = pair else {
            continue;
        };
        check!(created >= ready, "the next was made before: {times:?}");
    }
    Ok(())
}

/// A deleted pod returns with another name, or with the same.
fn replaced(k: &Kubectl) -> Outcome {
    let uid = "get pod stateful-db-1 -o jsonpath={.metadata.uid}";
    let before = k.ok(uid)?;
    let begun = Instant::now();
    k.ok("delete pod stateful-db-1")?;
    let took = begun.elapsed().as_secs();
    check!(took < 10, "a pod that ends by itself took {took} s");
    k.until(uid, 30, |out| !out.is_empty() && out != before)?;
    k.until("get sts stateful-db --no-headers", 60, |out| {
        out.contains("3/3")
    })?;

    let names = "get pods -l app=replica-web --sort-by=.metadata.name -o name";
    let before = k.ok(names)?;
    let victim = before.lines().next().unwrap_or_default();
    let begun = Instant::now();
    k.ok(&format!("delete {victim}"))?;
    let took = begun.elapsed().as_secs();
    check!((9..=15).contains(&took), "10 s of grace took {took} s");
    let after = k.until(names, 30, |out| out.lines().count() == 3)?;
    check!(!after.contains(victim), "{after}");
    Ok(())
}

/// To nothing: from the highest number down, one after another.
fn to_nothing(k: &Kubectl) -> Outcome {
    k.ok("scale --replicas=0 sts/stateful-db")?;
    // What is left is always the lowest numbers, however fast one looks.
    let gaps = RefCell::new(Vec::new());
    let names = "get pods -l app=stateful-db -o jsonpath={.items[*].metadata.name}";
    k.until(names, 90, |out| {
        let left = out.split_whitespace().count();
        let lowest: Vec<String> = (0..left).map(|n| format!("stateful-db-{n}")).collect();
        if out != lowest.join(" ") {
            gaps.borrow_mut().push(out.to_owned());
        }
        left == 0
    })?;
    let gaps = gaps.into_inner();
    check!(gaps.is_empty(), "{gaps:?}");
    let told = k.ok("get events --field-selector=reason=SuccessfulDelete,involvedObject.name=stateful-db -o jsonpath={.items[*].message}")?;
    for n in 0..3 {
        let wanted = format!("delete Pod stateful-db-{n} in StatefulSet stateful-db successful");
        check!(told.contains(&wanted), "{told}");
    }
    k.ok("delete rs replica-web --wait=false")?;
    Ok(())
}
