//! Order and pauses of the queue, on paused time.

use super::Queue;
use proptest::prelude::*;
use std::time::Duration;
use tokio::time::{Instant, timeout};

const MS: Duration = Duration::from_millis(1);

async fn take(queue: &Queue<u32>) -> u32 {
    let key = queue.next().await;
    queue.done(&key);
    key
}

#[tokio::test(start_paused = true)]
async fn keys_come_in_due_order_and_ties_in_order_of_adding() {
    let queue = Queue::new();
    queue.add_after(1, MS * 20);
    queue.add(3);
    queue.add(2);
    queue.add_after(4, MS * 10);
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(take(&queue).await);
    }
    assert_eq!(got, [3, 2, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_queued_once_at_its_earliest_time() {
    let queue = Queue::new();
    let start = Instant::now();
    queue.add_after(1, MS * 50);
    queue.add_after(1, MS * 10);
    queue.add_after(1, MS * 30);
    assert_eq!(take(&queue).await, 1);
    assert_eq!(start.elapsed(), MS * 10);
    assert!(queue.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_in_work_is_not_handed_out_before_it_is_done() {
    let queue = Queue::new();
    queue.add(1);
    let key = queue.next().await;
    queue.add(1);
    assert!(timeout(MS * 100, queue.next()).await.is_err());
    queue.done(&key);
    assert_eq!(take(&queue).await, 1);
}

#[tokio::test(start_paused = true)]
async fn failures_double_the_delay_up_to_1000_seconds_until_forgotten() {
    let queue = Queue::new();
    let mut delays = Vec::new();
    for _ in 0..25 {
        let start = Instant::now();
        queue.add_rate_limited(7);
        take(&queue).await;
        delays.push(start.elapsed().as_millis());
    }
    assert_eq!(delays[..4], [5, 10, 20, 40]);
    assert_eq!(delays[24], 1_000_000);
    queue.forget(&7);
    let start = Instant::now();
    queue.add_rate_limited(7);
    take(&queue).await;
    assert_eq!(start.elapsed(), MS * 5);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_consumer_is_woken_by_an_earlier_key() {
    let queue = Queue::new();
    queue.add_after(1, MS * 1000);
    let other = queue.clone();
    let waiter = tokio::spawn(async move { take(&other).await });
    tokio::time::sleep(MS * 10).await;
    queue.add(2);
    assert_eq!(waiter.await.unwrap(), 2);
}

proptest! {
    #[test]
    fn every_key_comes_exactly_once_and_never_early(adds in prop::collection::vec((0_u32..20, 0_u64..50), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let queue = Queue::new();
            let start = Instant::now();
            let mut earliest = std::collections::BTreeMap::new();
            for (key, delay) in &adds {
                queue.add_after(*key, MS * u32::try_from(*delay).unwrap());
                let due = earliest.entry(*key).or_insert(*delay);
                *due = (*due).min(*delay);
            }
            let mut last = 0;
            while !queue.is_empty() {
                let key = take(&queue).await;
                let due = earliest.remove(&key).unwrap();
                assert!(start.elapsed().as_millis() >= u128::from(due));
                assert!(due >= last);
                last = due;
            }
            assert!(earliest.is_empty());
        });
    }
}
