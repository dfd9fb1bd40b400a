//! The checks of the cluster itself: pure, from facts to findings.

use super::facts::{ApiService, Facts};
use super::finding::Finding;
use super::scalers;
use crate::run::builtin::{CHOICES, Verdict};
use std::collections::BTreeSet;

/// The first version whose rules know `quantity()`, which the definition of PodAutoscaler uses.
const OLDEST: (u32, u32) = (1, 29);
/// Older ones are not tried out.
const OLDEST_TRIED: (u32, u32) = (1, 30);
/// Clocks further apart than this make tokens and certificates fail.
const SKEW_FAILS: u64 = 300;
/// Clocks further apart than this make ages of samples wrong.
const SKEW_WARNS: u64 = 5;
/// Names of one kind that are told; the others are counted.
const TOLD: usize = 5;

/// All findings, in the order in which they matter.
pub(super) fn all(facts: &Facts, namespace: &str) -> Vec<Finding> {
    let mut findings = vec![version(facts), skew(facts), aggregation(facts)];
    findings.push(rights(facts));
    findings.extend(metrics_apis(facts, namespace));
    findings.push(builtin(facts));
    findings.extend(others(facts));
    findings.push(kubelets(facts));
    findings.push(home(facts, namespace));
    findings.extend(scalers::all(facts));
    findings
}

/// Some names, and how many more there are.
pub(super) fn some(names: &[String]) -> String {
    let mut text = names
        .iter()
        .take(TOLD)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if let Some(more) = names.len().checked_sub(TOLD).filter(|more| *more > 0) {
        text = format!("{text} and {more} more");
    }
    text
}

fn version(facts: &Facts) -> Finding {
    const CHECK: &str = "version";
    let (major, minor, whole) = match &facts.version {
        Ok(version) => version,
        Err(why) => return Finding::fail(CHECK, why, "check the kubeconfig and the network"),
    };
    if (*major, *minor) < OLDEST {
        let advice = "upgrade the cluster: the definition of PodAutoscaler needs Kubernetes 1.29";
        return Finding::fail(CHECK, format!("{whole} is too old"), advice);
    }
    let v2 = facts.groups.get("autoscaling");
    if v2.is_some_and(|versions| !versions.iter().any(|version| version == "v2")) {
        let advice = "switch autoscaling/v2 on (--runtime-config of the API server)";
        return Finding::fail(
            CHECK,
            format!("{whole} does not serve autoscaling/v2"),
            advice,
        );
    }
    if (*major, *minor) < OLDEST_TRIED {
        let advice = "try it out before you rely on it";
        return Finding::warn(
            CHECK,
            format!("{whole} is older than what is tested"),
            advice,
        );
    }
    Finding::ok(CHECK, format!("{whole} serves autoscaling/v2"))
}

fn skew(facts: &Facts) -> Finding {
    const CHECK: &str = "clock";
    let Some(skew) = facts.skew else {
        let text = "the server's answers carry no date";
        return Finding::warn(CHECK, text, "see that clocks are synchronized");
    };
    let seconds = skew.as_secs().unsigned_abs();
    let text = format!("the server's clock is {seconds} s from this machine's");
    let advice = "synchronize the clocks (NTP), or run this where Plimsoll will run";
    match seconds {
        SKEW_FAILS.. => Finding::fail(CHECK, text, advice),
        SKEW_WARNS.. => Finding::warn(CHECK, text, advice),
        _ => Finding::ok(CHECK, text),
    }
}

fn aggregation(facts: &Facts) -> Finding {
    const CHECK: &str = "aggregation";
    match &facts.aggregation {
        Ok(true) => Finding::ok(CHECK, "the API server vouches for users (request headers)"),
        Ok(false) => Finding::fail(
            CHECK,
            "the API server does not vouch for users",
            "start it with --requestheader-client-ca-file and --proxy-client-cert-file, or install \
             with --apis= to serve none",
        ),
        Err(why) => Finding::warn(
            CHECK,
            format!("cannot be checked: {why}"),
            "run this as an administrator",
        ),
    }
}

fn rights(facts: &Facts) -> Finding {
    const CHECK: &str = "rights";
    let missing = match &facts.missing_rights {
        Ok(missing) => missing,
        Err(why) => {
            let text = format!("cannot be checked: {why}");
            return Finding::warn(CHECK, text, "run this as an administrator");
        }
    };
    if missing.is_empty() {
        return Finding::ok(CHECK, "you may apply what `plimsoll install` prints");
    }
    let named = missing.iter().map(|right| {
        let (verb, resource, why) = (&right.verb, &right.resource, right.rule.why);
        format!("{verb} {resource} ({why})")
    });
    let named: Vec<String> = named.collect();
    Finding::fail(
        CHECK,
        format!("you may not {}", some(&named)),
        "let an administrator apply it, or restrict it with --watch-namespace",
    )
}

/// The APIs an autoscaler's metrics come from, with what stands in for their server.
const METRICS: [(&str, &str, &str); 3] = [
    ("v1beta1.metrics.k8s.io", "metrics", "a metrics-server"),
    ("v1beta1.custom.metrics.k8s.io", "custom", "an adapter"),
    ("v1beta1.external.metrics.k8s.io", "external", "an adapter"),
];

fn metrics_apis(facts: &Facts, namespace: &str) -> Vec<Finding> {
    const CHECK: &str = "metrics";
    let services = match &facts.api_services {
        Ok(services) => services,
        Err(why) => {
            let text = format!("cannot be checked: {why}");
            return vec![Finding::warn(CHECK, text, "run this as an administrator")];
        }
    };
    let ours = format!("{namespace}/plimsoll");
    let findings = METRICS.map(|(name, api, incumbent)| match services.get(name) {
        None => Finding::ok(CHECK, format!("{name} is free; --apis={api} serves it")),
        Some(found) => metrics_api(name, found, (&ours, incumbent)),
    });
    findings.into()
}

fn metrics_api(name: &str, found: &ApiService, (ours, incumbent): (&str, &str)) -> Finding {
    const CHECK: &str = "metrics";
    let by = found.service.as_deref().unwrap_or("the API server itself");
    match &found.available {
        Ok(()) if by == ours => Finding::ok(CHECK, format!("{name} is served by Plimsoll")),
        Ok(()) => Finding::warn(
            CHECK,
            format!("{name} is served by {by}"),
            format!(
                "leave it out of --apis to keep {incumbent}; applying an APIService takes it over"
            ),
        ),
        Err(why) => Finding::warn(
            CHECK,
            format!("{name} belongs to {by}, which does not answer: {why}"),
            "repair it, or delete the APIService: discovery waits for it",
        ),
    }
}

fn builtin(facts: &Facts) -> Finding {
    const CHECK: &str = "hpa";
    match &facts.builtin {
        Verdict::Absent(why) => Finding::ok(
            CHECK,
            format!("no other controller obeys autoscalers: {why}"),
        ),
        Verdict::Active(why) => Finding::warn(
            CHECK,
            format!("another controller obeys HorizontalPodAutoscalers: {why}"),
            CHOICES,
        ),
        Verdict::Unknown(why) => Finding::ok(
            CHECK,
            format!(
                "whether another controller obeys autoscalers cannot be seen ({why}); `plimsoll run` tries it out before it acts"
            ),
        ),
    }
}

/// Other autoscalers: their API group, a part of their Deployment's name, and how to live together.
const OTHERS: [(&str, &str, &str, &str); 5] = [
    (
        "KEDA",
        "keda.sh",
        "keda-operator",
        "its HorizontalPodAutoscalers (keda-hpa-*) are obeyed like others, its metrics are read",
    ),
    (
        "the vertical pod autoscaler",
        "autoscaling.k8s.io",
        "vpa-updater",
        "do not let it change the resource that an autoscaler's utilization is a share of",
    ),
    (
        "the cluster autoscaler",
        "",
        "cluster-autoscaler",
        "it adds nodes for pods that scaling out leaves pending",
    ),
    (
        "Karpenter",
        "karpenter.sh",
        "karpenter",
        "it adds nodes for pods that scaling out leaves pending",
    ),
    (
        "prometheus-adapter",
        "",
        "prometheus-adapter",
        "its metrics are read; leave custom and external out of --apis to keep it",
    ),
];

fn others(facts: &Facts) -> Vec<Finding> {
    const CHECK: &str = "others";
    let workloads = facts.workloads.as_deref().unwrap_or_default();
    let found = OTHERS.iter().filter_map(|(name, group, part, together)| {
        let runs = workloads.iter().find(|w| w.name.contains(part));
        let place = runs.map(|w| format!("{}/{}", w.namespace, w.name));
        let known = !group.is_empty() && facts.groups.contains_key(*group);
        let place = place.or_else(|| known.then(|| format!("API group {group}")))?;
        Some(Finding::ok(CHECK, format!("{name} ({place}): {together}")))
    });
    found.collect()
}

fn kubelets(facts: &Facts) -> Finding {
    const CHECK: &str = "kubelets";
    let nodes = match &facts.kubelets {
        Ok(nodes) => nodes,
        Err(why) => {
            let text = format!("cannot be checked: {why}");
            return Finding::warn(CHECK, text, "run this as an administrator");
        }
    };
    let silent = nodes.iter().filter_map(|(name, reached)| {
        let why = reached.as_ref().err()?;
        Some(format!("{name} ({why})"))
    });
    let silent: Vec<String> = silent.collect();
    if silent.is_empty() {
        let count = nodes.len();
        return Finding::ok(CHECK, format!("{count} answer through the API server"));
    }
    Finding::warn(
        CHECK,
        format!("do not answer through the API server: {}", some(&silent)),
        "pods there have no metrics until their kubelet answers; see the node's conditions",
    )
}

fn home(facts: &Facts, namespace: &str) -> Finding {
    const CHECK: &str = "namespace";
    match &facts.namespace {
        Err(why) => Finding::warn(
            CHECK,
            format!("{namespace} cannot be read: {why}"),
            "run this as an administrator",
        ),
        Ok(None) => Finding::ok(CHECK, format!("{namespace} will be made")),
        Ok(Some(labels)) => {
            let label = "pod-security.kubernetes.io/enforce";
            let level = labels.get(label).map_or("privileged", String::as_str);
            let text = format!("{namespace} allows pods up to {level}; Plimsoll's are restricted");
            Finding::ok(CHECK, text)
        }
    }
}

/// The distinct names, sorted.
pub(super) fn distinct(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let names: BTreeSet<String> = names.into_iter().collect();
    names.into_iter().collect()
}
