//! How containers live: restarts, resizes, hooks, signals; and the pod's share in it.

use super::scope::{Errors, Scope};
use crate::names;
use crate::resources::{self, Amounts, Side};
use crate::status::FieldError;
use serde_json::Value;
use std::collections::BTreeSet;

const POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const MOST_RULES: usize = 20;
const MOST_CODES: usize = 255;
/// Signals with a name of their own; real-time ones are counted from both ends.
const SIGNALS: [&str; 35] = [
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGRTMIN",
];

/// One container of a pod's spec.
pub(super) fn container(spec: &Scope<'_>, container: &Scope<'_>, errors: &mut Errors) {
    restarts(container, errors);
    resizes(spec, container, errors);
    hooks(spec, container, errors);
    signal(spec, container, errors);
}

fn restarts(container: &Scope<'_>, errors: &mut Errors) {
    let policy = container.at("restartPolicy");
    if policy.present() {
        policy.one_of(&POLICIES, errors);
    }
    let rules = container.items("restartPolicyRules");
    if !rules.is_empty() && !policy.present() {
        errors.push(policy.required("must specify restartPolicy when restart rules are used"));
    }
    if rules.len() > MOST_RULES {
        let field = container.at("restartPolicyRules").path;
        errors.push(too_many(field, rules.len(), MOST_RULES));
    }
    for rule in rules {
        rule.at("action")
            .one_of(&["Restart", "RestartAllContainers"], errors);
        let codes = rule.at("exitCodes");
        if !codes.present() {
            errors.push(codes.required("must be specified"));
            continue;
        }
        codes.at("operator").one_of(&["In", "NotIn"], errors);
        let count = codes.items("values").len();
        if count > MOST_CODES {
            errors.push(too_many(codes.at("values").path, count, MOST_CODES));
        }
    }
}

fn too_many(field: String, count: usize, most: usize) -> FieldError {
    FieldError {
        field,
        reason: crate::status::CauseReason::FieldValueTooMany,
        detail: format!("Too many: {count}: must have at most {most} items"),
    }
}

fn resizes(spec: &Scope<'_>, container: &Scope<'_>, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for policy in container.items("resizePolicy") {
        let resource = policy.at("resourceName");
        if !seen.insert(resource.text()) {
            let value = Value::from(resource.text());
            errors.push(FieldError::duplicate(policy.path.clone(), &value));
        }
        resource.one_of(&["cpu", "memory"], errors);
        let restart = policy.at("restartPolicy");
        restart.one_of(&["NotRequired", "RestartContainer"], errors);
        let never = spec.at("restartPolicy").text() == "Never";
        if never && restart.text() == "RestartContainer" {
            let why = "must be 'NotRequired' when `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(policy.path.clone(), restart.value, why));
        }
    }
}

fn hooks(spec: &Scope<'_>, container: &Scope<'_>, errors: &mut Errors) {
    let grace = spec.at("terminationGracePeriodSeconds").integer();
    for hook in ["postStart", "preStop"] {
        let sleep = container.path(&["lifecycle", hook, "sleep"]);
        let seconds = sleep.at("seconds").integer().unwrap_or(0);
        if let Some(grace) =
            grace.filter(|grace| sleep.present() && !(0..=*grace).contains(&seconds))
        {
            let why = format!(
                "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            );
            errors.push(FieldError::invalid(
                sleep.path.clone(),
                &seconds.into(),
                why,
            ));
        }
    }
    let handlers = ["livenessProbe", "readinessProbe", "startupProbe"].map(|key| container.at(key));
    let hooks = ["postStart", "preStop"].map(|key| container.path(&["lifecycle", key]));
    for handler in handlers.iter().chain(&hooks) {
        for header in handler.at("httpGet").items("httpHeaders") {
            let name = header.at("name");
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if name.is_empty() || !name.text().chars().all(plain) {
                let why = "a valid HTTP header must consist of alphanumeric characters or '-' \
                           (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
                errors.push(name.invalid_text(why));
            }
        }
    }
}

fn signal(spec: &Scope<'_>, container: &Scope<'_>, errors: &mut Errors) {
    let signal = container.path(&["lifecycle", "stopSignal"]);
    if !signal.present() {
        return;
    }
    if spec.path(&["os", "name"]).is_empty() {
        let why = "may not be set for containers with empty `spec.os.name`";
        errors.push(signal.forbidden(why));
    }
    let name = signal.text();
    let counted = |prefix: &str, most: u8| {
        let rest = name.strip_prefix(prefix);
        rest.and_then(|n| n.parse::<u8>().ok())
            .is_some_and(|n| (1..=most).contains(&n))
    };
    let known = SIGNALS.contains(&name)
        || name == "SIGRTMAX"
        || counted("SIGRTMIN+", 15)
        || counted("SIGRTMAX-", 14);
    if !known {
        signal.one_of(&SIGNALS, errors);
    }
}

/// What the pod as a whole says about names and resources.
pub(super) fn pod(spec: &Scope<'_>, errors: &mut Errors) {
    let name = spec.at("hostnameOverride");
    if name.present() {
        name.name(names::is_dns_subdomain, errors);
        if name.text().len() > 64 {
            errors.push(name.invalid("must be no more than 64 characters"));
        }
        for key in ["setHostnameAsFQDN", "hostNetwork"] {
            if spec.at(key).value == &Value::Bool(true) {
                let why = format!("hostnameOverride may not be set together with {key}");
                errors.push(name.invalid(why));
            }
        }
    }
    whole(spec, errors);
}

/// Resources of the pod as a whole: enough for its containers together and for each of them.
pub(super) fn whole(spec: &Scope<'_>, errors: &mut Errors) {
    let whole = spec.at("resources");
    if whole.is_empty() {
        return;
    }
    super::container::resources(&whole, errors);
    for side in [Side::Requests, Side::Limits] {
        for (name, amount) in whole.at(side.key()).entries() {
            if !matches!(name, "cpu" | "memory") && !name.starts_with("hugepages-") {
                let supported = ["cpu", "hugepages-", "memory"];
                errors.push(FieldError::not_supported(
                    amount.path,
                    &name.into(),
                    &supported,
                ));
            }
        }
    }
    let requested = resources::declared(spec.value, Side::Requests);
    for (name, sum) in together(spec) {
        let field = whole.at("requests").at(&name);
        if let Some(own) = requested.get(&name).filter(|own| **own < sum) {
            let why =
                format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.push(FieldError::invalid(
                field.path,
                &own.to_string().into(),
                why,
            ));
        }
    }
    let most = resources::declared(spec.value, Side::Limits);
    for list in ["containers", "initContainers"] {
        for container in spec.items(list) {
            for (name, limit) in resources::declared(container.value, Side::Limits) {
                let Some(own) = most.get(&name).filter(|own| **own < limit) else {
                    continue;
                };
                let field = container.path(&["resources", "limits", &name]);
                let why = format!("must be less than or equal to pod limits of {own}");
                errors.push(FieldError::invalid(
                    field.path,
                    &limit.to_string().into(),
                    why,
                ));
            }
        }
    }
}

/// What main containers and sidecars request together.
fn together(spec: &Scope<'_>) -> Amounts {
    let mut sum = Amounts::new();
    let sidecars = spec.items("initContainers");
    let sidecars = sidecars
        .iter()
        .filter(|c| c.at("restartPolicy").text() == "Always");
    for container in spec.items("containers").iter().chain(sidecars) {
        resources::add(
            &mut sum,
            &resources::declared(container.value, Side::Requests),
        );
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn check(spec: &Value) -> String {
        let spec = Scope::root(spec);
        let mut errors = Errors::new();
        for one in spec.items("containers") {
            container(&spec, &one, &mut errors);
        }
        pod(&spec, &mut errors);
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        texts.join("|")
    }

    #[rstest]
    #[case::nothing(json!({}), "")]
    #[case::policy(json!({"restartPolicy": "Sometimes"}),
        "containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"")]
    #[case::rules_without_policy(
        json!({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]}),
        "containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used")]
    #[case::rule_without_codes(
        json!({"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]}),
        "containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified")]
    #[case::resize_twice(
        json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"},
            {"resourceName": "cpu", "restartPolicy": "NotRequired"}]}),
        "containers[0].resizePolicy[1]: Duplicate value: \"cpu\"")]
    #[case::resize_of_disk(
        json!({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]}),
        "containers[0].resizePolicy[0].resourceName: Unsupported value: \"disk\": supported values: \"cpu\", \"memory\"")]
    #[case::long_sleep(json!({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}),
        "containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)")]
    #[case::signal_without_os(json!({"lifecycle": {"stopSignal": "SIGUSR1"}}),
        "containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`")]
    #[case::header(json!({"livenessProbe": {"httpGet": {"httpHeaders": [{"name": "a b"}]}}}),
        "containers[0].livenessProbe.httpGet.httpHeaders[0].name: Invalid value: \"a b\": a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')")]
    fn containers(#[case] container: Value, #[case] want: &str) {
        let spec = json!({"terminationGracePeriodSeconds": 30, "containers": [container]});
        assert_eq!(check(&spec), want);
    }

    #[rstest]
    #[case::resize_by_restart(
        json!({"restartPolicy": "Never", "containers": [{"resizePolicy":
            [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}]}),
        "containers[0].resizePolicy[0]: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'")]
    #[case::real_time_signal(
        json!({"os": {"name": "linux"}, "containers": [{"lifecycle": {"stopSignal": "SIGRTMIN+3"}}]}), "")]
    #[case::too_little_for_all(
        json!({"resources": {"requests": {"cpu": "1"}}, "containers": [
            {"resources": {"requests": {"cpu": "600m"}}}, {"resources": {"requests": {"cpu": "600m"}}}]}),
        "resources.requests.cpu: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 1200m")]
    #[case::too_little_for_one(
        json!({"resources": {"limits": {"cpu": "1"}}, "containers": [{"resources": {"limits": {"cpu": "2"}}}]}),
        "containers[0].resources.limits.cpu: Invalid value: \"2\": must be less than or equal to pod limits of 1")]
    fn pods(#[case] spec: Value, #[case] want: &str) {
        assert_eq!(check(&spec), want);
    }
}
