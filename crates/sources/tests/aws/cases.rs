//! What the provider does over real HTTP.

use super::Outcome;
use super::moto::Moto;
use super::proxy::Fault;
use super::rig::{Rig, node, only};
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use futures::future::LocalBoxFuture;
use plimsoll_api::nodegroup::{ErrorClass, InstanceState, NodeProvider, ProviderTemplate};
use plimsoll_sources::nodes::aws::Options;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// A case.
pub(crate) type Case = for<'a> fn(Rig<'a>) -> LocalBoxFuture<'a, Outcome>;

/// All cases.
pub(crate) const ALL: &[(&str, Case)] = &[
    ("discovers_by_tags_over_several_pages", |rig| {
        Box::pin(discovers(rig))
    }),
    ("asks_for_named_groups_a_hundred_at_a_time", |rig| {
        Box::pin(names(rig))
    }),
    ("grows_from_zero_by_the_launch_template", |rig| {
        Box::pin(grows(rig))
    }),
    ("takes_the_first_of_several_types_at_their_least", |rig| {
        Box::pin(mixed(rig))
    }),
    ("counts_weights", |rig| Box::pin(weights(rig))),
    ("asks_eks_what_nodes_of_its_groups_have", |rig| {
        Box::pin(managed(rig))
    }),
    ("eks_out_of_reach_holds_nobody_up", |rig| {
        Box::pin(unreachable(rig))
    }),
    ("says_what_to_set_where_there_are_no_credentials", |rig| {
        Box::pin(nobody(rig))
    }),
    ("terminates_and_lowers_the_desired_capacity", |rig| {
        Box::pin(shrinks(rig))
    }),
    ("gives_up_places_that_cannot_be_filled", |rig| {
        Box::pin(places(rig))
    }),
    ("the_rights_of_the_lab_suffice", |rig| Box::pin(rights(rig))),
    (
        "tries_again_when_throttled_and_when_the_service_fails",
        |rig| Box::pin(throttled(rig)),
    ),
    ("gives_up_in_the_end_and_says_why", |rig| {
        Box::pin(refused(rig))
    }),
    ("an_answer_that_never_comes_is_asked_for_again", |rig| {
        Box::pin(hanging(rig))
    }),
];

/// How much of a resource a new node has.
fn capacity<'a>(template: &'a ProviderTemplate, name: &str) -> Option<&'a str> {
    template
        .node
        .pointer("/status/capacity")?
        .get(name)?
        .as_str()
}

const ENABLED: (&str, &str) = ("k8s.io/cluster-autoscaler/enabled", "true");
const OWNED: (&str, &str) = ("k8s.io/cluster-autoscaler/lab", "owned");

async fn discovers(rig: Rig<'_>) -> Outcome {
    for number in 0..120 {
        let name = format!("page-{number:03}");
        rig.moto
            .group(&name, "small", [0, 4, 0], &[ENABLED, OWNED])?;
    }
    rig.moto
        .group("page-half", "small", [0, 4, 0], &[ENABLED])?;
    rig.moto.group(
        "page-value",
        "small",
        [0, 4, 0],
        &[ENABLED, (OWNED.0, "shared")],
    )?;
    let found = |spec: &'static str| {
        let rig = &rig;
        async move {
            let discovery = vec![spec.parse()?];
            let provider = rig
                .with(Options {
                    discovery,
                    ..Options::default()
                })
                .await?;
            let groups = provider.groups().await?;
            let names: Vec<String> = groups.iter().map(|group| group.id.to_string()).collect();
            Ok::<_, Box<dyn std::error::Error>>(names)
        }
    };
    let both =
        found("asg:tag=k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/lab=owned")
            .await?;
    assert_eq!(both.len(), 120);
    assert_eq!(both.first().map(String::as_str), Some("page-000"));
    assert_eq!(rig.proxy.calls(), ["DescribeAutoScalingGroups"; 2]);
    let keys =
        found("asg:tag=k8s.io/cluster-autoscaler/enabled,k8s.io/cluster-autoscaler/lab").await?;
    assert_eq!(keys.len(), 121);
    Ok(())
}

async fn names(rig: Rig<'_>) -> Outcome {
    rig.moto.group("named", "small", [0, 9, 1], &[])?;
    let mut specs: Vec<String> = (0..150)
        .map(|number| format!("0:1:nowhere-{number}"))
        .collect();
    specs.push("1:5:named".to_owned());
    let specs: Vec<&str> = specs.iter().map(String::as_str).collect();
    let provider = rig.of(&specs).await?;
    let group = only(&provider).await?;
    assert_eq!(
        (group.min, group.max, group.target, group.instances.len()),
        (1, 5, 1, 1)
    );
    assert_eq!(rig.proxy.calls(), ["DescribeAutoScalingGroups"; 2]);
    Ok(())
}

async fn grows(rig: Rig<'_>) -> Outcome {
    let label = ("k8s.io/cluster-autoscaler/node-template/label/team", "blue");
    rig.moto.group("zero", "small", [0, 3, 0], &[label])?;
    let provider = rig.of(&["0:3:zero"]).await?;
    assert_eq!(only(&provider).await?.target, 0);
    let template = provider.template("zero").await?.ok_or("no template")?;
    let label = |name: &str| {
        template
            .node
            .pointer("/metadata/labels")?
            .get(name)?
            .as_str()
    };
    assert_eq!(label("node.kubernetes.io/instance-type"), Some("t3.medium"));
    assert_eq!(label("topology.kubernetes.io/zone"), Some("us-east-1a"));
    assert_eq!(label("team"), Some("blue"));
    assert_eq!(capacity(&template, "cpu"), Some("2"));

    provider.increase("zero", 2).await?;
    let (desired, machines) = rig.moto.seen("zero")?;
    assert_eq!((desired, machines.len()), (2, 2));
    assert!(provider.increase("zero", 2).await.is_err());

    let seen = rig.of(&["0:3:zero"]).await?;
    let group = only(&seen).await?;
    assert_eq!(group.instances.len(), 2);
    let machine = group.instances.first().ok_or("no instance")?;
    assert_eq!(machine.state, Some(InstanceState::Running));
    assert!(
        machine.id.starts_with("aws:///us-east-1a/i-"),
        "{}",
        machine.id
    );
    let owner = seen.group_of(&node(&machine.id)).await?;
    assert_eq!(owner.as_deref(), Some("zero"));
    Ok(())
}

async fn mixed(rig: Rig<'_>) -> Outcome {
    let policy = "MixedInstancesPolicy.LaunchTemplate";
    let specification = format!("{policy}.LaunchTemplateSpecification");
    let (name, version) = (
        format!("{specification}.LaunchTemplateName"),
        format!("{specification}.Version"),
    );
    let [first, second] =
        [1, 2].map(|number| format!("{policy}.Overrides.member.{number}.InstanceType"));
    let parameters = [
        ("Action", "CreateAutoScalingGroup"),
        ("AutoScalingGroupName", "mixed"),
        (&name, "small"),
        (&version, "$Latest"),
        (&first, "m5.xlarge"),
        (&second, "c5.xlarge"),
        ("MinSize", "0"),
        ("MaxSize", "3"),
        ("DesiredCapacity", "0"),
        ("AvailabilityZones.member.1", "us-east-1a"),
    ];
    rig.moto.ask("autoscaling", &parameters)?;
    let provider = rig.of(&["0:3:mixed"]).await?;
    only(&provider).await?;
    let template = provider.template("mixed").await?.ok_or("no template")?;
    // 8192 MiB of the smaller one, less 7.5 %.
    assert_eq!(capacity(&template, "memory"), Some("7578Mi"));
    let kind = "/metadata/labels/node.kubernetes.io~1instance-type";
    assert_eq!(template.node.pointer(kind), None);
    assert_eq!(template.price_per_hour, Some(0.192));
    Ok(())
}

async fn weights(rig: Rig<'_>) -> Outcome {
    let policy = "MixedInstancesPolicy.LaunchTemplate";
    let specification = format!("{policy}.LaunchTemplateSpecification");
    let name = format!("{specification}.LaunchTemplateName");
    let version = format!("{specification}.Version");
    let of = |number: usize, part: &str| format!("{policy}.Overrides.member.{number}.{part}");
    let [small, large] = [1, 2].map(|number| of(number, "InstanceType"));
    let [light, heavy] = [1, 2].map(|number| of(number, "WeightedCapacity"));
    let parameters = [
        ("Action", "CreateAutoScalingGroup"),
        ("AutoScalingGroupName", "weights"),
        (&name, "small"),
        (&version, "$Latest"),
        (&small, "t3.medium"),
        (&light, "2"),
        (&large, "t3.xlarge"),
        (&heavy, "8"),
        ("MinSize", "0"),
        ("MaxSize", "12"),
        ("DesiredCapacity", "6"),
        ("AvailabilityZones.member.1", "us-east-1a"),
    ];
    rig.moto.ask("autoscaling", &parameters)?;
    let provider = rig.of(&["0:99:weights"]).await?;
    let group = only(&provider).await?;
    assert_eq!((group.min, group.target, group.max), (0, 3, 6));
    assert_eq!(group.instances.len(), 3);
    let template = provider.template("weights").await?.ok_or("no template")?;
    assert_eq!(capacity(&template, "cpu"), Some("2"));

    provider.increase("weights", 1).await?;
    let (desired, machines) = rig.moto.seen("weights")?;
    assert_eq!((desired, machines.len()), (8, 4));
    let going = group.instances.first().ok_or("no instance")?;
    rig.proxy.calls();
    provider.delete("weights", &[node(&going.id)]).await?;
    // The server lowers the capacity by one for a machine that counts for two.
    let (desired, machines) = rig.moto.seen("weights")?;
    assert_eq!((desired, machines.len()), (6, 3));
    let calls = rig.proxy.calls();
    assert_eq!(calls.last().map(String::as_str), Some("SetDesiredCapacity"));
    Ok(())
}

/// Makes a managed node group of EKS, and its cluster. Its Auto Scaling group is made apart.
fn nodegroup_of(moto: &Moto, cluster: &str, nodegroup: &Value) -> Result<(), String> {
    let json =
        |path: &str, body: &Value| moto.post("eks", path, ("application/json", &body.to_string()));
    let about = json!({
        "name": cluster, "roleArn": "arn:aws:iam::123456789012:role/cluster",
        "resourcesVpcConfig": {"subnetIds": ["subnet-1"]},
    });
    json("/clusters", &about)?;
    json(&format!("/clusters/{cluster}/node-groups"), nodegroup)?;
    Ok(())
}

async fn managed(rig: Rig<'_>) -> Outcome {
    let taint = json!({"key": "dedicated", "value": "batch", "effect": "NO_SCHEDULE"});
    let nodegroup = json!({
        "nodegroupName": "batch", "subnets": ["subnet-1"], "nodeRole": "arn:aws:iam::123456789012:role/n",
        "labels": {"team": "blue"}, "taints": [taint], "capacityType": "SPOT",
    });
    nodegroup_of(rig.moto, "lab", &nodegroup)?;
    let tags = [("eks:cluster-name", "lab"), ("eks:nodegroup-name", "batch")];
    rig.moto.group("eks-batch", "small", [0, 3, 0], &tags)?;
    rig.moto.group("eks-own", "small", [0, 3, 0], &[])?;
    let stray = [("eks:cluster-name", "lab"), ("eks:nodegroup-name", "gone")];
    rig.moto.group("eks-stray", "small", [0, 3, 0], &stray)?;
    let names = ["0:3:eks-batch", "0:3:eks-own", "0:3:eks-stray"];
    let provider = rig.of(&names).await?;
    provider.groups().await?;
    let template = provider.template("eks-batch").await?.ok_or("no template")?;
    let label = |name: &str| {
        template
            .node
            .pointer("/metadata/labels")?
            .get(name)?
            .as_str()
    };
    assert_eq!(label("team"), Some("blue"));
    assert_eq!(label("eks.amazonaws.com/capacityType"), Some("SPOT"));
    assert_eq!(label("eks.amazonaws.com/nodegroup"), Some("batch"));
    let want = json!([{"key": "dedicated", "value": "batch", "effect": "NoSchedule"}]);
    assert_eq!(template.node.pointer("/spec/taints"), Some(&want));
    let asked = |calls: Vec<String>| {
        calls
            .iter()
            .filter(|call| *call == "DescribeNodegroup")
            .count()
    };
    provider.template("eks-batch").await?;
    provider.template("eks-own").await?;
    assert_eq!(asked(rig.proxy.calls()), 1, "answers hold for minutes");
    assert!(provider.template("eks-stray").await?.is_some());

    let message = "User is not authorized to perform: eks:DescribeNodegroup";
    let refused = Fault::Refuse(usize::MAX, 403, "AccessDeniedException", message);
    rig.proxy.fault("DescribeNodegroup", refused);
    let provider = rig.of(&names).await?;
    provider.groups().await?;
    let template = provider.template("eks-batch").await?.ok_or("no template")?;
    let taints = template.node.pointer("/spec/taints");
    assert_eq!(taints, Some(&json!([])));
    assert_eq!(capacity(&template, "cpu"), Some("2"));
    provider.template("eks-batch").await?;
    assert_eq!(asked(rig.proxy.calls()), 2, "a refusal is remembered");
    Ok(())
}

async fn unreachable(rig: Rig<'_>) -> Outcome {
    for (group, nodegroup) in [("far-a", "a"), ("far-b", "b")] {
        let tags = [
            ("eks:cluster-name", "far"),
            ("eks:nodegroup-name", nodegroup),
        ];
        rig.moto.group(group, "small", [0, 3, 0], &tags)?;
    }
    rig.proxy
        .fault("DescribeNodegroup", Fault::Hang(usize::MAX));
    let provider = rig.of(&["0:3:far-a", "0:3:far-b"]).await?;
    provider.groups().await?;
    rig.proxy.calls();
    let begun = Instant::now();
    for group in ["far-a", "far-b"] {
        let template = provider.template(group).await?.ok_or("no template")?;
        assert_eq!(capacity(&template, "cpu"), Some("2"));
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
    let asked = rig.proxy.calls();
    let asked = asked.iter().filter(|call| *call == "DescribeNodegroup");
    assert_eq!(asked.count(), 1, "once for the whole service");
    Ok(())
}

async fn nobody(rig: Rig<'_>) -> Outcome {
    let nothing = || {
        let lacking = CredentialsError::not_loaded("no role, no keys");
        std::future::ready(Err(lacking))
    };
    let provider = rig
        .as_whom(
            Options {
                groups: vec!["0:3:small".parse()?],
                ..Options::default()
            },
            provide_credentials_fn(nothing),
        )
        .await?;
    let error = provider.groups().await.err().ok_or("was answered")?;
    assert_eq!(error.class, ErrorClass::Forbidden);
    let begins = "describing Auto Scaling groups: no AWS credentials (";
    assert!(error.message.starts_with(begins), "{error}");
    assert!(error.message.contains("AWS_ROLE_ARN"), "{error}");
    assert!(rig.proxy.calls().is_empty());
    Ok(())
}

async fn shrinks(rig: Rig<'_>) -> Outcome {
    rig.moto.group("shrink", "small", [1, 4, 3], &[])?;
    let provider = rig.of(&["1:4:shrink"]).await?;
    let group = only(&provider).await?;
    let nodes: Vec<_> = group
        .instances
        .iter()
        .map(|found| node(&found.id))
        .collect();
    let [first, second, third] = nodes.as_slice() else {
        return Err(format!("not three nodes: {nodes:?}").into());
    };
    provider
        .delete("shrink", &[first.clone(), second.clone()])
        .await?;
    let (desired, left) = rig.moto.seen("shrink")?;
    assert_eq!((desired, left.len()), (1, 1));
    assert!(
        left.iter().all(|id| third.provider_id.ends_with(id)),
        "{left:?}"
    );
    // Once more is no error, and one more is refused.
    provider
        .delete("shrink", std::slice::from_ref(first))
        .await?;
    let error = provider
        .delete("shrink", std::slice::from_ref(third))
        .await
        .err()
        .ok_or("went below the minimum")?;
    assert_eq!(error.class, ErrorClass::Invalid);
    assert_eq!(only(&provider).await?.target, 1);
    Ok(())
}

async fn places(rig: Rig<'_>) -> Outcome {
    rig.moto.group("short", "small", [0, 6, 4], &[])?;
    rig.proxy.hide(2);
    let failed = "<DescribeScalingActivitiesResponse><DescribeScalingActivitiesResult><Activities><member>\
        <ActivityId>1</ActivityId><AutoScalingGroupName>short</AutoScalingGroupName>\
        <Description>Launching a new EC2 instance</Description><Cause>x</Cause>\
        <StartTime>2100-01-01T00:00:00Z</StartTime><StatusCode>Failed</StatusCode>\
        <StatusMessage>We currently do not have sufficient t3.medium capacity in the Availability Zone you requested</StatusMessage>\
        </member></Activities></DescribeScalingActivitiesResult></DescribeScalingActivitiesResponse>";
    rig.proxy.fault(
        "DescribeScalingActivities",
        Fault::Answer(failed.to_owned()),
    );
    let provider = rig.of(&["0:6:short"]).await?;
    let group = only(&provider).await?;
    let places: Vec<_> = group
        .instances
        .iter()
        .filter(|instance| instance.problem.is_some())
        .collect();
    assert_eq!(
        (group.target, group.instances.len(), places.len()),
        (4, 4, 2)
    );
    let first = places.first().ok_or("no place")?;
    assert_eq!(&*first.id, "aws:///us-east-1a/i-placeholder-short-2");
    let problem = first.problem.as_ref().ok_or("no problem")?;
    assert_eq!(
        (problem.class, problem.code.as_str()),
        (ErrorClass::OutOfResources, "InsufficientInstanceCapacity")
    );

    let nodes: Vec<_> = places.iter().map(|place| node(&place.id)).collect();
    rig.proxy.calls();
    provider.delete("short", &nodes).await?;
    assert_eq!(rig.moto.seen("short")?.0, 2);
    assert_eq!(
        rig.proxy.calls(),
        ["DescribeAutoScalingGroups", "SetDesiredCapacity"]
    );
    Ok(())
}

async fn rights(rig: Rig<'_>) -> Outcome {
    let kind = (
        "k8s.io/cluster-autoscaler/node-template/label/node.kubernetes.io/instance-type",
        "t2.micro",
    );
    rig.moto
        .group("lab", "small", [1, 3, 2], &[ENABLED, kind])?;
    rig.moto.group("bare", "small", [0, 3, 0], &[])?;
    for action in [
        "DescribeScalingActivities",
        "DescribeLaunchConfigurations",
        "DescribeLaunchTemplateVersions",
        "DescribeInstanceTypes",
    ] {
        let message = "User is not authorized to perform this action";
        rig.proxy.fault(
            action,
            Fault::Refuse(usize::MAX, 403, "AccessDenied", message),
        );
    }
    rig.proxy.hide(1);
    let provider = rig.of(&["1:3:lab", "0:3:bare"]).await?;
    let groups = provider.groups().await?;
    let lab = groups
        .iter()
        .find(|group| &*group.id == "lab")
        .ok_or("no group")?;
    assert_eq!((lab.target, lab.instances.len()), (2, 2));
    assert!(
        lab.instances
            .iter()
            .all(|instance| instance.problem.is_none())
    );
    let template = provider.template("lab").await?.ok_or("no template")?;
    assert_eq!(capacity(&template, "cpu"), Some("1"));
    assert_eq!(provider.template("bare").await?, None);
    rig.proxy.hide(0);
    provider.increase("lab", 1).await?;
    let machine = lab.instances.first().ok_or("no instance")?;
    provider.delete("lab", &[node(&machine.id)]).await?;
    assert_eq!(rig.moto.seen("lab")?.0, 2);
    Ok(())
}

async fn throttled(rig: Rig<'_>) -> Outcome {
    rig.moto.group("busy", "small", [0, 3, 1], &[])?;
    let provider = rig.of(&["0:3:busy"]).await?;
    rig.proxy.fault(
        "DescribeAutoScalingGroups",
        Fault::Refuse(2, 400, "Throttling", "Rate exceeded"),
    );
    rig.proxy.fault(
        "SetDesiredCapacity",
        Fault::Refuse(2, 500, "InternalFailure", "Try again"),
    );
    assert_eq!(only(&provider).await?.target, 1);
    provider.increase("busy", 1).await?;
    assert_eq!(rig.moto.seen("busy")?.0, 2);
    let calls = rig.proxy.calls();
    let count = |action: &str| calls.iter().filter(|call| *call == action).count();
    assert_eq!(
        (
            count("DescribeAutoScalingGroups"),
            count("SetDesiredCapacity")
        ),
        (4, 3)
    );
    rig.proxy.fault(
        "DescribeLaunchTemplateVersions",
        Fault::Refuse(1, 503, "RequestLimitExceeded", "Slow down"),
    );
    assert!(provider.template("busy").await?.is_some());
    Ok(())
}

async fn refused(rig: Rig<'_>) -> Outcome {
    rig.moto.group("shut", "small", [0, 3, 1], &[])?;
    let provider = rig.of(&["0:3:shut"]).await?;
    only(&provider).await?;
    rig.proxy.fault(
        "SetDesiredCapacity",
        Fault::Refuse(usize::MAX, 403, "AccessDenied", "User may not"),
    );
    rig.proxy.calls();
    let error = provider
        .increase("shut", 1)
        .await
        .err()
        .ok_or("was permitted")?;
    assert_eq!(
        (error.class, error.code.as_str()),
        (ErrorClass::Forbidden, "AccessDenied")
    );
    assert_eq!(
        error.to_string(),
        "setting the desired capacity of shut to 2: AccessDenied: User may not"
    );
    assert_eq!(
        rig.proxy.calls(),
        ["DescribeAutoScalingGroups", "SetDesiredCapacity"]
    );
    assert_eq!(only(&provider).await?.target, 1, "nothing changed");

    rig.proxy.fault(
        "DescribeAutoScalingGroups",
        Fault::Refuse(usize::MAX, 400, "Throttling", "Rate exceeded"),
    );
    let blind = rig.of(&["0:3:shut"]).await?;
    let error = blind.groups().await.err().ok_or("was answered")?;
    assert_eq!(error.class, ErrorClass::Throttled);
    rig.proxy.calls();
    let again = blind.groups().await.err().ok_or("was answered")?;
    assert_eq!(again, error);
    assert!(rig.proxy.calls().is_empty(), "it is left alone for a while");
    Ok(())
}

async fn hanging(rig: Rig<'_>) -> Outcome {
    rig.moto.group("slow", "small", [0, 3, 1], &[])?;
    let provider = rig.of(&["0:3:slow"]).await?;
    rig.proxy.fault("DescribeAutoScalingGroups", Fault::Hang(1));
    assert_eq!(only(&provider).await?.target, 1);
    assert_eq!(rig.proxy.calls().len(), 2);
    Ok(())
}
