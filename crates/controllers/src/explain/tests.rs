//! Which autoscaler answers what.

use super::*;
use crate::nodes::Look;
use jiff::Timestamp;
use plimsoll_engine::cluster::{GroupFacts, GroupOptions, NodeVerdict, ShrinkPlan};
use rstest::rstest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

fn look(second: i64, nodes: &[&str]) -> Look {
    let now = Timestamp::from_second(second).unwrap();
    let unneeded = NodeVerdict::Unneeded {
        since: now,
        waiting: None,
    };
    let nodes = nodes
        .iter()
        .map(|name| (Arc::from(*name), unneeded.clone()));
    let plan = ShrinkPlan {
        nodes: nodes.collect(),
        ..ShrinkPlan::default()
    };
    let group = GroupFacts {
        id: "ng1".into(),
        min: 1,
        max: 4,
        target: 2,
        exists: true,
        options: GroupOptions::default(),
        template: None,
    };
    Look {
        now,
        groups: Arc::from([group]),
        standing: BTreeMap::new(),
        growth: None,
        shrink: Some(Arc::new(plan)),
        members: BTreeMap::new(),
    }
}

fn request(resource: &str, name: Option<&str>) -> LocalRequest {
    LocalRequest {
        resource: resource.into(),
        name: name.map(str::to_owned),
        ..LocalRequest::default()
    }
}

#[rstest]
#[case::node("involvedObject.kind=Node", Teller::Nodes)]
#[case::group("involvedObject.name=x,involvedObject.kind=NodeGroup", Teller::Nodes)]
#[case::scaler("involvedObject.kind=HorizontalPodAutoscaler", Teller::Scalers)]
#[case::all("involvedObject.name=x", Teller::Both)]
#[case::not_one("involvedObject.kind!=Node", Teller::Both)]
fn the_kind_says_who_tells(#[case] fields: &str, #[case] want: Teller) {
    assert_eq!(teller(&FieldSelector::parse(fields).unwrap()), want);
}

#[tokio::test(start_paused = true)]
async fn nodes_and_groups_are_served_beside_the_scalers() {
    let api = ExplainApi::default();
    api.nodes.tell(look(10, &["n1"]));
    let names: Vec<&str> = api.resources().iter().map(|r| r.plural).collect();
    let all = [
        "horizontalpodautoscalers",
        "podautoscalers",
        "decisions",
        "nodes",
        "nodegroups",
        "pods",
    ];
    assert_eq!(names, all);
    let node = api.read(request("nodes", Some("n1"))).await.unwrap();
    assert_eq!(node["summary"], "it goes now: nobody has needed it for 0s");
    let absent = api.read(request("nodes", Some("n2"))).await;
    assert_eq!(absent.unwrap_err().code, 404);
    let scalers = api.read(request("horizontalpodautoscalers", None)).await;
    assert_eq!(scalers.unwrap()["items"], serde_json::json!([]));
    let decisions = api.read(request("decisions", None)).await.unwrap();
    let about: Vec<&str> = decisions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|decision| decision["involvedObject"]["kind"].as_str().unwrap())
        .collect();
    assert_eq!(about, ["Node", "NodeGroup"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_of_all_decisions_waits_for_either() {
    let api = ExplainApi::default();
    let mut asked = request("decisions", None);
    asked.parameters = vec![("timeoutSeconds".into(), "30".into())];
    let began = tokio::time::Instant::now();
    let told = api.clone();
    let later = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        told.nodes.tell(look(5, &["n1"]));
    };
    let (list, ()) = tokio::join!(api.read(asked), later);
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(list.unwrap()["items"].as_array().unwrap().len(), 2);
}
