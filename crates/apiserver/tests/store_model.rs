//! The store against a model that is obviously right.
#![cfg(test)]

use plimsoll_apiserver::store::{
    Change, Draft, Entry, Expect, Index, Key, ListQuery, Options, Store, StoreError,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

type Objects = BTreeMap<Key, (u64, String)>;

#[derive(Debug, Clone)]
enum Aim {
    Current,
    Stale,
    Absent,
}

#[derive(Debug, Clone)]
struct Op {
    change: Change,
    key: Key,
    data: String,
    aim: Aim,
}

fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let key = (0..2_u8, 0..3_u8, 0..4_u8).prop_map(|(r, n, o)| Key {
        resource: format!("resource-{r}").into(),
        namespace: if n == 0 {
            "".into()
        } else {
            format!("ns-{n}").into()
        },
        name: format!("name-{o}").into(),
    });
    let change = prop_oneof![3 => Just(Change::Put), 1 => Just(Change::Delete)];
    let aim = prop_oneof![8 => Just(Aim::Current), 1 => Just(Aim::Stale), 1 => Just(Aim::Absent)];
    let op = (change, key, "[a-z]{0,40}", aim).prop_map(|(change, key, data, aim)| Op {
        change,
        key,
        data,
        aim,
    });
    proptest::collection::vec(op, 1..most)
}

fn draft(key: &Key, data: &str) -> Draft {
    let index = Index {
        labels: Box::new([("app".into(), Arc::clone(&key.name))]),
        fields: Box::new(["node-1".into()]),
        owners: Box::new([format!("owner-{}", key.name).into()]),
        deleting: data.len() > 20,
    };
    Draft {
        key: key.clone(),
        uid: format!("uid-{data}").into(),
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: format!("\"}},\"data\":\"{data}\"}}").into_bytes(),
        index,
    }
}

fn json(revision: u64, data: &str) -> String {
    format!("{{\"metadata\":{{\"resourceVersion\":\"{revision}\"}},\"data\":\"{data}\"}}")
}

fn shown<'a>(entries: impl IntoIterator<Item = &'a Arc<Entry>>) -> Vec<(Key, String)> {
    let text = |e: &Entry| String::from_utf8(e.json.to_vec()).unwrap();
    entries
        .into_iter()
        .map(|e| (e.key.clone(), text(e)))
        .collect()
}

fn wanted(objects: &Objects, query: &ListQuery) -> Vec<(Key, String)> {
    objects
        .iter()
        .filter(|(key, _)| key.resource == query.resource)
        .filter(|(key, _)| query.namespace.as_ref().is_none_or(|n| *n == key.namespace))
        .map(|(key, (revision, data))| (key.clone(), json(*revision, data)))
        .collect()
}

/// Does the operations; returns the objects after every revision, beginning with the store's own.
async fn run(store: &Store, ops: &[Op], mut after_each: impl FnMut()) -> Vec<Objects> {
    let mut past = vec![Objects::new()];
    for op in ops {
        let mut now = past.last().unwrap().clone();
        let held = now.get(&op.key).map(|(revision, _)| *revision);
        let expect = match (&op.aim, held) {
            (Aim::Current, Some(revision)) => Expect::Revision(revision),
            (Aim::Current, None) | (Aim::Absent, _) => Expect::Absent,
            (Aim::Stale, revision) => Expect::Revision(revision.unwrap_or(7) - 1),
        };
        let draft = draft(&op.key, &op.data);
        let done = match op.change {
            Change::Put => store.put(draft, expect).await,
            Change::Delete => store.delete(draft, expect).await,
        };
        let allowed = match (expect, held) {
            (Expect::Absent, None) => op.change == Change::Put,
            (Expect::Revision(wanted), Some(revision)) => wanted == revision,
            (Expect::Absent, Some(_)) | (Expect::Revision(_), None) => false,
        };
        assert_eq!(done.is_ok(), allowed, "{op:?} on {held:?}: {done:?}");
        match done {
            Ok(entry) if op.change == Change::Put => {
                assert_eq!(entry.revision, past.len() as u64 + 1);
                now.insert(op.key.clone(), (entry.revision, op.data.clone()));
                past.push(now);
            }
            Ok(_) => {
                now.remove(&op.key);
                past.push(now);
            }
            Err(StoreError::Exists(entry) | StoreError::Conflict(entry)) => {
                assert_eq!(Some(entry.revision), held);
            }
            Err(error) => assert!(matches!(error, StoreError::Missing) && held.is_none()),
        }
        after_each();
    }
    past
}

fn queries() -> Vec<ListQuery> {
    let mut all = Vec::new();
    for resource in ["resource-0", "resource-1", "resource-2"] {
        for namespace in [None, Some("ns-1"), Some("ns-2"), Some("absent")] {
            let namespace = namespace.map(Arc::from);
            all.push(ListQuery {
                resource: resource.into(),
                namespace,
                ..ListQuery::default()
            });
        }
    }
    all
}

/// Every past revision lists as it was, whole and in pages, and replays to the present.
fn check_past(store: &Store, past: &[Objects]) {
    let now = past.last().unwrap();
    for (at, objects) in past.iter().enumerate() {
        let revision = at as u64 + 1;
        for mut query in queries() {
            query.revision = Some(revision);
            let want = wanted(objects, &query);
            let page = store.list(&query).unwrap();
            assert_eq!((page.revision, page.remaining), (revision, 0));
            assert_eq!(shown(&page.entries), want, "at revision {revision}");
            assert_eq!(
                in_pages(store, query),
                want,
                "in pages at revision {revision}"
            );
        }
        for resource in ["resource-0", "resource-1"] {
            replay(store, resource, revision, (objects, now));
        }
    }
}

fn in_pages(store: &Store, mut query: ListQuery) -> Vec<(Key, String)> {
    query.limit = 2;
    let mut found = Vec::new();
    loop {
        let page = store.list(&query).unwrap();
        found.extend(shown(&page.entries));
        let Some(last) = page.entries.last() else {
            return found;
        };
        query.after = Some((Arc::clone(&last.key.namespace), Arc::clone(&last.key.name)));
        assert_eq!(
            page.remaining > 0,
            !store.list(&query).unwrap().entries.is_empty()
        );
    }
}

fn replay(store: &Store, resource: &str, from: u64, (then, now): (&Objects, &Objects)) {
    let mut objects = then.clone();
    let mut watch = store.watch(resource, from).unwrap();
    let mut last = from;
    while let Some(event) = watch.try_next().unwrap() {
        let Entry { key, revision, .. } = &*event.entry;
        assert!(*revision > last && *key.resource == *resource);
        last = *revision;
        let before = objects.get(key).map(|(revision, _)| *revision);
        assert_eq!(event.previous.as_ref().map(|p| p.revision), before);
        let text = std::str::from_utf8(&event.entry.json).unwrap();
        let data = text.split('"').nth(9).unwrap().to_owned();
        match event.change {
            Change::Put => drop(objects.insert(key.clone(), (*revision, data))),
            Change::Delete => drop(objects.remove(key)),
        }
    }
    assert_eq!(watch.caught_up(), Some(store.revision()));
    let query = ListQuery {
        resource: resource.into(),
        ..ListQuery::default()
    };
    assert_eq!(wanted(&objects, &query), wanted(now, &query));
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

fn check_now(store: &Store, objects: &Objects) {
    for query in queries() {
        assert_eq!(
            shown(&store.list(&query).unwrap().entries),
            wanted(objects, &query)
        );
    }
    for name in 0..4 {
        let owner = format!("owner-name-{name}");
        let want: Vec<Key> = objects
            .keys()
            .filter(|k| *k.name == format!("name-{name}"))
            .cloned()
            .collect();
        assert_eq!(store.by_owner(&owner), want);
    }
    let stats = store.stats();
    let bytes: usize = objects.values().map(|(r, data)| json(*r, data).len()).sum();
    assert_eq!((stats.objects, stats.bytes), (objects.len(), bytes));
}

fn only_log(dir: &Path) -> std::path::PathBuf {
    dir.join(format!("log-{:020}", 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_write_list_and_watch_agrees_with_the_model(ops in ops(60)) {
        runtime().block_on(async {
            let store = Store::open(Options::ephemeral()).unwrap();
            let past = run(&store, &ops, || ()).await;
            check_now(&store, past.last().unwrap());
            check_past(&store, &past);
        });
    }

    #[test]
    fn a_short_history_is_right_or_refuses(ops in ops(60), most in 0..8_usize) {
        runtime().block_on(async {
            let options = Options { history_events: most, ..Options::ephemeral() };
            let store = Store::open(options).unwrap();
            let past = run(&store, &ops, || ()).await;
            prop_assert!(store.stats().events <= most);
            for (at, objects) in past.iter().enumerate() {
                let revision = Some(at as u64 + 1);
                let resource = "resource-0".into();
                let query = ListQuery { resource, revision, ..ListQuery::default() };
                match store.list(&query) {
                    Ok(page) => prop_assert_eq!(shown(&page.entries), wanted(objects, &query)),
                    Err(StoreError::Compacted { asked, oldest }) => {
                        prop_assert!(asked < oldest && at + most < past.len());
                        prop_assert!(store.watch("resource-0", asked).is_err());
                    }
                    Err(error) => prop_assert!(false, "{error}"),
                }
            }
            Ok(())
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn a_reopened_store_is_the_same_store(ops in ops(30)) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(Options::durable(dir.path())).unwrap();
            let past = run(&store, &ops, || ()).await;
            check_past(&store, &past);
            store.close().await;
            let store = Store::open(Options::durable(dir.path())).unwrap();
            prop_assert_eq!(store.revision(), past.len() as u64);
            check_now(&store, past.last().unwrap());
            check_past(&store, &past);
            Ok(())
        })?;
    }

    #[test]
    fn a_log_cut_anywhere_holds_every_write_acknowledged_before_the_cut(ops in ops(12)) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(Options::durable(dir.path())).unwrap();
            let length = || std::fs::metadata(only_log(dir.path())).unwrap().len();
            let mut ends = Vec::new();
            let past = run(&store, &ops, || ends.push((length(), store.revision()))).await;
            store.close().await;
            let log = std::fs::read(only_log(dir.path())).unwrap();
            for cut in (0..=log.len()).step_by(11) {
                let other = tempfile::tempdir().unwrap();
                std::fs::write(only_log(other.path()), &log[..cut]).unwrap();
                let store = Store::open(Options::durable(other.path())).unwrap();
                let acked = ends.iter().rfind(|(end, _)| *end <= cut as u64).map_or(1, |e| e.1);
                prop_assert_eq!(store.revision(), acked);
                check_now(&store, &past[usize::try_from(acked).unwrap() - 1]);
            }
            Ok(())
        })?;
    }

    #[test]
    fn damage_before_the_last_commit_is_refused(ops in ops(12)) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(Options::durable(dir.path())).unwrap();
            let length = || std::fs::metadata(only_log(dir.path())).unwrap().len();
            let mut ends = vec![length()];
            drop(run(&store, &ops, || ends.push(length())).await);
            store.close().await;
            ends.dedup();
            let log = std::fs::read(only_log(dir.path())).unwrap();
            let before_last = ends.iter().nth_back(1).copied().unwrap_or(0);
            for at in (0..log.len()).step_by(13) {
                let mut bad = log.clone();
                bad[at] ^= 0x01;
                let other = tempfile::tempdir().unwrap();
                std::fs::write(only_log(other.path()), bad).unwrap();
                let opened = Store::open(Options::durable(other.path()));
                let harmless = at as u64 >= before_last && at >= 16;
                prop_assert_eq!(opened.is_ok(), harmless, "byte {} of {}", at, log.len());
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn watchers_see_one_order_and_only_their_resource() {
    let store = Store::open(Options::ephemeral()).unwrap();
    let query = ListQuery {
        resource: "a".into(),
        ..ListQuery::default()
    };
    let (page, first) = store.list_and_watch(&query).unwrap();
    let second = store.watch("a", page.revision).unwrap();
    let collect = |mut watch: plimsoll_apiserver::store::Watch| async move {
        let mut seen = Vec::new();
        while seen.len() < 100 {
            seen.push(watch.next().await.unwrap().entry.revision);
        }
        seen
    };
    let (first, second) = (tokio::spawn(collect(first)), tokio::spawn(collect(second)));
    let writers = (0..100).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            for resource in ["a", "b"] {
                let key = Key {
                    resource: resource.into(),
                    namespace: "".into(),
                    name: n.to_string().into(),
                };
                store.put(draft(&key, "x"), Expect::Absent).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(first, second);
    assert!(first.is_sorted());
    store.progress().reached(201).await;
    assert_eq!(store.revision(), 201);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_falls_behind_is_told() {
    let options = Options {
        history_events: 10,
        ..Options::ephemeral()
    };
    let store = Store::open(options).unwrap();
    let mut watch = store.watch("a", 1).unwrap();
    for n in 0..11 {
        let key = Key {
            resource: "a".into(),
            namespace: "".into(),
            name: format!("{n}").into(),
        };
        store.put(draft(&key, "x"), Expect::Absent).await.unwrap();
    }
    assert!(matches!(watch.next().await, Err(StoreError::TooSlow)));
    assert_eq!(watch.caught_up(), None);
    assert!(matches!(
        store.watch("a", 1),
        Err(StoreError::Compacted {
            asked: 1,
            oldest: 2
        })
    ));
    assert!(matches!(
        store.watch("a", 99),
        Err(StoreError::Future {
            asked: 99,
            current: 12
        })
    ));
    let mut other = store.watch("a", 2).unwrap();
    assert_eq!(other.next().await.unwrap().entry.revision, 3);
}

#[tokio::test(start_paused = true)]
async fn many_are_removed_in_one_call() {
    let store = Store::open(Options::ephemeral()).unwrap();
    let key = |n: u32| Key {
        resource: "a".into(),
        namespace: "x".into(),
        name: format!("{n:05}").into(),
    };
    let mut doomed = Vec::new();
    for n in 0..2_500 {
        let entry = store
            .put(draft(&key(n), "x"), Expect::Absent)
            .await
            .unwrap();
        let expected = if n == 7 {
            entry.revision + 1
        } else {
            entry.revision
        };
        doomed.push((draft(&key(n), "gone"), Expect::Revision(expected)));
    }
    let outcomes = store.delete_many(doomed).await;
    assert_eq!(outcomes.len(), 2_500);
    let refused: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, o)| o.is_err())
        .map(|(n, _)| n)
        .collect();
    assert_eq!((refused, store.stats().objects), (vec![7], 1));
}
