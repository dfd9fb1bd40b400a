//! Elections against the in-process API server, on paused time.

use crate::rig::Rig;
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams};
use kube::client::Body;
use kube::{Client, Error};
use parking_lot::Mutex;
use plimsoll_apiserver::auth::Identity;
use plimsoll_clock::Clock;
use plimsoll_controllers::runtime::election::{Elector, Lost, Settings, Timing};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;

/// How a candidate reaches the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up,
    /// Requests fail at once.
    Refused,
    /// Requests are never answered, but they arrive.
    Swallowed,
}

#[derive(Clone)]
struct Wire(Arc<Mutex<Link>>);

impl Wire {
    fn set(&self, link: Link) {
        *self.0.lock() = link;
    }
}

/// A client whose line can be cut.
fn wired(rig: &Rig) -> (Client, Wire) {
    let wire = Wire(Arc::new(Mutex::new(Link::Up)));
    let inner = rig.server.service(Identity::in_process("test"));
    let seen = wire.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (inner, link) = (inner.clone(), *seen.0.lock());
        async move {
            if link == Link::Refused {
                return Err(std::io::Error::other("connection refused").into());
            }
            let answer = inner.oneshot(request).await;
            if link == Link::Swallowed {
                std::future::pending::<()>().await;
            }
            answer.map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        }
    });
    (Client::new(service, "default"), wire)
}

fn candidate(rig: &Rig, client: Client, name: &str, clock: Clock) -> Elector {
    let settings = Settings {
        namespace: "default".into(),
        name: "lead".into(),
        identity: name.into(),
        timing: Timing::default(),
    };
    let seed = name.bytes().map(u64::from).sum();
    Elector::new(client, clock, rig.context.recorder.clone(), settings, seed)
}

fn leases(rig: &Rig) -> Api<Lease> {
    Api::namespaced(rig.client.clone(), "default")
}

#[tokio::test(start_paused = true)]
async fn hand_over_takes_less_than_a_second_and_is_told() {
    let rig = Rig::start().await;
    let mut first = candidate(&rig, rig.client.clone(), "a", rig.clock);
    first.acquire().await;
    assert!(first.leads());
    let second = candidate(&rig, rig.client.clone(), "b", rig.clock);
    let taking = tokio::spawn(async move {
        let mut second = second;
        second.acquire().await;
        Instant::now()
    });
    tokio::select! {
        biased;
        lost = first.hold() => panic!("{lost}"),
        () = sleep(Duration::from_secs(60)) => {}
    }
    assert!(!taking.is_finished());
    first.release().await.unwrap();
    let released = Instant::now();
    let taken = timeout(Duration::from_secs(30), taking)
        .await
        .unwrap()
        .unwrap();
    assert!(
        taken - released < Duration::from_secs(1),
        "{:?}",
        taken - released
    );
    let spec = leases(&rig).get("lead").await.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("b"));
    assert_eq!(spec.lease_transitions, Some(1));
    rig.until("events", async || {
        rig.events("LeaderElection").await.len() == 3
    })
    .await;
    assert_eq!(
        rig.events("LeaderElection").await,
        ["a became leader", "a stopped leading", "b became leader"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_before_another_begins() {
    for link in [Link::Refused, Link::Swallowed] {
        let rig = Rig::start().await;
        let (client, wire) = wired(&rig);
        let mut first = candidate(&rig, client, "a", rig.clock);
        let mut second = candidate(&rig, rig.client.clone(), "b", rig.clock);
        first.acquire().await;
        let begun = Instant::now();
        let (stopped, started) = tokio::join!(
            async {
                tokio::select! {
                    biased;
                    lost = first.hold() => panic!("{lost}"),
                    () = sleep(Duration::from_secs(5)) => {}
                }
                wire.set(link);
                let lost = first.hold().await;
                assert!(matches!(lost, Lost::NotRenewed(_)), "{lost}");
                Instant::now()
            },
            async {
                second.acquire().await;
                Instant::now()
            }
        );
        assert!(stopped < started, "{link:?}");
        let (stopped, started) = (stopped - begun, started - begun);
        assert!(stopped <= Duration::from_secs(15), "{stopped:?}");
        assert!(started <= Duration::from_secs(30), "{started:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_deleted_takes_it_back() {
    let rig = Rig::start().await;
    let mut first = candidate(&rig, rig.client.clone(), "a", rig.clock);
    let mut second = candidate(&rig, rig.client.clone(), "b", rig.clock);
    first.acquire().await;
    // The second has to know the lease.
    let standing_by = timeout(Duration::from_secs(5), second.acquire());
    tokio::select! {
        biased;
        lost = first.hold() => panic!("{lost}"),
        taken = standing_by => assert!(taken.is_err()),
    }
    let api = leases(&rig);
    api.delete("lead", &DeleteParams::default()).await.unwrap();
    let both = timeout(Duration::from_secs(60), async {
        tokio::select! {
            lost = first.hold() => panic!("{lost}"),
            () = second.acquire() => panic!("two leaders"),
        }
    });
    assert!(both.await.is_err());
    assert!(first.leads());
}

/// Whoever acts. Two at once is what must never be.
#[derive(Debug, Default)]
struct Stage {
    actor: Option<usize>,
    terms: usize,
}

impl Stage {
    fn enter(&mut self, me: usize) {
        assert_eq!(self.actor, None, "c{me} begins while another acts");
        self.actor = Some(me);
        self.terms += 1;
    }
}

/// Candidates whose lines fail at random and whose clocks are years apart.
#[tokio::test(start_paused = true)]
async fn never_two_leaders_act_at_once() {
    let rig = Rig::start().await;
    let stage = Arc::new(Mutex::new(Stage::default()));
    let mut tasks = tokio::task::JoinSet::new();
    for me in 0..3_usize {
        let (client, wire) = wired(&rig);
        let epoch = Timestamp::from_second(i64::try_from(me).unwrap() * 400_000_000).unwrap();
        let mut elector = candidate(&rig, client, &format!("c{me}"), Clock::starting_at(epoch));
        let mut dice = StdRng::seed_from_u64(me as u64);
        tasks.spawn(async move {
            loop {
                let link = match dice.random_range(0..4) {
                    0 => Link::Refused,
                    1 => Link::Swallowed,
                    _ => Link::Up,
                };
                wire.set(link);
                sleep(Duration::from_millis(dice.random_range(100..40_000))).await;
            }
        });
        let stage = Arc::clone(&stage);
        tasks.spawn(async move {
            loop {
                elector.acquire().await;
                stage.lock().enter(me);
                elector.hold().await;
                assert_eq!(stage.lock().actor.take(), Some(me));
            }
        });
    }
    tokio::select! {
        Some(ended) = tasks.join_next() => ended.unwrap(),
        () = sleep(Duration::from_secs(4 * 3600)) => {}
    }
    let terms = stage.lock().terms;
    assert!(terms > 20, "only {terms} terms: the test proves little");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_dropped_is_given_back_by_a_release() {
    let rig = Rig::start().await;
    let (client, wire) = wired(&rig);
    let mut first = candidate(&rig, client, "a", rig.clock);
    wire.set(Link::Swallowed);
    assert!(
        timeout(Duration::from_secs(3), first.acquire())
            .await
            .is_err()
    );
    wire.set(Link::Up);
    // The swallowed attempt may have made the lease; a candidate that leaves must not keep it.
    first.release().await.unwrap();
    let holder = match leases(&rig).get("lead").await {
        Ok(lease) => lease.spec.unwrap().holder_identity.unwrap_or_default(),
        Err(Error::Api(status)) if status.code == 404 => String::new(),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(holder, "");
}

#[tokio::test(start_paused = true)]
async fn giving_back_does_not_wait_for_a_server_that_does_not_answer() {
    let rig = Rig::start().await;
    let (client, wire) = wired(&rig);
    let mut leader = candidate(&rig, client, "a", rig.clock);
    leader.acquire().await;
    wire.set(Link::Swallowed);
    let begun = Instant::now();
    timeout(Duration::from_secs(60), leader.release())
        .await
        .expect("it ends")
        .unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(2));
    assert!(!leader.leads());
}
