//! Client and server over a real connection.

use super::*;
use crate::nodes::fleet::{GroupConfig, Machine, MachineError, Machines, Shape, provider_id};
use crate::nodes::local::Local;
use async_trait::async_trait;
use jiff::SignedDuration;
use plimsoll_api::nodegroup::{ErrorClass, InstanceState, NodeProvider, NodeRef, OptionOverrides};
use plimsoll_apiserver::pki::Pki;
use plimsoll_clock::Clock;
use rstest::rstest;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

#[derive(Debug)]
struct Anywhere;

#[async_trait]
impl Machines for Anywhere {
    async fn add(&self, _: &Machine) -> Result<(), MachineError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), MachineError> {
        Ok(())
    }
}

struct Served {
    address: String,
    local: Arc<Local>,
    _stop: oneshot::Sender<()>,
}

async fn served(tls: Option<Tls>) -> Served {
    let shape = Shape {
        price_per_hour: Some(0.25),
        cpu_milli: 2500,
        ..Shape::default()
    };
    let mut group = GroupConfig::new("workers", (1, 4), shape);
    group.options = OptionOverrides {
        scale_down_unneeded_time: Some(SignedDuration::from_secs(30)),
        zero_or_max_node_scaling: Some(true),
        ..OptionOverrides::default()
    };
    let slow = GroupConfig::new("slow", (0, 9), Shape::default());
    let slow = slow.with_boot(Duration::from_secs(3600));
    let local = Arc::new(Local::new([group, slow], Arc::new(Anywhere)));
    local.start(&[]).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let provider = Arc::clone(&local);
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(async move {
        let until = async { drop(stopped.await) };
        serve(provider, listener, tls, until).await.unwrap();
    });
    Served {
        address: format!("localhost:{port}"),
        local,
        _stop: stop,
    }
}

fn plain(served: &Served) -> Settings {
    let text = format!("address: {:?}\ngrpc_timeout: 20s", served.address);
    Settings::parse(&text).unwrap()
}

fn client(settings: &Settings) -> ExternalGrpc {
    let defaults = OptionOverrides {
        scale_down_utilization_threshold: Some(0.5),
        scale_down_unready_time: Some(SignedDuration::from_mins(20)),
        ..OptionOverrides::default()
    };
    ExternalGrpc::new(settings, defaults, Clock::system()).unwrap()
}

fn node(group: &str, name: &str) -> NodeRef {
    NodeRef {
        name: name.into(),
        provider_id: provider_id(group, name).into(),
        labels: vec![("a".into(), "b".into())],
        annotations: Vec::new(),
    }
}

#[tokio::test]
async fn groups_come_over_with_everything_that_is_known_of_them() {
    let served = served(None).await;
    let client = client(&plain(&served));
    let groups = client.groups().await.unwrap();
    let workers = groups.iter().find(|g| &*g.id == "workers").unwrap();
    assert_eq!((workers.min, workers.max, workers.target), (1, 4, 1));
    assert_eq!(&*workers.instances[0].id, "plimsoll://workers/workers-1");
    assert_eq!(workers.instances[0].state, Some(InstanceState::Running));
    assert_eq!(
        workers.options,
        OptionOverrides {
            scale_down_utilization_threshold: Some(0.5),
            scale_down_unneeded_time: Some(SignedDuration::from_secs(30)),
            scale_down_unready_time: Some(SignedDuration::from_mins(20)),
            zero_or_max_node_scaling: Some(true),
            ignore_daemonsets_utilization: Some(false),
            ..OptionOverrides::default()
        }
    );
    let ours = client.group_of(&node("workers", "workers-1")).await;
    assert_eq!(ours.unwrap().as_deref(), Some("workers"));
    let strange = NodeRef {
        provider_id: "".into(),
        ..node("x", "y")
    };
    assert_eq!(client.group_of(&strange).await, Ok(None));
}

#[tokio::test]
async fn a_template_keeps_its_resources_labels_and_price() {
    let served = served(None).await;
    let client = client(&plain(&served));
    let template = client.template("workers").await.unwrap().unwrap();
    assert_eq!(template.price_per_hour, Some(0.25));
    let text = |path: &str| template.node.pointer(path).unwrap().as_str().unwrap();
    assert_eq!(text("/status/allocatable/cpu"), "2500m");
    assert_eq!(text("/status/capacity/pods"), "110");
    assert_eq!(text("/metadata/labels/plimsoll.dev~1node-group"), "workers");
    let error = client.template("nobody").await.unwrap_err();
    assert_eq!(error.class, ErrorClass::NotFound);
}

#[tokio::test]
async fn sizes_change_and_bounds_hold() {
    let served = served(None).await;
    let client = client(&plain(&served));
    let target = async |id: &str| {
        let groups = client.groups().await.unwrap();
        groups.iter().find(|g| &*g.id == id).unwrap().target
    };
    client.increase("slow", 3).await.unwrap();
    assert_eq!(target("slow").await, 3);
    client.decrease_target("slow", 2).await.unwrap();
    assert_eq!(target("slow").await, 1);
    let error = client.increase("slow", 50).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Invalid);
    assert!(error.message.contains("its maximum is 9"), "{error}");
    let mine = [node("workers", "workers-1")];
    let error = client.delete("workers", &mine).await.unwrap_err();
    assert!(error.message.contains("its minimum is 1"), "{error}");
    client.increase("workers", 1).await.unwrap();
    client.delete("workers", &mine).await.unwrap();
    assert_eq!(target("workers").await, 1);
    let error = client.increase_atomically("workers", 1).await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unsupported);
    client.close().await;
}

#[tokio::test]
async fn an_answer_is_kept_until_something_is_written() {
    let served = served(None).await;
    let client = client(&plain(&served));
    let target = async |id: &str| {
        let groups = client.groups().await.unwrap();
        groups.iter().find(|g| &*g.id == id).unwrap().target
    };
    assert_eq!(target("workers").await, 1);
    served.local.increase("workers", 1).await.unwrap();
    assert_eq!(target("workers").await, 1);
    client.increase("workers", 1).await.unwrap();
    assert_eq!(target("workers").await, 3);
}

#[test]
fn a_time_below_zero_counts_as_unsaid() {
    let told = |seconds| wire::Options {
        unneeded: Some(wire::Span { seconds, nanos: 0 }),
        ..wire::Options::default()
    };
    let unneeded = |seconds| convert::options(&told(seconds)).scale_down_unneeded_time;
    assert_eq!(unneeded(-1), None);
    assert_eq!(unneeded(2), Some(SignedDuration::from_secs(2)));
}

#[tokio::test]
async fn certificates_are_asked_for_and_checked() {
    let pki = Pki::ephemeral(&[]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let (own, asker) = (pki.serving().unwrap(), pki.client("ca", &[]).unwrap());
    std::fs::write(path("ca.crt"), pki.ca()).unwrap();
    std::fs::write(path("tls.crt"), &asker.cert).unwrap();
    std::fs::write(path("tls.key"), &asker.key).unwrap();
    let tls = Tls {
        identity: (own.cert.into(), own.key.into()),
        clients: Some(pki.ca().into()),
    };
    let served = served(Some(tls)).await;
    let text = format!(
        "address: {:?}\ncert: {:?}\nkey: {:?}\ncacert: {:?}\n",
        served.address,
        path("tls.crt"),
        path("tls.key"),
        path("ca.crt")
    );
    let good = client(&Settings::parse(&text).unwrap());
    assert_eq!(good.groups().await.unwrap().len(), 2);
    let nobody = Settings {
        identity: None,
        ..Settings::parse(&text).unwrap()
    };
    let error = client(&nobody).groups().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreachable);
    let unprotected = client(&plain(&served)).groups().await.unwrap_err();
    assert_eq!(unprotected.class, ErrorClass::Unreachable);
}

#[tokio::test]
async fn a_plugin_that_is_not_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let settings = Settings::parse(&format!("address: \"{address}\"")).unwrap();
    let error = client(&settings).groups().await.unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreachable);
}

#[tokio::test]
async fn a_plugin_that_does_not_answer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let text = format!("address: \"{address}\"\ngrpc_timeout: 50ms");
    let error = client(&Settings::parse(&text).unwrap())
        .groups()
        .await
        .unwrap_err();
    assert_eq!(error.class, ErrorClass::Unreachable);
    assert_eq!(error.message, "Refresh: no answer within 50ms");
}

#[rstest]
#[case::no_address("key: a", "the cloud configuration has no address")]
#[case::half(
    "address: a\nkey: b",
    "the cloud configuration needs both cert and key, or neither"
)]
#[case::timeout(
    "address: a\ngrpc_timeout: soon",
    "grpc_timeout \"soon\" is no duration such as 5s"
)]
#[case::zero(
    "address: a\ngrpc_timeout: 0s",
    "grpc_timeout \"0s\" is no duration such as 5s"
)]
#[case::not_yaml("[", "the cloud configuration cannot be understood")]
fn a_file_that_makes_no_sense_is_refused(#[case] text: &str, #[case] says: &str) {
    assert_eq!(Settings::parse(text).unwrap_err().to_string(), says);
}
