//! What the garbage collector decides, graph by graph.

use super::{Graph, Manner, Node, Step, Uid};
use crate::runtime::{ObjectKey, Owner};
use std::sync::Arc;

fn owner(uid: &str) -> Owner {
    Owner {
        api_version: "v1".into(),
        kind: "Thing".into(),
        name: uid.into(),
        uid: uid.into(),
        controller: false,
        block_owner_deletion: true,
    }
}

fn node(uid: &str, owners: &[&str]) -> Node {
    Node {
        kind: 0,
        key: ObjectKey::new("n", uid),
        uid: uid.into(),
        owners: owners.iter().map(|uid| owner(uid)).collect(),
        deleting: false,
        foreground: false,
        orphan: false,
    }
}

fn graph(nodes: &[Node]) -> Graph {
    let mut graph = Graph::default();
    for node in nodes {
        graph.apply(node.clone());
    }
    graph
}

#[test]
fn a_dependent_goes_after_its_last_owner() {
    let mut graph = graph(&[node("a", &[]), node("b", &["a"])]);
    assert_eq!(graph.step(Uid::of("b")), Step::Keep);
    assert_eq!(graph.remove("a"), [Uid::of("b")]);
    assert_eq!(graph.step(Uid::of("b")), Step::Verify(owner("a")));
    graph.mark_absent("a");
    assert_eq!(graph.step(Uid::of("b")), Step::Delete(Manner::Background));
}

#[test]
fn another_owner_keeps_it() {
    let mut graph = graph(&[node("a", &[]), node("c", &[]), node("b", &["a", "c"])]);
    graph.remove("a");
    graph.mark_absent("a");
    assert_eq!(graph.step(Uid::of("b")), Step::Disown(vec![Arc::from("a")]));
}

#[test]
fn foreground_deletion_goes_down_and_then_releases_the_owner() {
    let going = Node {
        deleting: true,
        foreground: true,
        ..node("a", &[])
    };
    let mut graph = graph(&[node("b", &["a"]), node("c", &["b"]), going]);
    assert_eq!(graph.step(Uid::of("a")), Step::Keep);
    assert_eq!(graph.step(Uid::of("b")), Step::Delete(Manner::Foreground));
    assert_eq!(graph.step(Uid::of("c")), Step::Keep);
    graph.remove("c");
    assert_eq!(graph.remove("b"), [Uid::of("a")]);
    assert_eq!(graph.step(Uid::of("a")), Step::Release);
}

#[test]
fn a_cycle_does_not_deadlock() {
    let going = Node {
        deleting: true,
        foreground: true,
        ..node("a", &["b"])
    };
    let graph = graph(&[node("b", &["a"]), going]);
    assert_eq!(graph.step(Uid::of("b")), Step::Delete(Manner::Background));
}

#[test]
fn orphans_are_let_loose_before_their_owner_goes() {
    let going = Node {
        deleting: true,
        orphan: true,
        ..node("a", &[])
    };
    let graph = graph(&[node("b", &["a"]), going]);
    assert_eq!(graph.step(Uid::of("a")), Step::Orphan(vec![Uid::of("b")]));
}

#[test]
fn objects_without_relations_are_not_kept() {
    let mut graph = graph(&[node("a", &[])]);
    assert!(graph.nodes.is_empty());
    assert!(graph.remove("a").is_empty() && graph.alive.is_empty());
}
