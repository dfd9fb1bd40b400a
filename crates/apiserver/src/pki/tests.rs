//! Authorities on disk, certificates, and kubeconfigs.

use super::*;
use crate::auth::Identity;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;

fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes())
        .unwrap()
        .to_vec()
}

#[test]
fn a_client_certificate_names_its_user_and_every_group() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let client = pki.client("jane", &["system:masters", "dev"]).unwrap();
    let identity = Identity::from_certificate(&der(&client.cert)).unwrap();
    assert_eq!(identity.user, "jane");
    assert_eq!(
        identity.groups,
        ["system:masters", "dev", "system:authenticated"]
    );
    assert_eq!(Identity::from_certificate(b"nonsense"), None);
}

#[test]
fn what_was_made_once_is_loaded_again_and_kept_private() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::load_or_create(dir.path(), &[]).unwrap();
    let again = Pki::load_or_create(dir.path(), &["example.test".into()]).unwrap();
    assert_eq!(first.ca(), again.ca());
    assert_eq!(first.token_key().jwk(), again.token_key().jwk());
    for name in ["ca.key", "sa.key"] {
        let mode = dir
            .path()
            .join("pki")
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    again.server_config().unwrap();
}

#[test]
fn a_lost_or_foreign_key_is_refused_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    Pki::load_or_create(dir.path(), &[]).unwrap();
    let key = dir.path().join("pki/ca.key");
    std::fs::write(&key, "nonsense").unwrap();
    Pki::load_or_create(dir.path(), &[]).unwrap_err();
    std::fs::remove_file(&key).unwrap();
    let refused = Pki::load_or_create(dir.path(), &[]).unwrap_err();
    assert!(
        refused.to_string().contains("ca.key beside it is missing"),
        "{refused}"
    );
    assert!(!key.exists());
}

#[test]
fn the_serving_certificate_has_the_names_clients_use() {
    let pki = Pki::ephemeral(&["box.example.test".into(), "192.0.2.7".into()]).unwrap();
    let serving = der(&pki.serving().unwrap().cert);
    let (_, certificate) = x509_parser::parse_x509_certificate(&serving).unwrap();
    let names = certificate.subject_alternative_name().unwrap().unwrap();
    assert_eq!(names.value.general_names.len(), NAMES.len() + 2);
    Pki::ephemeral(&["not a näme".into()])
        .unwrap()
        .server_config()
        .unwrap_err();
}

const EXISTING: &str = r##"
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: work
  cluster: {server: "https://work.example.test", insecure-skip-tls-verify: true}
- name: plimsoll
  cluster: {server: "https://old"}
contexts: null
current-context: work
users:
- name: work
  user:
    token: "0123"
    password: "yes"
    username: "1e3"
    exec: {apiVersion: v1, command: aws, args: ["~", "null", "", " x ", "- a", "a: b", "#c", "2020-01-01", "0x1f", ".inf"], env: []}
    note: |
      two
        lines

"##;

#[test]
fn merging_replaces_one_context_and_keeps_everything_else() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let client = pki.client("admin", &["system:masters"]).unwrap();
    let context = Context {
        name: "plimsoll",
        server: "https://127.0.0.1:6443",
        ca: pki.ca(),
        client: &client,
    };
    let read = |text: &str| serde_saphyr::from_str::<Value>(text).unwrap();
    let (before, after) = (
        read(EXISTING),
        read(&merge_kubeconfig(EXISTING, &context).unwrap()),
    );
    assert_eq!(after["current-context"], "plimsoll");
    assert_eq!(after["preferences"], before["preferences"]);
    assert_eq!(after["users"][0], before["users"][0]);
    assert_eq!(after["clusters"][0], before["clusters"][0]);
    assert_eq!(
        after["clusters"][1]["cluster"]["server"],
        "https://127.0.0.1:6443"
    );
    assert_eq!(after["users"][1]["name"], "plimsoll");
    assert_eq!(after["contexts"][0]["context"]["user"], "plimsoll");
    let twice = merge_kubeconfig(&merge_kubeconfig(EXISTING, &context).unwrap(), &context);
    assert_eq!(read(&twice.unwrap()), after);
    assert_eq!(read(&kubeconfig(&context))["kind"], "Config");
    for bad in ["[]", "a: [", "clusters: 7", "text"] {
        merge_kubeconfig(bad, &context).unwrap_err();
    }
}
