//! Snapshots, rotation and what goes wrong with files, at sizes a test can afford.

use super::writer::Rotation;
use super::{Draft, Expect, Index, Key, ListQuery, Options, Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SMALL: Rotation = Rotation {
    least: 2_000,
    ratio: 1,
};

fn draft(name: &str, data: &str) -> Draft {
    let key = Key {
        resource: "things".into(),
        namespace: "default".into(),
        name: name.into(),
    };
    Draft {
        key,
        uid: format!("uid-{name}").into(),
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: format!("\"}},\"data\":\"{data}\"}}").into_bytes(),
        index: Index {
            owners: Box::new(["o".into()]),
            ..Index::default()
        },
    }
}

async fn overwrite(store: &Store, rounds: usize) {
    for round in 0..rounds {
        for name in ["a", "b", "c"] {
            let draft = draft(name, &format!("{round}"));
            let expect = store
                .get(&draft.key)
                .map_or(Expect::Absent, |entry| Expect::Revision(entry.revision));
            store.put(draft, expect).await.unwrap();
        }
    }
}

fn contents(store: &Store) -> Vec<String> {
    let query = ListQuery {
        resource: "things".into(),
        ..ListQuery::default()
    };
    let page = store.list(&query).unwrap();
    page.entries
        .iter()
        .map(|e| String::from_utf8(e.json.to_vec()).unwrap())
        .collect()
}

fn named(dir: &Path, prefix: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(prefix)
        })
        .collect();
    found.sort();
    found
}

fn reopen(dir: &Path) -> Result<Store, StoreError> {
    Store::open_with(Options::durable(dir), SMALL)
}

#[tokio::test]
async fn a_long_log_gives_way_to_a_snapshot_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    overwrite(&store, 100).await;
    let (before, revision) = (contents(&store), store.revision());
    store.close().await;
    assert_eq!(named(dir.path(), "snapshot-").len(), 1);
    let bytes: u64 = named(dir.path(), "log-")
        .iter()
        .map(|path| path.metadata().unwrap().len())
        .sum();
    assert!(
        bytes < 20_000,
        "{bytes} bytes of log for three small objects"
    );

    let store = reopen(dir.path()).unwrap();
    assert_eq!((contents(&store), store.revision()), (before, revision));
    assert_eq!(store.by_owner("o").len(), 3);
    overwrite(&store, 1).await;
    assert_eq!(store.revision(), revision + 3);
}

#[tokio::test]
async fn a_log_begun_but_never_used_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::durable(dir.path())).unwrap();
    overwrite(&store, 2).await;
    let before = contents(&store);
    store.close().await;
    std::fs::write(dir.path().join(format!("log-{:020}", 3)), b"plims").unwrap();
    let store = Store::open(Options::durable(dir.path())).unwrap();
    assert_eq!(contents(&store), before);
    overwrite(&store, 1).await;
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    overwrite(&store, 100).await;
    store.close().await;
    let snapshot = named(dir.path(), "snapshot-").remove(0);
    let bytes = std::fs::read(&snapshot).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        std::fs::write(&snapshot, bad).unwrap();
        let refused = reopen(dir.path()).unwrap_err();
        assert!(
            matches!(refused, StoreError::Damaged { .. }),
            "byte {at}: {refused}"
        );
    }
    std::fs::write(&snapshot, &bytes[..bytes.len() - 29]).unwrap();
    assert!(matches!(
        reopen(dir.path()),
        Err(StoreError::Damaged { .. })
    ));
}

#[tokio::test]
async fn a_second_opener_is_turned_away_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = reopen(dir.path()).unwrap();
    assert!(matches!(reopen(dir.path()), Err(StoreError::Locked(_))));
    let clone = first.clone();
    drop(first);
    assert!(matches!(reopen(dir.path()), Err(StoreError::Locked(_))));
    drop(clone);
    let second = reopen(dir.path()).unwrap();
    second.close().await;
    assert!(matches!(
        second.put(draft("a", ""), Expect::Absent).await,
        Err(StoreError::Closed)
    ));
    reopen(dir.path()).unwrap();
}

#[tokio::test]
async fn repeating_texts_are_stored_once_even_after_recovery() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).unwrap();
    overwrite(&store, 1).await;
    store.close().await;
    let store = reopen(dir.path()).unwrap();
    let query = ListQuery {
        resource: "things".into(),
        ..ListQuery::default()
    };
    let entries = store.list(&query).unwrap().entries;
    let [a, b, _] = &entries[..] else {
        panic!("three objects")
    };
    assert!(Arc::ptr_eq(&a.key.namespace, &b.key.namespace));
    assert!(Arc::ptr_eq(&a.index.owners[0], &b.index.owners[0]));
}
