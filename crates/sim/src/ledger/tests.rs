//! Which machines count as ordered, and when.

use super::{Bill, Book, Waiting};
use jiff::{SignedDuration, Timestamp};
use plimsoll_api::nodegroup::{Instance, InstanceState, NodeGroup, OptionOverrides};
use std::collections::{BTreeMap, BTreeSet};

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn group(ids: &[&str]) -> NodeGroup {
    let instance = |id: &&str| Instance {
        id: (*id).into(),
        state: Some(InstanceState::Running),
        problem: None,
    };
    NodeGroup {
        id: "g".into(),
        min: 0,
        max: 9,
        target: ids.len(),
        instances: ids.iter().map(instance).collect(),
        options: OptionOverrides::default(),
        debug: String::new(),
    }
}

#[test]
fn a_machine_is_ordered_once_and_forgotten_when_it_is_gone() {
    let mut book = Book {
        changes: Vec::new(),
        bill: Bill::new(BTreeMap::new(), at(0)),
        waiting: Waiting::default(),
        targets: BTreeMap::new(),
        listed: BTreeMap::new(),
        failed: BTreeSet::new(),
        nodes: BTreeMap::new(),
    };
    book.machines(&[group(&["z"])], at(0));
    book.machines(&[group(&["a", "z"])], at(10));
    let about = |book: &Book, id: &str| book.listed.get(id).map(|one| (one.since, one.awaited));
    assert_eq!(
        about(&book, "z"),
        Some((at(0), false)),
        "it was there before"
    );
    assert_eq!(about(&book, "a"), Some((at(10), true)));
    // Its node joins; the machine is listed again.
    book.listed.get_mut("a").unwrap().awaited = false;
    book.machines(&[group(&["a", "z"])], at(20));
    assert_eq!(about(&book, "a"), Some((at(10), false)));
    book.machines(&[group(&["z"])], at(30));
    assert_eq!(about(&book, "a"), None);
    book.machines(&[group(&["a", "z"])], at(40));
    assert_eq!(about(&book, "a"), Some((at(40), true)));
    let ids = ["a".into(), "z".into()];
    assert_eq!(book.oldest(ids.iter()).map(|id| &**id), Some("z"));
}
