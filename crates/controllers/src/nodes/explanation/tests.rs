//! What is told of nodes, groups and pods.

use super::*;
use jiff::SignedDuration;
use plimsoll_api::local::LocalRequest;
use plimsoll_engine::cluster::{
    DrainOptions, Expander, GroupOptions, GrowthOutcome, KeepReason, NoHelp, NodeTemplate,
    PodVerdict, Removal, RemovalCause, SkipReason, TemplateSource,
};
use plimsoll_engine::placement::{
    LabelSelector, NodeFacts, Operator, PodKey, Refusal, Requirement, Resources,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn template() -> NodeTemplate {
    NodeTemplate {
        node: NodeFacts {
            name: "template-node-for-ng1".into(),
            allocatable: Resources::of(1930, 4 << 30),
            max_pods: 17,
            ..NodeFacts::default()
        },
        capacity: Resources::of(2000, 4 << 30),
        daemons: Vec::new(),
        source: TemplateSource::Remembered,
        price_per_hour: Some(0.0464),
        gpu: None,
    }
}

fn group(target: usize) -> GroupFacts {
    GroupFacts {
        id: "ng1".into(),
        min: 1,
        max: 4,
        target,
        exists: true,
        options: GroupOptions::default(),
        template: Some(Arc::new(template())),
    }
}

fn look(second: i64, verdicts: &[(&str, NodeVerdict)]) -> Look {
    let nodes = verdicts.iter().cloned();
    let nodes = nodes.map(|(name, verdict)| (Arc::from(name), verdict));
    Look {
        now: at(second),
        groups: Arc::from([group(2)]),
        standing: BTreeMap::new(),
        growth: None,
        shrink: Some(Arc::new(ShrinkPlan {
            nodes: nodes.collect(),
            ..ShrinkPlan::default()
        })),
        members: [("n1".into(), "ng1".into())].into(),
    }
}

fn grown(second: i64, verdict: GroupVerdict, pods: &[(&str, PodVerdict)]) -> Look {
    let pods = pods.iter().cloned();
    let pods = pods.map(|(name, verdict)| (PodKey::new("default", name), verdict));
    let plan = GrowthPlan {
        outcome: GrowthOutcome::Successful,
        groups: [("ng1".into(), verdict)].into(),
        pods: pods.collect(),
        trace: vec!["3 pods wait for a node".into()],
        ..GrowthPlan::default()
    };
    Look {
        growth: Some(Arc::new(plan)),
        shrink: None,
        ..look(second, &[])
    }
}

fn busy(utilization: f64) -> NodeVerdict {
    NodeVerdict::Kept(KeepReason::NotUnderutilized {
        utilization,
        threshold: 0.5,
        resource: "cpu".into(),
    })
}

fn unneeded(since: i64) -> NodeVerdict {
    let needed = SignedDuration::from_mins(10);
    NodeVerdict::Unneeded {
        since: at(since),
        waiting: Some(KeepReason::NotUnneededLongEnough {
            since: at(since),
            needed,
        }),
    }
}

async fn read(told: &Explanations, resource: &str, name: &str) -> Value {
    let request = LocalRequest {
        resource: resource.into(),
        name: Some(name.into()),
        namespace: Some("default".into()),
        ..LocalRequest::default()
    };
    told.read(request).await.unwrap()
}

async fn decisions(told: &Explanations, fields: &str, after: u64) -> Vec<(String, u64)> {
    let request = LocalRequest {
        resource: "decisions".into(),
        field_selector: fields.into(),
        parameters: vec![("after".into(), after.to_string())],
        ..LocalRequest::default()
    };
    let list = told.read(request).await.unwrap();
    let items = list["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let summary = item["summary"].as_str().unwrap().to_owned();
            (summary, item["passes"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn equal_looks_are_one_decision_whatever_the_numbers() {
    let told = Explanations::default();
    told.tell(look(10, &[("n1", busy(0.7))]));
    told.tell(look(20, &[("n1", busy(0.6))]));
    told.tell(look(30, &[("n1", unneeded(30))]));
    told.tell(look(40, &[("n1", unneeded(30))]));
    told.tell(look(50, &[]));
    let seen = decisions(&told, "involvedObject.kind=Node", 0).await;
    let want = [
        (
            "it stays: its pods request 60.0 % of its cpu, more than 50.0 %",
            2,
        ),
        (
            "it is not needed, and waits: it has been unneeded for 10s of 10m, 9m50s are left",
            2,
        ),
    ];
    assert_eq!(seen, want.map(|(text, count)| (text.to_owned(), count)));
    let groups = decisions(&told, "involvedObject.kind=NodeGroup", 0).await;
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!(groups[0].1, 5);
}

#[tokio::test]
async fn a_look_that_asked_for_one_half_keeps_the_other() {
    let told = Explanations::default();
    told.tell(look(10, &[("n1", unneeded(10))]));
    told.tell(grown(
        20,
        GroupVerdict::HelpsNobody,
        &[("web", PodVerdict::AwaitsEvaluation)],
    ));
    let node = read(&told, "nodes", "n1").await;
    assert_eq!(node["decision"]["reason"], "NotUnneededLongEnough");
    assert_eq!(node["group"], "ng1");
    assert_eq!(
        node["summary"],
        "it is not needed, and waits: it has been unneeded for 10s of 10m, 9m50s are left"
    );
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(
        group["summary"],
        "2 of 1 to 4 nodes; no pending pod fits one of its nodes"
    );
}

#[tokio::test]
async fn a_group_tells_sizes_template_and_its_last_growth() {
    let told = Explanations::default();
    let resize = Resize {
        group: "ng1".into(),
        from: 1,
        to: 2,
        max: 4,
    };
    let grew = GroupVerdict::Grown(resize.clone());
    told.tell(grown(
        10,
        grew.clone(),
        &[("web", PodVerdict::Triggered(["ng1".into()].into()))],
    ));
    told.resized(at(10), &resize, "pods wait", Err("no machines".into()));
    told.tell(grown(20, GroupVerdict::NotNeeded, &[]));
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(
        group["sentences"],
        serde_json::json!([
            "2 nodes are asked for, 1 to 4 allowed",
            "a new node has 1930m CPU, 4Gi of memory and room for 17 pods, 0.0464 $/h (as a node \
             of the group once had it)",
        ])
    );
    assert_eq!(group["decision"]["verdict"], "NotNeeded");
    assert_eq!(group["lastGrowth"]["verdict"], "Grown");
    assert_eq!(
        group["lastGrowth"]["trace"],
        serde_json::json!(["3 pods wait for a node"])
    );
    assert_eq!(group["changes"][0]["error"], "no machines");
    let node = &group["group"]["template"]["node"];
    assert_eq!(node["status"]["allocatable"]["memory"], "4Gi");
    let log = decisions(&told, "involvedObject.name=ng1", 0).await;
    assert_eq!(log[0].0, "grown: {ng1 1->2 (max: 4)}");
}

#[tokio::test]
async fn a_look_that_finds_room_does_not_hide_the_one_that_ordered() {
    let told = Explanations::default();
    let resize = Resize {
        group: "ng1".into(),
        from: 1,
        to: 2,
        max: 4,
    };
    let with = |mut look: Look, change: &dyn Fn(&mut GrowthPlan)| {
        let mut plan = GrowthPlan::clone(look.growth.as_ref().unwrap());
        change(&mut plan);
        look.growth = Some(Arc::new(plan));
        look
    };
    let web = |verdict| [("web", verdict)];
    let none = GroupVerdict::HelpsNobody;
    let hopeless = grown(5, none.clone(), &web(PodVerdict::AwaitsEvaluation));
    told.tell(with(hopeless, &|plan| {
        plan.outcome = GrowthOutcome::NoOptionsAvailable;
    }));
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(group["lastOrder"]["time"], "1970-01-01T00:00:05Z");
    let ordering = grown(
        10,
        GroupVerdict::Grown(resize.clone()),
        &web(PodVerdict::Triggered(["ng1".into()].into())),
    );
    told.tell(with(ordering, &|plan| {
        plan.resizes = vec![resize.clone()];
        plan.trace = vec!["one more is ordered".into()];
    }));
    let fits = || web(PodVerdict::Fits("upcoming-1".into()));
    let waiting = grown(20, GroupVerdict::NotNeeded, &fits());
    told.tell(with(waiting, &|plan| {
        plan.outcome = GrowthOutcome::NotNeeded;
    }));
    told.resized(at(21), &resize, "pods without a node", Ok(()));
    told.tell(with(grown(30, none, &fits()), &|plan| {
        plan.outcome = GrowthOutcome::NoOptionsAvailable;
    }));
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(group["lastGrowth"]["time"], "1970-01-01T00:00:30Z");
    let order = &group["lastOrder"];
    assert_eq!(order["time"], "1970-01-01T00:00:10Z");
    assert_eq!(order["summary"], "grown: {ng1 1->2 (max: 4)}");
    let steps = serde_json::json!(["one more is ordered"]);
    assert_eq!(group["changes"][0]["trace"], steps);
    // Ordered for another reason, it does not show those steps.
    let to_minimum = Resize {
        from: 0,
        to: 1,
        ..resize
    };
    told.resized(at(31), &to_minimum, "below the minimum", Ok(()));
    let group = read(&told, "nodegroups", "ng1").await;
    let changes = group["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 2);
    let other = changes.iter().find(|change| change["to"] == 1).unwrap();
    assert!(other["trace"].is_null(), "{other}");
}

#[tokio::test]
async fn every_growth_is_a_decision_of_its_own() {
    let told = Explanations::default();
    for second in [10, 20] {
        let resize = Resize {
            group: "ng1".into(),
            from: 1,
            to: 2,
            max: 4,
        };
        told.tell(grown(second, GroupVerdict::Grown(resize), &[]));
    }
    // The other half of a look brings no new growth.
    told.tell(look(30, &[]));
    let log = decisions(&told, "involvedObject.kind=NodeGroup", 0).await;
    let passes: Vec<u64> = log.iter().map(|(_, passes)| *passes).collect();
    assert_eq!(passes, [1, 2]);
}

#[tokio::test]
async fn a_pod_hears_what_each_group_lacks() {
    let told = Explanations::default();
    let refused = NoHelp::Refused {
        reasons: vec![Refusal::Insufficient("cpu".into())],
        shortage: "it asks for 2, a new node of ng1 has 1930m".into(),
    };
    let helpless = PodVerdict::Unschedulable(Arc::new(
        [
            ("ng1".into(), refused),
            ("ng2".into(), NoHelp::Skipped(SkipReason::MaxSize)),
        ]
        .into(),
    ));
    told.tell(grown(10, GroupVerdict::HelpsNobody, &[("web", helpless)]));
    let pod = read(&told, "pods", "web").await;
    assert_eq!(pod["summary"], "none of 2 node groups helps it");
    assert_eq!(pod["groups"][0]["reason"], "Insufficient cpu");
    assert_eq!(pod["groups"][1]["reason"], "max node group size reached");
}

#[tokio::test]
async fn a_node_that_goes_says_where_its_pods_would_fit() {
    let told = Explanations::default();
    let mut goes = look(
        700,
        &[(
            "n1",
            NodeVerdict::Unneeded {
                since: at(0),
                waiting: None,
            },
        )],
    );
    let mut plan = ShrinkPlan::clone(goes.shrink.as_ref().unwrap());
    plan.drain.push(Removal {
        node: "n1".into(),
        group: "ng1".into(),
        cause: RemovalCause::Underutilized,
        moves: vec![(PodKey::new("default", "web"), "n2".into())],
        daemon_pods: Vec::new(),
        utilization: 0.25,
        since: at(0),
        atomic: false,
    });
    goes.shrink = Some(Arc::new(plan));
    told.tell(goes);
    let node = read(&told, "nodes", "n1").await;
    assert_eq!(node["removal"]["moves"][0]["pod"], "default/web");
    assert_eq!(node["removal"]["moves"][0]["node"], "n2");
}

#[tokio::test]
async fn settings_are_told_with_each_group() {
    let told = Explanations::default();
    told.tell(look(10, &[]));
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(
        (&group["removal"], &group["growth"]),
        (&Value::Null, &Value::Null)
    );
    let removal = ShrinkOptions {
        unready_enabled: false,
        drain: DrainOptions {
            skip_system_pods: false,
            ..DrainOptions::default()
        },
        ..ShrinkOptions::default()
    };
    let growth = GrowthOptions {
        expanders: vec![
            Expander::Priority([("ng1".into(), 50)].into()),
            Expander::LeastNodes,
        ],
        max_nodes_total: Some(9),
        quotas: vec![Quota {
            id: "CapacityQuota/q".into(),
            selector: LabelSelector {
                requirements: vec![Requirement {
                    key: "spot".into(),
                    operator: Operator::DoesNotExist,
                    values: Vec::new(),
                }],
            },
            limits: [("cpu".to_owned(), 4000)].into(),
        }],
        ..GrowthOptions::default()
    };
    let taints = TaintRules::default();
    told.configure(&removal, &growth, (&taints, "example.com/gpu"));
    let group = read(&told, "nodegroups", "ng1").await;
    assert_eq!(group["removal"]["skipNodesWithSystemPods"], false);
    assert_eq!(group["removal"]["scaleDownUnreadyEnabled"], false);
    assert_eq!(group["readiness"]["gpuLabel"], "example.com/gpu");
    assert_eq!(
        group["growth"]["expander"],
        serde_json::json!(["priority", "least-nodes"])
    );
    assert_eq!(group["growth"]["priorities"]["ng1"], 50);
    assert_eq!(group["growth"]["maxNodesTotal"], 9);
    let quota = &group["growth"]["quotas"][0];
    assert_eq!(quota["limits"]["cpu"], 4000);
    assert_eq!(quota["requirements"][0]["operator"], "DoesNotExist");
}

#[tokio::test]
async fn quotas_are_told_with_the_groups_they_concern() {
    let told = Explanations::default();
    let mut labelled = template();
    labelled.node.labels.insert("team".into(), "a".into());
    let mut look = look(10, &[]);
    let mut concerned = group(2);
    concerned.template = Some(Arc::new(labelled));
    look.groups = Arc::from([concerned]);
    told.tell(look);
    let quota = |name: &str, team: &str| Quota {
        id: format!("CapacityQuota/{name}"),
        selector: LabelSelector {
            requirements: vec![Requirement::equals("team", team)],
        },
        limits: [("cpu".to_owned(), 4500), ("nodes".to_owned(), 3)].into(),
    };
    let used: BTreeMap<String, i64> = [("cpu".to_owned(), 4000)].into();
    let quotas = [quota("a", "a"), quota("b", "b")];
    told.quotas(quotas.map(|quota| (quota, used.clone())).to_vec());
    let group = read(&told, "nodegroups", "ng1").await;
    let sentences: Vec<&str> = group["sentences"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|line| {
            line.as_str()?
                .starts_with("CapacityQuota")
                .then_some(line.as_str()?)
        })
        .collect();
    assert_eq!(
        sentences,
        ["CapacityQuota/a limits it: cpu 4 of 4500m, nodes 0 of 3 used"]
    );
}
