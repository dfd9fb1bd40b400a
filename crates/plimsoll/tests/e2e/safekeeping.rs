//! Encryption at rest, key rotation, backup and restore.

use crate::Outcome;
use crate::check;
use crate::cluster::{Cluster, plimsoll};
use crate::ending::Ending;
use crate::kubectl::Kubectl;
use std::path::Path;

/// Parts that this has no need of.
const LEAN: [&str; 4] = ["--nodes", "0", "--without", "scheduler,proxy,dns,metrics"];

fn run(arguments: &[&str]) -> Result<String, libtest_mimic::Failed> {
    let output = plimsoll().args(arguments).ends()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    Err(format!("{arguments:?} failed: {said}{err}").into())
}

/// Whether any file of the store holds this text.
fn on_disk(dir: &Path, text: &str) -> Result<bool, std::io::Error> {
    for file in std::fs::read_dir(dir.join("store"))? {
        let bytes = std::fs::read(file?.path())?;
        if bytes.windows(text.len()).any(|w| w == text.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A Secret is unreadable on disk, survives a new key, a backup of the running cluster, and a
/// restore into another directory, whose API server is the same to its clients.
pub(crate) fn keeps(kubectl: &Kubectl) -> Outcome {
    let (first, second) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let text = |path: &Path| path.display().to_string();
    let (from, to) = (text(first.path()), text(second.path()));
    let file = text(&second.path().join("saved"));
    let cluster = Cluster::start_in(first.path(), &LEAN)?;
    let on = kubectl.on(&cluster.kubeconfig());
    on.ok("create secret generic safe --from-literal=word=hunter2")?;
    on.ok("create configmap open --from-literal=word=hunter3")?;
    // hunter2 in base64.
    check!(
        !on_disk(first.path(), "aHVudGVyMg==")?,
        "the Secret is readable"
    );
    check!(
        on_disk(first.path(), "hunter3")?,
        "the ConfigMap is not there"
    );
    let said = run(&["rotate-key", "--data-dir", &from])?;
    check!(said.contains("key 2"), "{said}");
    let said = run(&["backup", &file, "--data-dir", &from])?;
    check!(said.contains("objects at revision"), "{said}");
    run(&["down", "--data-dir", &from])?;
    drop(cluster);
    let said = run(&["rotate-key", "--data-dir", &from])?;
    check!(said.contains("key 3"), "{said}");
    run(&["restore", &file, "--data-dir", &to])?;
    let again = plimsoll()
        .args(["restore", &file, "--data-dir", &to])
        .ends()?;
    let why = String::from_utf8_lossy(&again.stderr).into_owned();
    check!(
        !again.status.success() && why.contains("--replace"),
        "{why}"
    );
    for dir in [first.path(), second.path()] {
        let cluster = Cluster::start_in(dir, &LEAN)?;
        let on = kubectl.on(&cluster.kubeconfig());
        let word = on.ok("get secret safe -o jsonpath={.data.word}")?;
        check!(word == "aHVudGVyMg==", "{word}");
        check!(!on_disk(dir, "aHVudGVyMg==")?, "the Secret is readable");
    }
    let authority = |dir: &Path| std::fs::read(dir.join("pki/ca.crt"));
    check!(
        authority(first.path())? == authority(second.path())?,
        "the restored cluster has another authority"
    );
    Ok(())
}
