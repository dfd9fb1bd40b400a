//! What a Kubernetes user expects of mistakes: the known error, and nothing changed.

use crate::cluster::Cluster;
use crate::ending::Ending;
use crate::kubectl::Kubectl;
use crate::{Outcome, check};
use std::process::Command;

/// A manifest, flags for `kubectl apply`, and what the error must say.
const REFUSED: &[(&str, &str, &[&str])] = &[
    (
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"y"}},"spec":{"containers":[{"name":"c","image":"pause"}]}}}}"#,
        "",
        &[
            "spec.template.metadata.labels: Invalid value",
            "`selector` does not match template `labels`",
        ],
    ),
    (
        r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"x"},"spec":{"replicas":-1,"selector":{"matchLabels":{"app":"x"}},"template":{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"pause"}]}}}}"#,
        "",
        &["spec.replicas: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"c","image":"pause","imagee":"typo"}]}}"#,
        "",
        &["strict decoding error: unknown field \"spec.containers[0].imagee\""],
    ),
    (
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"image":"pause"}]}}"#,
        "",
        &["spec.containers[0].name: Required value"],
    ),
    (
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"x"},"spec":{"containers":"none"}}"#,
        "--validate=ignore",
        &["containers"],
    ),
    (
        r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"A_9"},"spec":{"containers":[{"name":"c","image":"pause"}]}}"#,
        "",
        &["The Pod \"A_9\" is invalid", "lowercase RFC 1123 subdomain"],
    ),
];

pub(crate) fn all(kubectl: &Kubectl) -> Outcome {
    let cluster = Cluster::start(&["--runtime", "simulated"])?;
    let k = kubectl.on(&cluster.kubeconfig());
    for (manifest, flags, wanted) in REFUSED {
        let printed = k.feed(&format!("apply {flags} -f -"), manifest);
        check!(!printed.ok, "accepted: {manifest}");
        for text in *wanted {
            check!(
                printed.err.contains(text),
                "no {text:?} in:\n{}",
                printed.err
            );
        }
    }
    let left = k.ok("get deploy,pods -o name")?;
    check!(left.is_empty(), "something was stored: {left}");
    warned(&k)?;
    huge(&k)?;
    strangers(&cluster)
}

/// With warnings asked for, an unknown field is dropped and said.
fn warned(k: &Kubectl) -> Outcome {
    let manifest =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"warned"},"dataa":{"a":"b"}}"#;
    let printed = k.feed("apply --validate=warn -f -", manifest);
    check!(printed.ok, "{}", printed.err);
    check!(
        printed.err.contains("Warning: unknown field \"dataa\""),
        "{}",
        printed.err
    );
    let stored = k.ok("get configmap warned -o jsonpath={.dataa}")?;
    check!(stored.is_empty(), "the unknown field was stored: {stored}");
    Ok(())
}

fn huge(k: &Kubectl) -> Outcome {
    let manifest = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"huge"}},"data":{{"a":"{}"}}}}"#,
        "x".repeat(4 << 20)
    );
    let printed = k.feed("create -f -", &manifest);
    check!(
        !printed.ok && printed.err.contains("too large"),
        "{}",
        printed.err
    );
    check!(
        !k.run("get configmap huge").ok,
        "the huge object was stored"
    );
    Ok(())
}

/// A broken token and no token at all.
fn strangers(cluster: &Cluster) -> Outcome {
    let config = std::fs::read_to_string(cluster.kubeconfig())?;
    let server = config
        .lines()
        .find_map(|line| line.trim().strip_prefix("server:"))
        .map(|url| url.trim().trim_matches('"').to_owned())
        .unwrap_or_default();
    let ask = |header: &str| -> std::io::Result<String> {
        let url = format!("{server}/api/v1/pods");
        let out = Command::new("curl")
            .args(["-sk", "-H", header, &url])
            .ends()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let broken = ask("Authorization: Bearer broken.token.here")?;
    check!(
        broken.contains("Unauthorized") && broken.contains("401"),
        "{broken}"
    );
    let nobody = ask("X-Nothing: here")?;
    check!(
        nobody.contains("system:anonymous") && nobody.contains("403"),
        "{nobody}"
    );
    Ok(())
}
