//! Kill -9 in the middle of writing: whatever was acknowledged is there afterwards, and whole.
#![cfg(test)]

use plimsoll_apiserver::store::{Draft, Expect, Index, Key, ListQuery, Options, Store};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

const DIR: &str = "PLIMSOLL_CRASH_DIR";
const RESOURCE: &str = "things";
const WRITERS: u64 = 4;
const ROUNDS: usize = 10;

fn key(writer: u64, slot: u64) -> Key {
    let name = format!("{writer}-{slot}").into();
    Key {
        resource: RESOURCE.into(),
        namespace: "default".into(),
        name,
    }
}

/// An object that says how often its number must be repeated.
fn draft(key: Key, number: u64) -> Draft {
    let times = 1 + number % 97 * 60;
    let data = format!("{number},").repeat(usize::try_from(times).unwrap());
    Draft {
        key,
        uid: "u".into(),
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: format!("\"}},\"number\":{number},\"data\":\"{data}\"}}").into_bytes(),
        index: Index::default(),
    }
}

async fn write_forever(store: Store, writer: u64) {
    for number in 0_u64.. {
        let draft = draft(key(writer, number % 7), number);
        let held = store.get(&draft.key);
        let name = draft.key.name.to_string();
        let line = match held {
            Some(entry) if number % 5 == 4 => {
                let gone = store
                    .delete(draft, Expect::Revision(entry.revision))
                    .await
                    .unwrap();
                format!("gone {name} {}\n", gone.revision)
            }
            Some(entry) => {
                let put = store
                    .put(draft, Expect::Revision(entry.revision))
                    .await
                    .unwrap();
                format!("put {name} {}\n", put.revision)
            }
            None => {
                let put = store.put(draft, Expect::Absent).await.unwrap();
                format!("put {name} {}\n", put.revision)
            }
        };
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

/// Not a test of its own: what the child process runs.
#[test]
fn child_writes_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap();
    runtime.block_on(async {
        let store = Store::open(Options::durable(dir)).unwrap();
        let writers: Vec<_> = (0..WRITERS)
            .map(|w| tokio::spawn(write_forever(store.clone(), w)))
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

/// Runs the child until it has acknowledged `count` writes, kills it, and returns all it said.
fn acknowledged(dir: &Path, count: usize) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_writes_until_it_is_killed",
            "--nocapture",
            "--quiet",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ack = |line: &String| line.starts_with("put ") || line.starts_with("gone ");
    let mut said: Vec<String> = lines
        .by_ref()
        .map(Result::unwrap)
        .filter(is_ack)
        .take(count)
        .collect();
    child.kill().unwrap();
    child.wait().unwrap();
    // What was still in the pipe was acknowledged too, except a line that was cut short.
    said.extend(lines.map(Result::unwrap).filter(is_ack));
    said.truncate(said.len() - 1);
    said
}

/// The newest acknowledged revision of each object, and whether it was there then.
fn newest(said: &[String], known: &mut BTreeMap<String, (u64, bool)>) {
    for line in said {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, name, revision] = words[..] else {
            panic!("not an acknowledgement: {line}")
        };
        let revision: u64 = revision.parse().unwrap();
        let entry = known.entry(name.to_owned()).or_default();
        *entry = (*entry).max((revision, what == "put"));
    }
}

fn check(store: &Store, known: &BTreeMap<String, (u64, bool)>) {
    let query = ListQuery {
        resource: RESOURCE.into(),
        ..ListQuery::default()
    };
    let entries = store.list(&query).unwrap().entries;
    for (name, (revision, there)) in known {
        assert!(store.revision() >= *revision);
        let found = entries.iter().find(|e| *e.key.name == **name);
        // A later write may have become durable without its acknowledgement getting out.
        match (there, found) {
            (true, Some(entry)) => assert!(entry.revision >= *revision, "{name} went back"),
            (false, Some(entry)) => assert!(entry.revision > *revision, "{name} came back"),
            (true, None) => assert!(removed_after(store, name, *revision), "{name} is lost"),
            (false, None) => {}
        }
    }
    for entry in &entries {
        let object: serde_json::Value = serde_json::from_slice(&entry.json).unwrap();
        assert_eq!(
            object["metadata"]["resourceVersion"],
            entry.revision.to_string()
        );
        let number = object["number"].as_u64().unwrap();
        let whole = draft(entry.key.clone(), number);
        assert!(
            entry.json.ends_with(&whole.tail),
            "{:?} is not whole",
            entry.key
        );
    }
}

fn removed_after(store: &Store, name: &str, revision: u64) -> bool {
    // If the log was rotated since, the removal is not on record any more.
    let Ok(mut watch) = store.watch(RESOURCE, revision) else {
        return true;
    };
    std::iter::from_fn(|| watch.try_next().unwrap()).any(|e| *e.entry.key.name == *name)
}

#[test]
fn nothing_acknowledged_is_lost_by_kill_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut known = BTreeMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for round in 0..ROUNDS {
        let count = 40 + round * round * 11 % 230;
        newest(&acknowledged(dir.path(), count), &mut known);
        let store = Store::open(Options::durable(dir.path())).unwrap();
        check(&store, &known);
        runtime.block_on(store.close());
    }
    assert!(known.len() > 20, "too little was written to mean anything");
}
