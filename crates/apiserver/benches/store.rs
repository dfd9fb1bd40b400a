//! Speed of the store in memory and, for writes, on disk.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run should stop")]

use divan::Bencher;
use divan::counter::ItemsCount;
use plimsoll_apiserver::store::{Draft, Expect, Index, Key, ListQuery, Options, Store};
use std::sync::Arc;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

fn main() {
    divan::main();
}

/// A draft of about 3 kB, a pod's size.
fn draft(number: usize) -> Draft {
    let key = Key {
        resource: "pods".into(),
        namespace: "default".into(),
        name: format!("pod-{number:06}").into(),
    };
    Draft {
        key,
        uid: number.to_string().into(),
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: format!("\"}},\"data\":\"{}\"}}", "x".repeat(2_900)).into_bytes(),
        index: Index {
            labels: Box::new([("app".into(), "web".into())]),
            fields: Box::new([format!("node-{}", number % 100).into()]),
            owners: Box::new([format!("owner-{}", number % 500).into()]),
            deleting: false,
        },
    }
}

fn filled(runtime: &Runtime, objects: usize) -> Store {
    let store = Store::open(Options::ephemeral()).unwrap();
    runtime.block_on(async {
        for number in 0..objects {
            store.put(draft(number), Expect::Absent).await.unwrap();
        }
    });
    store
}

async fn create(store: &Store, numbers: std::ops::Range<usize>, clients: usize) {
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (store, numbers) = (store.clone(), numbers.clone());
        tasks.spawn(async move {
            for number in numbers.skip(client).step_by(clients) {
                store.put(draft(number), Expect::Absent).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
}

#[divan::bench(args = [1, 16], sample_count = 10)]
fn put_1000_in_memory(bencher: Bencher<'_, '_>, clients: usize) {
    let runtime = Runtime::new().unwrap();
    bencher
        .counter(ItemsCount::new(1_000_usize))
        .with_inputs(|| Store::open(Options::ephemeral()).unwrap())
        .bench_values(|store| runtime.block_on(create(&store, 0..1_000, clients)));
}

#[divan::bench(args = [1, 16, 64], sample_count = 5)]
fn put_1000_durable(bencher: Bencher<'_, '_>, clients: usize) {
    let runtime = Runtime::new().unwrap();
    bencher
        .counter(ItemsCount::new(1_000_usize))
        .with_inputs(|| {
            let dir = tempfile::tempdir().unwrap();
            (Store::open(Options::durable(dir.path())).unwrap(), dir)
        })
        .bench_values(|(store, dir)| {
            runtime.block_on(create(&store, 0..1_000, clients));
            (store, dir)
        });
}

#[divan::bench(args = [1_000, 10_000])]
fn get(bencher: Bencher<'_, '_>, objects: usize) {
    let store = filled(&Runtime::new().unwrap(), objects);
    let key = draft(objects / 2).key;
    bencher.bench(|| store.get(&key));
}

#[divan::bench(args = [500, 5_000])]
fn list(bencher: Bencher<'_, '_>, objects: usize) {
    let store = filled(&Runtime::new().unwrap(), objects);
    let query = ListQuery {
        resource: "pods".into(),
        ..ListQuery::default()
    };
    bencher
        .counter(ItemsCount::new(objects))
        .bench(|| store.list(&query).unwrap());
}

/// One write seen by every watcher.
#[divan::bench(args = [100, 1_000], sample_count = 20)]
fn fan_out(bencher: Bencher<'_, '_>, watchers: usize) {
    let runtime = Runtime::new().unwrap();
    let store = Store::open(Options::ephemeral()).unwrap();
    let seen = Arc::new(tokio::sync::Semaphore::new(0));
    for _ in 0..watchers {
        let (mut watch, seen) = (
            store.watch("pods", store.revision()).unwrap(),
            Arc::clone(&seen),
        );
        runtime.spawn(async move {
            while watch.next().await.is_ok() {
                seen.add_permits(1);
            }
        });
    }
    let mut number = 0;
    bencher.counter(ItemsCount::new(watchers)).bench_local(|| {
        number += 1;
        runtime.block_on(async {
            store.put(draft(number), Expect::Absent).await.unwrap();
            let all = u32::try_from(watchers).unwrap();
            seen.acquire_many(all).await.unwrap().forget();
        });
    });
}
