//! Encryption at rest, older and newer formats, backups.

use super::{
    Backup, BackupError, Draft, Expect, Index, Key, ListQuery, Options, Sealing, Store, StoreError,
};
use std::path::Path;

const WORD: &str = "c2VjcmV0LXdvcmQ=";

fn draft(resource: &str, name: &str) -> Draft {
    let key = Key {
        resource: resource.into(),
        namespace: "default".into(),
        name: name.into(),
    };
    Draft {
        key,
        uid: format!("uid-{name}").into(),
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: format!("\"}},\"data\":\"{WORD}\"}}").into_bytes(),
        index: Index {
            labels: Box::new([("tier".into(), "hidden-label".into())]),
            ..Index::default()
        },
    }
}

fn sealed(dir: &Path) -> Options {
    Options {
        sealing: Some(Sealing::secrets(dir.join("keys.json"))),
        ..Options::durable(dir.join("store"))
    }
}

fn plain(dir: &Path) -> Options {
    Options::durable(dir.join("store"))
}

/// All bytes of the store's files.
fn on_disk(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir.join("store")).unwrap();
    let mut paths: Vec<_> = files.map(|f| f.unwrap().path()).collect();
    paths.sort();
    paths
        .iter()
        .flat_map(|path| std::fs::read(path).unwrap())
        .collect()
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w == text.as_bytes())
}

fn contents(store: &Store) -> Vec<String> {
    let list = |resource: &str| {
        let query = ListQuery {
            resource: resource.into(),
            ..ListQuery::default()
        };
        store.list(&query).unwrap().entries
    };
    let all = list("configmaps").into_iter().chain(list("secrets"));
    all.map(|e| String::from_utf8(e.json.to_vec()).unwrap())
        .collect()
}

async fn fill(options: Options, resources: &[&str]) -> Vec<String> {
    let store = Store::open(options).unwrap();
    for resource in resources {
        for name in ["a", "b"] {
            let draft = draft(resource, name);
            store.put(draft, Expect::Absent).await.unwrap();
        }
    }
    let contents = contents(&store);
    store.close().await;
    contents
}

#[tokio::test]
async fn secrets_are_unreadable_on_disk_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(sealed(dir.path()), &["secrets"]).await;
    let bytes = on_disk(dir.path());
    assert!(!holds(&bytes, WORD) && !holds(&bytes, "hidden-label"));
    let store = Store::open(sealed(dir.path())).unwrap();
    assert_eq!(contents(&store), before);
}

#[tokio::test]
async fn other_objects_stay_readable() {
    let dir = tempfile::tempdir().unwrap();
    fill(sealed(dir.path()), &["configmaps"]).await;
    assert!(holds(&on_disk(dir.path()), WORD));
}

#[tokio::test]
async fn without_the_key_the_store_does_not_open() {
    let dir = tempfile::tempdir().unwrap();
    fill(sealed(dir.path()), &["secrets"]).await;
    let error = Store::open(plain(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::Sealed(_)), "{error:?}");
    std::fs::remove_file(dir.path().join("keys.json")).unwrap();
    let error = Store::open(sealed(dir.path())).unwrap_err();
    assert!(matches!(error, StoreError::Sealed(_)), "{error:?}");
}

#[tokio::test]
async fn a_store_that_was_open_is_sealed_when_it_is_opened_with_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(plain(dir.path()), &["secrets", "configmaps"]).await;
    assert!(holds(&on_disk(dir.path()), "hidden-label"));
    let store = Store::open(sealed(dir.path())).unwrap();
    assert_eq!(contents(&store), before);
    store.close().await;
    let objects = on_disk(dir.path());
    let secrets = objects
        .windows(WORD.len())
        .filter(|w| *w == WORD.as_bytes());
    assert_eq!(secrets.count(), 2, "only the two config maps are readable");
}

#[tokio::test]
async fn a_rotated_key_is_the_only_one_left_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    fill(sealed(dir.path()), &["secrets", "configmaps"]).await;
    let keys = dir.path().join("keys.json");
    let first = std::fs::read_to_string(&keys).unwrap();
    let store = Store::open(sealed(dir.path())).unwrap();
    assert_eq!(store.rotate_key().await.unwrap(), Some(2));
    let later = draft("secrets", "c");
    store.put(later, Expect::Absent).await.unwrap();
    let before = contents(&store);
    store.close().await;
    let second = std::fs::read_to_string(&keys).unwrap();
    assert!(second.contains("\"id\": 2") && !second.contains("\"id\": 1"));
    let store = Store::open(sealed(dir.path())).unwrap();
    assert_eq!(contents(&store), before);
    store.close().await;
    std::fs::write(&keys, first).unwrap();
    assert!(
        Store::open(sealed(dir.path())).is_err(),
        "the old key opens nothing"
    );
}

/// Version 1 differs from version 2 without sealed objects in its header only.
fn make_version(dir: &Path, digit: u8) {
    for file in std::fs::read_dir(dir.join("store")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"plimsto") {
            bytes[7] = digit;
            std::fs::write(&path, bytes).unwrap();
        }
    }
}

#[tokio::test]
async fn an_older_format_is_brought_up_to_date() {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(plain(dir.path()), &["secrets", "configmaps"]).await;
    make_version(dir.path(), b'1');
    let store = Store::open(plain(dir.path())).unwrap();
    assert_eq!(contents(&store), before);
    let revision = store.revision();
    store
        .put(draft("secrets", "c"), Expect::Absent)
        .await
        .unwrap();
    store.close().await;
    assert!(!holds(&on_disk(dir.path()), "plimsto1"));
    let store = Store::open(plain(dir.path())).unwrap();
    assert_eq!(store.revision(), revision + 1);
    assert_eq!(store.stats().objects, 5);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fill(plain(dir.path()), &["configmaps"]).await;
    make_version(dir.path(), b'3');
    let before = on_disk(dir.path());
    let error = Store::open(plain(dir.path())).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { version: 3, .. }),
        "{error:?}"
    );
    assert_eq!(on_disk(dir.path()), before);
}

async fn backed_up(dir: &Path) -> (Vec<String>, u64, Vec<u8>) {
    fill(sealed(dir), &["secrets", "configmaps"]).await;
    let store = Store::open(sealed(dir)).unwrap();
    let mut file = Vec::new();
    let extra = [("pki/ca.crt".to_owned(), b"certificate".to_vec())];
    store.backup().write(&mut file, &extra).unwrap();
    (contents(&store), store.revision(), file)
}

#[tokio::test]
async fn a_backup_is_restored_under_the_new_directorys_key() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (before, revision, file) = backed_up(from.path()).await;
    let (head, extra) = Backup::restore(&file[..], &sealed(to.path()), 1_000).unwrap();
    assert_eq!((head.objects, head.revision), (4, revision));
    assert_eq!(extra, [("pki/ca.crt".to_owned(), b"certificate".to_vec())]);
    let store = Store::open(sealed(to.path())).unwrap();
    assert_eq!(contents(&store), before);
    assert_eq!(store.revision(), revision + 1_000);
    let entry = store
        .put(draft("secrets", "c"), Expect::Absent)
        .await
        .unwrap();
    assert_eq!(entry.revision, revision + 1_001);
}

#[tokio::test]
async fn a_backup_never_replaces_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let (before, _, file) = backed_up(dir.path()).await;
    let error = Backup::restore(&file[..], &sealed(dir.path()), 0).unwrap_err();
    assert!(matches!(error, BackupError::Occupied), "{error:?}");
    assert_eq!(contents(&Store::open(sealed(dir.path())).unwrap()), before);
}

#[tokio::test]
async fn a_damaged_backup_leaves_nothing_behind() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (_, _, file) = backed_up(from.path()).await;
    let mut cases = vec![Vec::new(), b"text".to_vec()];
    cases.extend((1..8).map(|part| file[..file.len() * part / 8].to_vec()));
    for at in (12..file.len()).step_by(37) {
        let mut changed = file.clone();
        changed[at] ^= 0x55;
        cases.push(changed);
    }
    for case in cases {
        // A flipped bit that gzip's own checksum does not see does not exist.
        Backup::restore(&case[..], &sealed(to.path()), 0).unwrap_err();
        let store = Store::open(sealed(to.path())).unwrap();
        assert_eq!(store.stats().objects, 0);
        store.close().await;
        std::fs::remove_dir_all(to.path().join("store")).unwrap();
    }
}
