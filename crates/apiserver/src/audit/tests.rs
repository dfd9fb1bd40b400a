//! Policies and rotation.

use super::log::Log;
use super::policy::{Level, Stage};
use super::*;
use crate::auth::{Attributes, Identity};
use rstest::rstest;

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, services]}]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*", "/version"]
- level: Request
  resources: [{group: "", resources: [configmaps], resourceNames: [one]}]
  namespaces: [kube-system]
- level: Metadata
  resources: [{group: "", resources: [secrets, "pods/*"]}]
- level: RequestResponse
  omitStages: [ResponseStarted]
  resources: [{group: apps}]
- level: Metadata
  namespaces: [""]
"#;

/// `verb group resource[/subresource] namespace name`, `-` for none; or `verb /path`.
fn asked(text: &str) -> Attributes<'_> {
    let mut parts = text
        .split(' ')
        .map(|part| if part == "-" { "" } else { part });
    let mut next = || parts.next().unwrap_or_default();
    let (verb, second) = (next(), next());
    if second.starts_with('/') {
        return Attributes {
            verb,
            path: second,
            ..Attributes::default()
        };
    }
    let full = next();
    let (resource, subresource) = full.split_once('/').unwrap_or((full, ""));
    Attributes {
        verb,
        group: second,
        resource,
        subresource,
        namespace: next(),
        name: next(),
        path: "",
    }
}

#[rstest]
#[case("system:kube-proxy", "watch - services default -", Level::None)]
#[case("system:kube-proxy", "watch - secrets default -", Level::Metadata)]
#[case("jane", "get /apis/apps", Level::None)]
#[case("jane", "get /healthz", Level::None)]
#[case("jane", "get - configmaps kube-system one", Level::Request)]
#[case("jane", "get - configmaps kube-system two", Level::None)]
#[case("jane", "get - configmaps default one", Level::None)]
#[case("jane", "create - pods/exec default p", Level::Metadata)]
#[case("jane", "create - pods default p", Level::None)]
#[case("jane", "create apps deployments default d", Level::RequestResponse)]
#[case("jane", "list - nodes - -", Level::Metadata)]
fn the_first_rule_that_fits_decides(#[case] user: &str, #[case] what: &str, #[case] level: Level) {
    let policy = Policy::parse(POLICY).unwrap();
    let who = Identity::new(user, &["system:authenticated"]);
    let verdict = policy.verdict(&who, &asked(what));
    assert_eq!(verdict.level, level);
    assert!(!verdict.logs(Stage::RequestReceived));
    assert_eq!(
        verdict.logs(Stage::ResponseStarted),
        level != Level::RequestResponse
    );
}

#[rstest]
#[case("a: [", "cannot be read")]
#[case("apiVersion: v1\nkind: Pod\n", "not Pod of v1")]
#[case("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n", "no rules")]
#[case(
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Loud}]\n",
    "cannot be read"
)]
#[case(
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  namespaces: [a]\n  \
        nonResourceURLs: [/b]\n",
    "rule 0"
)]
fn bad_policies_are_refused(#[case] text: &str, #[case] why: &str) {
    let error = Policy::parse(text).unwrap_err().to_string();
    assert!(error.contains(why), "{error}");
}

#[test]
fn a_log_is_rotated_by_size_and_keeps_a_few_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.log");
    let log = Log::open(&LogOptions {
        path: path.clone(),
        rotate_at: 10,
        keep: 2,
    })
    .unwrap();
    for line in ["one", "two", "three", "four", "five", "six"] {
        log.write(line.into());
    }
    log.close();
    log.write("after the end".into());
    let read = |suffix: &str| {
        let path = format!("{}{suffix}", path.display());
        std::fs::read_to_string(path).ok()
    };
    assert_eq!(read("").as_deref(), Some("six\n"));
    assert_eq!(read(".1").as_deref(), Some("four\nfive\n"));
    assert_eq!(read(".2").as_deref(), Some("three\n"));
    assert_eq!(read(".3"), None);
}
